"""What was said in a turn: taken from spans, shown with ``capture_content`` only, redacted, bounded."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_mw import current_session
from session_mw._core.rules import SpanRules
from session_mw._core.turn_state import TurnState
from session_mw.telemetry import notices
from session_mw.telemetry.content import allowed, heard_of, note, settle
from tests.shells.bodies import Plan, send, world_of
from tests.shells.worlds import World
from tests.telemetry.support import Spans, make_scope

CAPTURE = {"capture_content": True}


@pytest.fixture(params=["asgi", "wsgi"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _say_again() -> Iterator[None]:
    notices.reset()
    yield
    notices.reset()


def model(tracer: Any, asked: str, answered: str, *, start: int = 1, end: int = 2) -> None:
    """Make the span of one model call."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.input.messages": json.dumps([{"role": "user", "content": asked}]),
        "gen_ai.output.messages": json.dumps([{"role": "assistant", "content": answered}]),
    }
    tracer.start_span("chat m", attributes=attributes, start_time=start).end(end)


def tool(tracer: Any, name: str, arguments: str, result: str) -> None:
    """Make the span of one tool call."""
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": name,
        "gen_ai.tool.call.arguments": arguments,
        "gen_ai.tool.call.result": result,
    }
    tracer.start_span("execute_tool", attributes=attributes).end()


def agent(tracer: Any) -> None:
    """Two model calls with a tool between; the second repeats the question."""
    model(tracer, "wie spät?", "one moment", start=10, end=20)
    tool(tracer, "clock", '{"zone": "CET"}', "12:00")
    model(tracer, "wie spät?", "It is noon.", start=30, end=40)


def turn(world: World) -> dict[str, Any]:
    return dict(world.spans("turn")[-1].attributes)


def stored(world: World) -> Any:
    """Return the last turn's line in the history, with what was said in it."""
    world.work()
    session_id = world.spans("turn")[-1].attributes["session.id"]
    return world.engine.history.turns(session_id, content=True)[-1]


def test_lengths_come_from_first_question_and_last_answer(kind: str) -> None:
    """Without capture: characters of what the first model call was asked and the last one answered, and no word."""
    world = world_of(kind, Plan(work=agent))
    send(world, [b"{}"])

    shown = turn(world)
    assert (9, 11) == (shown["turn.input_length"], shown["turn.output_length"])
    assert not [key for key in shown if key.startswith(("input.", "output."))]
    assert {"turn.input_length": 9, "turn.output_length": 11, "turn.tool_calls": 1, "turn.action": "clock"} == {
        key: value for key, value in stored(world).attributes.items() if key.startswith("turn.")
    }


def test_captured_words_stand_on_server_session_and_turn_span(kind: str) -> None:
    """With capture, the trace's root and our spans say what was asked and answered."""
    world = world_of(kind, Plan(work=agent), **CAPTURE)
    send(world, [b"{}"])

    ours = [s for s in world.spans() if s.name in ("session", "turn") or s.kind.name == "SERVER"]
    expected = {
        "input.value": "wie spät?",
        "input.mime_type": "text/plain",
        "output.value": "It is noon.",
        "output.mime_type": "text/plain",
    }
    assert 3 == len(ours)
    for span in ours:
        assert expected == {key: value for key, value in span.attributes.items() if key.startswith(("input", "output"))}


def test_dialects_get_their_names_of_root_content(kind: str) -> None:
    """Each back end finds question and answer under its own names."""
    dialects = ["openinference", "langfuse", "langsmith", "traceloop", "mlflow", "laminar"]
    world = world_of(kind, Plan(work=agent), dialects=dialects, **CAPTURE)
    send(world, [b"{}"])

    shown = turn(world)
    assert ("wie spät?", "It is noon.") == (shown["langfuse.trace.input"], shown["langfuse.trace.output"])
    assert ("wie spät?", "It is noon.") == (shown["gen_ai.prompt"], shown["gen_ai.completion"])
    assert '"wie spät?"' == shown["traceloop.entity.input"] == shown["mlflow.spanInputs"] == shown["lmnr.span.input"]
    assert '"It is noon."' == shown["traceloop.entity.output"]


