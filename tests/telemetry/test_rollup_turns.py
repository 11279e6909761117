"""Whose turn a span is counted in: by parent, trace or request, late, in any thread; and nothing leaks or raises."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from session_mw._core import turn_state
from session_mw._core.scope import current_scope
from session_mw._core.turn_state import TurnState
from session_mw.telemetry import rollup
from session_mw.telemetry.context import with_scope
from session_mw.telemetry.processors import SessionSpanProcessor
from session_mw.telemetry.rollup import MAX_OPEN, remember
from tests.telemetry.inside import Inside, used
from tests.telemetry.support import make_scope, stamped_spans


@pytest.fixture
def inside() -> Inside:
    return Inside()


# -- whose turn


def test_turn_by_the_local_parent(inside: Inside) -> None:
    """A callback's thread that has the span and no context reports into the span's turn."""
    parent = inside.start()
    inside.tracer.start_span("chat", set_span_in_context(parent, Context()), attributes=used(1, 2)).end()

    assert (1, 2, None) == inside.turn.usage


def test_turn_by_the_trace_when_the_parent_has_ended(inside: Inside) -> None:
    """The same when that span has ended before: the trace tells the turn."""
    parent = inside.start()
    remember(inside.turn, parent)
    parent.end()
    inside.tracer.start_span("chat", set_span_in_context(parent, Context()), attributes=used(1, 2)).end()

    assert (1, 2, None) == inside.turn.usage


def test_turn_by_the_trace_is_compared_by_number(inside: Inside) -> None:
    """A client that continues its own trace has several turns in it: the wrong one gets nothing."""
    parent = inside.start()
    other = make_scope(turn=4).turn
    assert other is not None
    remember(other, parent)
    parent.end()
    inside.tracer.start_span("chat", set_span_in_context(parent, Context()), attributes=used(1, 2)).end()

    assert ((None, None, None), (None, None, None)) == (inside.turn.usage, other.usage)


def test_turn_by_the_running_request(inside: Inside) -> None:
    """A span without a parent belongs to the request that runs."""
    current_scope.set(inside.scope)
    inside.tracer.start_span("chat", attributes=used(1, 2)).end()

    assert (1, 2, None) == inside.turn.usage


def test_turn_below_a_remote_parent(inside: Inside) -> None:
    """A parent in another process changes nothing."""
    remote = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1))
    inside.call(NonRecordingSpan(remote), used(1, 2))

    assert (1, 2, None) == inside.turn.usage


def test_turn_earlier_one_keeps_its_work(inside: Inside) -> None:
    """Work that goes on during the connection's next turn is in the earlier one's trace, and is counted there."""
    agent = inside.agent(None, "slow")
    later = inside.scope.turn = TurnState(lambda: "t-2", 4, 0)
    inside.call(agent, used(1, 2))
    agent.set_attributes(used(1, 2))
    agent.end()

    assert ((1, 2, None), (None, None, None)) == (inside.turn.usage, later.usage)


def test_turn_of_another_session_inside_this_one(inside: Inside) -> None:
    """A session opened inside a request's session counts its own calls."""
    agent = inside.agent(None, "helper")
    inner = make_scope("s-2")
    context = with_scope(inner, set_span_in_context(agent, inside.context))
    inside.tracer.start_span("chat", context, attributes=used(1, 2)).end()
    agent.end()

    assert inner.turn is not None
    assert ((None, None, None), (1, 2, None)) == (inside.turn.usage, inner.turn.usage)


def test_request_that_is_no_turn_counts_nothing() -> None:
    """Without a turn there is nothing to add to, and nothing is kept."""
    spans = stamped_spans()
    context = with_scope(make_scope(turn=None), Context())
    span = spans.tracer.start_span("chat", context, attributes=used(1, 2))

    assert {} == rollup._open
    span.end()


# -- late, threads, leaks


def test_late_span_goes_to_the_owner(inside: Inside) -> None:
    """What ends after its turn is handed to the turn's owner, once, and nothing stays behind."""
    span = inside.start()
    inside.turn.ended = True
    span.set_attributes(used(5, 6))
    span.end()

    assert ([("s-1", 1, (5, 6, None))], (None, None, None)) == (inside.taker.taken, inside.turn.usage)


@pytest.mark.usefixtures("restless")
def test_late_and_closing_race_never_loses_nor_doubles() -> None:
    """Whoever ends a turn while its spans end in other threads: each call is taken by one of them."""
    for _ in range(60):
        inside = Inside()
        barrier = threading.Barrier(5)
        spans = [[inside.start() for _ in range(5)] for _ in range(4)]

        def work(mine: list[Any], gate: threading.Barrier = barrier) -> None:
            for span in mine:
                span.set_attributes(used(1, 2))
            gate.wait()
            for span in mine:
                span.end()

        threads = [threading.Thread(target=work, args=(mine,)) for mine in spans]
        for thread in threads:
            thread.start()
        barrier.wait()
        inside.turn.ended = True
        taken = inside.turn.take_usage()
        for thread in threads:
            thread.join()

        parts = [taken, *(late for _, _, late in inside.taker.taken)]
        assert (20, 40) == (sum(part[0] or 0 for part in parts), sum(part[1] or 0 for part in parts))
        assert (None, None, None) == inside.turn.take_usage()


