"""Connections that rest, at most one user each; and how they survive forks and files that are moved."""

from __future__ import annotations

import math
import os
import random
import sqlite3
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..exceptions import StoreError

if sys.platform != "win32":  # there, processes that meet in the same instant retry instead
    import fcntl

OPENING_S = 0.004  # SQLite itself waits so long for a lock while a connection is made ready
REQUEST_PAGES = 16_000  # 64 MB of log before a request checkpoints after all: the backstop when nothing sweeps
BACKGROUND_PAGES = 1_000  # SQLite's default


class WouldWait(Exception):
    """The database is busy, or a connection has to be opened: not now, not on an event loop."""


class Connections:
    """
    The resting connections to one file; whoever takes one has it alone.

    Args:
        path: Of the file.
        prepare: Makes the tables, called with each new connection.
        otherwise: Opens the file in another way, where the usual one failed, or raises. None: there is no other.
    """

    def __init__(
        self,
        path: str,
        prepare: Callable[[sqlite3.Connection], None],
        otherwise: Callable[[sqlite3.Error], sqlite3.Connection] | None = None,
    ) -> None:
        self._path = path
        self._otherwise = otherwise
        self.epoch = 0  # raised when everything opened so far must not be used any more
        self.inode = 0  # of the file that this epoch's connections have open
        self.forking = False  # nobody gets a connection meanwhile
        self.forked_s = -math.inf  # monotonic clock: since then connections are being opened anew, on both sides
        self._prepare = prepare
        self._lock = threading.Lock()
        self._idle: dict[bool, list[sqlite3.Connection]] = {False: [], True: []}
        self._pid = os.getpid()
        self._out = 0
        weakref.finalize(self, _close_all, self._idle)
        _ALL.add(self)

    def take(self, background: bool, may_open: bool) -> sqlite3.Connection:
        """Return a connection for the caller alone."""
        if self._pid != os.getpid():
            self.after_in_child()
        with self._lock:
            if self.forking:
                raise WouldWait
            idle = self._idle[background]
            if not idle and not may_open:
                raise WouldWait
            self._out += 1
            if idle:
                return idle.pop()
        try:
            return self._open(background)
        except BaseException:
            self._leave()
            raise

    def give(self, connection: sqlite3.Connection, epoch: int, background: bool, usable: bool) -> None:
        """Take a connection back; it is closed when it is not usable any more."""
        with self._lock:
            usable = usable and epoch == self.epoch
            if usable:
                self._idle[background].append(connection)
        if not usable:
            connection.close()
        self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._out -= 1

    def _open(self, background: bool) -> sqlite3.Connection:
        with alone(self._path):
            self.inode = inode_of(self._path)
            try:
                connection = self._ready(background)
            except sqlite3.Error as error:
                if self._otherwise is None:
                    raise
                connection = self._otherwise(error)
            connection.execute("PRAGMA busy_timeout=0")  # from now on ``database`` waits, and looks more often
            self.inode = inode_of(self._path)
        return connection

    def _ready(self, background: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=OPENING_S, isolation_level=None, check_same_thread=False)
        try:
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            if mode != "wal":
                text = f"cannot open {self._path!r}: found journal mode {mode!r}. Put the file on a local disk."
                raise StoreError(text)
            connection.execute("PRAGMA synchronous=NORMAL")
            pages = BACKGROUND_PAGES if background else REQUEST_PAGES
            connection.execute(f"PRAGMA wal_autocheckpoint={pages}")
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def drop(self) -> None:
        """Close what rests; what is in use is closed when it comes back."""
        with self._lock:
            self.epoch += 1
            self.inode = 0
            _close_all(self._idle)

    def before_fork(self, patience: float = 1.0) -> None:
        """Close all connections; those in use are waited for, *patience* seconds."""
        end = time.monotonic() + patience
        with self._lock:
            self.forking = True
        while self._out and time.monotonic() < end:
            time.sleep(0.0005)
        self._lock.acquire()
        _close_all(self._idle)

    def after_in_parent(self) -> None:
        """Go on; connections are opened anew."""
        self._lock.release()
        self.forking = False
        self._note_fork()

    def after_in_child(self) -> None:
        """Forget what is left of the parent's: neither used nor closed here."""
        _INHERITED.extend(c for idle in self._idle.values() for c in idle)
        for idle in self._idle.values():
            idle.clear()
        self._lock = threading.Lock()
        self._pid, self._out, self.forking = os.getpid(), 0, False
        self.epoch += 1
        self._note_fork()

    def _note_fork(self) -> None:
        if self.inode:  # it was used before
            self.forked_s = time.monotonic()


def inode_of(path: str) -> int:
    """Return the inode number of the file, 0 when there is none."""
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


@contextmanager
def alone(path: str, patience: float = 1.0) -> Iterator[None]:
    """
    Keep other processes from opening or moving *path* meanwhile, as far as that can be done.

    The lock is on the directory: nothing is left behind, and locks on the file itself are SQLite's.
    """
    descriptor = _lock_directory(path, patience)
    try:
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _lock_directory(path: str, patience: float) -> int:
    if sys.platform == "win32":
        return -1
    try:
        descriptor = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1  # opening the file will tell why
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except OSError:
            if time.monotonic() >= end:
                return descriptor  # somebody else uses it for long: SQLite's own locks have to do
        time.sleep(random.uniform(0.0005, 0.005))  # noqa: S311


def _close_all(idle: dict[bool, list[sqlite3.Connection]]) -> None:
    for connections in idle.values():
        while connections:
            connections.pop().close()


_ALL: weakref.WeakSet[Connections] = weakref.WeakSet()
_FORKING: list[Connections] = []
_INHERITED: list[sqlite3.Connection] = []


def _before() -> None:
    _FORKING.extend(_ALL)
    for connections in _FORKING:
        connections.before_fork()


def _in_parent() -> None:
    for connections in _FORKING:
        connections.after_in_parent()
    _FORKING.clear()


def _in_child() -> None:
    for connections in _FORKING:
        connections.after_in_child()
    _FORKING.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
