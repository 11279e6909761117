"""The calls of a turn as the history gets them: each once, with what of it was counted."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.trace import StatusCode

from session_mw._core import names
from session_mw._core.first_token import first_token_ms
from session_mw._core.records import UsageRecord
from session_mw._core.rules import SpanRules
from session_mw._core.turn_state import plus
from session_mw._core.usage import Reading, TokenUsage
from session_mw.context import Turn
from session_mw.telemetry import calls
from session_mw.telemetry.calls import dropped_of, records_of
from session_mw.telemetry.rollup import count
from session_mw.telemetry.tally import close
from tests.shells.bodies import Plan, send, world_of
from tests.telemetry.inside import CHAT, Inside, used

MODEL = {"gen_ai.request.model": "big-1", "gen_ai.provider.name": "vendor"}
S = 1_000_000_000


@pytest.fixture
def inside() -> Inside:
    return Inside()


def kept(inside: Inside) -> list[UsageRecord]:
    """Return the calls of a turn."""
    return list(records_of(inside.turn, 0))


def sums(records: list[UsageRecord]) -> tuple[int | None, int | None, int | None]:
    """Return the tokens and the cost of some calls."""
    into = out = cost = None
    for one in records:
        into, out = plus(into, one.input_tokens), plus(out, one.output_tokens)
        cost = plus(cost, one.cost_microusd)
    return into, out, cost


def test_a_turn_without_calls_has_none(inside: Inside) -> None:
    """A database's span is no call, and no books are made for it."""
    inside.call(None, {"db.system.name": "sqlite"})

    assert (None, []) == (inside.turn.tally, kept(inside))


def test_a_call_that_no_span_told_of_has_no_span_id(inside: Inside) -> None:
    """Whoever counts from a log numbers its entries below zero: no hexadecimal digits are made of that."""
    logged = SimpleNamespace(name="chat", attributes={}, events=(), start_time=S, end_time=2 * S)
    count((inside.turn, None, -1), Reading("model", TokenUsage(12, 5)), False, logged)
    (call,) = kept(inside)

    assert (None, 12, 5, 1000) == (call.span_id, call.input_tokens, call.output_tokens, call.latency_ms)


def test_a_call_says_what_its_span_said(inside: Inside) -> None:
    """Kind, model, provider, times, tokens by kind, cost."""
    more = {
        "gen_ai.usage.cache_read.input_tokens": 60,
        "gen_ai.usage.cache_creation.input_tokens": 5,
        "gen_ai.usage.reasoning.output_tokens": 7,
        "gen_ai.usage.cost": 0.0042,
        "gen_ai.response.time_to_first_chunk": 0.5,
    }
    span = inside.tracer.start_span(
        "chat", inside.context, start_time=10 * S, attributes=used(100, 20, **MODEL, **more)
    )
    span.end(12 * S)

    assert [
        UsageRecord(
            *("model", 10_000, 2_000, "chat", "big-1", "vendor", f"{span.context.span_id:016x}", None, "ok", None, 500),
            *(100, 20, 60, 5, 7, 4_200),
        )
    ] == kept(inside)


def test_calls_stand_in_each_other(inside: Inside) -> None:
    """The call above is the nearest that is one: what stands between is none."""
    agent = inside.agent(None, "planner")
    chain = inside.start(agent)
    tool = inside.tool(chain, "search")
    inside.call(tool, used(1, 1))
    tool.end()
    chain.end()
    agent.end()

    found = {one.kind: one for one in kept(inside)}
    assert (None, "planner") == (found["agent"].parent_id, found["agent"].name)
    assert (found["agent"].span_id, "search") == (found["tool"].parent_id, found["tool"].name)
    assert found["tool"].span_id == found["model"].parent_id


def test_a_call_that_repeats_another_has_no_tokens(inside: Inside) -> None:
    """An agent's span with the sum of its calls is an agent run, and the sum is not shown again."""
    agent = inside.agent(None, "helper")
    inside.call(agent, used(100, 20))
    inside.call(agent, used(50, 5))
    agent.set_attributes({"gen_ai.usage.input_tokens": 150, "gen_ai.usage.output_tokens": 25})
    agent.end()

    found = kept(inside)
    assert {("agent", None), ("model", 100), ("model", 50)} == {(one.kind, one.input_tokens) for one in found}
    assert inside.turn.usage == sums(found)


def test_two_spans_about_one_answer_are_one_call(inside: Inside) -> None:
    """What the first did not know the second fills in: here the model and the cost."""
    inside.call(None, used(100, 20, **{"gen_ai.response.id": "r-1"}))
    inside.call(None, used(100, 20, **{"gen_ai.response.id": "r-1", "gen_ai.usage.cost": 0.0042, **MODEL}))

    (one,) = kept(inside)
    assert ("big-1", "vendor", 100, 20, 4_200) == (one.model, one.provider, *sums([one]))


