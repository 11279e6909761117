"""
Connections to one SQLite file: one per thread and process, opened when first asked for, never shared across a fork.

A child process must not even close what it inherited: closing drops the locks that the parent relies on ("How To
Corrupt An SQLite Database File", sqlite.org/howtocorrupt.html, 2.6). Connections are therefore kept by process, and
those of the parent stay where they are.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

STEP_S = 0.001

T = TypeVar("T")


class Patience:
    """
    How long one call may wait for locks in all, however many it needs.

    SQLite's own busy handler looks again after up to 100 ms, and beside a busy session store may find the lock taken
    each time until its timeout is over. Ours looks each millisecond.

    Args:
        seconds: In all; the work done between two locks does not count.
    """

    def __init__(self, seconds: float) -> None:
        self._left = seconds

    def insist(self, step: Callable[[], T]) -> T:
        """
        Return the result of *step*, tried again while somebody else holds a lock it needs.

        Raises:
            sqlite3.OperationalError: It still does when patience has run out.
        """
        until = time.monotonic() + self._left
        while True:
            try:
                result = step()
                break
            except sqlite3.OperationalError as error:
                self._left = until - time.monotonic()
                if "locked" not in str(error) or self._left <= 0:
                    raise
            time.sleep(STEP_S)
        self._left = until - time.monotonic()
        return result


@dataclass(frozen=True)
class _Open:
    connection: sqlite3.Connection
    file: tuple[int, int]


@dataclass
class _OfProcess:
    lock: threading.Lock = field(default_factory=threading.Lock)
    of_thread: dict[threading.Thread, _Open] = field(default_factory=dict)


class Files:
    """
    The connections to one file.

    Args:
        path: Absolute.
        prepare: Called with each new connection, to make its tables.
    """

    def __init__(self, path: str, prepare: Callable[[sqlite3.Connection], None]) -> None:
        self._path = path
        self._prepare = prepare
        self._by_pid: dict[int, _OfProcess] = {}

    def _mine(self) -> _OfProcess:
        pid = os.getpid()
        mine = self._by_pid.get(pid)
        return mine if mine is not None else self._by_pid.setdefault(pid, _OfProcess())

    def connection(self, patience: Patience) -> sqlite3.Connection:
        """Return this thread's connection, in no transaction; opened anew when the file was moved or removed."""
        found = self._mine().of_thread.get(threading.current_thread())
        if found is not None and found.file == _identity(self._path):
            return found.connection
        self.discard()
        return self._open(patience)

    def discard(self) -> None:
        """Close this thread's connection; what it had not committed never was."""
        mine = self._mine()
        with mine.lock:
            found = mine.of_thread.pop(threading.current_thread(), None)
        if found is not None:
            found.connection.close()

    def close(self) -> None:
        """Close the connections of this process. The next use opens one again."""
        mine = self._mine()
        with mine.lock:
            found = list(mine.of_thread.values())
            mine.of_thread.clear()
        for one in found:
            one.connection.close()

    def _open(self, patience: Patience) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self._set_up(connection, patience)
        except BaseException:
            connection.close()
            raise
        opened = _Open(connection, _identity(self._path))
        mine = self._mine()
        with mine.lock:
            orphans = [thread for thread in mine.of_thread if not thread.is_alive()]
            dead = [mine.of_thread.pop(thread) for thread in orphans]
            mine.of_thread[threading.current_thread()] = opened
        for one in dead:
            one.connection.close()
        return connection

    def _set_up(self, connection: sqlite3.Connection, patience: Patience) -> None:
        """
        Make a connection ready.

        Write-ahead log: readers and the one writer do not wait for each other. ``synchronous=NORMAL``: what was
        committed survives the death of the process; after a power cut the last moments may be gone, nothing is broken
        (sqlite.org/pragma.html#pragma_synchronous).
        """
        # Two processes that both switch a new file do not wait for each other, whatever the timeout.
        patience.insist(lambda: connection.execute("PRAGMA journal_mode = WAL"))
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        patience.insist(lambda: self._prepare(connection))


def _identity(path: str) -> tuple[int, int]:
    """Return what tells a file from another under the same name."""
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)
