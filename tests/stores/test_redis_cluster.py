"""What a cluster says of its shards: they lie elsewhere, they are being moved, their node hangs."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from session_mw._core.identity import shard_of
from session_mw._core.ops import Add, Touch
from session_mw._core.records import Limits
from session_mw.exceptions import StoreUnavailable
from session_mw.stores.redis import AsyncRedisStore, RedisStore
from tests.patience import PATIENCE
from tests.stores.redis_server import Cluster, wait_for

LIMITS = Limits(idle_ms=1_800_000, absolute_ms=86_400_000, turn_ms=600_000, skew_ms=60_000)
BOUND = 0.15 * PATIENCE  # 50 ms, and as long again for two busy cores to notice


@pytest.fixture
def store(redis_cluster: Cluster) -> Iterator[RedisStore]:
    made = RedisStore(redis_cluster.url)
    yield made
    made.close()


async def turn_number(face: AsyncRedisStore, ask: Touch) -> int | None:
    return (await face.touch(ask)).turn_number


def touch(session_id: str | None = None, new_id: str = "new", **more: Any) -> Touch:
    return Touch(session_id, new_id, LIMITS, **more)


def test_cluster_node_that_has_another_shard_says_so(store: RedisStore) -> None:
    """MOVED is followed at once, for one call and for many, in both faces; nothing is counted twice."""
    names = [f"s{number}" for number in range(20)]
    for name in names:
        store.touch(touch(None, name))
    mixed_up(store)
    second = [store.touch(touch(name)).turn_number for name in names]
    mixed_up(store)
    written = store.add([Add(name, completed=1) for name in names])
    mixed_up(store)
    third = [asyncio.run(turn_number(AsyncRedisStore(store), touch(name))) for name in names]

    assert ([2] * 20, [True] * 20, [3] * 20) == (second, written, third)


def mixed_up(store: RedisStore) -> None:
    """Let the store believe that every shard lies on the other node."""
    one, other = store._topology.nodes()
    nodes = [store._topology.node_of(shard) for shard in range(64)]
    store._topology._nodes = [other if address == one else one for address in nodes]


def test_cluster_slot_that_is_being_moved_is_not_available(store: RedisStore, redis_cluster: Cluster) -> None:
    """Half a shard would decide wrongly: nothing is written until the slot has arrived."""
    store.touch(touch(None, "s"))
    slot = store._topology._slots[shard_of("s")]
    address = store._topology.node_of(shard_of("s"))
    source, target = sorted(redis_cluster.masters, key=lambda server: server.port != address[1])
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID"))
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID"))
    with pytest.raises(StoreUnavailable, match="a slot is being moved"):
        store.touch(touch("s"))
    for server in (source, target):
        server.ask("CLUSTER", "SETSLOT", slot, "STABLE")

    assert 2 == store.touch(touch("s")).turn_number


def test_G7_cluster_with_a_hung_node_bounds_the_time(store: RedisStore, redis_cluster: Cluster) -> None:
    """One timeout, whatever the other nodes would say; sessions of the other node go on."""
    names = [f"s{number}" for number in range(20)]
    for name in names:
        store.touch(touch(None, name))
    hung = redis_cluster.masters[1]
    theirs = [name for name in names if store._topology.node_of(shard_of(name))[1] == hung.port]
    hung.send(signal.SIGSTOP)
    try:
        began = time.perf_counter()
        with pytest.raises(StoreUnavailable):
            store.touch(touch(theirs[0]))
        spent = time.perf_counter() - began
        others = [store.touch(touch(name)).turn_number for name in names if name not in theirs]
    finally:
        hung.send(signal.SIGCONT)

    assert spent < BOUND
    assert {2} == set(others)
    wait_for(lambda: redis_cluster.ready(hung), "the node")
