"""
The Redis store with a million live sessions: what a touch costs beside the bare driver (P11) and by size (P10), what a
claim with its acknowledgement costs (P12), alone and with a second worker, and how many bytes a session takes.

On a server of our own without persistence, over loopback; sessions are touched in random order. Wall time: most of it
is the server's and the way there.
"""

from __future__ import annotations

import json
import random
import secrets
import sys
from collections import defaultdict
from typing import Any

from session_mw._core.identity import make_session_id, shard_of
from session_mw._core.ops import Touch
from session_mw.stores import _redis_ops as ops
from session_mw.stores._redis_scripts import script
from session_mw.stores.redis import RedisStore
from tests.stores.redis_server import Server, binary, servers

from . import beside
from .memory import ATTRIBUTES, DUE, LIMITS

NOW = 1_761_999_022_000
TOUCHES, PIPELINE = 2_000, 1_000


def store_of(url: str, now_ms: int = NOW) -> RedisStore:
    """Return the store on *url* with its clock turned to *now_ms*."""
    return RedisStore(f"{url}?socket_timeout=10&background_timeout=30", lambda: now_ms)


COPY = """
local shard, like = KEYS[1], ARGV[1]
local fields, life = redis.call('HGETALL', shard .. ':s:' .. like), redis.call('PTTL', shard .. ':s:' .. like)
local due = redis.call('ZSCORE', shard .. ':q', like)
for i = 2, #ARGV do
  redis.call('HSET', shard .. ':s:' .. ARGV[i], unpack(fields))
  redis.call('PEXPIRE', shard .. ':s:' .. ARGV[i], life)
  redis.call('ZADD', shard .. ':q', due, ARGV[i])
end
"""


def fill(url: str, count: int, at_ms: int) -> list[str]:
    """Make sessions, last active at *at_ms*: one in each shard by a touch, the others like it; returns their ids."""
    store = store_of(url, at_ms)
    client = store._driver._client(store._topology.node_of(0), True)
    ids = [make_session_id(secrets.token_bytes(24)) for _ in range(count)]
    shards: dict[int, list[str]] = defaultdict(list)
    for name in ids:
        shards[shard_of(name)].append(name)
    for shard, (like, *others) in shards.items():
        store.touch(Touch(None, like, LIMITS, attributes=ATTRIBUTES))
        for first in range(0, len(others), PIPELINE):
            client.eval(COPY, 1, store._space.shards[shard], like, *others[first : first + PIPELINE])
    store.close()
    return ids


def used(server: Server) -> int:
    """Return the bytes that the server says its data take."""
    found: int = server.client().info("memory")["used_memory"]
    return found


def touches(url: str, ids: list[str]) -> dict[str, float]:
    """Measure touches through the store and through the bare driver, in turns."""
    store = store_of(url)
    client = store._driver._client(store._topology.node_of(0), False)

    def bare(call: Any) -> object:
        return client.evalsha(call.script.sha, len(call.keys), *call.keys, *call.args)

    def sides(chosen: random.Random) -> list[beside.Side]:
        asks = [Touch(name, "unused", LIMITS) for name in chosen.choices(ids, k=TOUCHES)]
        calls = [next(ops.touch(store._space, ask))[0] for ask in asks]
        return [("store", store.touch, asks), ("driver", bare, calls)]

    store.touch(Touch(ids[0], "unused", LIMITS))  # sends the script
    found = beside.touches(sides)
    store.close()
    return found


class Bare:
    """
    The store's scripts through the driver alone; rows stay rows.

    Args:
        client: Of the one server.
        shards: As the store names them.
    """

    def __init__(self, client: Any, shards: tuple[str, ...]) -> None:
        self.client, self.shards = client, shards
        self.due, self.take, self.ack = (client.script_load(script(n).source) for n in ("due", "claim", "ack"))

    def claim(self) -> list[str]:
        """Claim and acknowledge a batch, a hundred sessions of five shards a round trip as the store does."""
        token, left = secrets.token_hex(8), beside.BATCH
        _, first = self.client.evalsha(self.due, len(self.shards), *self.shards, NOW)
        some = [shard for shard, at in zip(self.shards, first, strict=True) if at and int(at) <= NOW]
        acked, found = self.client.pipeline(transaction=False), list[str]()
        while some and left > 0:
            together = some[: min(ops.TOGETHER, left)]
            most = min(ops.CHUNK, left) // len(together)
            asked = self.client.pipeline(transaction=False)
            given = (NOW, LIMITS.idle_ms, LIMITS.absolute_ms, token, beside.LEASE_MS, most, most)
            for shard in together:
                asked.evalsha(self.take, 1, shard, *given)
            for shard, (at, _, text) in zip(together, asked.execute(), strict=True):
                rows = json.loads(text)
                keys = [part for row in rows for part in (row[0], row[3])]
                acked.evalsha(self.ack, 1, shard, NOW, token, beside.TOMB_MS, json.dumps(keys))
                found += keys[::2]
                left -= len(rows)
                if not at or int(at) > NOW:
                    some.remove(shard)
        acked.execute()
        return found


def claims(url: str, due: int) -> dict[str, float]:
    """Measure claims beside the bare driver, then by two workers at once."""
    store = store_of(url)
    client = store._driver._client(store._topology.node_of(0), True)
    bare = Bare(client, store._space.shards)

    def server_cpu() -> float:
        told = client.info("cpu")
        seconds: float = told["used_cpu_user"] + told["used_cpu_sys"]
        return seconds

    found = beside.claims(
        lambda: fill(url, due, NOW - LIMITS.idle_ms),
        {"store": lambda: beside.claim(store), "driver": bare.claim},
        ["tests.bench.redis", url],
        due,
        server_cpu,
    )
    store.close()
    return found


def report(server: Server, count: int) -> dict[str, float]:
    """
    Measure a store of *count* sessions.

    Returns:
        ``bytes`` (a session after its first turn, all told), ``small_touch_us`` (1,000 sessions), ``touch_us``, and
        what ``beside.touches`` and ``beside.claims`` return.
    """
    small = touches(server.url, fill(server.url, 1_000, NOW))
    before = used(server)
    ids = fill(server.url, count, NOW)
    size = (used(server) - before) / count
    large = touches(server.url, ids)
    found = {"sessions": float(count), "bytes": size, "small_touch_us": small["store_us"]}
    return {**found, **large, "touch_us": large["store_us"], **claims(server.url, min(DUE, count // 10))}


def in_own_server(count: int = 1_000_000) -> dict[str, float] | None:
    """Measure on a server of our own; None where there is none."""
    if binary() is None:
        return None
    with servers() as make:
        return report(make(), count)


if __name__ == "__main__":
    beside.work(store_of(sys.argv[1]))
