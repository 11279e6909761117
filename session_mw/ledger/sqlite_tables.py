"""The rows of the history as SQLite keeps them: every statement that reads or writes the ledger's tables."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from .._core.records import Attributes
from .._core.user_totals import Sitting
from ..exceptions import StoreError
from . import sqlite_usages as usages
from . import values
from .calls import scores_of
from .filters.sql import SQLITE, Part, where
from .filters.tree import Node
from .forgetting import Forgotten
from .history import CONTENT, Happening, Key, Usage
from .listing import Found
from .rows import NOT_OF_TURNS, Only, SessionRow, TurnRow, UsageRow
from .touched import Touched, day_of

_SESSION = [f.name for f in fields(SessionRow) if f.name not in ("pk", "attributes")]
_TURN = [f.name for f in fields(TurnRow) if f.name not in NOT_OF_TURNS]
SESSION_COLUMNS = ", ".join(f"s.{name}" for name in ["pk", *_SESSION])
_SELECT_SESSION = f"SELECT {SESSION_COLUMNS} FROM ledger_sessions AS s"  # noqa: S608 names of our own columns
_INSERT_SESSION = f"INSERT INTO ledger_sessions ({', '.join(_SESSION)}) VALUES ({', '.join('?' * len(_SESSION))})"  # noqa: S608
_UPDATE_SESSION = f"UPDATE ledger_sessions SET {', '.join(f'{c} = ?' for c in _SESSION)} WHERE pk = ?"  # noqa: S608
_TURN_CELLS = ", ".join(f"t.{name}" for name in ["pk", *_TURN, "attributes"])
_SELECT_TURNS = tuple(
    f"SELECT {_TURN_CELLS}, c.turn_pk IS NOT NULL, {words} FROM ledger_turns AS t "  # noqa: S608
    "LEFT JOIN ledger_content AS c ON c.turn_pk = t.pk WHERE t.session_pk = ?"
    for words in ("NULL, NULL, NULL", "c.messages, c.input, c.output")  # without what was said, and with it
)
_INSERT_TURN = (
    f"INSERT INTO ledger_turns (session_pk, {', '.join(_TURN)}, attributes) "  # noqa: S608
    f"VALUES ({', '.join('?' * (len(_TURN) + 2))}) ON CONFLICT DO NOTHING"
)
_SELECT_ATTRS = "SELECT session_pk, key, value, is_bool FROM ledger_session_attrs WHERE session_pk IN"
STEPS = 2_000  # of SQLite's virtual machine between two looks at the clock: some ten microseconds
AT_ONCE = 500  # marks in a statement: SQLite takes 999 of them in old releases
_SET_MIXED = """
    UPDATE ledger_sessions SET mixed = EXISTS (SELECT 1 FROM ledger_turns AS t
        WHERE t.session_pk = ledger_sessions.pk AND t.prompt_version <> ledger_sessions.prompt_version) WHERE pk = ?
"""
_SELECT_TRACE = "SELECT 1 FROM ledger_turns WHERE trace_id = ? AND session_pk = ? LIMIT 1"
_USER_TOTALS = """
    SELECT COUNT(CASE WHEN status <> 'active' THEN 1 END), AVG(CASE WHEN status <> 'active' THEN turns END),
        MAX(started_ms) - MIN(started_ms)
    FROM ledger_sessions WHERE user_id = ? AND confirmed IS NOT 0
"""
_SITTINGS = f"""
    SELECT {", ".join(Sitting._fields)} FROM ledger_sessions
    WHERE user_id = ? AND status <> 'active' AND ended_ms IS NOT NULL AND confirmed IS NOT 0
