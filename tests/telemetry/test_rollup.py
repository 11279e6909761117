"""What spans of a turn add up to: once each, whoever made them, in whatever order and thread they end."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, StatusCode, TraceFlags, set_span_in_context

from session_mw._core.rules import SpanRules
from session_mw._core.scope import TurnState, current_scope
from session_mw.telemetry import prices, rollup
from session_mw.telemetry._library import LIBRARY_NAME
from session_mw.telemetry.context import with_scope
from session_mw.telemetry.processors import SessionSpanProcessor
from session_mw.telemetry.rollup import MAX_OPEN, remember
from tests.telemetry.support import make_scope, stamped_spans

CHAT = {"gen_ai.operation.name": "chat"}
FREE = SpanRules(price=lambda model, provider, usage: None)


def used(into: int | None, out: int | None, **more: Any) -> dict[str, Any]:
    """Return a model call's attributes."""
    tokens = {"gen_ai.usage.input_tokens": into, "gen_ai.usage.output_tokens": out}
    return {**CHAT, **{key: value for key, value in tokens.items() if value is not None}, **more}


class Taker:
    """Stands where the engine does: takes what comes after a turn."""

    def __init__(self) -> None:
        self.taken: list[Any] = []

    def late_usage(self, session_id: str, generation: int, late: Any) -> None:
        self.taken.append((session_id, generation, late))


class Inside:
    """A turn, and a tracer inside it."""

    def __init__(self, rules: SpanRules = FREE) -> None:
        self.spans = stamped_spans()
        self.tracer = self.spans.tracer
        self.scope = make_scope()
        assert self.scope.turn is not None
        self.turn: TurnState = self.scope.turn
        self.taker = Taker()
        self.turn.owner = ("s-1", 1, self.taker)
        self.turn.rules = rules
        self.context = with_scope(self.scope, Context())

    def start(self, parent: Any = None, name: str = "span", **attributes: Any) -> Any:
        """Start a span in *parent*, at the top of the turn without one."""
        context = self.context if parent is None else set_span_in_context(parent, self.context)
        return self.tracer.start_span(
            name, context, attributes={k.replace("__", "."): v for k, v in attributes.items()}
        )

    def call(self, parent: Any = None, attributes: dict[str, Any] | None = None, failed: bool = False) -> Any:
        """Start a span in *parent*, and end it."""
        span = self.start(parent)
        span.set_attributes(attributes or {})
        if failed:
            span.set_status(StatusCode.ERROR)
        span.end()
        return span

    def agent(self, parent: Any, name: str) -> Any:
        """Start an agent run."""
        return self.start(parent, f"invoke_agent {name}", gen_ai__operation__name="invoke_agent")

    def tool(self, parent: Any, name: str) -> Any:
        """Start a tool call."""
        return self.start(parent, f"execute_tool {name}", gen_ai__operation__name="execute_tool")


@pytest.fixture(autouse=True)
def _nothing_open() -> Iterator[None]:
    rollup._open.clear()
    rollup._traces.clear()
    yield
    prices.settle()
    rollup._open.clear()
    rollup._traces.clear()


@pytest.fixture
def inside() -> Inside:
    return Inside()


def test_count_calls_of_a_turn_add_up(inside: Inside) -> None:
    """The tokens of all model calls of a turn are its tokens; a database's span adds nothing."""
    inside.call(None, used(100, 20))
    inside.call(None, used(7, None))
    inside.call(None, {"db.system.name": "sqlite"})

    assert (107, 20, None) == inside.turn.usage


def test_count_parent_that_repeats_the_sum_is_left_out(inside: Inside) -> None:
    """An agent's span that carries the sum of its calls counts nothing more."""
    agent = inside.agent(None, "helper")
    chain = inside.start(agent)
    inside.call(chain, used(100, 20))
    inside.call(chain, used(50, 5))
    chain.end()
    agent.set_attributes(used(150, 25))
    agent.end()

    assert (150, 25, None) == inside.turn.usage


