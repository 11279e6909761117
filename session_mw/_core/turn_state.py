"""One turn while it runs: what was said of it, and what its model calls were said to have used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from . import names
from .records import AttributeValue
from .rules import DEFAULT_RULES, SpanRules

Usage = tuple["int | None", "int | None", "int | None"]  # input tokens, output tokens, cost in micro-dollars
NO_USAGE: Usage = (None, None, None)
NOTHING_CHANGED: Mapping[str, Any] = MappingProxyType({})


class UsageTaker(Protocol):
    """Where usage goes that is reported after its turn: an engine."""

    def late_usage(self, session_id: str, generation: int, used: Usage, /) -> None: ...


class TurnState:
    """
    One turn while it runs.

    Attributes:
        number: From 1 within the session; None when no store could count it.
        started_ns: Monotonic clock at its begin, nanoseconds.
        first_chunk_ns: Monotonic clock at the first body chunk; 0 before.
        attributes: What the application said about it, by wire name.
        conversation_turn: Turn number within the conversation.
        span: Its span.
        dropped: Its trace is not kept, so it has no span of its own.
        error: Name of the error that ended it; None if it ended well.
        ended: Whether it was closed; closing twice does nothing.
        implied: Nobody opened it by name: the first one who does takes it over.
        loose: No turn at all: it takes what is reported between turns to the session.
        agent_runs: Agent runs inside it, None while nothing tells of any.
        tool_calls: Tool calls inside it.
        errors: Agent runs, model and tool calls inside it that failed.
        last_step: Name of the tool or agent run inside it that began last.
        owner: Session id, generation and engine that usage goes to when it is reported after the end.
        rules: What telemetry does with the spans inside it.
        tally: Which spans inside it were counted; telemetry's own, made with the first that counts.
        heard: What was said in it, as far as somebody listens (``session_mw.telemetry.content``).
        keeper: Takes what the ended turn brings in place of the background: an integration that knows that usage is
            told a moment after the last byte.
    """

    # Defaults stand on the class: a turn is made for every request, and few of these ever change.
    first_chunk_ns: int = 0
    conversation_turn: int | None = None
    span: Any = None
    dropped: bool = False
    error: str | None = None
    ended: bool = False
    implied: bool = False
    loose: bool = False
    agent_runs: int | None = None
    tool_calls: int | None = None
    errors: int | None = None
    last_step: str | None = None
    owner: tuple[str, int, UsageTaker] | None = None
    rules: SpanRules = DEFAULT_RULES
    tally: Any = None
    heard: Any = None
    keeper: Any = None
    attributes: Mapping[str, AttributeValue] = NOTHING_CHANGED
    _id: str | None = None
    _reports: deque[Usage] | None = None

    def __init__(self, make_id: Callable[[], str], number: int | None, started_ns: int) -> None:
        self._make_id = make_id
        self.number = number
        self.started_ns = started_ns

    @property
    def id(self) -> str:
        """Its own id, made when somebody asks."""
        if self._id is None:
            self._id = self._make_id()
        return self._id

    def report(self, input_tokens: int | None, output_tokens: int | None, cost_microusd: int | None) -> None:
        """
        Take what a model call used; None is unknown.

        Safe in any thread and at any time. A report is appended here and taken away there, each of which happens
        whole, so no two threads can lose or repeat one. When the turn has ended by now, whoever ended it may not look
        again: what is there is handed to the owner.
        """
        # Not ``self._reports = ...``: of two threads that report first, one would overwrite the other's.
        reports = self.__dict__.setdefault("_reports", deque())
        reports.append((input_tokens, output_tokens, cost_microusd))
        if self.ended and self.owner is not None:
            session_id, generation, taker = self.owner
            used = self.take_usage()
            if used is not NO_USAGE:
                taker.late_usage(session_id, generation, used)

    @property
    def reported(self) -> bool:
        """Whether anything was reported, taken or not."""
        return self._reports is not None

    @property
    def usage(self) -> Usage:
        """Input tokens, output tokens and cost reported so far and not yet taken."""
        return NO_USAGE if self._reports is None else _total(self._reports.copy())

    def take_usage(self) -> Usage:
        """Return input tokens, output tokens and cost reported since the last call, so that each is counted once."""
        reports = self._reports
        if not reports:
            return NO_USAGE
        taken: list[Usage] = []
        try:
            while True:
                taken.append(reports.popleft())
        except IndexError:
            return _total(taken)

    def settle(self) -> None:
        """Write what was counted inside it into its attributes. What the application said of its action holds."""
        counted: dict[str, AttributeValue] = {}
        for name, value in (
            (names.TURN_AGENT_RUNS, self.agent_runs),
            (names.TURN_TOOL_CALLS, self.tool_calls),
            (names.TURN_ERRORS, self.errors),
            (names.TURN_ACTION, self.last_step),
        ):
            if value is not None:
                counted[name] = value
        if counted:
            self.attributes = {**counted, **self.attributes}


def _total(reports: Iterable[Usage]) -> Usage:
    """Return the sums: unknown plus unknown stays unknown."""
    into = out = cost = None
    for one in reports:
        into, out, cost = plus(into, one[0]), plus(out, one[1]), plus(cost, one[2])
    return NO_USAGE if into is None and out is None and cost is None else (into, out, cost)


def plus(total: int | None, more: int | None) -> int | None:
    """Add what is known: unknown plus unknown stays unknown."""
    if more is None:
        return total
    return more if total is None else total + more
