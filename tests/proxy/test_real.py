"""Real LiteLLM, our wrapper around it, a model server on this machine; what LiteLLM exports is decoded from OTLP."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from session_mw.cli.demo.otlp import Span
from session_mw.cli.demo.receiver import Receiver
from session_mw.ledger import open_ledger
from tests.proxy.models import model_server
from tests.proxy.real import config, environment, litellm_python, proxying, question, version_of
from tests.proxy.support import UUID, token

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

EARLIER, LATER = {}, {"LITELLM_OTEL_V2": "true"}
SHOWN = {"session.type": "code-review", "session.prompt_version": "v2", "session.name": "auth-module"}
LABELS = {"X-Session-Type": "code-review", "X-Session-Prompt-Version": "v2", "X-Session-Name": "auth-module"}


@dataclass
class Ground:
    """
    What a test stands on.

    Attributes:
        url: Of the proxy.
        received: What LiteLLM exports.
        asked: Of the model server.
        folder: Of the proxy.
    """

    url: str
    received: Receiver
    asked: list[dict[str, Any]]
    folder: Path

    def ask(self, model: str = "claude-sonnet-4-5", text: str = "ping", stream: bool = False, **headers: str) -> None:
        """Ask through the proxy."""
        path, body = question(model, text, stream)
        answer = httpx.post(self.url + path, json=body, headers=headers, timeout=60)
        assert 200 == answer.status_code, answer.text

    def spans(self, enough: Callable[[list[Span]], bool]) -> list[Span]:
        """Return what was exported, once it is *enough*."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if enough(spans := self.received.spans()):
                return spans
            time.sleep(0.1)
        raise AssertionError(f"not enough spans: {[span.name for span in self.received.spans()]}")


@pytest.fixture(scope="module", params=[EARLIER, LATER], ids=["v1", "v2"])
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """One proxy for the tests of a version of LiteLLM's telemetry."""
    python, folder = litellm_python(), tmp_path_factory.mktemp("proxy")
    with Receiver() as received, model_server() as (models, asked):
        config(folder, models)
        with proxying(python, environment(folder, received.url, **request.param), folder) as url:
            yield Ground(url, received, asked, folder)


def of_session(spans: list[Span], session_id: str) -> list[Span]:
    """Return the spans of one session, by either name under which Phoenix groups."""
    keys = ("session.id", "gen_ai.conversation.id")
    return [span for span in spans if session_id in {span.attributes.get(key) for key in keys}]


def said_to_be(span: Span, session_id: str) -> bool:
    """Return whether a span says its session, as far as this LiteLLM lets it: 1.109 (v2) takes it off model calls."""
    takes_off = tuple(map(int, version_of(litellm_python()).split(".")[:2])) >= (1, 109)
    if takes_off and span.name.startswith("chat ") and "session.id" not in span.attributes:
        return bool(span.attributes["gen_ai.conversation.id"] == session_id)
    return bool(span.attributes["session.id"] == session_id)


def calls(spans: list[Span]) -> list[Span]:
    """Return those that a back end adds up: of kind LLM."""
    return [span for span in spans if span.attributes.get("openinference.span.kind") == "LLM"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "gpt-4o"])