def test_count_parent_counts_when_no_child_reported(inside: Inside) -> None:
    """Where only the agent's span knows the usage, it counts."""
    agent = inside.agent(None, "helper")
    inside.call(agent, CHAT)
    agent.set_attributes({"gen_ai.usage.input_tokens": 150, "gen_ai.usage.output_tokens": 25})
    agent.end()

    assert (150, 25, None) == inside.turn.usage


def test_count_each_number_from_the_innermost_that_knows_it(inside: Inside) -> None:
    """Tokens of a client's span and the cost of a framework's span around it are both counted, once each."""
    outer = inside.start(None, **{"operation__cost": 0.0042})
    outer.set_attributes(used(100, 20))
    inside.call(outer, used(100, 20))
    outer.end()

    assert (100, 20, 4_200) == inside.turn.usage


def test_count_child_that_ends_after_its_parent_is_not_counted_again(inside: Inside) -> None:
    """A stream that is closed after the span around it has reported the same call is not added to it."""
    outer = inside.start()
    middle = inside.start(outer)
    inner = inside.start(middle)
    middle.end()
    outer.set_attributes(used(100, 20))
    outer.end()
    inner.set_attributes(used(100, 20))
    inner.end()

    assert (100, 20, None) == inside.turn.usage


def test_count_one_answer_once(inside: Inside) -> None:
    """Two instrumentations that stand side by side and report the same response id report one call."""
    inside.call(None, used(100, 20, **{"gen_ai.response.id": "r-1"}))
    inside.call(None, used(100, 20, **{"gen_ai.response.id": "r-1"}))
    inside.call(None, used(100, 20, **{"gen_ai.response.id": "r-2"}))

    assert (200, 40, None) == inside.turn.usage


def test_count_parent_of_a_repeated_answer_is_covered(inside: Inside) -> None:
    """A sum above a call that another span counted already holds that call as well."""
    inside.call(None, used(100, 20, **{"gen_ai.response.id": "r-1"}))
    outer = inside.start()
    inside.call(outer, used(100, 20, **{"gen_ai.response.id": "r-1"}))
    outer.set_attributes(used(100, 20))
    outer.end()

    assert (100, 20, None) == inside.turn.usage


def test_count_same_answer_in_another_turn(inside: Inside) -> None:
    """Response ids are compared within one turn: a local server that numbers from 1 again is no duplicate."""
    other = Inside()
    for place in (inside, other):
        place.call(None, used(1, 2, **{"gen_ai.response.id": "1"}))

    assert [(1, 2, None)] * 2 == [inside.turn.usage, other.turn.usage]


# -- agents, tools, errors


def test_count_runs_and_calls(inside: Inside) -> None:
    """Agent runs and tool calls nest, and each counts; the last step is what began last."""
    agent = inside.agent(None, "planner")
    inside.tool(agent, "search").end()
    inside.tool(agent, "search").end()
    inner = inside.agent(agent, "writer")
    inner.end()
    agent.end()

    turn = inside.turn
    assert (2, 2, None, "writer") == (turn.agent_runs, turn.tool_calls, turn.errors, turn.last_step)


def test_count_one_call_wrapped_by_two_instrumentations(inside: Inside) -> None:
    """Two spans of the same kind and name, with no other step between, are one call; chains between do not matter."""
    outer = inside.tool(None, "search")
    chain = inside.start(outer)
    inside.start(chain, "search", **{"openinference__span__kind": "TOOL", "tool__name": "search"}).end()
    chain.end()
    outer.end()

    assert 1 == inside.turn.tool_calls


def test_count_one_call_whose_inner_span_ends_last(inside: Inside) -> None:
    """The same where the inner span outlives the outer one."""
    outer = inside.tool(None, "search")
    inner = inside.tool(outer, "search")
    outer.end()
    inner.end()

    assert 1 == inside.turn.tool_calls


def test_count_same_tool_inside_an_agent_inside_the_tool(inside: Inside) -> None:
    """A tool that asks an agent that uses the tool again is two calls and one run."""
    outer = inside.tool(None, "ask")
    agent = inside.agent(outer, "helper")
    inside.tool(agent, "ask").end()
    agent.end()
    outer.end()

    assert (1, 2) == (inside.turn.agent_runs, inside.turn.tool_calls)