"""  # noqa: S608 names of our own columns


@contextmanager
def deadline(db: sqlite3.Connection, until: float) -> Iterator[None]:
    """Interrupt statements when it is *until*, seconds of the monotonic clock."""
    db.set_progress_handler(lambda: int(time.monotonic() >= until), STEPS)
    try:
        yield
    finally:
        db.set_progress_handler(None, 0)


def fetch_until(db: sqlite3.Connection, statement: Part, until: float) -> Found:
    """Return the rows of a statement, as far as they come in time."""
    rows: list[Any] = []
    if time.monotonic() >= until:
        return Found(rows, stopped=True)
    try:
        with deadline(db, until):
            rows.extend(db.execute(*statement))
    except sqlite3.OperationalError as error:
        if str(error) != "interrupted":
            raise
        return Found(rows, stopped=True)
    return Found(rows)


class Tables:
    """The tables as a book to write in, within a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._touched = Touched()

    def mark(self) -> None:
        """Take down of which days was written."""
        mark_days(self._db, self._touched.days)

    def find(self, key: Key) -> SessionRow | None:
        found = self._db.execute(f"{_SELECT_SESSION} WHERE session_id = ? AND generation = ?", key).fetchone()
        if found is None:
            return None
        row = sessions(self._db, [found])[0]
        self._touched.know(row)
        return row

    def keep(self, row: SessionRow, before: SessionRow | None) -> SessionRow:
        cells = [getattr(row, column) for column in _SESSION]
        if before is None:
            pk = self._db.execute(_INSERT_SESSION, cells).lastrowid
            assert pk is not None
            self._add_attributes(pk, row.attributes)
            made = SessionRow(pk, **dict(zip(_SESSION, cells, strict=True)), attributes=row.attributes)
            self._touched.kept(made, None)
            return made
        self._touched.kept(row, before)
        self._db.execute(_UPDATE_SESSION, [*cells, row.pk])
        if row.attributes != before.attributes:
            self._db.execute("DELETE FROM ledger_session_attrs WHERE session_pk = ?", (row.pk,))
            if any(scores_of(before.attributes)):
                self._db.execute("DELETE FROM ledger_scores WHERE session_pk = ?", (row.pk,))
            self._add_attributes(row.pk, row.attributes)
        return row

    def _add_attributes(self, pk: int, attributes: Attributes) -> None:
        rows = [(pk, key, value, isinstance(value, bool)) for key, value in attributes.items()]
        self._db.executemany("INSERT INTO ledger_session_attrs VALUES (?, ?, ?, ?)", rows)
        if scores := [(pk, *score) for score in scores_of(attributes)]:
            self._db.executemany("INSERT INTO ledger_scores VALUES (?, ?, ?, ?)", scores)

    def look_for_versions(self, session_pk: int) -> None:
        self._db.execute(_SET_MIXED, (session_pk,))

    def has_trace(self, session_pk: int, trace_id: str) -> bool:
        return self._db.execute(_SELECT_TRACE, (trace_id, session_pk)).fetchone() is not None

    def add_turn(self, session_pk: int, turn: TurnRow, calls: Sequence[UsageRow]) -> bool:
        cells = [turn.span_id or "" if column == "span_id" else getattr(turn, column) for column in _TURN]
        said = json.dumps(turn.attributes, separators=(",", ":")) if turn.attributes else None
        done = self._db.execute(_INSERT_TURN, [session_pk, *cells, said])
        if done.rowcount != 1:
            return False
        self._touched.added_to(session_pk)
        if calls or turn.content:
            assert done.lastrowid is not None
            usages.add(self._db, done.lastrowid, turn, calls)
        return True

    def add_late_usage(self, session_pk: int, event: Happening, usage: Usage) -> bool:
        cells = (session_pk, event.uid, event.at_ms, usage.input_tokens, usage.output_tokens, usage.cost_microusd)
        done = self._db.execute("INSERT INTO ledger_late_usage VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", cells)
        return done.rowcount == 1

    def late_usage(self, session_pk: int) -> Usage:
        total = Usage()
        if session_pk:
            columns = "input_tokens, output_tokens, cost_microusd"
            for row in self._db.execute(
                f"SELECT {columns} FROM ledger_late_usage WHERE session_pk = ?",  # noqa: S608 constant
                (session_pk,),
            ):
                total = total.plus(Usage(*row))
        return total


def mark_days(db: sqlite3.Connection, days: Iterable[int]) -> None:
    """Take down that the sums of some days have to be made anew."""
    marks = [(day, random.getrandbits(62) + 1) for day in days]
    db.executemany("INSERT OR REPLACE INTO ledger_dirty VALUES (?, ?)", marks)


def _forget_sums(db: sqlite3.Connection, days: set[int]) -> None:
    """Forget sums that sessions are in which are forgotten: they tell of users and actions."""
    for table in ("daily", "flows"):
        db.executemany(f"DELETE FROM ledger_{table} WHERE day = ?", [(day,) for day in days])  # noqa: S608 constants
    mark_days(db, days)


def select(db: sqlite3.Connection, which: str, asked: Sequence[object]) -> list[SessionRow]:
    """Return the sessions that fit *which*, in its order."""
    return sessions(db, db.execute(f"{_SELECT_SESSION} {which}", asked).fetchall())


def pick(db: sqlite3.Connection, session_id: str, generation: int | None) -> SessionRow | None:
    """Return one session, its newest generation unless told which."""
    found = db.execute(
        f"{_SELECT_SESSION} WHERE session_id = ? AND generation = COALESCE(?, generation) "
        "ORDER BY generation DESC LIMIT 1",
        (values.text(session_id), None if generation is None else values.bounded(generation)),
    ).fetchone()
    return None if found is None else sessions(db, [found])[0]


def sessions(db: sqlite3.Connection, found: Sequence[Sequence[Any]]) -> list[SessionRow]:
    """Return sessions from their columns, with their attributes: these take one more statement, not one a session."""
    said: dict[int, dict[str, Any]] = {cells[0]: {} for cells in found}
    pks = list(said)
    for start in range(0, len(pks), AT_ONCE):
        some = pks[start : start + AT_ONCE]
        for pk, key, value, is_bool in db.execute(f"{_SELECT_ATTRS} ({', '.join('?' * len(some))})", some):
            said[pk][key] = bool(value) if is_bool else value
    return [_session(cells, said[cells[0]]) for cells in found]


