"""
Sessions in an SQLite file that all processes of one machine share, with nothing to install.

A touch is one statement, about 25 us; it is durable against any crash of processes at once, and against a crash of
the machine within the time that the operating system takes to write (WAL, ``synchronous=NORMAL``).

``max_live`` is kept by counting behind requests, about once a second: of what other processes began since their last
count, each knows nothing, so that there may be more by as many.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Concatenate, ParamSpec, TypeVar

from .._clocks import store_clock
from .._core.ops import Add, Claim, Claimed, End, Key, Note, StoreStats, Touch, Touched
from .._core.records import Limits, SessionRecord
from .._sqlite import REQUEST_MS, Database, WouldWait
from . import _live, _timing
from ._census import Census

P = ParamSpec("P")
R = TypeVar("R")

SCRUB = 200  # expired tombstones and counters a claim removes in passing, and two for each session claimed since
SCRUB_EVERY, SCRUB_EVERY_MS = 500, 30_000  # sessions claimed, or so long after the last time
BUSY_SECONDS = 0.01  # so long after a call that would have had to wait, others do not try on the event loop
SLICE = 100  # sessions a claim takes at most: others that write wait for some 3 ms, not for 15


class SqliteStore:
    """
    Keep live sessions in an SQLite file. Nothing is opened before the first use, nothing crosses a fork.

    Args:
        path: Of the file; a relative one starts at the present directory. Its directory has to exist.
        clock: Returns milliseconds since the epoch; this machine's by default, about which its processes agree, and
            whose steps end no session.
        busy_timeout_ms: How long a call that a request waits for may wait for other processes' writes before
            ``StoreUnavailable``; any other may wait for 5 seconds.

    Attributes:
        clock: By which sessions live and end.
    """

    is_async = False
    boot_id: str | None = None  # sessions outlive the process
    name = "sqlite"

    def __init__(self, path: str, clock: Callable[[], int] | None = None, *, busy_timeout_ms: int = REQUEST_MS) -> None:
        self._clock = self.clock = store_clock(clock, own=True)
        self.clock.sure = False  # the file tells, when it is opened
        self._database = Database(path, self._prepare, busy_timeout_ms=busy_timeout_ms)
        self._scrubbed_ms = self._claimed = 0
        self._census = Census()

    @property
    def path(self) -> str:
        """Absolute path of the file."""
        return self._database.path

    # -- requests

    def touch(self, ask: Touch, /) -> Touched:
        """Begin a turn, or note activity."""
        return self._run("touch a session", _live.touch, ask, self._clock, self._census)

    def add(self, items: Sequence[Add], /) -> list[bool]:
        """Add what turns brought, in one transaction; False where the end was reported, or nothing is known."""
        return self._run_behind("write what turns brought", _live.add_all, items) if items else []

    def end(self, ask: End, /) -> bool:
        """End a session now; True when this call ended it."""
        return self._run("end a session", _live.end, ask, self._clock, self._census)

    def renew(self, session_ids: Sequence[str], limits: Limits, /) -> int:
        """Keep sessions with an open turn alive for another ``limits.turn_ms``; returns how many."""
        return self._run_behind("keep sessions alive", _live.renew, session_ids, limits, self._clock)

    def read(self, session_id: str, /) -> SessionRecord | None:
        """Return the newest record of *session_id*, None when there is none."""
        return self._run("read a session", _live.newest, session_id)

    def count_conversation(self, conversation_id: str, ttl_ms: int, /) -> int:
        """Count a turn of a conversation; returns its number, from 1. Kept at least *ttl_ms* after the last one."""
        return self._run("count a conversation", _live.count_conversation, conversation_id, ttl_ms, self._clock)

    # -- sweeping

    def claim(self, ask: Claim, /) -> Claimed:
        """Freeze and lease up to ``ask.limit`` sessions whose end is due, and no more than a hundred at a time."""
        self._database.check()
        ask = replace(ask, limit=min(SLICE, ask.limit))
        claimed = self._run_behind("claim sessions", _live.claim, ask, self._clock, self._census)
        self._count()
        if claimed.next_due_ms is None and self._clock.strays():
            self._run_behind("set the time", _timing.follow, self._clock)
        self._claimed += len(claimed.records)
        if self._claimed >= SCRUB_EVERY or abs(claimed.now_ms - self._scrubbed_ms) >= SCRUB_EVERY_MS:
            most, self._claimed, self._scrubbed_ms = SCRUB + 2 * self._claimed, 0, claimed.now_ms
            self.scrub(most)
        return claimed

    def ack(self, keys: Sequence[Key], lease_token: str, ttl_ms: int, /) -> int:
        """Forget sessions whose end was reported, where *lease_token* holds the lease; returns how many."""
        return self._run_behind("acknowledge ends", _live.ack, keys, lease_token, ttl_ms, self._clock)

    def nack(self, keys: Sequence[Key], lease_token: str, delay_ms: int, /) -> int:
        """Hand leased sessions back, to be claimed again *delay_ms* from now; returns how many."""
        return self._run_behind("hand sessions back", _live.nack, keys, lease_token, delay_ms, self._clock)

    def annotate(self, notes: Sequence[Note], lease_token: str, /) -> list[bool]:
        """Add what was worked out for the report of ends, once, where *lease_token* holds the lease; returns where."""
        return self._run_behind("add to ends", _live.annotate, notes, lease_token) if notes else []

    def confirm_start(self, keys: Sequence[Key], /) -> int:
        """Note that ``session.start`` reached its sink; returns for how many sessions."""
        confirmed = self._run_behind("confirm starts", _live.confirm_start, keys)
        self._count()
        return confirmed

    # -- keeping house

    def stats(self) -> StoreStats:
        """Return what the store holds at present."""
        return self._run_behind("count sessions", _live.stats, self._clock)

    def scrub(self, limit: int, /) -> int:
        """Remove up to *limit* tombstones and *limit* counters that have expired; returns how many."""
        return self._run_behind("remove what expired", _live.scrub, limit, self._clock)

    def revive(self, limit: int, /) -> int:
        """Let up to *limit* ends that were set aside be claimed again; returns how many."""
        return self._run_behind("revive ends", _live.revive, limit, self._clock)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        _live.prepare(connection)
        _timing.agree(connection, self._clock)
        self.clock.sure = True

    def _count(self) -> None:
        """Count what lives, for ``max_live``: nobody waits here."""
        self._census.renew(lambda: self._run_behind("count sessions", _live.count))

    def close(self) -> None:
        """Close all connections. Sessions stay; the next call opens the file again."""
        self._database.close()

    def _run(
        self, what: str, work: Callable[Concatenate[sqlite3.Connection, P], R], *args: P.args, **more: P.kwargs
    ) -> R:
        """Do what somebody waits for."""
        return self._database.run(what, lambda connection: work(connection, *args, **more))

    def _run_behind(
        self, what: str, work: Callable[Concatenate[sqlite3.Connection, P], R], *args: P.args, **more: P.kwargs
    ) -> R:
        """Do what nobody waits for."""
        return self._database.run(what, lambda connection: work(connection, *args, **more), background=True)


class AsyncSqliteStore:
    """
    The asynchronous face of an ``SqliteStore``.

    Each call is tried on the event loop first, since that costs a tenth of a thread hand-over and usually succeeds.
    When the database is busy, or not open yet, the call goes on in a worker thread, within the store's time budget, and
    so does what comes in the next moments.
    The thread is asyncio's; under trio, use ``run_sync`` of a thread with the synchronous face.

    Args:
        store: The synchronous face; both may be used at the same time.
    """

    is_async = True
    boot_id: str | None = None
    name = "sqlite"

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._busy_until = 0.0  # monotonic seconds

    async def touch(self, ask: Touch, /) -> Touched:
        """As the store's."""
        return await self._run("touch a session", _live.touch, ask, self._store._clock, self._store._census)

    async def add(self, items: Sequence[Add], /) -> list[bool]:
        """As the store's."""
        return await self._run("write what turns brought", _live.add_all, items) if items else []

    async def end(self, ask: End, /) -> bool:
        """As the store's."""
        return await self._run("end a session", _live.end, ask, self._store._clock, self._store._census)

    async def read(self, session_id: str, /) -> SessionRecord | None:
        """As the store's."""
        return await self._run("read a session", _live.newest, session_id)

    async def count_conversation(self, conversation_id: str, ttl_ms: int, /) -> int:
        """As the store's."""
        clock = self._store._clock
        return await self._run("count a conversation", _live.count_conversation, conversation_id, ttl_ms, clock)

    async def _run(
        self, what: str, work: Callable[Concatenate[sqlite3.Connection, P], R], *args: P.args, **more: P.kwargs
    ) -> R:
        database = self._store._database
        if time.monotonic() >= self._busy_until:
            try:
                return database.try_now(what, lambda connection: work(connection, *args, **more))
            except WouldWait:
                self._busy_until = time.monotonic() + BUSY_SECONDS
        return await asyncio.to_thread(database.run, what, lambda connection: work(connection, *args, **more))
