"""
Totals nobody has to count: tokens, cost, agent runs, tool calls and errors from the spans of any instrumentation.

Every span that starts inside a turn is entered here with the span above it, and taken out when it ends; what it says
then (``_core.usage``) is counted by the rules in ``tally``. Most spans say nothing: for these, two operations on a
dict and a look at their attributes' names is all that happens.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from opentelemetry.trace import StatusCode

from .._core import messages, names, usage
from .._core.messages import speaks
from .._core.records import AttributeValue
from .._core.turn_state import TurnState, plus
from .._core.usage import Reading, read, tells
from ._sdk_spans import attributes_of
from .calls import Call
from .content import note
from .echoes import KINDS as CALLS
from .echoes import Teller
from .prices import ask_price
from .tally import COST, ERROR, INPUT, OUTPUT, Entry, Tally, tally_of

# Open spans of all turns. Above that the oldest are forgotten: spans that nobody ever ends must not fill the memory.
MAX_OPEN: Final = 8_192
MAX_TRACES: Final = 1_024
_ASKED_FOR: Final = messages.ASKED_FOR | usage.ASKED_FOR

_open: dict[int, Entry] = {}
_traces: dict[int, weakref.ref[TurnState]] = {}


def remember(turn: TurnState, span: Any) -> None:
    """Note in whose trace *turn* runs, for callbacks that know a span of it and nothing else."""
    if len(_traces) >= MAX_TRACES:
        _forget(_traces, MAX_TRACES // 4)
    _traces[span.get_span_context().trace_id] = weakref.ref(turn)


def opened(span: Any, turn: TurnState, session_id: str) -> None:
    """
    Enter a span that has just been started.

    Args:
        span: Of the SDK.
        turn: That runs in its session.
        session_id: Of that session.
    """
    parent = span.parent
    above = None if parent is None else _open.get(parent.span_id)
    if above is not None and above[0] is not turn:
        # Work of an earlier turn that goes on during a later one is in the earlier one's trace, and belongs to it.
        # Another session inside this one begins anew.
        owner = above[0].owner
        if owner is not None and owner[0] == session_id:
            turn = above[0]
        else:
            above = None
    span_id = span.context.span_id
    _open[span_id] = (turn, above, span_id)
    if len(_open) > MAX_OPEN:
        _forget(_open, MAX_OPEN // 4)


def session_of(span_id: int) -> str | None:
    """Return the id of the session in whose turn an open span runs; None where nobody knows."""
    entry = _open.get(span_id)
    owner = None if entry is None else entry[0].owner
    return None if owner is None else owner[0]


def turn_of_parent(span: Any, known: Mapping[str, AttributeValue]) -> TurnState | None:
    """
    Return the turn of a span of which only its parent tells the session.

    Args:
        span: Just started.
        known: What the parent is stamped with.
    """
    parent = span.parent
    if parent is None:
        return None
    entry = _open.get(parent.span_id)
    if entry is not None:
        return entry[0]
    reference = _traces.get(parent.trace_id)
    turn = None if reference is None else reference()
    # Several turns may share a trace: a client that continues its own.
    return turn if turn is not None and turn.number == known.get(names.TURN_NUMBER) else None


def ended(span: Any, counts: bool) -> None:
    """
    Take out a span that has ended, and count what it says.

    Args:
        span: Of the SDK.
        counts: False only takes it out.
    """
    entry = _open.pop(span.context.span_id, None) if _open else None
    if entry is None or not counts:
        return
    attributes = attributes_of(span)
    if _ASKED_FOR.isdisjoint(attributes):
        return  # one look at the names, in place of four: of most spans it is all
    take(entry, span, attributes, span.status.status_code is StatusCode.ERROR)


def take(entry: Entry, span: Any, attributes: Mapping[str, Any], failed: bool) -> None:
    """
    Count what a finished span says into its turn, and hear what was said in it.

    Args:
        entry: Where it stands in its turn. Of one turn, spans have to come in the order in which they ended.
        span: Of the SDK, or what has its ``name``, ``attributes``, ``events``, ``start_time``, ``end_time`` and
            ``instrumentation_scope``.
        attributes: Of the span.
        failed: It ended with an error.
    """
    if speaks(attributes, span):
        note(entry[0], entry[0].rules, span)
    reading = read(attributes, span.name) if tells(attributes) else None
    if reading is not None:
        if reading.kind in CALLS:
            reading = _identified(entry[0], reading, span, failed)
        count(entry, reading, failed, span)


def _identified(turn: TurnState, reading: Reading, span: Any, failed: bool) -> Reading:
    """Return what a model call's span says, with the id that all spans about its answer are given."""
    scope = span.instrumentation_scope
    teller = Teller("" if scope is None else scope.name, span.start_time or 0, span.end_time or 0, failed)
    tally = tally_of(turn)
    with tally.lock:
        answer_id = tally.echoes.answer_id(reading, teller)
    return reading if answer_id == reading.response_id else replace(reading, response_id=answer_id)


