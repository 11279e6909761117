"""
The calls of one turn, for the history: what each span of a model call, tool call or agent run said.

Rule 1: a call has the tokens and the cost that were counted of its span, and no others: the sums over a turn's calls
    are the turn's. A span that repeats what another has told shows that it was there, and how long.
Rule 2: two spans about one answer are one call; what the first did not know the second fills in.
Rule 3: bounded. What comes after ``MOST`` calls is counted in the turn, and as left out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, Final, cast

from .._core import names
from .._core.first_token import first_token_ms
from .._core.privacy import Hider
from .._core.records import AttributeValue, UsageKind, UsageRecord
from .._core.turn_state import TurnState, Usage, plus
from .._core.usage import Reading, TokenUsage
from ._sdk_spans import attributes_of
from .echoes import KINDS as MODELS
from .notices import once

logger = logging.getLogger("session_mw")

MOST: Final = 200
INPUT, OUTPUT, COST, ERROR = 1, 2, 4, 8  # what is counted of a span, each on its own
_MAX_TEXT: Final = 200  # characters of a name; the shortest limit of a back end
_NOTHING: Mapping[str, AttributeValue] = {}


class Call:
    """One call, as far as it is known. ``above`` are the ids of the spans around its own, nearest first."""

    __slots__ = (
        *("above", "kind", "name", "model", "provider", "span_id", "started_ns", "ended_ns", "first_ms", "failed"),
        *("error", "into", "out", "cache_read", "cache_write", "reasoning", "cost"),
    )

    def __init__(self, kind: str, name: str, model: str | None, provider: str | None, started_ns: int) -> None:
        self.kind = kind
        self.name = name
        self.model = model
        self.provider = provider
        self.started_ns = self.ended_ns = started_ns
        self.span_id = 0
        self.above: Any = None
        self.first_ms: int | None = None
        self.failed = False
        self.error: str | None = None
        self.into: int | None = None
        self.out: int | None = None
        self.cache_read: int | None = None
        self.cache_write: int | None = None
        self.reasoning: int | None = None
        self.cost: int | None = None

    def add(self, new: int, tokens: TokenUsage) -> None:
        """Add the tokens that count."""
        if new & INPUT:
            self.into = plus(self.into, tokens.input_tokens)
            self.cache_read = plus(self.cache_read, tokens.cache_read_tokens)
            self.cache_write = plus(self.cache_write, tokens.cache_write_tokens)
        if new & OUTPUT:
            self.out = plus(self.out, tokens.output_tokens)
            self.reasoning = plus(self.reasoning, tokens.reasoning_tokens)


class Calls:
    """
    The calls of one turn. Not thread-safe: whoever uses it holds the tally's lock.

    Attributes:
        kept: In the order in which they were told of.
        dropped: How many more there were.
    """

    __slots__ = ("_by_answer", "dropped", "kept")

    def __init__(self) -> None:
        self.kept: list[Call] = []
        self.dropped = 0
        self._by_answer: dict[str, Call] = {}

    def take(self, entry: Any, reading: Reading, span: Any, failed: bool, new: int, counts: bool) -> Call | None:
        """
        Take what a span says, and return its call; None where it is none, or one too many.

        Args:
            entry: Of the span.
            reading: What it says.
            span: Of the SDK, ended.
            failed: It ended with an error.
            new: What is counted of it.
            counts: It is an agent run or tool call that nothing else has told of, or tells of tokens or cost that
                nothing else has; calls of models are calls in any case.
        """
        told = self.answered(reading.response_id)
        call = told if told is not None and reading.kind in MODELS and told.kind in MODELS else None
        if call is None:
            if not (counts or reading.kind in MODELS):
                return None
            call = self._one_more(_call_of(entry, reading, span, failed))
            if call is None:
                return None
            if told is None and reading.response_id is not None:
                self._by_answer[reading.response_id] = call
        else:
            call.model, call.provider = call.model or reading.model, call.provider or reading.provider
            if call.first_ms is None:
                call.first_ms = _first_ms(span)
        if new:
            call.add(new, reading.tokens)
        return call

    def told(self, model: str | None, used: Usage) -> None:
        """Take a model call of which the application told: now, for when it was is not known."""
        call = Call("model", "", None if model is None else str(model), None, time.time_ns())
        call.into, call.out, call.cost = used
        self._one_more(call)

    def answered(self, answer: str | None) -> Call | None:
        """Return the call that told of an answer first: what it cost is put down there."""
        return None if answer is None else self._by_answer.get(answer)

    def _one_more(self, call: Call) -> Call | None:
        if len(self.kept) >= MOST:
            self.dropped += 1
            return None
        self.kept.append(call)
        return call


def _call_of(entry: Any, reading: Reading, span: Any, failed: bool) -> Call:
    kind = reading.kind or "other"
    call = Call(kind, reading.step or span.name, reading.model, reading.provider, span.start_time or 0)
    call.ended_ns = span.end_time or call.started_ns
    _, call.above, call.span_id = entry
    if kind == "model":
        call.first_ms = _first_ms(span)
    if failed:
        call.failed, call.error = True, _error_of(span)
    return call


def _first_ms(span: Any) -> int | None:
    return first_token_ms(attributes_of(span), span.events, span.start_time or 0, span.end_time or 0)


def _error_of(span: Any) -> str | None:
    """Return what failed, by the conventions' names; never the message, which may hold what was said."""
    said = attributes_of(span).get("error.type")
    if said is None:
        raised = [event.attributes or _NOTHING for event in span.events if event.name == "exception"]
        said = raised[-1].get("exception.type") if raised else None
    return said if isinstance(said, str) and said else None


