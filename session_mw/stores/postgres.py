"""
Sessions in PostgreSQL, which the workers of many machines share.

A touch is one statement. A session's beginning, its end and what is said about its report are as durable as the
server's ``synchronous_commit`` makes them; touches and counters do not wait for the disk (they may be lost with the
last moments of a server, never torn: turn numbers go on from there). The server's clock decides.

``max_live`` is kept by counting behind requests, about once a second and seldomer where that takes long: a process
learns by its next count what others began, so there may be more by as many.

Through PgBouncer use session pooling: statements are prepared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .._core.ops import Add, Claim, Claimed, End, Key, Note, StoreStats, Touch, Touched
from .._core.records import Limits, SessionRecord
from .._postgres import Database, State, parse
from . import _pg_live as live
from ._census import Census
from ._pg_sql import PART

SCRUB = 200  # expired tombstones and counters a claim removes in passing, and two for each session it claims
SCRUB_EVERY_MS = 30_000  # when it claims none


class PostgresStore:
    """
    Keep live sessions in a PostgreSQL database. Nothing is opened before the first use, nothing crosses a fork.

    Where there are no tables the first use makes them; those of another release are refused (``migrate``).

    Args:
        url: ``postgresql://user:password@host/name``, with all that libpq allows.
        clock: Returns milliseconds since the epoch, for tests; the server's clock by default.
        request_ms: How long a call may take that a request waits for, connecting included; 50 by default.
        background_ms: How long any other may take; 10,000 by default.
        size: Connections at most for requests: of all threads of a process together, and of each event loop.

    Raises:
        SettingsError: The URL cannot be read.
    """

    is_async = False
    boot_id: str | None = None  # sessions outlive the process
    name = "postgresql"

    def __init__(
        self,
        url: str,
        clock: Callable[[], int] | None = None,
        *,
        request_ms: int | None = None,
        background_ms: int | None = None,
        size: int = 8,
    ) -> None:
        self._clock = clock or _server_clock
        address = parse(url, "store")
        self._database = Database(address, PART, request_ms=request_ms, background_ms=background_ms, size=size)
        self._scrubbed_ms = 0
        self._census = Census()

    def __repr__(self) -> str:
        return f"PostgresStore({self._database.address.shown!r})"

    # -- requests

    def touch(self, ask: Touch, /) -> Touched:
        """Begin a turn, or note activity."""
        return self._database.run("touch a session", live.touch(ask, self._clock(), self._census))

    def add(self, items: Sequence[Add], /) -> list[bool]:
        """Add what turns brought, in one transaction; False where the end was reported, or nothing is known."""
        if not items:
            return []
        return self._database.run("write what turns brought", live.add_all(items), background=True)

    def end(self, ask: End, /) -> bool:
        """End a session now; True when this call ended it."""
        return self._database.run("end a session", live.end(ask, self._clock(), self._census))

    def renew(self, session_ids: Sequence[str], limits: Limits, /) -> int:
        """Keep sessions with an open turn alive for another ``limits.turn_ms``; returns how many."""
        if not session_ids:
            return 0
        return self._database.run(
            "keep sessions alive", live.renew(session_ids, limits, self._clock()), background=True
        )

    def read(self, session_id: str, /) -> SessionRecord | None:
        """Return the newest record of *session_id*, None when there is none."""
        return self._database.run("read a session", live.read(session_id))

    def count_conversation(self, conversation_id: str, ttl_ms: int, /) -> int:
        """Count a turn of a conversation; returns its number, from 1. Kept at least *ttl_ms* after the last one."""
        work = live.count_conversation(conversation_id, ttl_ms, self._clock())
        return self._database.run("count a conversation", work)

    # -- sweeping

    def claim(self, ask: Claim, /) -> Claimed:
        """Freeze and lease up to ``ask.limit`` sessions whose end is due; those that others look at are left out."""
        work = live.claim(ask, self._clock(), self._census)
        claimed = self._database.run("claim sessions", work, background=True)
        self._count()
        if claimed.records or abs(claimed.now_ms - self._scrubbed_ms) >= SCRUB_EVERY_MS:
            self._scrubbed_ms = claimed.now_ms
            self.scrub(SCRUB + 2 * len(claimed.records))
        return claimed

    def ack(self, keys: Sequence[Key], lease_token: str, ttl_ms: int, /) -> int:
        """Forget sessions whose end was reported, where *lease_token* holds the lease; returns how many."""
        if not keys:
            return 0
        work = live.ack(keys, lease_token, ttl_ms, self._clock())
        return self._database.run("acknowledge ends", work, background=True)

    def nack(self, keys: Sequence[Key], lease_token: str, delay_ms: int, /) -> int:
        """Hand leased sessions back, to be claimed again *delay_ms* from now; returns how many."""
        if not keys:
            return 0
        work = live.nack(keys, lease_token, delay_ms, self._clock())
        return self._database.run("hand sessions back", work, background=True)

    def annotate(self, notes: Sequence[Note], lease_token: str, /) -> list[bool]:
        """Add what was worked out for the report of ends, once, where *lease_token* holds the lease; returns where."""
        return self._database.run("add to ends", live.annotate(notes, lease_token), background=True) if notes else []

    def confirm_start(self, keys: Sequence[Key], /) -> int:
        """Note that ``session.start`` reached its sink; returns for how many sessions."""
        if not keys:
            return 0
        confirmed = self._database.run("confirm starts", live.confirm_start(keys), background=True)
        self._count()
        return confirmed

    # -- keeping house

    def stats(self) -> StoreStats:
        """Return what the store holds at present."""
        return self._database.run("count sessions", live.stats(self._clock()), background=True)

    def scrub(self, limit: int, /) -> int:
        """Remove up to *limit* tombstones and *limit* counters that have expired; returns how many."""
        return self._database.run("remove what expired", live.scrub(limit, self._clock()), background=True)

    def revive(self, limit: int, /) -> int:
        """Let up to *limit* ends that were set aside be claimed again; returns how many."""
        return self._database.run("revive ends", live.revive(limit, self._clock()), background=True)

    def _count(self) -> None:
        """Count what lives, for ``max_live``: nobody waits here."""
        self._census.renew(lambda: self._database.run("count sessions", live.count(), background=True))

    def migrate(self) -> State:
        """Bring the tables to this release's version: for whoever may change tables, not for workers."""
        return self._database.migrate()

    def close(self) -> None:
        """Close all connections, of all event loops. Sessions stay; the next call connects again."""
        self._database.close()


