"""
Resting connections, for the tasks of one event loop.

As ``pool``, with futures for threads. Connections are closed without the loop, which may be closed before them.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from time import monotonic

from .._core.patience import Patience
from .connections import AsyncConnection, Either, TimedOut, finish, stale


class LoopPool:
    """
    The resting connections of one event loop; whoever takes one has it alone.

    Args:
        open_one: Opens a connection and makes it ready.
        size: At most so many at once.
    """

    def __init__(self, open_one: Callable[[], Awaitable[AsyncConnection]], size: int) -> None:
        self._open_one = open_one
        self._size = size
        self._idle: list[AsyncConnection] = []
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself holds tasks weakly
        self._epoch = self._total = 0
        weakref.finalize(self, finish_all, self._idle)

    async def take(self, seconds: float, opening: float) -> AsyncConnection:
        """
        Return a connection for the caller alone.

        Args:
            seconds: Wait for so long until one comes back.
            opening: Wait for so long where one has to be opened.

        Raises:
            TimedOut: All were in use, or none could be opened in time.
            Exception: Why none could be opened.
        """
        patience = None
        while True:
            connection = self._usable()
            if connection is not None:
                return connection
            if patience is None:
                patience = Patience(opening if self._tasks or self._total < self._size else seconds, monotonic())
            await self._wait(patience)

    def _usable(self) -> AsyncConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.epoch == self._epoch and not stale(connection):
                return connection
            finish(connection)
            self._total -= 1
        return None

    async def _wait(self, patience: Patience) -> None:
        """Wait until a connection came back, or could not be opened."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._waiters.append(waiter)
        self._open_more(loop)
        timer = _Timer(loop, patience, waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._wake()  # it was this one's turn: the next may have it
            raise
        finally:
            timer.cancel()
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _open_more(self, loop: asyncio.AbstractEventLoop) -> None:
        """Open a connection for each who waits, as long as there may be more."""
        if len(self._tasks) < len(self._waiters) and self._total < self._size:
            self._total += 1
            task = loop.create_task(self._open(self._epoch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _open(self, epoch: int) -> None:
        try:
            connection = await self._open_one()
        except BaseException as error:
            self._total -= 1
            self._fail(error)
            if not isinstance(error, Exception):
                raise
            return
        connection.epoch = epoch
        self.give(connection, True)

    def give(self, connection: AsyncConnection, usable: bool) -> None:
        """Take a connection back; it is closed when it is not usable any more."""
        if usable and connection.epoch == self._epoch:
            self._idle.append(connection)
        else:
            finish(connection)
            self._total -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _fail(self, error: BaseException) -> None:
        told = error if isinstance(error, Exception) else TimedOut()
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(told)

    def drop(self) -> None:
        """Close what rests; what is in use is closed when it comes back. To be called from any thread."""
        self._epoch += 1
        self._total -= finish_all(self._idle)

    def abandon(self) -> None:
        """Forget connections of a parent process: to close them here would end them there."""
        _INHERITED.extend(self._idle)
        self._idle.clear()


class _Timer:
    """Tells a waiter when its patience is over."""

    def __init__(self, loop: asyncio.AbstractEventLoop, patience: Patience, waiter: asyncio.Future[None]) -> None:
        self._loop, self._patience, self._waiter = loop, patience, waiter
        self._handle = loop.call_later(patience.pause, self._look)

    def _look(self) -> None:
        if self._waiter.done():
            return
        if self._patience.over(monotonic()):
            self._waiter.set_exception(TimedOut(round(self._patience.seconds * 1000)))
        else:
            self._handle = self._loop.call_later(self._patience.pause, self._look)

    def cancel(self) -> None:
        self._handle.cancel()


def finish_all(idle: list[AsyncConnection]) -> int:
    """Close all of *idle*; returns how many they were."""
    closed = 0
    while idle:
        finish(idle.pop())
        closed += 1
    return closed


_INHERITED: list[Either] = []


class LoopPools:
    """
    A pool for each event loop that asks.

    Args:
        open_one: Opens a connection and makes it ready.
        size: At most so many at once, for each loop.
    """

    def __init__(self, open_one: Callable[[], Awaitable[AsyncConnection]], size: int) -> None:
        self._open_one = open_one
        self._size = size
        self._reset()
        _ALL.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()  # of the dictionary: loops run in threads
        self._pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopPool] = weakref.WeakKeyDictionary()

    def here(self) -> LoopPool:
        """Return the running loop's."""
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            with self._lock:
                pool = self._pools[loop] = LoopPool(self._open_one, self._size)
        return pool

    def drop(self) -> None:
        """Close what rests, in all loops."""
        with self._lock:
            pools = list(self._pools.values())
        for pool in pools:
            pool.drop()

    def after_in_child(self) -> None:
        """Forget the parent's loops; a loop that the child goes on with gets a new pool."""
        for pool in list(self._pools.values()):
            pool.abandon()
        self._reset()


_ALL: weakref.WeakSet[LoopPools] = weakref.WeakSet()


def _in_child() -> None:
    for pools in list(_ALL):
        pools.after_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
