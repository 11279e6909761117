"""
The history in a SQLite file, which may be the session store's own: see ``sqlite_schema`` for its tables.

Writes are transactions begun with ``BEGIN IMMEDIATE``: a deferred one that turns to writing fails at once when
somebody wrote meanwhile, whatever the timeout. After ``kill -9`` each is there or it is not.

Requests wait while we write, since the store's touches need the same lock. So values are made storable before it is
taken, a long batch is written in parts, and between two parts the lock is left alone for as long as it was held
(SQLite queues nobody: who waits looks again from time to time, and would never find it free).
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, TypeVar

from .._core.events import EventRecord
from .._core.records import Attributes, AttributeValue, TurnRecord
from ..exceptions import StoreError, StoreUnavailable
from . import book, values
from .history import Happening, Key, Usage, happening, turned
from .rows import SessionRow, TurnRow
from .sqlite_files import Files, Patience
from .sqlite_schema import prepare

WAIT_S = 2.0  # for locks, in all: writes happen on a background thread
# So much a transaction: two or three milliseconds on two shared cores.
RECORDS = 50
FORGET_SESSIONS = 100
FORGET_TURNS = 1_000

T = TypeVar("T")

_SESSION = [f.name for f in fields(SessionRow) if f.name not in ("pk", "attributes")]
_TURN = [f.name for f in fields(TurnRow) if f.name not in ("pk", "session_id", "generation", "attributes")]
_SELECT_SESSION = f"SELECT pk, {', '.join(_SESSION)} FROM ledger_sessions"  # noqa: S608 names of our own columns
_INSERT_SESSION = f"INSERT INTO ledger_sessions ({', '.join(_SESSION)}) VALUES ({', '.join('?' * len(_SESSION))})"  # noqa: S608
_UPDATE_SESSION = f"UPDATE ledger_sessions SET {', '.join(f'{c} = ?' for c in _SESSION)} WHERE pk = ?"  # noqa: S608
_SELECT_TURNS = f"SELECT pk, {', '.join(_TURN)}, attributes FROM ledger_turns WHERE session_pk = ?"  # noqa: S608
_INSERT_TURN = (
    f"INSERT INTO ledger_turns (session_pk, {', '.join(_TURN)}, attributes) "  # noqa: S608
    f"VALUES ({', '.join('?' * (len(_TURN) + 2))}) ON CONFLICT DO NOTHING"
)
_USER_TOTALS = """
    SELECT COUNT(CASE WHEN status <> 'active' THEN 1 END), AVG(CASE WHEN status <> 'active' THEN turns END),
        MAX(started_ms) - MIN(started_ms)
    FROM ledger_sessions WHERE user_id = ?
"""


class _Tables:
    """The tables as a book to write in, within a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def find(self, key: Key) -> SessionRow | None:
        found = self._db.execute(f"{_SELECT_SESSION} WHERE session_id = ? AND generation = ?", key).fetchone()
        return None if found is None else _session(self._db, found)

    def keep(self, row: SessionRow, before: SessionRow | None) -> SessionRow:
        cells = [getattr(row, column) for column in _SESSION]
        if before is None:
            pk = self._db.execute(_INSERT_SESSION, cells).lastrowid
            assert pk is not None
            self._add_attributes(pk, row.attributes)
            return SessionRow(pk, **dict(zip(_SESSION, cells, strict=True)), attributes=row.attributes)
        self._db.execute(_UPDATE_SESSION, [*cells, row.pk])
        if row.attributes != before.attributes:
            self._db.execute("DELETE FROM ledger_session_attrs WHERE session_pk = ?", (row.pk,))
            self._add_attributes(row.pk, row.attributes)
        return row

    def _add_attributes(self, pk: int, attributes: Attributes) -> None:
        rows = [(pk, key, value, isinstance(value, bool)) for key, value in attributes.items()]
        self._db.executemany("INSERT INTO ledger_session_attrs VALUES (?, ?, ?, ?)", rows)

    def add_turn(self, session_pk: int, turn: TurnRow) -> bool:
        cells = [turn.span_id or "" if column == "span_id" else getattr(turn, column) for column in _TURN]
        said = json.dumps(turn.attributes, separators=(",", ":")) if turn.attributes else None
        return self._db.execute(_INSERT_TURN, [session_pk, *cells, said]).rowcount == 1

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


