# ruff: noqa: S608  the statements are put together from names of our own columns, never from data
"""The rows of the history as PostgreSQL keeps them: every statement that reads or writes the ledger's tables."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

import psycopg

from .._core.records import Attributes
from .._core.user_totals import Sitting
from .._postgres.connections import Connection
from .._postgres.work import BEGIN, COMMIT, Statement
from ..exceptions import StoreError
from . import postgres_usages as usages
from . import values
from .filters.sql import POSTGRES, Part, where
from .filters.tree import Node
from .forgetting import Forgotten
from .history import CONTENT, Happening, Key, Usage
from .listing import Found
from .rows import NOT_OF_TURNS, Only, SessionRow, TurnRow, UsageRow
from .touched import Touched, day_of

_SESSION = [f.name for f in fields(SessionRow) if f.name not in ("pk", "attributes")]
_TURN = [f.name for f in fields(TurnRow) if f.name not in NOT_OF_TURNS]
SESSION_COLUMNS = f"s.pk, {', '.join(f's.{name}' for name in _SESSION)}, s.attributes"
_SELECT_SESSION = f"SELECT {SESSION_COLUMNS} FROM session_mw_ledger_sessions AS s"


def _marks(count: int) -> str:
    return ", ".join(["%s"] * count)


# Whoever writes of a session has it alone, also where there is no row yet; all in the same order, so that two who
# write of many never wait for each other. The 1 keeps these locks apart from the store's.
_LOCK = b"""
SELECT pg_advisory_xact_lock(place) FROM (
    SELECT DISTINCT hashtextextended(id, 1) AS place FROM unnest(%s::text[]) AS k (id) ORDER BY 1) AS places
"""
_HOLD = f"""{_SELECT_SESSION} JOIN unnest(%s::text[], %s::bigint[]) AS k (id, generation)
    ON s.session_id = k.id AND s.generation = k.generation ORDER BY s.pk FOR UPDATE OF s""".encode()
_PICK = f"""{_SELECT_SESSION} WHERE s.session_id = %s AND s.generation = coalesce(%s, s.generation)
    ORDER BY s.generation DESC LIMIT 1""".encode()
_INSERT_SESSION = (
    f"INSERT INTO session_mw_ledger_sessions ({', '.join(_SESSION)}, attributes) "
    f"VALUES ({_marks(len(_SESSION) + 1)}) RETURNING pk"
).encode()
_UPDATE_SESSION = (
    f"UPDATE session_mw_ledger_sessions SET ({', '.join(_SESSION)}, attributes) = ({_marks(len(_SESSION) + 1)}) "
    "WHERE pk = %s"
).encode()
_SET_MIXED = b"""
UPDATE session_mw_ledger_sessions AS s SET mixed = EXISTS (SELECT 1 FROM session_mw_ledger_turns AS t
    WHERE t.session_pk = s.pk AND t.prompt_version <> s.prompt_version) WHERE pk = %s
"""
_INSERT_TURN = (
    f"INSERT INTO session_mw_ledger_turns (session_pk, {', '.join(_TURN)}, attributes) "
    f"VALUES ({_marks(len(_TURN) + 2)}) ON CONFLICT DO NOTHING RETURNING pk"
).encode()
_INSERT_LATE = b"""
INSERT INTO session_mw_ledger_late_usage VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING 1
"""
_SELECT_LATE = (
    b"SELECT input_tokens, output_tokens, cost_microusd FROM session_mw_ledger_late_usage WHERE session_pk = %s"
)
_TURN_CELLS = ", ".join(f"t.{name}" for name in ["pk", *_TURN, "attributes"])
_SELECT_TURNS = tuple(
    f"SELECT {_TURN_CELLS}, c.turn_pk IS NOT NULL, {words} FROM session_mw_ledger_turns AS t "
    "LEFT JOIN session_mw_ledger_content AS c ON c.turn_pk = t.pk WHERE t.session_pk = %s"
    for words in ("NULL, NULL, NULL", "c.messages, c.input, c.output")  # without what was said, and with it
)
SPARE_S = 0.5  # before the connection itself is given up
_TIMEOUT = b"SELECT set_config('statement_timeout', %s, true)"
_SELECT_TRACE = b"SELECT 1 FROM session_mw_ledger_turns WHERE trace_id = %s AND session_pk = %s LIMIT 1"
_USER_TOTALS = b"""
    SELECT count(*) FILTER (WHERE status <> 'active'), avg(turns) FILTER (WHERE status <> 'active')::float8,
        max(started_ms) - min(started_ms)
    FROM session_mw_ledger_sessions WHERE user_id = %s AND confirmed IS NOT FALSE