def test_count_error_where_it_happened(inside: Inside) -> None:
    """One failed model call is one error, however many spans around it fail with it; a failed web request is none."""
    agent = inside.agent(None, "helper")
    outer = inside.start(agent, **{"openinference__span__kind": "LLM"})
    inner = inside.start(outer, **{"gen_ai__operation__name": "chat"})
    inside.call(inner, {"http.request.method": "POST"}, failed=True)
    for span in (inner, outer, agent):
        span.set_status(StatusCode.ERROR)
        span.end()
    inside.call(None, {"gen_ai.operation.name": "execute_tool"}, failed=True)

    assert 2 == inside.turn.errors


def test_count_unknown_stays_unknown(inside: Inside) -> None:
    """A turn without model calls, agents and tools knows nothing: no number becomes 0."""
    inside.call(None, {"http.request.method": "GET"}, failed=True)

    turn = inside.turn
    assert ((None, None, None), None, None, None, None) == (
        turn.usage,
        turn.agent_runs,
        turn.tool_calls,
        turn.errors,
        turn.last_step,
    )
    assert turn.tally is None


def test_own_session_and_turn_spans_are_not_counted(inside: Inside) -> None:
    """This package's session and turn span count nothing; its agent runs, model and tool calls do, as anybody's."""
    inside.tracer = inside.spans.provider.get_tracer(LIBRARY_NAME)
    for name in ("session", "turn"):
        inside.start(None, name, **{"gen_ai__usage__input_tokens": 5, "gen_ai__operation__name": "invoke_agent"}).end()
    inside.agent(None, "helper").end()
    inside.call(None, used(1, 2))

    assert (1, (1, 2, None)) == (inside.turn.agent_runs, inside.turn.usage)


# -- price


def test_cost_explicit_comes_before_computed() -> None:
    """What a span says it cost is taken, and nobody is asked."""
    asked: list[Any] = []
    inside = Inside(SpanRules(price=lambda *call: asked.append(call)))
    inside.call(None, used(1, 2, **{"operation.cost": 0.5, "gen_ai.response.model": "m"}))

    assert ((1, 2, 500_000), []) == (inside.turn.usage, asked)


def test_cost_computed_by_the_callable() -> None:
    """The application's callable gets model, provider and usage, and its answer is the cost."""
    asked: list[Any] = []

    def price(model: str, provider: str | None, usage: Any) -> float:
        asked.append((model, provider, usage.input_tokens, usage.output_tokens, usage.cache_read_tokens))
        return 0.25

    inside = Inside(SpanRules(price=price))
    more = {"gen_ai.request.model": "m", "gen_ai.provider.name": "p", "gen_ai.usage.cache_read.input_tokens": 3}
    inside.call(None, used(10, 2, **more))

    assert ((10, 2, 250_000), [("m", "p", 10, 2, 3)]) == (inside.turn.usage, asked)


def test_cost_of_zero_is_computed_if_anybody_knows_better() -> None:
    """Some write 0 for models they have no price of: it stands only where no price is found."""
    known = Inside(SpanRules(price=lambda *_: 0.5))
    unknown = Inside()
    for place in (known, unknown):
        place.call(None, used(1, 2, **{"gen_ai.usage.cost": 0.0, "gen_ai.request.model": "m"}))

    assert [(1, 2, 500_000), (1, 2, 0)] == [known.turn.usage, unknown.turn.usage]


def test_cost_parent_is_priced_when_no_child_could_be() -> None:
    """A framework's span that knows the model prices the tokens that the client's span without one reported."""
    inside = Inside(SpanRules(price=lambda model, *_: 0.5))
    outer = inside.start()
    inside.call(outer, used(10, 2))
    outer.set_attributes(used(10, 2, **{"gen_ai.request.model": "m"}))
    outer.end()

    assert (10, 2, 500_000) == inside.turn.usage


