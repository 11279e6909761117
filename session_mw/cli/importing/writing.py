"""
Sessions into the history, in the order in which they began, by the ledger's own way in.

Rule 1: the same again changes nothing. A turn of ours is known by its number and span, as everywhere; one that is a
    trace by that trace, so that a root that was missing yesterday makes no second turn of it.
Rule 2: turns that nobody numbered are numbered here, on from those that the history has.
Rule 3: an end that says its totals has the last word. Any other, and the one that is assumed where nobody came back
    within the idle time, says when and why; the numbers are counted from the turns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..._core import names
from ..._core.events import EventRecord, iso
from ..._core.records import TurnRecord, UsageRecord
from ...ledger import Ledger
from .gathered import Found, Gathered, Sitting, Told

BATCH = 500  # turns
Tell = Callable[[str], None]


@dataclass
class Written:
    """What was written, or would be: of these, how much the history did not have."""

    sessions: int = 0
    new_sessions: int = 0
    turns: int = 0
    new_turns: int = 0


@dataclass
class Writer:
    """
    Writes what was gathered.

    Args:
        ledger: Where to; None when there is no history yet, and none is to be made.
        now_ms: Time of the import, milliseconds since the epoch.
        idle_ms: After so long without activity a session has ended.
        pseudonym: Makes users what the history calls them; None leaves them as they are.
        dry: Only look what would come.
    """

    ledger: Ledger | None
    now_ms: int
    idle_ms: int
    pseudonym: Callable[[str], str] | None = None
    dry: bool = False
    written: Written = field(default_factory=Written)
    _turns: list[TurnRecord] = field(default_factory=list)
    _events: list[EventRecord] = field(default_factory=list)

    def write(self, gathered: Gathered, tell: Tell) -> Written:
        """Write all sessions."""
        for sitting in gathered.sittings():
            self._session(sitting, gathered)
            tell(f"writing: {self.written.sessions:,} sessions, {self.written.turns:,} turns")
        self._flush()
        return self.written

    def _session(self, sitting: Sitting, gathered: Gathered) -> None:
        known = _Known(self.ledger, sitting)
        self.written.sessions += 1
        self.written.new_sessions += known.new
        said: dict[str, Any] = {}
        last_ms = sitting.first_ms
        for found in gathered.turns_of(sitting):
            self.written.turns += 1
            said = {**found.said, **said}
            last_ms = max(last_ms, found.started_ms + found.latency_ms)
            if known.lacks(found):
                self.written.new_turns += 1
                self._add_turn(self._record(found, known.number(found)))
        self._add_events(sitting, gathered.events_of(sitting), said, last_ms)

    def _record(self, found: Found, number: int | None) -> TurnRecord:
        return TurnRecord(
            *found.key,
            number,
            found.started_ms,
            found.latency_ms,
            found.status,  # type: ignore[arg-type]  # one of three words
            found.conversation_id,
            self._user(found.user_id),
            found.trace,
            found.error_type,
            found.first_chunk_ms,
            found.input_tokens,
            found.output_tokens,
            found.cost_microusd,
            found.attributes,
            tuple(UsageRecord(*call) for call in found.calls),
        )

    def _user(self, user: Any) -> Any:
        return user if self.pseudonym is None or not isinstance(user, str) else self.pseudonym(user)

    def _add_turn(self, turn: TurnRecord) -> None:
        self._turns.append(turn)
        if len(self._turns) >= BATCH:
            self._flush()

    def _add_events(self, sitting: Sitting, told: list[Told], said: dict[str, Any], last_ms: int) -> None:
        final = any(one.name == names.EVENT_END and names.SESSION_TOTAL_TURNS in one.attributes for one in told)
        if not any(one.name == names.EVENT_START for one in told) and not final:
            self._event(sitting, names.EVENT_START, sitting.first_ms, said)
        for one in told:
            more = said if one.name == names.EVENT_START else {}
            if one.name == names.EVENT_END and not final:
                more = {names.SESSION_IMPORTED: True}
            self._event(sitting, one.name, one.at_ms, {**more, **one.attributes})
            last_ms = max(last_ms, one.at_ms)
        ended = any(one.name == names.EVENT_END for one in told)
        if not ended and last_ms + self.idle_ms < self.now_ms:
            self._event(sitting, names.EVENT_END, last_ms, _assumed(last_ms, self.idle_ms))

    def _event(self, sitting: Sitting, name: str, at_ms: int, said: dict[str, Any]) -> None:
        for user in (names.USER_ID, names.USER_HASH):
            if user in said:
                said = {**said, user: self._user(said[user])}
        self._events.append(EventRecord(name, at_ms, said, key=sitting.key))
        if len(self._events) >= BATCH:
            self._flush()

    def _flush(self) -> None:
        """Write what has come together; turns first, so that an import's end finds them counted."""
        if self.ledger is not None and not self.dry:
            self.ledger.write_turns(self._turns)
            self.ledger.emit(self._events)
        self._turns, self._events = [], []


class _Known:
    """What the history has of a session."""

    def __init__(self, ledger: Ledger | None, sitting: Sitting) -> None:
        row = None if ledger is None else ledger.session(*sitting.key)
        self.new = row is None
        turns = [] if row is None or ledger is None else ledger.turns(*sitting.key)
        self._traces = {turn.trace_id for turn in turns}
        self._spans = {_identity(turn.number, turn.span_id, turn.started_ms) for turn in turns}
        self._number = max((turn.number or 0 for turn in turns), default=0)

    def lacks(self, found: Found) -> bool:
        """Return whether a turn is not among them."""
        trace_id, span_id, *_ = [*found.trace.split("-"), "", ""]
        if found.own:
            return _identity(found.number, span_id, found.started_ms) not in self._spans
        return trace_id not in self._traces

    def number(self, found: Found) -> int | None:
        """Return the number of a turn: what its own span says, else the next."""
        if not found.own:
            self._number += 1
        return found.number if found.own else self._number


def _identity(number: int | None, span_id: str | None, started_ms: int) -> tuple[object, ...]:
    """Return what a turn of ours is known by; one that has neither number nor span, by its begin."""
    return (number, span_id or None, started_ms if number is None and not span_id else None)


def _assumed(last_ms: int, idle_ms: int) -> dict[str, Any]:
    """Return what is said of a session to which nobody came back."""
    return {
        names.SESSION_IMPORTED: True,
        names.SESSION_END_REASON: "idle_timeout",
        names.SESSION_END_TIME: iso(last_ms),
        names.SESSION_IDLE_TIME_MS: idle_ms,
    }