"""
_SITTINGS = f"""
    SELECT user_id, {", ".join(Sitting._fields)} FROM session_mw_ledger_sessions
    WHERE user_id = ANY(%s) AND status <> 'active' AND ended_ms IS NOT NULL AND confirmed IS NOT FALSE
""".encode()
_OLDEST = b"""
SELECT pk, started_ms FROM session_mw_ledger_sessions WHERE last_ms < %s
    ORDER BY last_ms, pk LIMIT %s FOR UPDATE SKIP LOCKED
"""
_FORGET_TURNS = b"""
WITH gone AS (DELETE FROM session_mw_ledger_turns WHERE pk IN
    (SELECT pk FROM session_mw_ledger_turns WHERE session_pk = ANY(%s) LIMIT %s) RETURNING 1)
SELECT count(*) FROM gone
"""
_FORGET_LATE = b"""
WITH gone AS (DELETE FROM session_mw_ledger_late_usage WHERE session_pk = ANY(%s) RETURNING 1)
SELECT count(*) FROM gone
"""
_MARK = b"INSERT INTO session_mw_ledger_dirty (day) SELECT unnest(%s::bigint[])"
_FORGET_SUMS = (
    b"DELETE FROM session_mw_ledger_daily WHERE day = ANY(%s)",
    b"DELETE FROM session_mw_ledger_flows WHERE day = ANY(%s)",
)
_FORGET_SESSIONS = b"DELETE FROM session_mw_ledger_sessions WHERE pk = ANY(%s)"


def _one(db: Connection, text: bytes, asked: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
    return db.execute_all([(text, asked)])[0]


class Tables:
    """
    The tables as a book to write in, within a transaction that begins here and ends with ``commit``.

    Args:
        db: In no transaction.
        keys: The sessions that will be written of; what is known of them is read at once.
    """

    def __init__(self, db: Connection, keys: Iterable[Key]) -> None:
        self._db = db
        ids, generations = [list(column) for column in zip(*sorted(set(keys)), strict=True)] or ([], [])
        *_, rows = db.execute_all([BEGIN, (_LOCK, (ids,)), (_HOLD, (ids, generations))])
        self._known = {(row.session_id, row.generation): row for row in map(_session, rows)}
        self._touched = Touched()
        for row in self._known.values():
            self._touched.know(row)
        self._updates: dict[int, Statement] = {}
        self._below: list[Statement] = []

    def commit(self) -> None:
        """Write what changed, and make it visible."""
        marks = [mark_days(self._touched.days)] if self._touched.days else []
        self._db.execute_all([*self._updates.values(), *self._below, *marks, COMMIT])

    def find(self, key: Key) -> SessionRow | None:
        return self._known.get(key)

    def keep(self, row: SessionRow, before: SessionRow | None) -> SessionRow:
        cells = [*(getattr(row, column) for column in _SESSION), _dump(row.attributes)]
        if before is not None:
            self._touched.kept(row, before)
            self._updates[row.pk] = (_UPDATE_SESSION, (*cells, row.pk))
            if row.attributes != before.attributes:
                self._below += usages.scores(row.pk, row.attributes, before.attributes)
            return row
        ((pk,),) = _one(self._db, _INSERT_SESSION, cells)
        self._below += usages.scores(pk, row.attributes, {})
        named = dict(zip(_SESSION, cells[:-1], strict=True))
        made = SessionRow(pk, **named, attributes=row.attributes)
        self._touched.kept(made, None)
        return made

    def look_for_versions(self, session_pk: int) -> None:
        self._below.append((_SET_MIXED, (session_pk,)))  # behind what changes the session

    def has_trace(self, session_pk: int, trace_id: str) -> bool:
        return bool(_one(self._db, _SELECT_TRACE, (trace_id, session_pk)))

    def add_turn(self, session_pk: int, turn: TurnRow, calls: Sequence[UsageRow]) -> bool:
        cells = [turn.span_id or "" if column == "span_id" else getattr(turn, column) for column in _TURN]
        found = _one(self._db, _INSERT_TURN, [session_pk, *cells, _dump(turn.attributes)])
        if found:
            self._touched.added_to(session_pk)
            self._below += usages.below(found[0][0], turn, calls)
        return bool(found)

    def add_late_usage(self, session_pk: int, event: Happening, usage: Usage) -> bool:
        cells = (session_pk, event.uid, event.at_ms, usage.input_tokens, usage.output_tokens, usage.cost_microusd)
        return bool(_one(self._db, _INSERT_LATE, cells))

    def late_usage(self, session_pk: int) -> Usage:
        total = Usage()
        if session_pk:
            for row in _one(self._db, _SELECT_LATE, (session_pk,)):
                total = total.plus(Usage(*row))
        return total


def mark_days(days: Iterable[int]) -> Statement:
    """Return what takes down that the sums of some days have to be made anew."""
    return _MARK, (sorted(days),)


def _forget_sums(rows: Iterable[Sequence[Any]]) -> list[Statement]:
    """Return what forgets sums that sessions are in which are forgotten: they tell of users and actions."""
    days = sorted({day_of(row[-1]) for row in rows})
    return [*((text, (days,)) for text in _FORGET_SUMS), mark_days(days)]


def _dump(attributes: Attributes) -> str | None:
    return json.dumps(dict(attributes), separators=(",", ":")) if attributes else None


def select(db: Connection, which: str, asked: Sequence[object]) -> list[SessionRow]:
    """Return the sessions that fit *which*, in its order."""
    return sessions(db.fetch((f"{_SELECT_SESSION} {which}".encode(), asked)))


def sessions(found: Iterable[Sequence[Any]]) -> list[SessionRow]:
    """Return sessions from their columns."""
    return [_session(cells) for cells in found]


def fetch_until(db: Connection, statement: Part, until: float, share: float = 1.0) -> Found:
    """
    Return the rows of a statement, none when they do not come in time: the server keeps what it found to itself.

    Args:
        db: In a transaction.
        statement: Only reads.
        until: When the time is up, seconds of the monotonic clock.
        share: It may take that much of what is left.
    """
    text, asked = statement
    until = min(until, db.until - SPARE_S)
    left_ms = round((until - time.monotonic()) * share * 1000)
    if left_ms <= 0:
        return Found([], stopped=True)
    db.execute_all([(b"SAVEPOINT looking", None), (_TIMEOUT, (str(left_ms),))])
    try:
        rows = db.fetch((text.encode(), asked))
    except psycopg.errors.QueryCanceled:
        db.execute_all([(b"ROLLBACK TO SAVEPOINT looking", None)])
        return Found([], stopped=True)
    db.execute_all([(b"RELEASE SAVEPOINT looking", None)])
    return Found(rows)


def pick(db: Connection, session_id: str, generation: int | None) -> SessionRow | None:
    """Return one session, its newest generation unless told which."""
    asked = (values.text(session_id), None if generation is None else values.bounded(generation))
    found = sessions(_one(db, _PICK, asked))
    return found[0] if found else None


def _session(cells: Sequence[Any]) -> SessionRow:
    row = dict(zip(_SESSION, cells[1:-1], strict=True))
    return SessionRow(cells[0], **row, attributes=_load(cells[-1], f"session {row['session_id']!r}"))


def turns_of(db: Connection, session: SessionRow, content: bool, only: Only = None) -> list[TurnRow]:
    """Return the turns of a session, or some of them, in no order; with what was said where it is asked for."""
    which, asked = usages.among(only)
    found = _one(db, (_SELECT_TURNS[content] + which).encode(), [session.pk, *asked])
    return [_turn(session, cells) for cells in found]


def totals_of(db: Connection, user_id: str) -> tuple[int, float | None, int | None]:
    """Return a user's ended sessions, their turns on average, and the milliseconds from first to last start."""
    ((ended, mean, span),) = _one(db, _USER_TOTALS, (values.text(user_id),))
    return ended, mean, span