def test_first_reports_at_the_same_moment_all_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads that both find nothing reported yet lose neither report."""
    barrier = threading.Barrier(2)

    def slow() -> deque[Any]:
        barrier.wait(10)
        return deque()

    monkeypatch.setattr(turn_state, "deque", slow)
    turn = TurnState(lambda: "t", 1, 0)
    threads = [threading.Thread(target=turn.report, args=(1, None, None)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (2, None, None) == turn.take_usage()


class Yielding(str):
    """A text that lets another thread go on whenever somebody looks it up."""

    __slots__ = ()

    def __hash__(self) -> int:
        time.sleep(0)
        return str.__hash__(self)


def test_one_answer_that_two_threads_report_at_once_counts_once(inside: Inside) -> None:
    """Looking whether an answer was counted and noting it is one step for other threads."""
    barrier = threading.Barrier(2)

    def work() -> None:
        for number in range(100):
            span = inside.start()
            span.set_attributes(used(1, 2, **{"gen_ai.response.id": Yielding(f"r-{number}")}))
            barrier.wait(10)
            span.end()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (100, 200, None) == inside.turn.usage


@pytest.mark.usefixtures("restless")
def test_spans_that_end_in_many_threads_lose_no_count(inside: Inside) -> None:
    """Tools that run in a pool are all counted."""
    agent = inside.agent(None, "helper")

    def work(number: int) -> None:
        tool = inside.tool(agent, f"tool-{number % 3}")
        inside.call(tool, used(1, 2))
        tool.end()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(1_200)))
    agent.end()

    assert (1, 1_200, (1_200, 2_400, None)) == (inside.turn.agent_runs, inside.turn.tool_calls, inside.turn.usage)


def test_spans_that_never_end_do_not_leak(inside: Inside) -> None:
    """20,000 spans that nobody ends leave a bounded number of entries, and the turns of the oldest go."""
    gone = Inside()
    abandoned = gone.start()
    turn = weakref.ref(gone.turn)
    for _ in range(20_000):
        inside.start()
    del gone
    gc.collect()

    assert len(rollup._open) <= MAX_OPEN
    assert turn() is None
    abandoned.end()
    inside.call(None, used(1, 2))
    assert (1, 2, None) == inside.turn.usage


def test_traces_are_bounded(inside: Inside) -> None:
    """So are the traces that are remembered, and they keep no turn alive."""
    spans = [inside.start() for _ in range(rollup.MAX_TRACES + 10)]
    for span in spans:
        remember(TurnState(lambda: "t", 1, 0), span)
        span.end()

    assert len(rollup._traces) <= rollup.MAX_TRACES
    assert {} == rollup._open
    assert not [reference for reference in rollup._traces.values() if reference() is not None]


# -- the processor


def test_inactive_processor_counts_nothing(inside: Inside) -> None:
    """Switched off, nothing is counted, and what was entered before is taken out."""
    (processor,) = (
        p for p in inside.spans.provider._active_span_processor._span_processors if isinstance(p, SessionSpanProcessor)
    )
    span = inside.start()
    processor.active = False
    span.set_attributes(used(1, 2))
    span.end()
    inside.call(None, used(1, 2))

    assert ((None, None, None), {}) == (inside.turn.usage, rollup._open)


def test_two_processors_count_once() -> None:
    """A processor added by hand beside ``instrument()``'s changes no number."""
    inside = Inside()
    inside.spans.provider.add_span_processor(SessionSpanProcessor())
    inside.agent(None, "helper").end()
    inside.call(None, used(1, 2))

    assert (1, (1, 2, None)) == (inside.turn.agent_runs, inside.turn.usage)


class Strange:
    """A span that is not the SDK's: its attributes can be read in the public way only."""

    def __init__(self, span: Any) -> None:
        self._span = span

    @property
    def attributes(self) -> Any:
        return self._span.attributes

    def __getattr__(self, name: str) -> Any:
        if name == "_attributes":
            raise AttributeError(name)
        return getattr(self._span, name)


def test_other_spans_than_the_sdks_are_stamped_and_counted(inside: Inside) -> None:
    """Where the SDK's internals are not as known, the public ways do the same."""
    processor = SessionSpanProcessor()
    provider = TracerProvider(shutdown_on_exit=False)
    span = provider.get_tracer("other").start_span("chat", inside.context, attributes=used(1, 2, **{"user.id": "own"}))
    processor.on_start(Strange(span), inside.context)  # type: ignore[arg-type]
    span.end()
    processor.on_end(Strange(span))  # type: ignore[arg-type]

    found = span.attributes
    assert ("s-1", "own", (1, 2, None)) == (found["session.id"], found["user.id"], inside.turn.usage)


@pytest.mark.parametrize("limits", [SpanLimits(max_attributes=3), SpanLimits(max_attribute_length=2)], ids=str)
def test_span_limits_hold(limits: SpanLimits) -> None:
    """A stamp obeys the limits that the application set, as any attribute."""
    provider = TracerProvider(shutdown_on_exit=False, span_limits=limits)
    provider.add_span_processor(SessionSpanProcessor())
    by_hand = TracerProvider(shutdown_on_exit=False, span_limits=limits).get_tracer("t").start_span("a")
    scope = make_scope()
    span = provider.get_tracer("t").start_span("a", with_scope(scope, Context()))
    by_hand.set_attributes(scope.stamp)

    assert dict(by_hand.attributes) == dict(span.attributes)


def test_counting_that_fails_never_reaches_the_application(inside: Inside, caplog: pytest.LogCaptureFixture) -> None:
    """An owner that fails is one log line; the application's ``end()`` returns."""

    class Failing:
        def late_usage(self, *_: Any) -> None:
            raise RuntimeError("queue is gone")

    inside.turn.owner = ("s-1", 1, Failing())
    inside.turn.ended = True
    with caplog.at_level(logging.ERROR, "session_mw"):
        inside.call(None, used(1, 2))

    assert ["cannot count what a span says of usage: RuntimeError: queue is gone"] == caplog.messages
