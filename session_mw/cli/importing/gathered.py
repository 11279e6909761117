"""
What was read, in a private database that the system deletes: first spans and events, then turns.

It has no name: SQLite removes the file as soon as it is open, so that nothing of it stays behind after ``kill -9``.
What fits into the cache is never written at all.
"""

from __future__ import annotations

import marshal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import groupby
from typing import Any, NamedTuple

from ..._core import names
from ...exceptions import StoreError
from ...ledger.values import whole
from .otlp import Span

CACHE_KB = 32 * 1024
BATCH = 500  # rows
MAX_SPANS = 50_000  # of a trace; more are not looked at

OWN, EXPORTED = 1, 2  # the latter names its session's generation, when it is not the first

Key = tuple[str, int]  # session id and generation


class Told(NamedTuple):
    """
    An event about a session.

    Attributes:
        key: Its session.
        name: ``session.start``, ``session.end`` or ``session.usage_late``.
        at_ms: When it happened, milliseconds since the epoch.
        attributes: By wire name.
    """

    key: Key
    name: str
    at_ms: int
    attributes: dict[str, Any]


class Found(NamedTuple):
    """
    A turn as its trace tells it.

    Attributes:
        key: Its session.
        own: 0 for a trace, ``OWN`` for a ``turn`` span of this package, ``EXPORTED`` for one that an export has made.
        number: As that span says.
        started_ns: Its begin, nanoseconds since the epoch: turns of one millisecond have an order, too.
        latency_ms: Until its end.
        status: ``ok``, ``error`` or ``cancelled``.
        conversation_id: Its conversation.
        user_id: As the spans say.
        trace: ``<trace id>-<span id>-<flags>``.
        error_type: What failed.
        first_chunk_ms: Time to the first chunk.
        input_tokens: None when unknown.
        output_tokens: None when unknown.
        cost_microusd: None when unknown.
        attributes: Of the turn.
        said: Of its session as a whole.
        calls: Made in it: the fields of ``UsageRecord``.
    """

    key: Key
    own: int
    number: int | None
    started_ns: int
    latency_ms: int
    status: str
    conversation_id: str | None
    user_id: str | None
    trace: str
    error_type: str | None
    first_chunk_ms: int | None
    input_tokens: int | None
    output_tokens: int | None
    cost_microusd: int | None
    attributes: dict[str, Any]
    said: dict[str, Any]
    calls: tuple[tuple[Any, ...], ...] = ()

    @property
    def started_ms(self) -> int:
        """Its begin, milliseconds since the epoch."""
        return self.started_ns // 1_000_000


class Sitting(NamedTuple):
    """A session that was found: its key, its first moment, and whether turns of ours tell of it."""

    key: Key
    first_ms: int
    own: bool


_TABLES = """
    CREATE TABLE spans (trace TEXT NOT NULL, body BLOB NOT NULL);
    CREATE TABLE events (session TEXT NOT NULL, generation INTEGER NOT NULL, at_ms INTEGER NOT NULL,
        body BLOB NOT NULL);
    CREATE TABLE turns (session TEXT NOT NULL, generation INTEGER NOT NULL, started_ns INTEGER NOT NULL,
        own INTEGER NOT NULL, body BLOB NOT NULL);
"""
_SITTINGS = """
    SELECT session, generation, MIN(at_ms), MAX(own) FROM (
        SELECT session, generation, started_ns / 1000000 AS at_ms, own FROM turns
        UNION ALL SELECT session, generation, at_ms, 0 FROM events)
    GROUP BY session, generation ORDER BY 3, 1, 2
"""
# Turns do not say in which of several lives of an id they were: it is the last that had begun.
_OF_LIFE = "UPDATE turns SET generation = ? WHERE session = ? AND generation < ? AND started_ns >= ? AND own < 2"
_OF = "WHERE session = ? AND generation = ?"


@contextmanager
def gathering() -> Iterator[Gathered]:
    """
    Give the database until the end of the block.

    Raises:
        StoreError: There is no room for it.
    """
    try:
        with closing(Gathered()) as gathered:
            yield gathered
    except sqlite3.Error as error:  # those of a history's file are told as StoreError
        hint = "Set TMPDIR to a directory with room for what is imported."
        raise StoreError(f"cannot keep what was read for a moment: {error}. {hint}") from error