def test_cost_callable_that_fails_leaves_it_unknown(caplog: pytest.LogCaptureFixture) -> None:
    """An error of the application's callable is one log line, and no cost."""

    def price(*_: Any) -> float:
        raise KeyError("no such model")

    inside = Inside(SpanRules(price=price))
    with caplog.at_level(logging.ERROR, "session_mw"):
        inside.call(None, used(1, 2, **{"gen_ai.request.model": "m"}))
        inside.call(None, used(1, 2, **{"gen_ai.request.model": "m"}))

    assert (2, 4, None) == inside.turn.usage
    assert 1 == len([record for record in caplog.records if "price_for" in record.getMessage()])


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


def test_late_and_closing_race_never_loses_nor_doubles() -> None:
    """Whoever ends a turn while its spans end in other threads: each call is taken by one of them."""
    for _ in range(30):
        inside = Inside()
        barrier = threading.Barrier(5)

        def work(place: Inside = inside, gate: threading.Barrier = barrier) -> None:
            gate.wait()
            for _ in range(20):
                place.call(None, used(1, 2))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        barrier.wait()
        inside.turn.ended = True
        taken = inside.turn.take_usage()
        for thread in threads:
            thread.join()

        parts = [taken, *(late for _, _, late in inside.taker.taken)]
        assert (80, 160) == (sum(part[0] or 0 for part in parts), sum(part[1] or 0 for part in parts))
        assert (None, None, None) == inside.turn.take_usage()


def test_spans_that_end_in_many_threads_lose_no_count(inside: Inside) -> None:
    """Tools that run in a pool are all counted."""
    agent = inside.agent(None, "helper")

    def work(number: int) -> None:
        tool = inside.tool(agent, f"tool-{number % 3}")
        inside.call(tool, used(1, 2))
        tool.end()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(400)))
    agent.end()

    assert (1, 400, (400, 800, None)) == (inside.turn.agent_runs, inside.turn.tool_calls, inside.turn.usage)


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


# -- any tree of spans


@st.composite
def trees(draw: st.DrawFn) -> list[tuple[int | None, bool]]:
    """Parent (an earlier span, or None) and whether it reports, for each of some spans."""
    size = draw(st.integers(1, 12))
    return [
        (draw(st.none() | st.integers(0, number - 1)) if number else None, draw(st.booleans()))
        for number in range(size)
    ]


def run(tree: list[tuple[int | None, bool]], order: list[int]) -> set[int]:
    """Make the spans, end them in *order*, and return which were counted: each reports its own power of two."""
    inside = Inside()
    spans: list[Any] = []
    for parent, _ in tree:
        spans.append(inside.start(None if parent is None else spans[parent]))
    for number in order:
        if tree[number][1]:
            spans[number].set_attributes(used(2**number, None))
        spans[number].end()
    total = inside.turn.usage[0] or 0
    assert {} == rollup._open
    return {number for number in range(len(tree)) if total >> number & 1}


def ancestors(tree: list[tuple[int | None, bool]], number: int) -> set[int]:
    found: set[int] = set()
    above = tree[number][0]
    while above is not None:
        found.add(above)
        above = tree[above][0]
    return found


@settings(deadline=None)
@given(trees())
def test_any_tree_that_ends_from_the_inside_counts_its_innermost(tree: list[tuple[int | None, bool]]) -> None:
    """When children end first, exactly those reports count that have no report below them."""
    order = sorted(range(len(tree)), reverse=True)  # a parent has a smaller number than its children

    covered = {above for number, (_, reports) in enumerate(tree) if reports for above in ancestors(tree, number)}
    expected = {number for number, (_, reports) in enumerate(tree) if reports} - covered
    assert expected == run(tree, order)


@settings(deadline=None)
@given(trees(), st.randoms(use_true_random=False))
def test_any_tree_in_any_order_counts_every_branch_once(tree: list[tuple[int | None, bool]], random: Any) -> None:
    """In whatever order spans end: two on one branch never both count, and every report has one on its branches."""
    order = list(range(len(tree)))
    random.shuffle(order)
    counted = run(tree, order)

    for number in counted:
        assert tree[number][1]
        assert counted.isdisjoint(ancestors(tree, number))
    for number, (_, reports) in enumerate(tree):
        family = {number} | ancestors(tree, number)
        family |= {other for other in range(len(tree)) if number in ancestors(tree, other)}
        assert not reports or counted & family
