"""
Resting connections, for threads.

Nothing runs while nobody asks: no thread keeps a pool alive, so there is nothing that a fork would lose or a closed
event loop strand. A connection is opened by a thread of its own that puts it to the others; who waits for it waits as
long as there is time, and hears at once why it could not be opened.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from time import monotonic

from .connections import Connection, Either, TimedOut, finish, stale


class Pool:
    """
    The resting connections of one process; whoever takes one has it alone.

    Args:
        open_one: Opens a connection and makes it ready.
        size: At most so many at once.
    """

    def __init__(self, open_one: Callable[[], Connection], size: int) -> None:
        self._open_one = open_one
        self._size = size
        self._idle: list[Connection] = []
        self._reset()
        weakref.finalize(self, finish_all, self._idle)
        _ALL.add(self)

    def _reset(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._epoch = 0
        self._total = self._opening = self._waiting = self._failures = 0
        self._failure: BaseException | None = None

    def take(self, seconds: float, opening: float) -> Connection:
        """
        Return a connection for the caller alone.

        Args:
            seconds: Wait for so long until one comes back.
            opening: Wait for so long while one is being opened.

        Raises:
            TimedOut: All were in use, or none could be opened in time.
            Exception: Why none could be opened.
        """
        try:
            connection = self._idle.pop()  # the usual case, without a lock: taking from a list is atomic
        except IndexError:
            return self._wait(seconds, opening)
        if connection.epoch == self._epoch and not stale(connection):
            return connection
        finish(connection)
        with self._changed:
            self._total -= 1
        return self._wait(seconds, opening)

    def _wait(self, seconds: float, opening: float) -> Connection:
        began = monotonic()
        with self._changed:
            failures = self._failures
            self._waiting += 1
            try:
                while True:
                    connection = self._usable()
                    if connection is not None:
                        return connection
                    if self._failures != failures and self._failure is not None:
                        raise self._failure
                    self._open_more()
                    patience = opening if self._opening else seconds
                    left = began + patience - monotonic()
                    if left <= 0:
                        raise TimedOut(round(patience * 1000))
                    self._changed.wait(left)
            finally:
                self._waiting -= 1

    def _usable(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.epoch == self._epoch and not stale(connection):
                return connection
            finish(connection)
            self._total -= 1
        return None

    def _open_more(self) -> None:
        """Open a connection for each who waits, as long as there may be more."""
        if self._opening < self._waiting and self._total < self._size:
            self._opening += 1
            self._total += 1
            # In the caller's context: where it makes no spans, its connection makes none either.
            work = partial(copy_context().run, self._open, self._epoch)
            threading.Thread(target=work, name="session-mw-connect", daemon=True).start()

    def _open(self, epoch: int) -> None:
        changed = self._changed
        try:
            connection = self._open_one()
        except BaseException as error:
            with changed:
                self._opening -= 1
                self._total -= 1
                self._failures += 1
                self._failure = error
                changed.notify_all()
            return
        with changed:
            self._opening -= 1
            if epoch == self._epoch and changed is self._changed:
                connection.epoch = epoch
                self._idle.append(connection)
            else:
                finish(connection)
                self._total -= 1
            changed.notify_all()

    def give(self, connection: Connection, usable: bool) -> None:
        """Take a connection back; it is closed when it is not usable any more."""
        if usable and connection.epoch == self._epoch:
            self._idle.append(connection)
            if not self._waiting:  # who begins to wait after this looks at the list first
                return
        else:
            finish(connection)
            with self._changed:
                self._total -= 1
        with self._changed:
            self._changed.notify()

    def drop(self) -> None:
        """Close what rests; what is in use is closed when it comes back."""
        with self._changed:
            self._epoch += 1
            self._total -= finish_all(self._idle)

    def after_in_child(self) -> None:
        """Forget what is left of the parent's: to close it here would end it there."""
        _INHERITED.extend(self._idle)
        self._idle.clear()
        self._reset()


def finish_all(idle: list[Connection]) -> int:
    """Close all of *idle*; returns how many they were: others may take some meanwhile."""
    closed = 0
    while True:
        try:
            finish(idle.pop())
        except IndexError:
            return closed
        closed += 1


_ALL: weakref.WeakSet[Pool] = weakref.WeakSet()
_INHERITED: list[Either] = []


def _in_child() -> None:
    for pool in list(_ALL):
        pool.after_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
