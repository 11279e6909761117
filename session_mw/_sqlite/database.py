"""An SQLite file with a time budget: what its errors mean, and when to try again."""

from __future__ import annotations

import logging
import os
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..exceptions import StoreError, StoreUnavailable
from .connections import Connections, WouldWait, alone, inode_of
from .unwritable import Unwritable

R = TypeVar("R")

logger = logging.getLogger("session_mw")

# What a request may lose to other writers. Four processes that write without a pause, on two cores with up to eight
# times as much to do as they can: 50 ms lost 3 touches of 40,000, 100 ms none of 160,000. An uncounted turn is worse.
REQUEST_MS = 100
AFTER_FORK_MS = 2_000  # and for so long after a fork of a used process: all its threads and the child open the file
BACKGROUND_MS = 5_000  # nobody waits; shorter than a lease (30 s)

# Seconds between two tries. SQLite has no queue: whoever looks often finds the moments in which nobody writes, so that
# requests come before what is done behind them. Its own waiting (1, 2, 5, 10 ms ...) looks seldom.
NAPS_S = {False: (0.00005, 0.0002), True: (0.0005, 0.005)}
SPELL_S = 0.001  # more than that from one try to the next was not our waiting: the machine had others to run
STRETCH = 10  # but no call takes longer than so many times its patience

# https://sqlite.org/rescode.html; sqlite3.Error has the code from Python 3.11 on, before there is the text.
BUSY, LOCKED, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, NOTADB = 5, 6, 8, 10, 11, 13, 14, 26
_TEXTS = {
    "locked": BUSY,
    "readonly": READONLY,
    "disk I/O": IOERR,
    "malformed": CORRUPT,
    "full": FULL,
    "unable to open": CANTOPEN,
    "not a database": NOTADB,
}
_ADVICE = {
    READONLY: "Give the process write access to the file and its directory.",
    IOERR: "Look at the disk.",
    FULL: "Free some space.",
    CANTOPEN: "Give the process access to the file and its directory.",
}


class Corrupt(Exception):
    """
    The file is no database, or a damaged one.

    Attributes:
        epoch: Of the connections that found out.
    """

    def __init__(self, epoch: int) -> None:
        super().__init__(epoch)
        self.epoch = epoch


class Patience:
    """
    How long a call goes on trying.

    On a machine with more to do than it can, a process is often not run for longer than a request may wait, and has not
    tried once meanwhile: such spells count as 1 ms.

    Args:
        ms: Of waiting; ten times as much with such spells.
    """

    def __init__(self, ms: int) -> None:
        self.ms = ms
        self._left, self._before = ms / 1000, time.monotonic()
        self._end = self._before + STRETCH * self._left

    def over(self) -> bool:
        """Return whether it is used up; to be asked after each try."""
        now = time.monotonic()
        self._left -= min(now - self._before, SPELL_S)
        self._before = now
        return self._left <= 0 or now >= self._end


def _nap(background: bool) -> None:
    time.sleep(random.uniform(*NAPS_S[background]))  # noqa: S311  jitter: two waiters do not meet again