def records_of(turn: TurnState, opened_ms: int) -> tuple[UsageRecord, ...]:
    """
    Return the calls of a turn that has ended, in the order in which they began.

    Args:
        turn: The turn.
        opened_ms: Its begin by the store's clock: calls are placed from there, for the spans have the worker's.
    """
    if turn.tally is None:
        return ()
    try:
        with turn.tally.lock:
            kept: list[Call] = list(turn.tally.calls.kept)
        began = getattr(turn.span, "start_time", None)
        shift_ns = opened_ms * 1_000_000 - began if type(began) is int else 0
        ours, hide = {call.span_id for call in kept}, turn.rules.hide
        kept.sort(key=lambda call: call.started_ns)
        return tuple(_record(call, ours, shift_ns, hide) for call in kept)
    except Exception as error:
        kind = type(error).__name__
        once("calls:" + kind, logger.error, "cannot keep the calls of a turn: %s", kind)
        return ()


def dropped_of(turn: TurnState) -> Mapping[str, AttributeValue]:
    """Return how many calls of a turn were left out, by wire name; nothing when none was."""
    dropped = 0 if turn.tally is None else turn.tally.calls.dropped
    return {names.TURN_CALLS_DROPPED: dropped} if dropped else _NOTHING


def _record(call: Call, ours: set[int], shift_ns: int, hide: Hider) -> UsageRecord:
    above = call.above
    while above is not None and above[2] not in ours:
        above = above[1]
    return UsageRecord(
        cast(UsageKind, call.kind),
        (call.started_ns + shift_ns) // 1_000_000,
        max(0, call.ended_ns - call.started_ns) // 1_000_000,
        hide(call.name)[:_MAX_TEXT],
        None if call.model is None else hide(call.model),
        None if call.provider is None else hide(call.provider),
        f"{call.span_id:016x}" if call.span_id > 0 else None,  # not of a call that somebody else than a span told of
        None if above is None else f"{above[2]:016x}",
        "error" if call.failed else "ok",
        None if call.error is None else hide(call.error)[:_MAX_TEXT],
        call.first_ms,
        call.into,
        call.out,
        call.cache_read,
        call.cache_write,
        call.reasoning,
        call.cost,
    )
