"""What an application of ours exported, read into an empty history, is what its own history was told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from session_mw import agent_run, current_session, current_turn, llm_call, tool_call
from session_mw.ledger import Ledger, SessionRow, TurnRow, UsageRow
from tests.cli.importing.support import bring, opened
from tests.shells.worlds import make_world


def shop(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with an agent that asks a model and looks something up; /fail answers 500, GET does nothing."""
    session, turn = current_session(), current_turn()
    if session is not None and environ["PATH_INFO"] == "/login":
        session.identify("ann", tier="pro")
    if turn is not None:
        turn.set(intent="order", input_length=12)
        with agent_run("planner"):
            with llm_call("gpt-5", provider="openai") as call:
                call.usage(input_tokens=100, output_tokens=20, cost_usd=0.25)
            with tool_call("lookup"):
                pass
    failing = environ["PATH_INFO"] == "/fail"
    start_response("500 Internal Server Error" if failing else "200 OK", [("content-type", "text/plain")])
    return [b"ok"]


@pytest.fixture
def world() -> Any:
    """The application after a conversation: a login, three turns, one of them failed, a page load, nobody back."""
    made = make_world("wsgi", app=shop, lifecycle_spans="always", session_type="chat", prompt_version="v3")
    for method, path in (("POST", "/login"), ("POST", "/chat"), ("GET", "/page"), ("POST", "/fail"), ("POST", "/chat")):
        made.request(method, path, {"sec-fetch-site": "same-origin", "accept": "text/html"})
    made.work()
    made.clock.advance(seconds=4_000)
    made.work()
    return made


def said_of_session(row: SessionRow | None) -> dict[str, Any]:
    """Return what is no time: a test's clock stands still, spans have the machine's."""
    assert row is not None
    clocks = ("pk", "started_ms", "last_ms", "ended_ms", "duration_ms", "latency_ms", "attributes")
    told = {name: value for name, value in row.attributes.items() if not name.startswith("dropoff.time")}
    return {**{name: getattr(row, name) for name in row.__slots__ if name not in clocks}, "attributes": told}


def said_of_turn(turn: TurnRow) -> dict[str, Any]:
    clocks = ("pk", "started_ms", "latency_ms", "first_chunk_ms", "attributes")
    told = {name: value for name, value in turn.attributes.items() if not name.endswith("_ms")}
    return {**{name: getattr(turn, name) for name in turn.__slots__ if name not in clocks}, "attributes": told}


def said_of_call(call: UsageRow) -> dict[str, Any]:
    clocks = ("turn_pk", "started_ms", "latency_ms", "first_token_ms")
    return {name: getattr(call, name) for name in call.__slots__ if name not in clocks}


def everything(ledger: Ledger) -> list[Any]:
    """Return all that a history of one session says, times apart."""
    (session_id,) = {row.session_id for row in ledger.sessions()}
    return [
        said_of_session(ledger.session(session_id)),
        [said_of_turn(turn) for turn in ledger.turns(session_id)],
        [said_of_call(call) for call in sorted(ledger.usages(session_id), key=lambda c: (c.turn_number, c.place))],
    ]


def test_spans_of_ours_give_back_the_history(world: Any, url: str, tmp_path: Path) -> None:
    """Turns with their numbers, status, tokens and calls; the session with its end, user, type and channel."""
    file = tmp_path / "spans.pb"
    file.write_bytes(encode_spans(world.exporter.get_finished_spans()).SerializeToString())
    bring(url, str(file))
    live, read = everything(world.engine.history), everything(opened(url))

    assert live[0] == read[0]
    assert live[1] == read[1]
    assert live[2] == read[2]
    assert (4, 1, "timed_out", "chat") == (live[0]["turns"], live[0]["failed"], live[0]["status"], live[0]["type"])
    assert 12 == len(live[2])