def test_litellms_own_spans_carry_the_session(ground: Ground, model: str, stream: bool) -> None:
    """Every span of the request, with tokens on one of them; nothing of ours goes to the model's provider."""
    session_id = f"cr-{model}-{stream}"
    signed = token(session_id, time.time_ns() // 1_000_000)
    ground.ask(model, "use 1500 300", stream, **{"X-Session-Token": signed, "X-Claude-Code-Session-Id": UUID}, **LABELS)
    spans = ground.spans(lambda spans: bool(calls(of_session(spans, session_id))))
    mine = of_session(spans, session_id)
    traces = {span.trace_id for span in mine}
    (call,) = calls(mine)
    usage = [span.attributes["llm.token_count.total"] for span in mine if "llm.token_count.total" in span.attributes]

    assert all(said_to_be(span, session_id) for span in spans if span.trace_id in traces)
    assert all({**SHOWN, "agent.session.id": UUID}.items() <= span.attributes.items() for span in mine)
    assert [1800] == usage
    assert 1500 == call.attributes["llm.token_count.prompt"]
    assert not any(signed in str(value) for span in spans for value in span.attributes.values())
    assert not any(name.lower().startswith("x-session") for one in ground.asked for name in one["headers"])


def test_metadata_is_merged_and_what_was_there_stays(ground: Ground) -> None:
    """``user_id`` of Anthropic's metadata reaches the provider and LiteLLM's record; the session stands beside it."""
    path, body = question("claude-sonnet-4-5", "ping", False, metadata={"user_id": "somebody"})
    headers = {"X-Session-ID": "merged", **LABELS}
    assert 200 == httpx.post(ground.url + path, json=body, headers=headers, timeout=60).status_code
    ground.spans(lambda spans: bool(calls(of_session(spans, "merged"))))
    kept = (ground.folder / "proxy.log").read_text()

    assert {"user_id": "somebody"} == ground.asked[-1]["body"]["metadata"]
    assert "[LOGGING] Injected session_id from peer: merged" in kept
    assert "[LOGGING] Injected session metadata: prompt_version, session_id, session_name, session_type" in kept


def test_the_requesters_metadata_holds_both(ground: Ground) -> None:
    """As LiteLLM's Phoenix logger (v1) writes it down."""
    if "LITELLM_OTEL_V2" in environment_of(ground):
        pytest.skip("v2 writes no requester metadata onto spans")
    path, body = question("gpt-4o", "ping", False, metadata={"mine": "kept"}, user="bob")
    httpx.post(ground.url + path, json=body, headers={"X-Session-ID": "both", **LABELS}, timeout=60)
    spans = ground.spans(lambda spans: bool(calls(of_session(spans, "both"))))
    (call,) = calls(of_session(spans, "both"))
    told = json.loads(call.attributes["metadata"])
    ours = {"session_id": "both", "session_type": "code-review", "prompt_version": "v2", "session_name": "auth-module"}

    assert {"mine": "kept", **ours}.items() <= told["requester_metadata"].items()
    assert "bob" == told["user_api_key_end_user_id"] == call.attributes["user.id"]


def environment_of(ground: Ground) -> str:
    """Return which telemetry the proxy was started with."""
    return "LITELLM_OTEL_V2" if any(span.name.startswith("POST") for span in ground.received.spans()) else ""


def test_two_sessions_at_once_stay_apart(ground: Ground) -> None:
    """Twenty requests of two sessions in eight threads; each span says the session of its own request."""
    ids = ["left", "right"] * 10
    with ThreadPoolExecutor(8) as pool:
        asking = [
            pool.submit(ground.ask, "claude-haiku-4-5", f"use {1000 + at} 7", at % 3 == 0, **{"X-Session-ID": ids[at]})
            for at in range(20)
        ]
        for one in asking:
            one.result()

    def all_calls(spans: list[Span]) -> list[Span]:
        return [call for name in ("left", "right") for call in calls(of_session(spans, name))]

    found = all_calls(ground.spans(lambda spans: len(all_calls(spans)) >= 20))
    expected = sorted((ids[at], 1000 + at) for at in range(20))
    told = [(c.attributes["gen_ai.conversation.id"], c.attributes["llm.token_count.prompt"]) for c in found]

    assert expected == sorted(told)
    assert all(said_to_be(call, session_id) for call, (session_id, _) in zip(found, told, strict=True))


def test_the_ledger_counts_each_answer_once(ground: Ground) -> None:
    """Spans and LiteLLM's own log tell of the same answer: it counts once, on its turn, with LiteLLM's cost."""
    for stream in (False, True, False):
        ground.ask("claude-sonnet-4-5", "use 1000 100", stream, **{"X-Session-ID": "counted"})
    time.sleep(2)  # more than a turn waits, and the background's own pace
    ledger = open_ledger(f"sqlite:///{ground.folder}/sessions.db")
    try:
        (row,) = [row for row in ledger.sessions(limit=1000) if row.session_id == "counted"]
        turns = [(turn.input_tokens, turn.output_tokens, turn.cost_microusd) for turn in ledger.turns("counted")]
    finally:
        ledger.close()

    assert [(1000, 100, 4_500)] * 3 == turns  # 3 and 15 dollars for a million
    assert (3, 3300) == (row.turns, row.total_tokens)


def test_without_a_session_litellm_is_as_it_was(ground: Ground) -> None:
    """No header, no variable: no session on any span."""
    ground.ask("claude-opus-4-1", "use 77 1")

    def mine(spans: list[Span]) -> list[Span]:
        return [span for span in calls(spans) if span.attributes.get("llm.token_count.prompt") == 77]

    (call,) = mine(ground.spans(lambda spans: bool(mine(spans))))

    assert not any(name.startswith("session.") for name in call.attributes)


def test_the_startup_hook_does_the_same_for_litellms_own_command(tmp_path: Path) -> None:
    """``LITELLM_WORKER_STARTUP_HOOKS``: `litellm --config` starts it, and nothing else is different."""
    python = litellm_python()
    hook = {"LITELLM_WORKER_STARTUP_HOOKS": "session_mw.integrations.litellm:startup"}
    with Receiver() as received, model_server() as (models, asked):
        written = config(tmp_path, models)
        env = environment(tmp_path, received.url, **hook)
        del env["CONFIG_FILE_PATH"]
        command = (str(Path(python).parent / "litellm"), "--config", str(written), "--telemetry", "False")
        with proxying(python, env, tmp_path, command) as url:
            ground = Ground(url, received, asked, tmp_path)
            ground.ask(text="use 1500 300", stream=True, **{"X-Session-ID": "hooked", **LABELS})
            echoed = httpx.get(url + "/session-mw/echo", headers={"X-Session-ID": "hooked"}, timeout=30).json()
            mine = of_session(ground.spans(lambda spans: bool(calls(of_session(spans, "hooked")))), "hooked")

    assert all(SHOWN.items() <= span.attributes.items() for span in mine)
    assert [1800] == [span.attributes["llm.token_count.total"] for span in calls(mine)]
    assert ("peer", ["arize_phoenix"]) == (echoed["named_by"], echoed["litellm"]["telemetry"])


def test_litellms_generic_otel_callback_says_sessions_too(tmp_path: Path) -> None:
    """``callbacks: ["otel"]`` (v1), beside Phoenix's: on both; the ledger counts the answer once."""
    python = litellm_python()
    with Receiver() as received, model_server() as (models, asked):
        config(tmp_path, models, ("otel", "arize_phoenix"))
        otel = {"OTEL_EXPORTER": "otlp_http", "OTEL_ENDPOINT": f"{received.url}/v1/traces"}
        with proxying(python, environment(tmp_path, received.url, **otel), tmp_path) as url:
            ground = Ground(url, received, asked, tmp_path)
            for _ in range(2):
                ground.ask(text="use 1000 100", **{"X-Session-ID": "generic", **LABELS})

            def both(spans: list[Span]) -> bool:
                told = of_session(spans, "generic")
                generic = [span for span in told if "gen_ai.usage.total_tokens" in span.attributes]
                return len(generic) >= 2 and len(calls(told)) >= 2

            mine = of_session(ground.spans(both), "generic")
        ledger = open_ledger(f"sqlite:///{tmp_path}/sessions.db")
        (row,) = ledger.sessions(limit=10)
        ledger.close()
        told = (tmp_path / "proxy.log").read_text()
    generic = [span.name for span in mine if "gen_ai.usage.total_tokens" in span.attributes]

    assert all(SHOWN.items() <= span.attributes.items() for span in mine)
    assert (2, 2200) == (row.turns, row.total_tokens)
    assert "the telemetry callbacks arize_phoenix, otel: into one back end, tokens and costs count twice" in told
    assert 2 == len(generic), "LiteLLM writes the usage of an answer onto several spans"
