"""
Sessions in Redis, which any number of processes on any number of machines share.

A touch is one script, one round trip. All time is the server's: workers whose clocks differ agree about every end.
How much of what was acknowledged survives a crash of the server is the server's setting: with ``appendonly yes`` and
``appendfsync everysec`` about the last second may be lost, after a failover what had not reached the replica. Whoever
comes back with a fresh cookie then goes on under the same id. Redis must not evict (``maxmemory-policy noeviction``).
Without any sweep, sessions vanish by themselves 72 hours after the last moment at which they could have ended.

``max_live`` is kept shard by shard, exactly: each of the 64 takes a 64th of it, rounded up. Ids fall into shards by
chance, so that the first shard is full a little before all are.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from .._core.ops import Add, Claim, Claimed, End, Key, Note, StoreStats, Touch, Touched
from .._core.records import Limits, SessionRecord
from .._settings.errors import BadValue, settings_error, show
from .._settings.redis_url import RedisTarget, read_redis_url
from . import _redis_ops as ops
from ._redis_driver import AsyncDriver, Driver, slots_of
from ._redis_topology import Topology

R = TypeVar("R")

SCRUB = 200  # expired tombstones a claim removes in passing, and two for each session it claims
SCRUB_SECONDS = 30.0  # when it claims none
_SCAN = 500  # keys a step of a repair asks for
_RANDOM = random.SystemRandom()


class RedisStore:
    """
    Keep live sessions in Redis. Nothing is opened before the first use, nothing crosses a fork.

    Args:
        url: ``redis://[user:password@]host[:port][/db]``, ``rediss://`` for TLS, or ``redis+cluster://host,host ...``;
            with ``?prefix=`` (default ``sm``) for what its keys begin with, ``socket_timeout`` and
            ``socket_connect_timeout`` (seconds, 0.05) for requests, ``background_timeout`` (2) for what nobody waits
            for, ``client_name`` and ``ssl_...`` as the driver has them.
        clock: Returns milliseconds since the epoch, for tests; the server's clock by default.

    Raises:
        SettingsError: The URL makes no sense.
    """

    is_async = False
    boot_id: str | None = None  # sessions outlive the process
    name = "redis"

    def __init__(self, url: str, clock: Callable[[], int] | None = None) -> None:
        self.target = _target(url)
        self._topology = Topology(self.target, slots_of(ops.shards(self.target.prefix)))
        self._space = ops.Space(self.target.prefix, clock, self._topology.together)
        self._driver = Driver(self.target, self._topology)
        self._scrubbed = 0.0

    # -- requests

    def touch(self, ask: Touch, /) -> Touched:
        """Begin a turn, or note activity."""
        return self._run("touch a session", ops.touch(self._space, ask))

    def add(self, items: Sequence[Add], /) -> list[bool]:
        """Add what turns brought, in one round trip; False where the end was reported, or nothing is known."""
        return self._run("write what turns brought", ops.add(self._space, items), behind=True)

    def end(self, ask: End, /) -> bool:
        """End a session now; True when this call ended it."""
        return self._run("end a session", ops.end(self._space, ask))

    def renew(self, session_ids: Sequence[str], limits: Limits, /) -> int:
        """Keep sessions with an open turn alive for another ``limits.turn_ms``; returns how many."""
        return self._run("keep sessions alive", ops.renew(self._space, session_ids, limits), behind=True)

    def read(self, session_id: str, /) -> SessionRecord | None:
        """Return the newest record of *session_id*, None when there is none."""
        return self._run("read a session", ops.read(self._space, session_id))

    def count_conversation(self, conversation_id: str, ttl_ms: int, /) -> int:
        """Count a turn of a conversation; returns its number, from 1. Forgotten *ttl_ms* after the last one."""
        return self._run("count a conversation", ops.count_conversation(self._space, conversation_id, ttl_ms))

    # -- sweeping

    def claim(self, ask: Claim, /) -> Claimed:
        """Freeze and lease up to ``ask.limit`` sessions whose end is due."""
        claimed = self._run("claim sessions", ops.claim(self._space, ask, _RANDOM.shuffle), behind=True)
        if claimed.records or time.monotonic() >= self._scrubbed + SCRUB_SECONDS:
            self._scrubbed = time.monotonic()
            self._run("remove what expired", ops.scrub(self._space, SCRUB + 2 * len(claimed.records)), behind=True)
        return claimed

    def ack(self, keys: Sequence[Key], lease_token: str, ttl_ms: int, /) -> int:
        """Forget sessions whose end was reported, where *lease_token* holds the lease; returns how many."""
        return self._run("acknowledge ends", ops.ack(self._space, keys, lease_token, ttl_ms), behind=True)

    def nack(self, keys: Sequence[Key], lease_token: str, delay_ms: int, /) -> int:
        """Hand leased sessions back, to be claimed again *delay_ms* from now; returns how many."""
        return self._run("hand sessions back", ops.nack(self._space, keys, lease_token, delay_ms), behind=True)

    def annotate(self, notes: Sequence[Note], lease_token: str, /) -> list[bool]:
        """Add what was worked out for the report of ends, once, where *lease_token* holds the lease; returns where."""
        return self._run("add to ends", ops.annotate(self._space, notes, lease_token), behind=True)

    def confirm_start(self, keys: Sequence[Key], /) -> int:
        """Note that ``session.start`` reached its sink; returns for how many sessions."""
        return self._run("confirm starts", ops.confirm_start(self._space, keys), behind=True)

    # -- keeping house

    def stats(self) -> StoreStats:
        """Return what the store holds at present."""
        return self._run("count sessions", ops.stats(self._space), behind=True)

    def scrub(self, limit: int, /) -> int:
        """Remove up to *limit* tombstones that have expired; returns how many. Counters expire by themselves."""
        return self._run("remove what expired", ops.scrub(self._space, limit), behind=True)

    def revive(self, limit: int, /) -> int:
        """Let up to *limit* ends that were set aside be claimed again; returns how many."""
        return self._run("revive ends", ops.revive(self._space, limit), behind=True)

    def repair(self) -> int:
        """
        Find sessions that no queue knows, and put them back into theirs; returns how many.

        There are none unless Redis evicted or somebody deleted keys. Walks over all keys of the server, in small
        steps: minutes for many millions.
        """
        pattern = f"{{{self.target.prefix}:*}}:s:*"
        filed = 0

        def walk(client: Any) -> None:
            nonlocal filed
            cursor, first = 0, True
            while cursor or first:
                cursor, keys = client.scan(cursor, match=pattern, count=_SCAN)
                first = False
                filed += self._run("repair the queues", ops.refile(self._space, keys), behind=True)

        self._driver.everywhere("repair the queues", walk)
        return filed

    def close(self) -> None:
        """Close the connections of threads (those of event loops end with these). The next call opens new ones."""
        self._driver.close()

    def _run(self, what: str, steps: ops.Steps[R], behind: bool = False) -> R:
        try:
            calls = next(steps)
            while True:
                calls = steps.send(self._driver.run(what, calls, behind))
        except StopIteration as stop:
            value: R = stop.value
            return value


class AsyncRedisStore:
    """
    The asynchronous face of a ``RedisStore``: on the event loop, with connections of its own for each loop.

    Args:
        store: The synchronous face; both may be used at the same time.
    """

    is_async = True
    boot_id: str | None = None
    name = "redis"

    def __init__(self, store: RedisStore) -> None:
        self._space = store._space
        self._driver = AsyncDriver(store.target, store._topology)

    async def touch(self, ask: Touch, /) -> Touched:
        """As the store's."""
        return await self._run("touch a session", ops.touch(self._space, ask))

    async def add(self, items: Sequence[Add], /) -> list[bool]:
        """As the store's."""
        return await self._run("write what turns brought", ops.add(self._space, items))

    async def end(self, ask: End, /) -> bool:
        """As the store's."""
        return await self._run("end a session", ops.end(self._space, ask))

    async def read(self, session_id: str, /) -> SessionRecord | None:
        """As the store's."""
        return await self._run("read a session", ops.read(self._space, session_id))

    async def count_conversation(self, conversation_id: str, ttl_ms: int, /) -> int:
        """As the store's."""
        return await self._run("count a conversation", ops.count_conversation(self._space, conversation_id, ttl_ms))

    async def _run(self, what: str, steps: ops.Steps[R]) -> R:
        try:
            calls = next(steps)
            while True:
                calls = steps.send(await self._driver.run(what, calls))
        except StopIteration as stop:
            value: R = stop.value
            return value


def _target(url: str) -> RedisTarget:
    try:
        return read_redis_url(url)
    except BadValue as error:
        raise settings_error("store", error.found or show(url), error.rule, error.hint) from None