class SqliteLedger:
    """
    The history in a SQLite file. Nothing is opened before the first use.

    Args:
        path: Of the file; it is made when it is not there.
        wait: Seconds that an operation may wait for others that write, in all.
    """

    name = "sqlite"

    def __init__(self, path: str, wait: float = WAIT_S) -> None:
        self._path = os.path.abspath(path)
        self._wait = wait
        self._files = Files(self._path, prepare)

    def __repr__(self) -> str:
        return f"SqliteLedger({self._path!r})"

    @contextmanager
    def _transaction(self, write: bool, patience: Patience | None = None) -> Iterator[sqlite3.Connection]:
        """Do something wholly or not at all; after any error the connection is given up, and with it the rest."""
        patience = patience or Patience(self._wait)
        try:
            connection = self._files.connection(patience)
            patience.insist(lambda: _begin(connection, write))
            yield connection
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._files.discard()
            raise self._explained("write to" if write else "read", error) from error
        except BaseException:
            self._files.discard()
            raise

    def _write(self, write: Callable[[book.Book, Sequence[T]], None], records: Sequence[T]) -> None:
        """Write *records* in parts, waiting no longer than ``wait`` in all."""
        patience = Patience(self._wait)
        for start in range(0, len(records), RECORDS):
            began = time.monotonic()
            with self._transaction(write=True, patience=patience) as connection:
                write(_Tables(connection), records[start : start + RECORDS])
            if start + RECORDS < len(records):
                _let_others(began)

    def _explained(self, doing: str, error: sqlite3.Error) -> StoreError:
        what = f"cannot {doing} the ledger {self._path!r}: {error}"
        if type(error) is sqlite3.DatabaseError or "decode" in str(error):  # NOTADB, CORRUPT, text that is no UTF-8
            return StoreError(f"{what}. Move the file away or put a backup in its place; it is not overwritten.")
        if "locked" in str(error):
            return StoreUnavailable(f"{what} (waited {self._wait:g} s). Look which process writes for so long.")
        if isinstance(error, sqlite3.OperationalError):
            return StoreUnavailable(f"{what}. Look whether its directory is there, writable, and has space left.")
        return StoreError(f"{what}.")

    def emit(self, records: Sequence[EventRecord]) -> bool:
        """
        Write starts, ends and late usage down. The same records again change nothing.

        Returns:
            True, once they are committed.

        Raises:
            StoreUnavailable: The file is locked, full, read-only or not to be opened. Write all of them again.
            StoreError: It is damaged, or a newer release's.
        """
        self._write(book.write_events, [event for event in map(happening, records) if event is not None])
        return True

    def write_turns(self, turns: Sequence[TurnRecord]) -> None:
        """Write finished turns down. The same turns again change nothing. Raises as ``emit`` does."""
        self._write(book.write_turns, [turned(turn) for turn in turns])

    def sessions(
        self, limit: int = 100, *, user_id: str | None = None, before_pk: int | None = None
    ) -> list[SessionRow]:
        """Return the newest sessions first."""
        wanted: list[tuple[str, Any]] = []
        if user_id is not None:
            wanted.append(("user_id = ?", values.text(user_id)))
        if before_pk is not None:
            wanted.append(("pk < ?", values.bounded(before_pk)))
        where = " WHERE " + " AND ".join(test for test, _ in wanted) if wanted else ""
        asked = [value for _, value in wanted]
        with self._transaction(write=False) as connection:
            found = connection.execute(
                f"{_SELECT_SESSION}{where} ORDER BY pk DESC LIMIT ?", [*asked, values.bounded(max(0, limit))]
            )
            return [_session(connection, row) for row in found.fetchall()]

    def session(self, session_id: str, generation: int | None = None) -> SessionRow | None:
        """Return one session, its newest generation unless told which; None when it is not known."""
        with self._transaction(write=False) as connection:
            return _pick(connection, session_id, generation)

    def turns(self, session_id: str, generation: int | None = None) -> list[TurnRow]:
        """Return the turns of a session in the order in which they began."""
        with self._transaction(write=False) as connection:
            row = _pick(connection, session_id, generation)
            found = [] if row is None else connection.execute(_SELECT_TURNS, (row.pk,)).fetchall()
        return [] if row is None else list(book.in_order(_turn(row, cells) for cells in found))

    def user_totals(self, user_id: str) -> dict[str, AttributeValue]:
        """Return the aggregates over a user's sessions by wire name; what is not known is absent."""
        with self._transaction(write=False) as connection:
            ended, mean, span = connection.execute(_USER_TOTALS, (values.text(user_id),)).fetchone()
        return book.user_totals(ended, mean, span)

    def forget_older_than(self, ms: int, limit: int) -> int:
        """
        Forget sessions whose last activity was before *ms*, with all that belongs to them.

        Args:
            ms: Milliseconds since the epoch.
            limit: At most so many sessions.

        Returns:
            How many it were: fewer than *limit* when none is left.
        """
        forgotten, left = 0, limit
        while left > 0:
            began, size = time.monotonic(), min(left, FORGET_SESSIONS)
            taken = self._forget_some(values.bounded(ms), size)
            forgotten += taken
            left -= size
            if taken < size:
                break
            _let_others(began)
        return forgotten

    def _forget_some(self, ms: int, size: int) -> int:
        """Forget *size* sessions: their turns first, in several transactions when they are many."""
        oldest = "SELECT pk FROM ledger_sessions WHERE last_ms < ? ORDER BY last_ms, pk LIMIT ?"
        some = f"SELECT pk FROM ledger_turns WHERE session_pk IN ({oldest}) LIMIT ?"  # noqa: S608 constants
        while True:
            began = time.monotonic()
            with self._transaction(write=True) as connection:
                turns = connection.execute(f"DELETE FROM ledger_turns WHERE pk IN ({some})", (ms, size, FORGET_TURNS))  # noqa: S608
                if turns.rowcount < FORGET_TURNS:
                    gone = connection.execute(f"DELETE FROM ledger_sessions WHERE pk IN ({oldest})", (ms, size))  # noqa: S608
                    return gone.rowcount
            _let_others(began)

    def close(self) -> None:
        """Let go of the file. The next use opens it again."""
        self._files.close()