def count(entry: Entry, reading: Reading, failed: bool, span: Any) -> None:
    """Count what a span says into its turn, and keep it as a call of it."""
    turn, tokens = entry[0], reading.tokens
    what = INPUT if tokens.input_tokens is not None else 0
    what |= OUTPUT if tokens.output_tokens is not None else 0
    what |= COST if reading.cost_microusd else 0  # 0 may mean that nobody knew the price: see _computed
    what |= ERROR if failed and reading.kind else 0
    tally = tally_of(turn)
    with tally.lock:
        new = tally.count(entry, what, reading.response_id) if what else 0
        if new & ERROR:
            turn.errors = (turn.errors or 0) + 1
        one_more = bool(reading.step) and _count_step(tally, entry, reading, span.start_time or 0)
        unpriced = not what & COST and bool(tally.open_for(entry, COST, reading.response_id))
        cost = reading.cost_microusd if new & COST else None
        computed = tally.price_taken_back(reading.response_id) if what & COST & ~new else None
        if computed is not None and reading.cost_microusd is not None:
            cost = reading.cost_microusd - computed  # explicit before computed, whichever span ends first
        shown = reading if one_more or not reading.step else replace(reading, kind="")  # it was told of before
        counts = one_more or bool(new & ~ERROR) or (unpriced and (reading.priceable or reading.cost_microusd == 0))
        call = None
        if not turn.ended:  # what comes later is told as late usage: the turn is written by then
            call = tally.calls.take(entry, shown, span, failed, new, counts)
            if cost is not None and (paid := tally.calls.answered(reading.response_id) or call) is not None:
                paid.cost = plus(paid.cost, cost)
        if new & (INPUT | OUTPUT) or cost is not None:
            turn.report(
                tokens.input_tokens if new & INPUT else None,
                tokens.output_tokens if new & OUTPUT else None,
                cost,
            )
    if unpriced:
        _computed(entry, reading, call)


def _count_step(tally: Tally, entry: Entry, reading: Reading, started_ns: int) -> bool:
    """Count an agent run or tool call; return whether it is one more."""
    turn, one_more = entry[0], tally.step(entry, (reading.kind, reading.step))
    if one_more:
        if reading.kind == "agent":
            turn.agent_runs = (turn.agent_runs or 0) + 1
        else:
            turn.tool_calls = (turn.tool_calls or 0) + 1
    if tally.latest(started_ns):
        turn.last_step = turn.rules.hide(reading.step)  # anybody's span may name it after a person
    return one_more


def _computed(entry: Entry, reading: Reading, call: Call | None) -> None:
    """Count the price of a span's tokens; where nobody knows one, what the span says may be 0."""

    def answer(cost_microusd: int | None) -> None:
        cost = reading.cost_microusd if cost_microusd is None else cost_microusd
        if cost is None:
            return
        tally = tally_of(entry[0])
        with tally.lock:
            new = tally.count(entry, COST, reading.response_id)
            if new and cost_microusd is not None:
                tally.priced(reading.response_id, cost)
            if new and call is not None and not entry[0].ended:
                call.cost = plus(call.cost, cost)
            if new:
                entry[0].report(None, None, cost)

    if reading.priceable and reading.model is not None:
        ask_price(entry[0].rules.price, reading.model, reading.provider, reading.tokens, answer)
    else:
        answer(None)


def _forget(entries: dict[int, Any], count: int) -> None:
    """Forget the oldest *count* entries. Many at once: finding the first key of a dict passes all that were removed."""
    for key in list(entries)[:count]:
        entries.pop(key, None)
