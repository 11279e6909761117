"""What spans of a turn add up to: once each, whoever made them, in whatever order they end."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.trace import StatusCode

from session_mw._core.rules import SpanRules
from session_mw.telemetry import rollup
from session_mw.telemetry._library import LIBRARY_NAME
from tests.telemetry.inside import CHAT, Inside, used


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


class _WithEvents:
    events = ("something happened",)


@given(
    st.dictionaries(st.sampled_from([*sorted(rollup._ASKED_FOR), "http.route", "gen_ai.prompt.0.content"]), st.text()),
    st.booleans(),
)
def test_a_span_without_a_name_that_is_asked_for_says_nothing(attributes: dict[str, str], failed: bool) -> None:
    """The one look at the names lets nothing pass unseen that the two closer looks would see."""
    if rollup.speaks(attributes, _WithEvents()) or rollup.tells(attributes):
        assert not rollup._ASKED_FOR.isdisjoint(attributes)
