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

from .url import Address
from .work import Batch, Rows, Work

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
    """The time was up before the server answered. The connection is of no use any more."""


def _bounded(work: Generator[Any, Any, R], until: float) -> Generator[Any, Any, R]:
    """Pass on what *work* waits for, as long as there is time."""
    try:
        state = next(work)
        while True:
            ready = yield state
            if not ready and monotonic() >= until:
                raise TimedOut
            state = work.send(ready)
    except StopIteration as stop:
        value: R = stop.value
        return value


def _has_rows(result: PGresult | None) -> bool:
    """Return whether a statement returns rows, be it none; to ask a cursor for its description costs a tenth more."""
    return result is not None and result.status == ExecStatus.TUPLES_OK


def _interval(until: float, interval: float) -> float:
    return min(interval, max(0.001, until - monotonic()))


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that waits until ``until`` (seconds of the monotonic clock) and no longer."""

    until = math.inf
    epoch = 0  # of its pool

    def wait(self, gen: Generator[Any, Any, R], interval: float = 0.1, timeout: float | None = None) -> R:
        """Wait for the server; not as psycopg does, which would ask a server that hangs to cancel."""
        return waiting.wait(_bounded(gen, self.until), self.pgconn.socket, interval=_interval(self.until, interval))

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


class AsyncConnection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """The same for an event loop."""

    until = math.inf
    epoch = 0

    async def wait(self, gen: Generator[Any, Any, R], interval: float = 0.1, timeout: float | None = None) -> R:
        """Wait for the server."""
        bounded = _bounded(gen, self.until)
        return await waiting.wait_async(bounded, self.pgconn.socket, interval=_interval(self.until, interval))

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