def test_history_keeps_the_conversation(kind: str) -> None:
    """The turn's line has question, answer and each message and tool call once, for a conversation view."""
    world = world_of(kind, Plan(work=agent), **CAPTURE)
    send(world, [b"{}"])

    kept = stored(world).content
    assert ("wie spät?", "It is noon.") == (kept["input.value"], kept["output.value"])
    assert [
        {"role": "user", "type": "text", "text": "wie spät?"},
        {"role": "assistant", "type": "text", "text": "one moment"},
        {"role": "assistant", "type": "tool_call", "text": '{"zone": "CET"}', "name": "clock"},
        {"role": "tool", "type": "tool_result", "text": "12:00", "name": "clock"},
        {"role": "assistant", "type": "text", "text": "It is noon."},
    ] == json.loads(kept["turn.messages"])
    assert "turn.messages" not in turn(world)


def test_a_chain_around_the_model_tells_only_where_no_model_does(kind: str) -> None:
    """What stands around a model call repeats it, in a shape of its own."""

    def chain(tracer: Any) -> None:
        around = {"openinference.span.kind": "CHAIN", "input.value": "prompt with context", "output.value": "raw"}
        span = tracer.start_span("chain", attributes=around, start_time=1)
        model(tracer, "hi", "ho", start=2, end=3)
        span.end(9)

    def alone(tracer: Any) -> None:
        around = {"openinference.span.kind": "AGENT", "input.value": "hello", "output.value": "you"}
        tracer.start_span("agent", attributes=around).end()

    found = []
    for work in (chain, alone):
        world = world_of(kind, Plan(work=work))
        send(world, [b"{}"])
        found.append((turn(world)["turn.input_length"], turn(world)["turn.output_length"]))

    assert [(2, 2), (5, 3)] == found


# -- redaction and limits


def test_redaction_sees_everything_before_it_is_kept(kind: str) -> None:
    """What the application takes out is nowhere: not on spans, not in the history."""

    def redact(text: str) -> str:
        return text.replace("noon", "[time]").replace("CET", "[zone]").replace("12:00", "[time]")

    world = world_of(kind, Plan(work=agent), redact=redact, **CAPTURE)
    send(world, [b"{}"])

    kept = stored(world).content
    assert "It is [time]." == kept["output.value"] == turn(world)["output.value"]
    assert not any(word in kept["turn.messages"] for word in ("noon", "CET", "12:00"))
    assert 11 == turn(world)["turn.output_length"]


def test_redaction_is_told_what_it_looks_at(kind: str) -> None:
    """A function of two arguments gets the kind of content too."""
    kinds: list[str] = []

    def redact(text: str, kind: str) -> str | None:
        kinds.append(kind)
        return None if kind.startswith("tool") else text

    world = world_of(kind, Plan(work=agent), redact=redact, **CAPTURE)
    send(world, [b"{}"])

    assert {"input", "output", "text", "tool_call", "tool_result"} == set(kinds)
    assert "CET" not in stored(world).content["turn.messages"]


def _fails(text: str) -> str:
    raise ValueError(text)


