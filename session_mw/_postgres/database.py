"""A PostgreSQL database with a time budget: what its errors mean, and which connection does what."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from ..exceptions import StoreError, StoreUnavailable
from .connections import AsyncConnection, Connection, Either, TimedOut, connect, connect_async, finish
from .loop_pool import LoopPools
from .pool import Pool
from .schema import Part, State, migrate, prepare
from .url import Address
from .work import Work

R = TypeVar("R")

REQUEST_MS = 50  # what a request may lose to its store: promise G7
# Where a connection has to be opened first, and the last call did not fail: the server starts a process for it, which
# on a busy machine takes ten times as long as else. The first turns of a worker would not be counted otherwise.
OPENING_MS = 250
BACKGROUND_MS = 10_000  # nobody waits; shorter than a lease (30 s)
BACKGROUND_SIZE = 2
PREPARE_SECONDS = 70  # to make tables, behind others who do (``schema`` gives each statement 60)

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_READ_ONLY = "25006"
_PASSING = (
    "08",  # connections
    "25P03",  # idle in transaction for too long: this process was stopped
    _READ_ONLY,
    "40",  # deadlocks
    "53",  # disk full, out of memory, too many connections
    "55P03",  # lock not available
    "57",  # cancelled by statement_timeout, shut down, starting up
    "58",  # disk errors
)
_ADVICE = {
    _READ_ONLY: "Name the primary server; target_session_attrs=read-write in the URL finds it.",
    "42501": "Let somebody who may make tables run 'session-mw store migrate', and grant this user their use.",
    "42P01": "Was a table dropped? Restore it, or drop session_mw_schema too, and all begins anew.",
}


class Database:
    """
    A database, connected to on first use.

    Args:
        address: Of the database.
        part: The tables that are used; they are looked at with each new connection.
        request_ms: How long a call may take that somebody waits for.
        background_ms: How long any other may take.
        size: Connections at most for what somebody waits for: of all threads together, and of each event loop.
    """

    def __init__(
        self,
        address: Address,
        part: Part,
        *,
        request_ms: int | None = None,
        background_ms: int | None = None,
        size: int = 8,
    ) -> None:
        self.address = address
        self._part = part
        request_ms, background_ms = request_ms or REQUEST_MS, background_ms or BACKGROUND_MS
        self._ms = {False: request_ms, True: background_ms}
        self._pools = {
            False: Pool(self._opener(request_ms), size),
            True: Pool(self._opener(background_ms), BACKGROUND_SIZE),
        }
        self._failing = {False: False, True: False}  # whether what was asked last came to nothing
        self._loops = LoopPools(self._open_async, size)

    def __repr__(self) -> str:
        return f"Database({self.address.shown!r})"

    # The server gives up a little earlier than we: then the connection can be used again.
    @staticmethod
    def _patience(ms: int) -> int:
        return max(1, ms * 4 // 5)

    def _opener(self, ms: int) -> Callable[[], Connection]:
        def open_one() -> Connection:
            connection = connect(self.address)
            connection.give(PREPARE_SECONDS)
            try:
                connection.do(prepare(self._part, self._patience(ms)))
            except BaseException:
                finish(connection)
                raise
            return connection

        return open_one

    async def _open_async(self) -> AsyncConnection:
        connection = await connect_async(self.address)
        connection.give(PREPARE_SECONDS)
        try:
            await connection.do(prepare(self._part, self._patience(self._ms[False])))
        except BaseException:
            finish(connection)
            raise
        return connection

    def _opening(self, background: bool) -> float:
        """Return how long may be waited for a connection to be opened, seconds."""
        ms = self._ms[background]
        return (ms if self._failing[background] else max(ms, OPENING_MS)) / 1000

    def run(self, what: str, work: Work[R], *, background: bool = False) -> R:
        """
        Do *work* with a connection. It is done once: of what got lost on the way nobody knows whether it was done.

        Args:
            what: For error messages: "touch a session".
            work: Anything.
            background: Nobody waits for this.

        Raises:
            StoreUnavailable: No connection or no answer in time, or a condition that passes.
            StoreError: Anything else.
        """
        return self.use(what, lambda connection: connection.do(work), background=background)

    def use(self, what: str, job: Callable[[Connection], R], *, background: bool = False) -> R:
        """Let *job* use a connection. As ``run``."""
        pool = self._pools[background]
        ms = self._ms[background]
        connection = None
        usable = False
        try:
            connection = pool.take(ms / 1000, self._opening(background))
            connection.give(ms / 1000)
            result = job(connection)
            usable, self._failing[background] = True, False
            return result
        except (psycopg.Error, TimedOut, OSError, UnicodeError) as error:
            usable = connection is not None and _usable(connection, error)
            self._failing[background] = not usable
            raise self._translate(what, error, ms) from error
        finally:
            if connection is not None:
                pool.give(connection, usable)

    async def run_async(self, what: str, work: Work[R]) -> R:
        """Do *work* that somebody waits for, on the running event loop. As ``run``."""
        pool = self._loops.here()
        ms = self._ms[False]
        connection = None
        usable = False
        try:
            connection = await pool.take(ms / 1000, self._opening(False))
            connection.give(ms / 1000)
            result = await connection.do(work)
            usable, self._failing[False] = True, False
            return result
        except (psycopg.Error, TimedOut, OSError, UnicodeError) as error:
            usable = connection is not None and _usable(connection, error)
            self._failing[False] = not usable
            raise self._translate(what, error, ms) from error
        finally:
            if connection is not None:
                pool.give(connection, usable)

    def _translate(self, what: str, error: Exception, ms: int) -> StoreError:
        """Return what *error* means to callers. libpq's texts hold no password."""
        where = f"cannot {what}: {self.address.shown}"
        if isinstance(error, TimedOut):
            text = f"{where}: no answer within {error.ms or ms} ms. Look at the server's load, and at locks."
            return StoreUnavailable(text, reason="store_timeout")
        code = getattr(error, "sqlstate", None) or ""
        if code == _READ_ONLY:
            self.close()  # another server may be the primary by now
        lost = isinstance(error, OSError) or (isinstance(error, psycopg.OperationalError) and not code)
        kind = StoreUnavailable if lost or code.startswith(_PASSING) else StoreError
        said = " ".join(str(error).split("\n", 1)[0].split())
        return kind(f"{where}: {said.rstrip('.')}. {_ADVICE.get(code, '')}".rstrip())

    def migrate(self) -> State:
        """Bring the tables to the newest version, over a connection of its own. Raises as ``run``."""
        connection = None
        try:
            connection = connect(self.address)
            connection.give(PREPARE_SECONDS)
            return connection.do(migrate(self._part))
        except (psycopg.Error, TimedOut, OSError) as error:
            what = f"change the tables of the {self._part.title}"
            raise self._translate(what, error, PREPARE_SECONDS * 1000) from error
        finally:
            if connection is not None:
                finish(connection)

    def close(self) -> None:
        """Close all connections. The next call opens them again."""
        for pool in self._pools.values():
            pool.drop()
        self._loops.drop()


_CHANGED = "0A000"  # cached plan must not change result type: the tables are other ones now


def _usable(connection: Either, error: Exception) -> bool:
    """Return whether *connection* is as it was before *error*."""
    if isinstance(error, TimedOut) or getattr(error, "sqlstate", None) in (_CHANGED, _READ_ONLY):
        return False
    return connection.pgconn.transaction_status == TransactionStatus.IDLE
