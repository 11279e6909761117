"""
Connections that give up when time is up.

A server that hangs keeps its sockets open and acknowledges what is sent, so neither TCP nor ``statement_timeout``
ends the wait. psycopg asks for a look at least every *interval*; that is where the deadline is kept.
"""

from __future__ import annotations

import math
import select
from collections.abc import Generator
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg import waiting
from psycopg.adapt import AdaptersMap
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult
from psycopg.types.numeric import Int8Dumper

from .._core.patience import LOOKS, STRETCH
from .url import Address
from .work import Batch, Rows, Statement, Work

R = TypeVar("R")

# One type for all integers: otherwise 1 and 100,000 would be two prepared statements.
_ADAPTERS = AdaptersMap(psycopg.adapters)
_ADAPTERS.register_dumper(int, Int8Dumper)


class _Context:
    """What psycopg takes adapters from."""

    adapters = _ADAPTERS
    connection = None


_CONTEXT = _Context()
_PIPELINES = psycopg.Pipeline.is_supported()  # libpq 14


class TimedOut(Exception):
    """
    The time was up before the server answered. The connection is of no use any more.

    Attributes:
        ms: How long was waited for a connection to be opened; 0 when that was not what was waited for.
    """

    def __init__(self, ms: int = 0) -> None:
        super().__init__(ms)
        self.ms = ms


class _Deadline:
    """
    Until when a connection waits: of a spell in which nobody was run to look, no more counts than of one look.

    Attributes:
        until: Seconds of the monotonic clock; moved on by such spells.
        epoch: Of the connection's pool.
    """

    until = math.inf
    epoch = 0
    _last = math.inf  # no wait is longer, whatever happens

    def give(self, seconds: float) -> None:
        """Let what is done next take so many seconds from now on, and ten times as many with such spells."""
        now = monotonic()
        self.until, self._last = now + seconds, now + STRETCH * seconds

    def _pause(self, interval: float) -> float:
        """Return how long to wait before looking again."""
        return min(interval, max(0.001, (self.until - monotonic()) / LOOKS))

    def _bounded(self, work: Generator[Any, Any, R], pause: float) -> Generator[Any, Any, R]:
        """Pass on what *work* waits for, as long as there is time."""
        try:
            state = next(work)
            while True:
                before = monotonic()
                ready = yield state
                now = monotonic()
                if now - before > 2 * pause:
                    self.until = min(self.until + now - before - pause, self._last)
                if not ready and now >= self.until:
                    raise TimedOut
                state = work.send(ready)
        except StopIteration as stop:
            value: R = stop.value
            return value


def _has_rows(result: PGresult | None) -> bool:
    """Return whether a statement returns rows, be it none; to ask a cursor for its description costs a tenth more."""
    return result is not None and result.status == ExecStatus.TUPLES_OK


class Connection(_Deadline, psycopg.Connection[tuple[Any, ...]]):
    """A connection that waits for as long as it was given, and no longer."""

    def wait(self, gen: Generator[Any, Any, R], interval: float = 0.1, timeout: float | None = None) -> R:
        """Wait for the server; not as psycopg does, which would ask a server that hangs to cancel."""
        pause = self._pause(interval)
        return waiting.wait(self._bounded(gen, pause), self.pgconn.socket, interval=pause)

    def fetch(self, statement: Statement) -> Rows:
        """
        Return the rows of one statement that somebody's question has made.

        It is planned each time, for its own values: of a prepared statement the server takes one plan for all values
        from the sixth time on, which for a filter is often the wrong one. Rows come in binary: bytes not as digits.
        """
        return self.execute(*statement, prepare=False, binary=True).fetchall()

    def execute_all(self, batch: Batch) -> list[Rows]:
        """Execute *batch* in one round trip; returns the rows of each statement."""
        if len(batch) == 1:
            cursor = self.execute(*batch[0])
            return [cursor.fetchall() if _has_rows(cursor.pgresult) else []]
        if not _PIPELINES:
            cursors = [self.execute(*statement) for statement in batch]
        else:
            with self.pipeline():
                cursors = [self.execute(*statement) for statement in batch]
        return [cursor.fetchall() if _has_rows(cursor.pgresult) else [] for cursor in cursors]

    def do(self, work: Work[R]) -> R:
        """Do *work*."""
        try:
            batch = next(work)
            while True:
                batch = work.send(self.execute_all(batch))
        except StopIteration as stop:
            value: R = stop.value
            return value


class AsyncConnection(_Deadline, psycopg.AsyncConnection[tuple[Any, ...]]):
    """The same for an event loop."""

    async def wait(self, gen: Generator[Any, Any, R], interval: float = 0.1, timeout: float | None = None) -> R:
        """Wait for the server."""
        pause = self._pause(interval)
        return await waiting.wait_async(self._bounded(gen, pause), self.pgconn.socket, interval=pause)

    async def execute_all(self, batch: Batch) -> list[Rows]:
        """Execute *batch* in one round trip; returns the rows of each statement."""
        if len(batch) == 1 or not _PIPELINES:
            cursors = [await self.execute(*statement) for statement in batch]
        else:
            async with self.pipeline():
                cursors = [await self.execute(*statement) for statement in batch]
        return [await cursor.fetchall() if _has_rows(cursor.pgresult) else [] for cursor in cursors]

    async def do(self, work: Work[R]) -> R:
        """Do *work*."""
        try:
            batch = next(work)
            while True:
                batch = work.send(await self.execute_all(batch))
        except StopIteration as stop:
            value: R = stop.value
            return value


Either = Connection | AsyncConnection


def connect(address: Address) -> Connection:
    """Connect; within the address's ``connect_timeout``."""
    return Connection.connect(address.told, autocommit=True, prepare_threshold=0, context=_CONTEXT)


async def connect_async(address: Address) -> AsyncConnection:
    """Connect; within the address's ``connect_timeout``."""
    return await AsyncConnection.connect(address.told, autocommit=True, prepare_threshold=0, context=_CONTEXT)


def finish(connection: Either) -> None:
    """Close *connection* from wherever we are: no event loop is needed, nothing is waited for."""
    connection.pgconn.finish()


def stale(connection: Either) -> bool:
    """
    Return whether a resting connection has something to say: its server is gone, or about to.

    So what is sent next is not lost on the way, and nothing has to be repeated of which nobody knows whether it was
    done. One system call, no round trip.
    """
    if connection.closed:
        return True
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(connection.pgconn.socket, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([connection.pgconn.socket], [], [], 0)[0])