class Database:
    """
    An SQLite file, opened on first use.

    Args:
        path: Of the file.
        prepare: Makes the tables; called with each new connection, in autocommit mode, other openers waiting.
        busy_timeout_ms: How long a call that somebody waits for may wait for other processes' locks altogether.
        background_ms: How long any other may; at least as long.
        reader: Makes a connection ready that can only read; then a file that cannot be written is read. None: such a
            file is an error.
    """

    def __init__(
        self,
        path: str,
        prepare: Callable[[sqlite3.Connection], None],
        *,
        busy_timeout_ms: int = REQUEST_MS,
        background_ms: int = BACKGROUND_MS,
        reader: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        self.path = os.path.abspath(path)  # where the process started, wherever it goes
        self._connections = Connections(self.path, prepare, None if reader is None else Unwritable(self.path, reader))
        self._ms = {False: busy_timeout_ms, True: max(busy_timeout_ms, background_ms)}

    def run(self, what: str, work: Callable[[sqlite3.Connection], R], *, background: bool = False) -> R:
        """
        Do *work* with a connection, again and again while the database is locked.

        Args:
            what: For error messages: "touch a session".
            work: Begins its own transaction (``writing``); may be called several times.
            background: Nobody waits for this: its commits also keep the log short.

        Raises:
            StoreUnavailable: Locked for as long as a call may wait, full, or a disk error.
            StoreError: Anything else.
        """
        patience = self._patience(background)
        resets = 0
        while True:
            try:
                return self._attempt(what, work, background, may_open=True)
            except WouldWait as busy:
                if self._connections.forking:
                    patience = self._patience(background)  # this process stands still: nobody holds the file
                elif patience.over():
                    text = f"cannot {what}: {self.path!r} is locked (waited {patience.ms} ms)"
                    hint = "Find out which process holds it."
                    raise StoreUnavailable(f"{text}. {hint}", reason="store_timeout") from busy.__cause__
            except Corrupt as corrupt:
                resets += 1
                if resets > 1:
                    raise StoreError(f"cannot {what}: {self.path!r} is no database, again.") from corrupt.__cause__
                self._set_aside(corrupt)
                continue
            _nap(background)

    def _patience(self, background: bool) -> Patience:
        ms = self._ms[background]
        if time.monotonic() - self._connections.forked_s < AFTER_FORK_MS / 1000:
            ms = max(ms, AFTER_FORK_MS)
        return Patience(ms)

    def try_now(self, what: str, work: Callable[[sqlite3.Connection], R]) -> R:
        """
        Do *work* if it can be done at once.

        Raises:
            WouldWait: The database is locked or not open yet. Nothing was done: call ``run`` from a thread.
            StoreError: As ``run``.
        """
        try:
            return self._attempt(what, work, background=False, may_open=False)
        except Corrupt as corrupt:
            raise WouldWait from corrupt

    def _attempt(self, what: str, work: Callable[[sqlite3.Connection], R], background: bool, may_open: bool) -> R:
        epoch, usable = self._connections.epoch, False
        try:
            connection = self._connections.take(background, may_open)
            try:
                result = work(connection)
                usable = True
                return result
            except sqlite3.Error as error:
                usable = _code(error) in (BUSY, LOCKED)
                raise
            finally:
                self._connections.give(connection, epoch, background, usable and _settle(connection))
        except sqlite3.Error as error:
            raise self._translate(what, error, epoch) from error

    def _translate(self, what: str, error: sqlite3.Error, epoch: int) -> Exception:
        """Return what *error* means to callers."""
        code = _code(error)
        if code in (BUSY, LOCKED):
            return WouldWait()
        if code in (CORRUPT, NOTADB):
            return Corrupt(epoch)
        directory = Path(self.path).parent
        if code == CANTOPEN and not directory.is_dir():
            hint = "Create it, or name another file in the setting 'store'."
            return StoreError(f"cannot {what}: there is no directory {str(directory)!r}. {hint}")
        kind = StoreUnavailable if code in (FULL, IOERR) else StoreError
        return kind(f"cannot {what}: {self.path!r}: {error}. {_ADVICE.get(code, '')}".rstrip())

    def _set_aside(self, corrupt: Corrupt) -> None:
        """Move a file that is no database out of the way, unless another thread or process did so already."""
        with alone(self.path):
            if corrupt.epoch != self._connections.epoch:
                return
            inode, current = self._connections.inode, inode_of(self.path)
            self._connections.drop()
            if current == 0 or inode != current:
                return
            aside = f"{self.path}.corrupt-{time.time_ns() // 1_000_000}"
            for suffix in ("-wal", "-shm", ""):  # the file last: nobody may open it with another one's log
                if os.path.exists(self.path + suffix):
                    os.replace(self.path + suffix, aside + suffix)
        logger.error(
            "%r is no usable database (%s): moved to %r, a new one is begun. Live sessions go on from their tokens; "
            "ends that were not reported are in the old file.",
            self.path,
            corrupt.__cause__,
            aside,
        )

    def check(self) -> None:
        """Open the file anew if it was moved or removed under us; to be called now and then."""
        inode = self._connections.inode
        if inode and inode_of(self.path) != inode:
            self._connections.drop()

    def close(self) -> None:
        """Close all connections. The next call opens them again."""
        self._connections.drop()


class writing:  # in lower case: it reads as a statement
    """
    A transaction that takes the write lock at its begin.

    A deferred one that reads first and writes later fails at once when another process wrote in between, without any
    waiting (SQLITE_BUSY_SNAPSHOT, https://sqlite.org/rescode.html#busy_snapshot).
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self._connection.execute("COMMIT")
        else:
            _settle(self._connection)


def _settle(connection: sqlite3.Connection) -> bool:
    """Roll back what is open; False when even that fails."""
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        return False
    return True


def unwritable(error: sqlite3.Error) -> bool:
    """Return whether *error* says that the file may only be read."""
    return _code(error) == READONLY


def _code(error: sqlite3.Error) -> int:
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int):
        return code & 0xFF  # the rest says more than is needed here
    text = str(error)
    return next((code for part, code in _TEXTS.items() if part in text), 1)