class AsyncPostgresStore:
    """
    The asynchronous face of a ``PostgresStore``, for asyncio: connections of its own for each event loop.

    Args:
        store: The synchronous face; both may be used at the same time.
    """

    is_async = True
    boot_id: str | None = None
    name = "postgresql"

    def __init__(self, store: PostgresStore) -> None:
        self._database = store._database
        self._clock = store._clock
        self._census = store._census

    async def touch(self, ask: Touch, /) -> Touched:
        """As the store's."""
        return await self._database.run_async("touch a session", live.touch(ask, self._clock(), self._census))

    async def add(self, items: Sequence[Add], /) -> list[bool]:
        """As the store's."""
        return await self._database.run_async("write what turns brought", live.add_all(items)) if items else []

    async def end(self, ask: End, /) -> bool:
        """As the store's."""
        return await self._database.run_async("end a session", live.end(ask, self._clock(), self._census))

    async def read(self, session_id: str, /) -> SessionRecord | None:
        """As the store's."""
        return await self._database.run_async("read a session", live.read(session_id))

    async def count_conversation(self, conversation_id: str, ttl_ms: int, /) -> int:
        """As the store's."""
        work = live.count_conversation(conversation_id, ttl_ms, self._clock())
        return await self._database.run_async("count a conversation", work)


def _server_clock() -> None:
    """Leave the time to the server."""