def sittings_of(db: Connection, user_ids: Iterable[str]) -> dict[str, list[Sitting]]:
    """Return the sessions of many users that have ended and count, in no order."""
    users = sorted({values.text(user_id) for user_id in user_ids})
    found: dict[str, list[Sitting]] = {user: [] for user in users}
    for user, *cells in _one(db, _SITTINGS, (users,)) if users else ():
        found[user].append(Sitting._make(cells))
    return found


def forget(db: Connection, older_than_ms: int, sessions: int, turns: int) -> int | None:
    """
    Delete the oldest sessions with all that belongs to them, in one transaction.

    Args:
        db: In no transaction.
        older_than_ms: Only those whose last activity was before.
        sessions: So many at most.
        turns: So many of their turns at most.

    Returns:
        How many sessions; None when they have more turns: some of these were deleted, so try again.
    """
    *_, rows = db.execute_all([BEGIN, (_OLDEST, (values.bounded(older_than_ms), sessions))])
    oldest = [pk for pk, _ in rows]
    db.execute_all(_forget_sums(rows))
    ((gone,),) = _one(db, _FORGET_TURNS, (oldest, turns))
    if gone >= turns:
        db.execute_all([COMMIT])
        return None
    db.execute_all([(_FORGET_SESSIONS, (oldest,)), COMMIT])
    return len(oldest)


