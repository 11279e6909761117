"""
Aggregates over the sessions of one user, as they were when one of these sessions ended.

Rule 1: a session counts those of its user that ended before it, and itself; of two that ended in the same millisecond
    the one with the smaller id was first. So the totals do not depend on the order in which ends are reported, and
    sessions that are reported together count each other as if they had been reported one by one.
Rule 2: only what the history holds is counted: nothing older than its retention, and no session whose end another
    worker reports at this very moment.
Rule 3: sessions that nobody confirmed (bots, webhooks) neither count nor get totals, as they are left out of lists.

``user.sessions_total`` counts sessions; ``user.avg_session_length`` is their turns on average; ``user.retention_days``
is the whole days from the start of the first of them to that of the last.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from . import names
from .records import AttributeValue, SessionRecord

Totals = Mapping[str, AttributeValue]
DAY_MS = 86_400_000


class Sitting(NamedTuple):
    """
    What one ended session brings to the totals of its user. Sittings sort in the order in which they ended.

    Attributes:
        ended_ms: When it ended, milliseconds since the epoch.
        session_id: Its id.
        generation: Of its id.
        started_ms: Its first turn.
        turns: Turns begun.
    """

    ended_ms: int
    session_id: str
    generation: int
    started_ms: int
    turns: int


class Tally:
    """Sittings added up; unknown while there is none."""

    __slots__ = ("first_ms", "last_ms", "sessions", "turns")

    def __init__(self) -> None:
        self.sessions = self.turns = 0
        self.first_ms = self.last_ms = 0

    def add(self, sitting: Sitting) -> None:
        """Add one."""
        started_ms = sitting.started_ms
        self.first_ms = started_ms if not self.sessions else min(self.first_ms, started_ms)
        self.last_ms = started_ms if not self.sessions else max(self.last_ms, started_ms)
        self.sessions += 1
        self.turns += sitting.turns

    def merge(self, other: Tally) -> None:
        """Add what another has added up."""
        if other.sessions:
            self.first_ms = min(self.first_ms, other.first_ms) if self.sessions else other.first_ms
            self.last_ms = max(self.last_ms, other.last_ms) if self.sessions else other.last_ms
            self.sessions += other.sessions
            self.turns += other.turns

    def totals(self) -> dict[str, AttributeValue]:
        """Return the sums by wire name."""
        if not self.sessions:
            return {}
        return {
            names.USER_SESSIONS_TOTAL: self.sessions,
            names.USER_AVG_SESSION_LENGTH: self.turns / self.sessions,
            names.USER_RETENTION_DAYS: (self.last_ms - self.first_ms) // DAY_MS,
        }


def has_totals(record: SessionRecord) -> bool:
    """Return whether a frozen record is to say the totals of its user."""
    return record.user_id is not None and record.confirmed


def sitting_of(record: SessionRecord) -> Sitting:
    """Return what a frozen record brings to the totals of its user."""
    ended_ms = record.last_ms if record.ended_ms is None else record.ended_ms
    return Sitting(ended_ms, record.session_id, record.generation, record.started_ms, record.turns)


def totals_at(asked: Sequence[Sitting], known: Iterable[Sitting]) -> list[Totals]:
    """
    Return the totals of one user at the end of each session that is asked about.

    Args:
        asked: Sessions of the user whose ends are about to be reported, in any order.
        known: Sessions of the user that have ended, in any order; looked at once. Those asked about may be among them.

    Returns:
        The totals of each, in the order of *asked*.
    """
    ends = sorted(set(asked))
    themselves = {(end.session_id, end.generation) for end in ends}
    before = [Tally() for _ in ends]  # each: what ended after the one before it
    for sitting in known:
        place = bisect_left(ends, sitting)
        if place < len(ends) and (sitting.session_id, sitting.generation) not in themselves:
            before[place].add(sitting)
    found: dict[Sitting, Totals] = {}
    running = Tally()
    for end, more in zip(ends, before, strict=True):
        running.merge(more)
        running.add(end)
        found[end] = running.totals()
    return [found[one] for one in asked]
