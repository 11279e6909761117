"""
Which spans of one turn were counted, so that nothing is counted twice.

Instrumentations nest: an agent's span repeats the sum of its model calls, a framework's span repeats the client's.
One rule for input tokens, output tokens, cost and errors, each on its own: what a span says counts unless a span
below it or above it was counted for the same, or another span about the same answer (``gen_ai.response.id``, or what
``echoes`` makes of spans that do not know it) was.
Spans end from the inside out, so the innermost that knows a number is the one that counts.

Agent runs and tool calls nest by right, and each counts, except where two instrumentations wrap one call: two spans
of the same kind and name with no other agent run or tool call between them are one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Optional

from .._core.turn_state import TurnState, Usage
from .calls import COST, ERROR, INPUT, OUTPUT, Calls
from .echoes import Echoes

__all__ = ["COST", "ERROR", "INPUT", "OUTPUT", "Entry", "Tally", "close", "tally_of", "told_of"]

# The turn, the entry of the span above (None at the top of the turn), the span's id.
Entry = tuple[TurnState, Optional["Entry"], int]
Step = tuple[str, str]  # kind and name


class Tally:
    """
    The books of one turn. Not thread-safe: whoever uses it holds ``lock``.

    Attributes:
        lock: Spans of a turn end in several threads.
        echoes: Which spans side by side tell of one answer.
        calls: What is told of single calls.
    """

    __slots__ = (
        "_counted",
        "_covered",
        "_ended_steps",
        "_frontier",
        "_priced",
        "_responses",
        "_started_ns",
        "calls",
        "echoes",
        "lock",
    )

    def __init__(self) -> None:
        self.lock = threading.RLock()  # what is told while it is held may log, and a log handler may end a span
        self.echoes = Echoes()
        self.calls = Calls()
        self._counted: dict[int, int] = {}  # span id -> what was counted of it
        self._covered: dict[int, int] = {}  # span id -> what was counted of spans below it
        self._responses: dict[str, int] = {}  # response id -> what was counted of it
        self._priced: dict[str, int] = {}  # response id -> the cost that was computed for it, and counted
        self._frontier: dict[int, dict[int, Step]] = {}  # span id -> the nearest steps below it, by span id
        self._ended_steps: dict[int, Step] = {}
        self._started_ns = -1

    def open_for(self, entry: Entry, what: int, response_id: str | None) -> int:
        """Return the part of *what* that nothing else was counted for. Changes nothing."""
        what &= ~self._covered.get(entry[2], 0)
        if response_id is not None:
            what &= ~self._responses.get(response_id, 0)
        if self._counted:
            for above in _above(entry):
                what &= ~self._counted.get(above, 0)
        return what

    def count(self, entry: Entry, what: int, response_id: str | None) -> int:
        """Note that *what* is known of this span, and return the part of it that counts."""
        new = self.open_for(entry, what, response_id)
        if new:
            self._counted[entry[2]] = self._counted.get(entry[2], 0) | new
        if response_id is not None:
            self._responses[response_id] = self._responses.get(response_id, 0) | new
        # Also where another span about the same answer was counted: a sum above holds this one as well.
        for above in _above(entry):
            self._covered[above] = self._covered.get(above, 0) | what
        return new

    def priced(self, response_id: str | None, cost_microusd: int) -> None:
        """Note a cost that was computed and counted."""
        if response_id is not None:
            self._priced[response_id] = cost_microusd

    def price_taken_back(self, response_id: str | None) -> int | None:
        """Return, once, the cost that was computed for an answer: another span about it says what it really was."""
        return None if response_id is None else self._priced.pop(response_id, None)

    def step(self, entry: Entry, step: Step) -> bool:
        """Note an agent run or tool call that ended, and return whether it is one more."""
        span_id = entry[2]
        inside = self._frontier.pop(span_id, {})
        outside = next((self._ended_steps[a] for a in _above(entry) if a in self._ended_steps), None)
        self._ended_steps[span_id] = step
        for above in _above(entry):
            frontier = self._frontier.setdefault(above, {})
            for nearer in inside:
                frontier.pop(nearer, None)
            frontier[span_id] = step
        return step not in inside.values() and step != outside

    def latest(self, started_ns: int) -> bool:
        """Return whether a step that began at *started_ns* began after all others so far."""
        later = started_ns > self._started_ns
        if later:
            self._started_ns = started_ns
        return later


def tally_of(turn: TurnState) -> Tally:
    """Return the books of *turn*, made when first asked for; threads that ask at once get the same."""
    if turn.tally is None:
        turn.__dict__.setdefault("tally", Tally())
    tally: Tally = turn.tally
    return tally


def close(turn: TurnState) -> None:
    """End a turn: what spans say until now is the turn's, call and tokens; what comes later is late, both."""
    if turn.tally is None:
        turn.ended = True
    else:
        with turn.tally.lock:
            turn.ended = True


def told_of(turn: TurnState, model: str | None, used: Usage) -> None:
    """Count a model call of which the application told, and keep it."""
    tally = tally_of(turn)
    with tally.lock:
        if not turn.ended:
            tally.calls.told(model, used)
        turn.report(*used)


def _above(entry: Entry) -> Iterator[int]:
    """Return the ids of the spans above, nearest first."""
    above = entry[1]
    while above is not None:
        yield above[2]
        above = above[1]