@pytest.mark.parametrize("redact", [_fails, lambda text: None, lambda text: b"bytes"], ids=["raises", "none", "type"])
def test_redaction_that_fails_keeps_nothing(
    kind: str, redact: Callable[[str], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """No content, one log line without it, and the request goes on."""
    plan = Plan([b'{"ok": 1}'], work=agent)
    world = world_of(kind, plan, redact=redact, **CAPTURE)

    assert [b'{"ok": 1}'] == send(world, [b"{}"])
    assert not {"input.value", "output.value"} & turn(world).keys()
    assert ({}, False) == (stored(world).content, stored(world).captured)
    assert not {"input.value", "turn.messages"} & stored(world).attributes.keys()
    assert 11 == turn(world)["turn.output_length"]
    assert "noon" not in caplog.text
    assert len([r for r in caplog.records if "redact" in r.getMessage()]) <= 1


@given(st.text(max_size=200), st.integers(1, 64))
def test_allowed_is_within_the_limit(text: str, limit: int) -> None:
    """Bytes of UTF-8, and always valid: exporters encode it."""
    found = allowed(SpanRules(capture=True, limit=limit), "input", text)

    assert found is not None and len(found.encode("utf-8")) <= limit


def test_redaction_comes_before_the_cut() -> None:
    """A secret that lies across the limit is recognised whole."""
    rules = SpanRules(capture=True, limit=10, redact=lambda text, kind: text.replace("4111-1111", "****"))

    assert "pay ****" == allowed(rules, "input", "pay 4111-1111")


def test_content_is_bounded(kind: str) -> None:
    """Long texts are cut, long conversations end; lengths stay exact."""

    def chatty(tracer: Any) -> None:
        for number in range(200):
            model(tracer, "é" * 5_000, f"{number} " + "ü" * 5_000, start=number, end=number + 1)

    world = world_of(kind, Plan(work=chatty), content_limit=1024, **CAPTURE)
    send(world, [b"{}"])

    kept = stored(world).content
    assert (5_000, 5_004) == (turn(world)["turn.input_length"], turn(world)["turn.output_length"])
    assert "é" * 512 == kept["input.value"]
    assert len(kept["turn.messages"].encode()) <= 3 * 1024


# -- nothing anywhere without capture


MARK = "geheim-7261"


def _everything(world: World, database: Path) -> str:
    """Return all that left the process or stands on disk, as one text."""
    world.clock.advance(seconds=7200)
    world.ends()
    world.engine.drain()
    world.engine.history.close()
    told = [repr((s.name, dict(s.attributes), [(e.name, dict(e.attributes)) for e in s.events])) for s in ours(world)]
    told += [repr((e.event_name, dict(e.attributes))) for e in world.events]
    with sqlite3.connect(database) as connection:
        told += list(connection.iterdump())
    connection.close()
    return "\n".join(told)


def ours(world: World) -> list[Any]:
    """Return the spans that are not the application's own."""
    return [s for s in world.spans() if s.instrumentation_scope.name != "app"]


def _talk(kind: str, database: Path, **settings: Any) -> World:
    def work(tracer: Any) -> None:
        session = current_session()
        assert session is not None
        session.set(source="ad")
        model(tracer, f"{MARK} q", f"{MARK} a")
        tool(tracer, "t", MARK, MARK)
        attributes = {"openinference.span.kind": "LLM", "llm.input_messages.0.message.content": MARK}
        tracer.start_span("llm", attributes={**attributes, "output.value": MARK}).end()

    plan = Plan([f'{{"text": "{MARK} a"}}'.encode()], work=work)
    every = "openinference langfuse langsmith traceloop mlflow opik weave posthog laminar".split()
    world = world_of(
        kind,
        plan,
        dialects=every,
        store=f"sqlite:///{database}",
        input_text="text",
        output_text="text",
        lifecycle_spans="always",
        **settings,
    )
    send(world, [f'{{"text": "{MARK} q"}}'.encode()])
    return world


def test_content_appears_nowhere_without_capture(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A marker in request, response, model, tool: not on our spans, events or logs, and not on disk."""
    database = tmp_path / "sessions.db"
    world = _talk(kind, database)

    assert (len(MARK) + 2, len(MARK) + 2) == (turn(world)["turn.input_length"], turn(world)["turn.output_length"])
    assert MARK not in _everything(world, database) + caplog.text
    assert MARK.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_content_appears_with_capture(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The same search finds it on spans and on disk when it may be kept, and in no log line even then."""
    database = tmp_path / "sessions.db"
    world = _talk(kind, database, **CAPTURE)

    assert _everything(world, database).count(MARK) > 10
    assert MARK.encode() in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert MARK not in caplog.text


def test_nothing_is_held_without_capture() -> None:
    """Not in memory either: words are counted and let go."""
    spans, turn_state, rules = Spans(), TurnState(lambda: "t", 1, 0), SpanRules()
    agent(spans.tracer)
    for span in spans.finished():
        note(turn_state, rules, span)

    heard = heard_of(turn_state)
    assert (9, 11) == (heard.asked.length, heard.answered.length)  # type: ignore[union-attr]
    assert ("", "") == (heard.asked.text, heard.answered.text)  # type: ignore[union-attr]
    assert [] == heard.lines


# -- edges of note and settle


def test_note_after_the_end_is_too_late() -> None:
    """A span that ends behind its turn changes nothing any more."""
    spans, turn_state = Spans(), TurnState(lambda: "t", 1, 0)
    agent(spans.tracer)
    turn_state.ended = True
    for span in spans.finished():
        note(turn_state, SpanRules(), span)

    assert turn_state.heard is None


def test_note_never_raises(caplog: pytest.LogCaptureFixture) -> None:
    """A span of somebody's own make may lack everything; that is one log line."""
    turn_state = TurnState(lambda: "t", 1, 0)
    for _ in range(2):
        note(turn_state, SpanRules(), object())

    assert turn_state.heard is None
    assert 1 == len(caplog.records)


def test_what_stands_around_model_calls_is_not_even_parsed() -> None:
    """A chain's span repeats a whole state; once its model calls have told everything, it costs nothing."""

    looked: list[bool] = []

    class Untouched:
        name, start_time, end_time = "chain", 1, 2
        attributes = {"openinference.span.kind": "CHAIN", "input.value": "x" * 100}  # noqa: RUF012

        @property
        def events(self) -> Any:
            looked.append(True)
            return ()

    spans, turn_state = Spans(), TurnState(lambda: "t", 1, 0)
    model(spans.tracer, "hi", "ho")
    note(turn_state, SpanRules(), spans.finished()[0])
    note(turn_state, SpanRules(), Untouched())
    heard = heard_of(turn_state)

    assert [] == looked
    assert (2, 2) == (heard.asked.length, heard.answered.length)  # type: ignore[union-attr]


def test_spans_of_no_conversation_make_nothing() -> None:
    """Spans of HTTP and databases cost no memory."""
    spans, turn_state = Spans(), TurnState(lambda: "t", 1, 0)
    spans.tracer.start_span("GET", attributes={"http.request.method": "GET"}).end()
    spans.tracer.start_span("bare").end()
    for span in spans.finished():
        note(turn_state, SpanRules(), span)

    assert turn_state.heard is None


def test_parallel_calls_are_told_apart_by_their_times() -> None:
    """Calls may end in any order: the one that began first was asked the question, the one that ended last answered."""
    spans = Spans()
    model(spans.tracer, "second", "early", start=5, end=6)
    model(spans.tracer, "first!", "late", start=1, end=9)
    for order in (1, -1):
        turn_state = TurnState(lambda: "t", 1, 0)
        for span in spans.finished()[::order]:
            note(turn_state, SpanRules(capture=True), span)

        heard = heard_of(turn_state)
        assert ("first!", "late") == (heard.asked.text, heard.answered.text)  # type: ignore[union-attr]


def test_settle_twice_is_settled_once() -> None:
    """The second telling changes nothing: a WSGI body tells it before the server's span ends."""
    scope, spans = make_scope(), Spans()
    assert scope.turn is not None
    model(spans.tracer, "hi", "ho")
    for span in spans.finished():
        note(scope.turn, scope.rules, span)

    settle(scope, scope.turn)
    first = scope.turn.attributes
    settle(scope, scope.turn)

    assert {"turn.input_length": 2, "turn.output_length": 2} == first
    assert first is scope.turn.attributes


@pytest.mark.parametrize(("retention", "left"), [(None, True), ("2d", True), ("1d", False)])
def test_what_was_said_may_be_kept_for_less_than_the_turn(retention: str | None, left: bool) -> None:
    """``content_retention`` is swept where ``ledger_retention`` is, and leaves all else of a turn."""
    world = world_of("asgi", Plan(work=agent), content_retention=retention, **CAPTURE)
    send(world, [b"{}"])
    assert stored(world).captured
    world.clock.advance(seconds=36 * 3600)
    forgotten = world.engine.background._plan.prune()

    row = stored(world)
    assert (left, left) == (row.captured, bool(row.content))
    assert (int(not left), 9) == (forgotten, row.attributes["turn.input_length"])