def _session(cells: Sequence[Any], said: Attributes) -> SessionRow:
    row = dict(zip(_SESSION, cells[1:], strict=True))
    row["confirmed"] = None if row["confirmed"] is None else bool(row["confirmed"])
    return SessionRow(cells[0], **row, attributes=said)


def turns_of(db: sqlite3.Connection, session: SessionRow, content: bool, only: Only = None) -> list[TurnRow]:
    """Return the turns of a session, or some of them, in no order; with what was said where it is asked for."""
    which, asked = usages.among(only)
    found = db.execute(_SELECT_TURNS[content] + which, [session.pk, *asked]).fetchall()
    return [_turn(session, cells) for cells in found]


def totals_of(db: sqlite3.Connection, user_id: str) -> tuple[int, float | None, int | None]:
    """Return a user's ended sessions, their turns on average, and the milliseconds from first to last start."""
    ended, mean, span = db.execute(_USER_TOTALS, (values.text(user_id),)).fetchone()
    return ended, mean, span


def sittings_of(db: sqlite3.Connection, user_id: str) -> Iterator[Sitting]:
    """Yield the sessions of a user that have ended and count, in no order."""
    return map(Sitting._make, db.execute(_SITTINGS, (user_id,)))


def forget(db: sqlite3.Connection, older_than_ms: int, sessions: int, turns: int) -> int | None:
    """
    Delete the oldest sessions with all that belongs to them.

    Args:
        db: In a transaction.
        older_than_ms: Only those whose last activity was before.
        sessions: So many at most.
        turns: So many of their turns at most.

    Returns:
        How many sessions; None when they have more turns: some of these were deleted, so try again.
    """
    oldest = "SELECT pk FROM ledger_sessions WHERE last_ms < ? ORDER BY last_ms, pk LIMIT ?"
    some = f"SELECT pk FROM ledger_turns WHERE session_pk IN ({oldest}) LIMIT ?"  # noqa: S608 constants
    asked = (values.bounded(older_than_ms), sessions)
    starts = db.execute(f"SELECT started_ms FROM ledger_sessions WHERE pk IN ({oldest})", asked).fetchall()  # noqa: S608
    _forget_sums(db, {day_of(ms) for (ms,) in starts})
    if db.execute(f"DELETE FROM ledger_turns WHERE pk IN ({some})", (*asked, turns)).rowcount >= turns:  # noqa: S608
        return None
    return db.execute(f"DELETE FROM ledger_sessions WHERE pk IN ({oldest})", asked).rowcount  # noqa: S608


def forget_some(db: sqlite3.Connection, doomed: Node, sessions: int, turns: int) -> tuple[Forgotten, bool]:
    """
    Delete sessions that were named, with all that belongs to them.

    Args:
        db: In a transaction.
        doomed: Which.
        sessions: So many at most.
        turns: So many of their turns at most.

    Returns:
        What was deleted, and whether nothing is left.
    """
    test, asked = where(doomed, SQLITE)
    what = f"SELECT s.pk, s.status, s.started_ms FROM ledger_sessions AS s WHERE {test} LIMIT ?"  # noqa: S608
    rows = db.execute(what, [*asked, sessions]).fetchall()
    pks = [pk for pk, *_ in rows]
    _forget_sums(db, {day_of(ms) for *_, ms in rows})
    within = f"session_pk IN ({', '.join('?' * len(pks))})"
    some = f"SELECT pk FROM ledger_turns WHERE {within} LIMIT ?"  # noqa: S608 marks only
    gone = db.execute(f"DELETE FROM ledger_turns WHERE pk IN ({some})", [*pks, turns]).rowcount  # noqa: S608
    if gone >= turns:
        return Forgotten(turns=gone), False
    late = db.execute(f"DELETE FROM ledger_late_usage WHERE {within}", pks).rowcount  # noqa: S608
    db.execute(f"DELETE FROM ledger_sessions WHERE {within.removeprefix('session_')}", pks)  # noqa: S608
    active = sum(status == "active" for _, status, _ in rows)
    return Forgotten(len(pks), gone, late, active), len(pks) < sessions


def _turn(session: SessionRow, cells: Sequence[Any]) -> TurnRow:
    row = dict(zip(_TURN, cells[1:-5], strict=True))
    *_, said_json, captured, messages, asked, answered = cells
    content = {name: text for name, text in zip(CONTENT, (messages, asked, answered), strict=True) if text is not None}
    row["span_id"] = row["span_id"] or None
    row["sampled"] = None if row["sampled"] is None else bool(row["sampled"])
    try:
        said = json.loads(said_json) if said_json else {}
    except ValueError as error:
        where = f"turn {row['number']} of session {session.session_id!r}"
        raise StoreError(
            f"cannot read {where}: its attributes are damaged. Put a backup in the file's place."
        ) from error
    captured = bool(captured)
    return TurnRow(
        cells[0], session.session_id, session.generation, **row, attributes=said, captured=captured, content=content
    )
