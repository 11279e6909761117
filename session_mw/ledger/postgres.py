"""
The history in a PostgreSQL database, which may be the session store's own: see ``postgres_schema`` for its tables.

It is written from the background, over connections of its own, and is as durable as the server's settings make it:
the end of a session is acknowledged to the store only after it was committed here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from .._core.events import EventRecord
from .._core.records import AttributeValue, TurnRecord
from .._core.user_totals import Sitting, Totals
from .._postgres import Database, State, parse
from .._postgres.connections import Connection
from .._postgres.work import COMMIT, Statement
from . import book, values
from . import postgres_sums as sums
from . import postgres_tables as tables
from . import postgres_usages as usages
from .analytics.dailies import MOST_DAYS, TooLargeError
from .analytics.grouped import summary
from .analytics.questions import Question, Questions
from .analytics.walking import walk
from .filters import Filter, sql, wanted
from .forgetting import Forgotten, doomed
from .history import happening, turned
from .listing import Listing, Page, read_page, whole
from .postgres_schema import PART
from .rows import Only, SessionRow, TurnRow, UsageRow
from .samples import Sample, Sampling, samples_from, sampling
from .summary import Group, Summing
from .touched import day_of

# So much a transaction: sessions that others write of have to wait meanwhile.
RECORDS = 100
FORGET_SESSIONS = 100
FORGET_TURNS = 1_000

_READING: Statement = (b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", None)

T = TypeVar("T")


class PostgresLedger(Questions):
    """
    The history in a PostgreSQL database. Nothing is opened before the first use.

    Where there are no tables the first use makes them; those of another release are refused (``migrate``).

    Args:
        url: ``postgresql://user:password@host/name``, with all that libpq allows.
        wait: Seconds that one call may take: nobody waits for a history.

    Raises:
        SettingsError: The URL cannot be read.
    """

    name = "postgresql"

    def __init__(self, url: str, wait: float = 10.0) -> None:
        self._database = Database(parse(url, "ledger"), PART, background_ms=round(wait * 1000))

    def __repr__(self) -> str:
        return f"PostgresLedger({self._database.address.shown!r})"

    def _read(self, look: Callable[[Connection], T]) -> T:
        """Return what *look* finds, all of it at one moment."""

        def job(db: Connection) -> T:
            db.execute_all([_READING])
            found = look(db)
            db.execute_all([COMMIT])
            return found

        return self._database.use("read history", job, background=True)

    def _write(
        self, write: Callable[[book.Book, Sequence[T]], None], records: Sequence[T], key: Callable[[T], tuple[str, int]]
    ) -> None:
        """Write *records* in parts."""
        for start in range(0, len(records), RECORDS):
            part = records[start : start + RECORDS]

            def job(db: Connection, part: Sequence[T] = part) -> None:
                page = tables.Tables(db, map(key, part))
                write(page, part)
                page.commit()

            self._database.use("write history", job, background=True)

    def emit(self, records: Sequence[EventRecord]) -> bool:
        """
        Write starts, ends and late usage down. The same records again change nothing.

        Returns:
            True, once they are committed.

        Raises:
            StoreUnavailable: The server is away, too slow or full. Write all of them again.
            StoreError: The tables are another release's, or not to be used.
        """
        known = [event for event in map(happening, records) if event is not None and event.event_name in book.KNOWN]
        self._write(book.write_events, known, lambda event: event.key)
        return True

    def write_turns(self, turns: Sequence[TurnRecord]) -> None:
        """Write finished turns down. The same turns again change nothing. Raises as ``emit`` does."""
        found = [turned(turn) for turn in turns]
        self._write(book.write_turns, found, lambda turn: (turn.row.session_id, turn.row.generation))

    def sessions(
        self, limit: int = 100, *, user_id: str | None = None, before_pk: int | None = None, where: Filter | None = None
    ) -> list[SessionRow]:
        """Return the newest sessions first."""
        test, asked = sql.where(wanted(user_id, before_pk, where), sql.POSTGRES)
        size = values.bounded(max(0, limit))
        return self._read(lambda db: tables.select(db, f"WHERE {test} ORDER BY s.pk DESC LIMIT %s", [*asked, size]))

    def find(self, listing: Listing) -> Page:
        """Return a page of a list."""

        def look(db: Connection) -> Page:
            until = time.monotonic() + listing.seconds
            return read_page(
                listing,
                tables.SESSION_COLUMNS,
                lambda statement, share: tables.fetch_until(db, statement, until, share),
                sql.POSTGRES,
                tables.sessions,
            )

        return self._read(look)

    def summary(self, asked: Summing) -> list[Group]:
        """Return sums over sessions."""

        def look(db: Connection) -> list[Group]:
            until = time.monotonic() + asked.seconds
            return summary(asked, lambda part: tables.fetch_until(db, part, until), sql.POSTGRES)

        return self._read(look)

    def samples(self, asked: Sampling) -> list[Sample]:
        """Return what single sessions say of one quantity."""
        return samples_from(asked, self._all(sampling(asked, sql.POSTGRES), asked.seconds))

    def _all(self, statement: sql.Part, seconds: float) -> Sequence[Any]:
        """Return all rows of a statement, or raise when they do not come in time."""
        until = time.monotonic() + seconds
        return whole(self._read(lambda db: tables.fetch_until(db, statement, until)), seconds)

    def _analyze(self, make: Callable[[], Question[T]]) -> T:
        def look(db: Connection) -> T:
            question = make()
            until = time.monotonic() + question.asked.seconds
            stopped = walk(question, lambda part: tables.fetch_until(db, part, until), sql.POSTGRES)
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

        def look(db: Connection) -> list[TurnRow]:
            row = tables.pick(db, session_id, generation)
            return [] if row is None else tables.turns_of(db, row, content, only)

        return list(book.in_order(self._read(look)))

    def usages(self, session_id: str, generation: int | None = None, *, only: Only = None) -> list[UsageRow]:
        """Return the calls of a session's turns in the order in which they began."""

        def look(db: Connection) -> list[UsageRow]:
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
        sittings = self._read(lambda db: tables.sittings_of(db, (user for user, _ in ends)))
        return book.user_totals_at(ends, lambda user: sittings[user])

    def forget_older_than(self, ms: int, limit: int) -> int:
        """Forget sessions whose last activity was before *ms*, at most *limit* of them; returns how many."""
        forgotten, left = 0, limit
        while left > 0:
            size = min(left, FORGET_SESSIONS)
            taken = self._forget_some(ms, size)
            forgotten += taken
            left -= size
            if taken < size:
                break
        return forgotten

    def forget_content_older_than(self, ms: int, limit: int) -> int:
        """Forget what was said in turns that began before *ms*, in at most *limit* of them; return in how many."""
        size = values.bounded(max(0, limit))
        return self._database.use("forget content", lambda db: usages.forget_content(db, ms, size), background=True)

    def _forget_some(self, ms: int, size: int) -> int:
        """Forget *size* sessions, in several transactions when they have many turns."""
        while True:
            gone = self._database.use(
                "forget history", lambda db: tables.forget(db, ms, size, FORGET_TURNS), background=True
            )
            if gone is not None:
                return gone

    def forget(self, *, user_id: str | None = None, session_id: str | None = None) -> Forgotten:
        """Forget a user's sessions, or one; the server's vacuum makes room of what they took."""
        which, forgotten, done = doomed(user_id, session_id), Forgotten(), False
        while not done:
            more, done = self._database.use(
                "forget history",
                lambda db: tables.forget_some(db, which, FORGET_SESSIONS, FORGET_TURNS),
                background=True,
            )
            forgotten = forgotten.plus(more)
        return forgotten

    def roll_up(self, before_ms: int, seconds: float) -> int:
        """Make the sums of days that have none, or were written of since; return of how many."""
        until, done = time.monotonic() + seconds, 0
        self._database.use("sum up history", sums.compact, background=True)
        for day in self._read(lambda db: sums.dirty(db, day_of(before_ms), MOST_DAYS)):
            if time.monotonic() >= until:
                break
            try:
                made, marks = self._read(partial(sums.made, day=day))
            except TooLargeError:
                continue
            keep = partial(sums.keep, sums=made, marks=marks)
            done += self._database.use("keep sums", keep, background=True)
        return done

    def migrate(self) -> State:
        """Bring the tables to this release's version: for whoever may change tables, not for workers."""
        return self._database.migrate()

    def close(self) -> None:
        """Close all connections. The next use opens them again."""
        self._database.close()