def test_what_a_call_really_cost_replaces_what_was_computed() -> None:
    """As in the turn's sum, whichever span ends first."""
    for explicit_first in (True, False):
        inside = Inside(SpanRules(price=lambda *_: 0.5))
        asked = [{"gen_ai.usage.cost": 0.25}, MODEL]
        for more in asked if explicit_first else reversed(asked):
            inside.call(None, used(10, 2, **{"gen_ai.response.id": "r-1", **more}))

        assert [250_000] == [one.cost_microusd for one in kept(inside)]
        assert inside.turn.usage == sums(kept(inside))


def test_a_model_call_without_usage_is_a_call_all_the_same(inside: Inside) -> None:
    """A stream whose usage nobody asked for took its time; its tokens are unknown, not 0."""
    inside.call(None, {**CHAT, **MODEL})

    (one,) = kept(inside)
    assert ("model", "big-1", None, None, None) == (one.kind, one.model, *sums([one]))


def test_a_tool_call_that_two_tell_of_is_one(inside: Inside) -> None:
    """Two instrumentations around one call, as the turn counts it."""
    outer = inside.tool(None, "search")
    inside.tool(outer, "search").end()
    outer.end()

    assert [("tool", "search")] == [(one.kind, one.name) for one in kept(inside)]
    assert 1 == inside.turn.tool_calls


@pytest.mark.parametrize(
    ("attributes", "raised", "expected"),
    [
        ({"error.type": "429"}, None, "429"),
        ({}, TimeoutError("what was said"), "TimeoutError"),
        ({}, None, None),
        ({"error.type": 7}, None, None),
    ],
)
def test_a_failed_call_says_what_failed(
    inside: Inside, attributes: dict[str, Any], raised: Exception | None, expected: str | None
) -> None:
    """By the conventions' attribute, or the exception's name; never by its message."""
    span = inside.tool(None, "search")
    span.set_attributes(attributes)
    if raised is not None:
        span.record_exception(raised)
    span.set_status(StatusCode.ERROR, "what was said")
    span.end()

    (one,) = kept(inside)
    assert ("error", expected) == (one.status, one.error_type)


def test_names_of_people_are_hidden(inside: Inside) -> None:
    """Anybody's span may be named after a person."""
    inside.tool(None, "mail jane@example.org").end()
    inside.call(None, used(1, 1, **{"gen_ai.request.model": "jane@example.org"}))

    assert not any("jane" in str(one) for one in kept(inside))


def test_a_turn_keeps_so_many_calls_and_counts_the_rest(inside: Inside) -> None:
    """What is left out is in the turn's sums; the history is told how many there were."""
    for _ in range(calls.MOST + 3):
        inside.call(None, used(1, None))

    assert (calls.MOST, {names.TURN_CALLS_DROPPED: 3}) == (len(kept(inside)), dropped_of(inside.turn))
    assert (calls.MOST + 3, None, None) == inside.turn.usage


def test_what_comes_after_the_turn_is_no_call_of_it(inside: Inside) -> None:
    """It is late usage: the turn was written by then."""
    inside.call(None, used(1, 1))
    before = kept(inside)
    inside.turn.ended = True
    inside.call(None, used(5, 5))

    assert before == kept(inside)
    assert [("s-1", 1, (6, 6, None))] == inside.taker.taken