def forget_some(db: Connection, doomed: Node, sessions: int, turns: int) -> tuple[Forgotten, bool]:
    """Delete sessions that were named, in one transaction; as the file does."""
    test, asked = where(doomed, POSTGRES)
    which = f"FROM session_mw_ledger_sessions AS s WHERE {test} ORDER BY s.pk LIMIT %s FOR UPDATE"
    *_, rows = db.execute_all([BEGIN, (f"SELECT s.pk, s.status, s.started_ms {which}".encode(), [*asked, sessions])])
    pks = [pk for pk, *_ in rows]
    db.execute_all(_forget_sums(rows))
    ((gone,),) = _one(db, _FORGET_TURNS, (pks, turns))
    if gone >= turns:
        db.execute_all([COMMIT])
        return Forgotten(turns=gone), False
    ((late,),), *_ = db.execute_all([(_FORGET_LATE, (pks,)), (_FORGET_SESSIONS, (pks,)), COMMIT])
    active = sum(status == "active" for _, status, _ in rows)
    return Forgotten(len(pks), gone, late, active), len(pks) < sessions


def _turn(session: SessionRow, cells: Sequence[Any]) -> TurnRow:
    row = dict(zip(_TURN, cells[1:-5], strict=True))
    row["span_id"] = row["span_id"] or None
    *_, dumped, captured, messages, asked, answered = cells
    said = _load(dumped, f"turn {row['number']} of session {session.session_id!r}")
    content = {name: text for name, text in zip(CONTENT, (messages, asked, answered), strict=True) if text is not None}
    return TurnRow(
        cells[0], session.session_id, session.generation, **row, attributes=said, captured=captured, content=content
    )


def _load(said: str | None, where: str) -> Attributes:
    try:
        found: dict[str, Any] = json.loads(said) if said else {}
    except ValueError as error:
        raise StoreError(f"cannot read {where}: its attributes are damaged. Restore them from a backup.") from error
    return found
