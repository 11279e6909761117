"""The one way that records take into any ledger: gathered by session, looked up once, merged, kept once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from .._core import names
from .._core.records import AttributeValue
from .._core.user_totals import DAY_MS, Sitting, Totals, totals_at
from . import history, values
from .history import Happening, Key, Turned, Usage
from .rows import SessionRow, TurnRow, UsageRow


class Book(Protocol):
    """What a ledger offers while it writes: one transaction, nothing of it visible to others before its end."""

    def find(self, key: Key) -> SessionRow | None:
        """Return the row of a session, None when there is none."""

    def keep(self, row: SessionRow, before: SessionRow | None) -> SessionRow:
        """Insert (*before* is None) or update *row*; return it with its ``pk``."""

    def look_for_versions(self, session_pk: int) -> None:
        """Take down whether turns of a session, which is kept, name another prompt version than it does."""

    def has_trace(self, session_pk: int, trace_id: str) -> bool:
        """Return whether a turn of the session belongs to that trace."""

    def add_turn(self, session_pk: int, turn: TurnRow, calls: Sequence[UsageRow]) -> bool:
        """Add a turn with the calls made in it, and what was said; False when it is there already."""

    def add_late_usage(self, session_pk: int, event: Happening, usage: Usage) -> bool:
        """Add usage that was reported late; False when its ``log.record.uid`` is there already."""

    def late_usage(self, session_pk: int) -> Usage:
        """Return the sum of the usage that was reported late."""


def write_events(book: Book, events: Iterable[Happening]) -> None:
    """Write starts, ends and late usage; other events are none of the history's."""
    for key, mine in _by_session(events).items():
        before = book.find(key)
        row = before or history.begin(key, mine[0].at_ms)
        for event in mine:
            if event.event_name == names.EVENT_START:
                row = history.after_start(row, event)
            elif event.event_name == names.EVENT_END:
                row = history.after_end(row, event, book.late_usage(row.pk))
            else:
                row, before = _add_late(book, row, before, event)
        if row != before:
            book.keep(row, before)
        if before is not None and history.in_doubt(before, row):
            book.look_for_versions(row.pk)


def write_turns(book: Book, turns: Iterable[Turned]) -> None:
    """Write turns; a session that nobody has told of yet is made, and is active."""
    by_session: dict[Key, list[Turned]] = {}
    for turn in turns:
        by_session.setdefault((turn.row.session_id, turn.row.generation), []).append(turn)
    for key, mine in by_session.items():
        before = book.find(key) or book.keep(history.begin(key, mine[0].row.started_ms), None)
        row, doubt = before, False
        for turn in mine:
            traces = _traces_of(book, row.pk, turn.row)
            if book.add_turn(row.pk, turn.row, turn.calls):
                last, row = row, history.after_turn(row, turn, traces)
                doubt |= history.in_doubt(last, row, turn.row.prompt_version)
        if row != before:
            book.keep(row, before)
        if doubt:
            book.look_for_versions(row.pk)


def _traces_of(book: Book, session_pk: int, turn: TurnRow) -> int:
    """Return how many traces a turn brings: one, unless an earlier turn of its session was in it."""
    return int(turn.trace_id is not None and not book.has_trace(session_pk, turn.trace_id))


def _add_late(
    book: Book, row: SessionRow, before: SessionRow | None, event: Happening
) -> tuple[SessionRow, SessionRow]:
    """Add late usage; it hangs on the session's row, so that has to be there first."""
    if before is None:
        row = before = book.keep(row, None)
    usage = history.usage_of(event)
    if book.add_late_usage(row.pk, event, usage):
        row = history.after_late_usage(row, usage)
    return row, before


KNOWN = (names.EVENT_START, names.EVENT_END, names.EVENT_USAGE_LATE)


def _by_session(events: Iterable[Happening]) -> dict[Key, list[Happening]]:
    found: dict[Key, list[Happening]] = {}
    for event in events:
        if event.event_name in KNOWN:
            found.setdefault(event.key, []).append(event)
    return found


def user_totals(ended: int, mean_turns: float | None, span_ms: int | None) -> dict[str, AttributeValue]:
    """
    Return the aggregates over a user's sessions by wire name.

    Args:
        ended: Sessions that ended.
        mean_turns: Their turns on average, None when none has ended.
        span_ms: From the start of the first session to that of the last, None when there is no session.
    """
    totals: dict[str, AttributeValue] = {names.USER_SESSIONS_TOTAL: ended}
    if mean_turns is not None:
        totals[names.USER_AVG_SESSION_LENGTH] = float(mean_turns)
    if span_ms is not None:
        totals[names.USER_RETENTION_DAYS] = span_ms // DAY_MS
    return totals


def user_totals_at(ends: Sequence[tuple[str, Sitting]], ended_of: Callable[[str], Iterable[Sitting]]) -> list[Totals]:
    """
    Return the aggregates of many users at once, each as of the end of one of the user's sessions.

    Args:
        ends: Users and sessions.
        ended_of: Finds the sessions of a user that have ended and count. Asked once for each user.
    """
    by_user: dict[str, list[int]] = {}
    for place, (user, _) in enumerate(ends):
        by_user.setdefault(values.text(user), []).append(place)
    found: list[Totals] = [{}] * len(ends)
    for user, places in by_user.items():
        mine = [ends[place][1] for place in places]
        mine = [one._replace(session_id=values.text(one.session_id)) for one in mine]  # as the ledger knows them
        for place, totals in zip(places, totals_at(mine, ended_of(user)), strict=True):
            found[place] = totals
    return found


def calls_in_order(calls: Iterable[UsageRow]) -> list[UsageRow]:
    """Return calls in the order in which they began; at one moment those of earlier turns first, each in its place."""

    def order(call: UsageRow) -> tuple[int, bool, int, int, int]:
        number = call.turn_number
        return call.started_ms, number is None, number or 0, call.turn_pk, call.place

    return sorted(calls, key=order)


def in_order(turns: Iterable[TurnRow]) -> Sequence[TurnRow]:
    """Return turns in the order in which they began; parallel ones by number."""
    return sorted(turns, key=lambda turn: (turn.started_ms, turn.number is not None, turn.number or 0, turn.pk))
