"""
The history in a SQLite file, which may be the session store's own: see ``sqlite_schema`` for its tables.

A transaction takes the write lock at its begin; after ``kill -9`` it is there or it is not. Requests wait meanwhile,
since the store's touches need the same lock. So values are made storable before it is taken, a long batch is written
in parts, and between two parts the lock is left alone for as long as it was held (SQLite queues nobody: who waits
looks again from time to time, and would never find it free).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from .._core.events import EventRecord
from .._core.records import AttributeValue, TurnRecord
from .._core.user_totals import Sitting, Totals
from .._sqlite import Database, writing
from ..exceptions import StoreError
from . import book, values
from . import sqlite_sums as sums
from . import sqlite_tables as tables
from . import sqlite_usages as usages
from .analytics.dailies import MOST_DAYS, TooLargeError
from .analytics.grouped import summary
from .analytics.questions import Question, Questions
from .analytics.walking import walk
from .filters import Filter, sql, wanted
from .forgetting import Forgotten, doomed
from .history import happening, turned
from .listing import Found, Listing, Page, read_page, whole
from .rows import Only, SessionRow, TurnRow, UsageRow
from .samples import Sample, Sampling, samples_from, sampling
from .sqlite_schema import MIGRATIONS, missing_indexes, overwriting, prepare, prepare_to_write, readable, version_of
from .summary import Group, Summing
from .touched import day_of

WAIT_S = 2.0  # for a lock: writes happen on a background thread
# So much a transaction: two or three milliseconds on two shared cores.
RECORDS = 50
FORGET_SESSIONS = 100
FORGET_TURNS = 250  # each with its calls

T = TypeVar("T")


class _File(Database):
    """The file. Unlike live sessions, history cannot go on from anything else: a damaged file is left where it is."""

    def _set_aside(self, corrupt: Exception) -> None:
        cause = corrupt.__cause__
        hint = "Move the file away or put a backup in its place; it is not overwritten."
        raise StoreError(f"cannot use the history in {self.path!r}: {cause}. {hint}") from cause


def _prepare_to_read(db: sqlite3.Connection) -> None:
    prepare(db)
    db.execute("PRAGMA query_only = ON")


class SqliteLedger(Questions):
    """
    The history in a SQLite file. Nothing is opened before the first use.

    Args:
        path: Of the file; it is made when it is not there.
        wait: Seconds that a transaction may wait for others that write.
        read_only: Once the tables are there, SQLite refuses whatever would write. A file that cannot be written is read
            all the same.
        metric_indexes: False drops the indices of lists by duration, turns, tokens and cost, for who writes much: a
            finished turn costs half as much then, and such a list sorts all sessions that are meant, within its time.
            True makes them again; None leaves them as they are.
    """

    name = "sqlite"

    def __init__(
        self, path: str, wait: float = WAIT_S, *, read_only: bool = False, metric_indexes: bool | None = None
    ) -> None:
        wait_ms = round(wait * 1000)
        made = _prepare_to_read if read_only else partial(prepare_to_write, metric_indexes=metric_indexes)
        self._read_only = read_only
        reader = readable if read_only else None
        self._file = _File(path, made, busy_timeout_ms=wait_ms, background_ms=wait_ms, reader=reader)

    def __repr__(self) -> str:
        return f"SqliteLedger({self._file.path!r})"

    @property
    def path(self) -> str:
        """Of the file, absolute."""
        return self._file.path

    def _read(self, look: Callable[[sqlite3.Connection], T]) -> T:
        """Return what *look* finds, all of it at one moment."""

        def work(db: sqlite3.Connection) -> T:
            db.execute("BEGIN")
            found = look(db)
            db.execute("COMMIT")
            return found

        self._file.check()
        return self._file.run("read history", work, background=True)

    def _dialect(self, db: sqlite3.Connection) -> sql.Sqlite:
        """Return how a file is asked: one that cannot be written may be of an earlier release."""
        older = self._read_only and version_of(db) < len(MIGRATIONS)
        return sql.Sqlite(before_v5=True) if older else sql.SQLITE

    def _change(self, what: str, change: Callable[[sqlite3.Connection], T]) -> T:
        """Do *change* wholly or not at all."""

        def work(db: sqlite3.Connection) -> T:
            with writing(db):
                return change(db)

        self._file.check()
        return self._file.run(what, work, background=True)

    def _write(self, write: Callable[[book.Book, Sequence[T]], None], records: Sequence[T]) -> None:
        """Write *records* in parts."""
        for start in range(0, len(records), RECORDS):
            began, part = time.monotonic(), records[start : start + RECORDS]

            def change(db: sqlite3.Connection, part: Sequence[T] = part) -> None:
                page = tables.Tables(db)
                write(page, part)
                page.mark()

            self._change("write history", change)
            if start + RECORDS < len(records):
                _let_others(began)

    def emit(self, records: Sequence[EventRecord]) -> bool:
        """
        Write starts, ends and late usage down. The same records again change nothing.

        Returns:
            True, once they are committed.

        Raises:
            StoreUnavailable: The file is locked, or the disk full. Write all of them again.
            StoreError: The file is damaged, read-only, not to be opened, or a newer release's.
        """
        self._write(book.write_events, [event for event in map(happening, records) if event is not None])
        return True

    def write_turns(self, turns: Sequence[TurnRecord]) -> None:
        """Write finished turns down. The same turns again change nothing. Raises as ``emit`` does."""
        self._write(book.write_turns, [turned(turn) for turn in turns])

    def sessions(
        self, limit: int = 100, *, user_id: str | None = None, before_pk: int | None = None, where: Filter | None = None
    ) -> list[SessionRow]:
        """Return the newest sessions first."""
        test, asked = sql.where(wanted(user_id, before_pk, where), sql.SQLITE)
        size = values.bounded(max(0, limit))
        return self._read(lambda db: tables.select(db, f"WHERE {test} ORDER BY s.pk DESC LIMIT ?", [*asked, size]))

    def find(self, listing: Listing) -> Page:
        """Return a page of a list."""

        def look(db: sqlite3.Connection) -> Page:
            began = time.monotonic()
            found = read_page(
                listing,
                tables.SESSION_COLUMNS,
                lambda statement, share: tables.fetch_until(db, statement, began + share * listing.seconds),
                sql.Sqlite(lacks=missing_indexes(db)),
                lambda rows: tables.sessions(db, rows),
            )
            return found

        return self._read(look)

    def summary(self, asked: Summing) -> list[Group]:
        """Return sums over sessions."""

        def look(db: sqlite3.Connection) -> list[Group]:
            until = time.monotonic() + asked.seconds
            return summary(asked, lambda part: tables.fetch_until(db, part, until), self._dialect(db))

        return self._read(look)

    def samples(self, asked: Sampling) -> list[Sample]:
        """Return what single sessions say of one quantity."""

        def look(db: sqlite3.Connection) -> Found:
            until = time.monotonic() + asked.seconds
            return tables.fetch_until(db, sampling(asked, self._dialect(db)), until)

        return samples_from(asked, whole(self._read(look), asked.seconds))

    def _analyze(self, make: Callable[[], Question[T]]) -> T:
        def look(db: sqlite3.Connection) -> T:
            question = make()
            until = time.monotonic() + question.asked.seconds
            stopped = walk(question, lambda part: tables.fetch_until(db, part, until), self._dialect(db))
            return question.answer(stopped)

        return self._read(look)

    def session(self, session_id: str, generation: int | None = None) -> SessionRow | None:
        """Return one session, its newest generation unless told which; None when it is not known."""
        return self._read(lambda db: tables.pick(db, session_id, generation))

    def turns(
        self,
        session_id: str,
        generation: int | None = None,
        *,
        content: bool = False,
        only: Only = None,
    ) -> list[TurnRow]:
        """Return the turns of a session in the order in which they began."""

        def look(db: sqlite3.Connection) -> list[TurnRow]:
            row = tables.pick(db, session_id, generation)
            return [] if row is None else tables.turns_of(db, row, content, only)

        return list(book.in_order(self._read(look)))

    def usages(self, session_id: str, generation: int | None = None, *, only: Only = None) -> list[UsageRow]:
        """Return the calls of a session's turns in the order in which they began."""

        def look(db: sqlite3.Connection) -> list[UsageRow]:
            row = tables.pick(db, session_id, generation)
            return [] if row is None else usages.usages_of(db, row, only)

        return book.calls_in_order(self._read(look))

    def score_names(self) -> list[str]:
        """Return the names of the scores that sessions have, in alphabetical order."""
        return self._read(usages.score_names)

    def user_totals(self, user_id: str) -> dict[str, AttributeValue]:
        """Return the aggregates over a user's sessions by wire name; what is not known is absent."""
        return book.user_totals(*self._read(lambda db: tables.totals_of(db, user_id)))

    def user_totals_at(self, ends: Sequence[tuple[str, Sitting]]) -> list[Totals]:
        """Return the same as they are at the ends of some sessions that are about to be reported."""
        return self._read(lambda db: book.user_totals_at(ends, lambda user: tables.sittings_of(db, user)))

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
            taken = self._forget_some(ms, size)
            forgotten += taken
            left -= size
            if taken < size:
                break
            _let_others(began)
        return forgotten

    def forget_content_older_than(self, ms: int, limit: int) -> int:
        """Forget what was said in turns that began before *ms*, in at most *limit* of them; return in how many."""
        forgotten, left = 0, limit
        while left > 0:
            began, size = time.monotonic(), min(left, FORGET_SESSIONS)
            gone = self._change("forget content", partial(usages.forget_content, older_than_ms=ms, limit=size))
            forgotten += gone
            left -= size
            if gone < size:
                break
            _let_others(began)
        return forgotten

    def _forget_some(self, ms: int, size: int) -> int:
        """Forget *size* sessions, in several transactions when they have many turns."""
        while True:
            began = time.monotonic()
            gone = self._change("forget history", lambda db: tables.forget(db, ms, size, FORGET_TURNS))
            if gone is not None:
                return gone
            _let_others(began)

    def forget(self, *, user_id: str | None = None, session_id: str | None = None) -> Forgotten:
        """Forget a user's sessions, or one; of what was deleted nothing is left in the file's free pages either."""
        which, forgotten, done = doomed(user_id, session_id), Forgotten(), False

        def work(db: sqlite3.Connection) -> tuple[Forgotten, bool]:
            with overwriting(db), writing(db):
                return tables.forget_some(db, which, FORGET_SESSIONS, FORGET_TURNS)

        while not done:
            began = time.monotonic()
            self._file.check()
            more, done = self._file.run("forget history", work, background=True)
            forgotten = forgotten.plus(more)
            _let_others(began)
        self._file.run("forget history", lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
        return forgotten

    def roll_up(self, before_ms: int, seconds: float) -> int:
        """Make the sums of days that have none, or were written of since; return of how many."""
        until, done = time.monotonic() + seconds, 0
        if self._read_only:
            return 0
        for day, mark in self._read(lambda db: sums.dirty(db, day_of(before_ms), MOST_DAYS)):
            if time.monotonic() >= until:
                break
            try:
                made = self._read(partial(sums.made, day=day))
            except TooLargeError:
                continue
            done += self._change("keep sums", partial(sums.keep, sums=made, mark=mark))
        return done

    def close(self) -> None:
        """Let go of the file. The next use opens it again."""
        self._file.close()


def _let_others(since: float) -> None:
    """Leave the lock to others for as long as it was held, 10 ms at most."""
    time.sleep(min(0.01, time.monotonic() - since))