def _begin(connection: sqlite3.Connection, write: bool) -> None:
    """Begin a transaction and take its lock. Readers need one too, if only while another process repairs the log."""
    if write:
        connection.execute("BEGIN IMMEDIATE")
        return
    connection.execute("BEGIN")
    try:
        connection.execute("SELECT 1 FROM ledger_meta").fetchone()
    except sqlite3.Error:
        connection.execute("ROLLBACK")
        raise


def _let_others(since: float) -> None:
    """Leave the lock to others for as long as it was held, 10 ms at most."""
    time.sleep(min(0.01, time.monotonic() - since))


def _pick(connection: sqlite3.Connection, session_id: str, generation: int | None) -> SessionRow | None:
    found = connection.execute(
        f"{_SELECT_SESSION} WHERE session_id = ? AND generation = COALESCE(?, generation) "
        "ORDER BY generation DESC LIMIT 1",
        (values.text(session_id), None if generation is None else values.bounded(generation)),
    ).fetchone()
    return None if found is None else _session(connection, found)


def _session(connection: sqlite3.Connection, cells: Sequence[Any]) -> SessionRow:
    found = connection.execute("SELECT key, value, is_bool FROM ledger_session_attrs WHERE session_pk = ?", (cells[0],))
    said = {key: bool(value) if is_bool else value for key, value, is_bool in found}
    row = dict(zip(_SESSION, cells[1:], strict=True))
    row["confirmed"] = None if row["confirmed"] is None else bool(row["confirmed"])
    return SessionRow(cells[0], **row, attributes=said)


def _turn(session: SessionRow, cells: Sequence[Any]) -> TurnRow:
    row = dict(zip(_TURN, cells[1:-1], strict=True))
    row["span_id"] = row["span_id"] or None
    row["sampled"] = None if row["sampled"] is None else bool(row["sampled"])
    try:
        said = json.loads(cells[-1]) if cells[-1] else {}
    except ValueError as error:
        where = f"turn {row['number']} of session {session.session_id!r}"
        raise StoreError(
            f"cannot read {where}: its attributes are damaged. Put a backup in the file's place."
        ) from error
    return TurnRow(cells[0], session.session_id, session.generation, **row, attributes=said)