class Gathered:
    """
    The database.

    Attributes:
        spans: Kept.
        traces: Of these, once ``index`` was called.
        cut: Spans that were passed over in traces with more than ``MAX_SPANS``.
    """

    def __init__(self) -> None:
        self.spans = self.traces = self.cut = 0
        self._db = sqlite3.connect("", isolation_level=None)
        for pragma in (f"cache_size = -{CACHE_KB}", "journal_mode = OFF", "synchronous = OFF", "temp_store = FILE"):
            self._db.execute(f"PRAGMA {pragma}").fetchall()
        self._db.executescript(_TABLES)
        self._db.execute("BEGIN")
        self._lives: list[tuple[str, int, int]] = []  # session id, generation above 1, its begin
        self._waiting: dict[str, list[tuple[Any, ...]]] = {"spans": [], "events": [], "turns": []}

    def close(self) -> None:
        """Let go of it."""
        self._db.close()

    def add_span(self, span: Span) -> None:
        """Keep a span."""
        self.spans += 1
        self._add("spans", (span.trace_id, marshal.dumps(tuple(span))))

    def add_event(self, told: Told) -> None:
        """Keep an event."""
        self._add("events", (*told.key, told.at_ms, marshal.dumps((told.name, told.attributes))))
        session_id, generation = told.key
        if generation > 1 and told.name != names.EVENT_USAGE_LATE:
            lasted_ms = whole(told.attributes.get(names.SESSION_DURATION_MS)) if told.name == names.EVENT_END else 0
            self._lives.append((session_id, generation, told.at_ms - max(0, lasted_ms or 0)))

    def add_turn(self, found: Found) -> None:
        """Keep a turn."""
        self._add("turns", (*found.key, found.started_ns, found.own, marshal.dumps(tuple(found))))

    def _add(self, table: str, row: tuple[Any, ...]) -> None:
        waiting = self._waiting[table]
        waiting.append(row)
        if len(waiting) >= BATCH:
            self._flush(table)

    def _flush(self, table: str) -> None:
        rows = self._waiting[table]
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            self._db.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 our own names
            rows.clear()

    def index(self) -> None:
        """Make the spans ready to be read trace by trace."""
        self._flush("spans")
        self._db.execute("CREATE INDEX ix_spans ON spans (trace)")
        self.traces = self._db.execute("SELECT COUNT(DISTINCT trace) FROM spans").fetchone()[0]

    def each_trace(self) -> Iterator[list[Span]]:
        """Yield the spans of each trace, each span once."""
        rows = self._db.execute("SELECT trace, body FROM spans ORDER BY trace, rowid")
        for _, group in groupby(rows, key=lambda row: row[0]):
            spans: dict[str, Span] = {}
            for _, body in group:
                if len(spans) >= MAX_SPANS:
                    self.cut += 1
                    continue
                span = Span(*marshal.loads(body))  # noqa: S302 written by this process
                spans.setdefault(span.span_id, span)
            yield list(spans.values())

    def sittings(self) -> Iterator[Sitting]:
        """Yield the sessions in the order in which they began."""
        for table in ("turns", "events"):
            self._flush(table)
            with suppress(sqlite3.OperationalError):  # it is there
                self._db.execute(f"CREATE INDEX ix_{table} ON {table} (session, generation)")
        for session_id, life, began_ms in sorted(set(self._lives)):
            self._db.execute(_OF_LIFE, (life, session_id, life, began_ms * 1_000_000))
        for session, generation, first_ms, own in self._db.execute(_SITTINGS):
            yield Sitting((session, generation), first_ms, bool(own))

    def turns_of(self, sitting: Sitting) -> Iterator[Found]:
        """Yield the turns of a session in the order in which they began; where some are of ours, these only."""
        rows = self._db.execute(
            f"SELECT body FROM turns {_OF} AND own >= ? ORDER BY started_ns, rowid",  # noqa: S608 constant
            (*sitting.key, sitting.own),
        )
        for (body,) in rows:
            yield Found(*marshal.loads(body))._replace(key=sitting.key)  # noqa: S302 written by this process

    def events_of(self, sitting: Sitting) -> list[Told]:
        """Return the events of a session in the order in which they happened."""
        rows = self._db.execute(f"SELECT at_ms, body FROM events {_OF} ORDER BY at_ms, rowid", sitting.key)  # noqa: S608
        return [Told(sitting.key, name, at_ms, said) for at_ms, (name, said) in _bodies(rows)]


def _bodies(rows: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, Any]]:
    for at_ms, body in rows:
        yield at_ms, marshal.loads(body)  # noqa: S302 written by this process