def test_a_turn_ends_before_or_behind_a_span_and_never_in_it(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the call and its tokens nobody can close the turn: else one of them would be the turn's, and one late."""
    reporting, go_on, closed = (threading.Event() for _ in range(3))
    report = inside.turn.report

    def slow(*used: Any) -> None:
        reporting.set()
        assert go_on.wait(20)
        report(*used)

    def end() -> None:
        close(inside.turn)
        closed.set()

    inside.call(None, used(1, 1))
    monkeypatch.setattr(inside.turn, "report", slow)
    threads = [threading.Thread(target=inside.call, args=(None, used(5, 5))), threading.Thread(target=end)]
    threads[0].start()
    assert reporting.wait(20)
    threads[1].start()
    assert not closed.wait(0.05)
    go_on.set()
    for thread in threads:
        thread.join(20)

    assert inside.turn.ended
    assert (6, 6, None) == inside.turn.usage == sums(kept(inside))
    assert [] == inside.taker.taken


def test_usage_that_the_application_tells_of_is_a_call(inside: Inside) -> None:
    """What no span reports stands beside what spans do, under its model."""
    inside.call(None, used(1, 2))
    Turn(inside.scope, inside.turn).add_usage(input_tokens=10, cost_usd=0.5, model="local")

    assert [("model", None), ("model", "local")] == [(one.kind, one.model) for one in kept(inside)]
    assert (11, 2, 500_000) == sums(kept(inside)) == inside.turn.usage


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_calls_are_in_the_history_with_their_turn(kind: str) -> None:
    """Their times are placed within the turn, by the store's clock as it is."""

    def work(tracer: Any) -> None:
        with tracer.start_as_current_span("execute_tool clock", attributes={"gen_ai.operation.name": "execute_tool"}):
            tracer.start_span("chat m", attributes=used(10, 5, **MODEL)).end()

    world = world_of(kind, Plan(work=work))
    send(world, [b"{}"])
    world.work()
    session_id = world.spans("turn")[-1].attributes["session.id"]

    (turn,), (tool, model) = (world.engine.history.turns(session_id), world.engine.history.usages(session_id))
    assert (10, 5, turn.pk, 1) == (model.input_tokens, model.output_tokens, model.turn_pk, model.turn_number)
    assert ("clock", tool.span_id) == (tool.name, model.parent_id)
    assert turn.started_ms <= tool.started_ms <= model.started_ms
    assert model.started_ms + model.latency_ms <= turn.started_ms + turn.latency_ms + 1  # both are cut to milliseconds


# -- any tree of spans


reports = st.fixed_dictionaries(
    {},
    optional={
        "gen_ai.operation.name": st.sampled_from(["chat", "invoke_agent", "execute_tool", "embeddings", "other"]),
        "gen_ai.usage.input_tokens": st.integers(0, 99),
        "gen_ai.usage.output_tokens": st.integers(0, 99),
        "gen_ai.usage.reasoning.output_tokens": st.integers(0, 99),
        "gen_ai.usage.cost": st.sampled_from([0.0, 0.25, 0.5]),
        "gen_ai.request.model": st.sampled_from(["m", "n"]),
        "gen_ai.response.id": st.sampled_from(["r-1", "r-2"]),
    },
)


@pytest.fixture(scope="module")
def first() -> Inside:
    """Return a turn whose tracer others use: making one takes longer than all the rest."""
    return Inside()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    spans=st.lists(st.tuples(st.integers(-1, 11), reports), min_size=1, max_size=12),
    random=st.randoms(use_true_random=False),
    known=st.sampled_from(["", "m", "mn"]),
)
def test_calls_add_up_to_the_turn(
    first: Inside, spans: list[tuple[int, dict[str, Any]]], random: Any, known: str
) -> None:
    """Whatever spans say, nest and repeat, in whatever order they end: the sums over its calls are the turn's."""
    inside = Inside(SpanRules(price=lambda model, *_: 0.125 if model in known else None), first)
    made: list[Any] = []
    for above, _ in spans:
        made.append(inside.start(made[above] if 0 <= above < len(made) else None))
    order = list(range(len(spans)))
    random.shuffle(order)
    for number in order:
        made[number].set_attributes(spans[number][1])
        made[number].end()

    found = kept(inside)
    assert inside.turn.usage == sums(found)
    assert (inside.turn.tool_calls or 0) == sum(one.kind == "tool" for one in found)
    assert (inside.turn.agent_runs or 0) == sum(one.kind == "agent" for one in found)
    known = {one.span_id for one in found}
    assert all(one.parent_id is None or one.parent_id in known - {one.span_id} for one in found)
    assert all((one.cost_microusd or 0) >= 0 for one in found)


# -- when an answer began


class Event:
    def __init__(self, name: str, timestamp: int) -> None:
        self.name, self.timestamp = name, timestamp


@pytest.mark.parametrize(
    ("attributes", "events", "expected"),
    [
        ({}, [], None),
        ({"gen_ai.response.time_to_first_chunk": 0.25}, [], 250),
        ({"gen_ai.response.time_to_first_token": 1}, [], 1_000),
        ({"ai.response.msToFirstChunk": 30.4}, [], 30),
        ({"langfuse.observation.completion_start_time": '"1970-01-01T00:00:10.125Z"'}, [], 125),
        ({"langfuse.observation.completion_start_time": "1970-01-01T00:00:10.125"}, [], None),
        ({"langfuse.observation.completion_start_time": "soon"}, [], None),
        ({"gen_ai.response.time_to_first_chunk": True}, [], None),
        ({"gen_ai.response.time_to_first_chunk": -1}, [], None),
        ({"gen_ai.response.time_to_first_chunk": 3.1}, [], None),
        ({"gen_ai.response.time_to_first_chunk": float("nan")}, [], None),
        ({}, [Event("exception", 11 * S), Event("First Token Stream Event", 10 * S + 40_000_000)], 40),
        ({}, [Event("llm.content.completion.chunk", 11 * S), Event("llm.content.completion.chunk", 12 * S)], 1_000),
        ({"gen_ai.response.time_to_first_chunk": "x"}, [Event("ai.stream.firstChunk", 10 * S)], 0),
    ],
)
def test_first_token(attributes: dict[str, Any], events: list[Event], expected: int | None) -> None:
    """Each convention's own way; what is no time, or lies outside of the call, is passed over."""
    assert expected == first_token_ms(attributes, events, 10 * S, 13 * S)
