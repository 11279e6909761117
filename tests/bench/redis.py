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
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from session_mw._core.identity import make_session_id
from session_mw._core.ops import Claim, Touch
from session_mw.stores import _redis_ops as ops
from session_mw.stores.redis import RedisStore
from tests.stores.redis_server import Server, binary, servers

from .memory import ATTRIBUTES, DUE, LIMITS

NOW = 1_761_999_022_000
ROUNDS, TOUCHES, PIPELINE = 9, 2_000, 1_000


def _store(url: str, now_ms: int) -> RedisStore:
    return RedisStore(f"{url}?socket_timeout=10&background_timeout=30", lambda: now_ms)


def fill(url: str, count: int, at_ms: int) -> list[str]:
    """Make sessions, last active at *at_ms*: the calls of as many touches, pipelined; returns their ids."""
    store = _store(url, at_ms)
    ids = [make_session_id(secrets.token_bytes(24)) for _ in range(count)]
    for first in range(0, count, PIPELINE):
        asks = (Touch(None, name, LIMITS, attributes=ATTRIBUTES) for name in ids[first : first + PIPELINE])
        store._driver.run("fill", [next(ops.touch(store._space, ask))[0] for ask in asks], behind=True)
    store.close()
    return ids


def used(server: Server) -> int:
    """Return the bytes that the server says its data take."""
    found: int = server.client().info("memory")["used_memory"]
    return found


def timed_us(work: Callable[[Any], object], asks: list[Any]) -> float:
    """Return the time of one, microseconds."""
    began = time.perf_counter_ns()
    for ask in asks:
        work(ask)
    return (time.perf_counter_ns() - began) / len(asks) / 1_000


def touches(url: str, ids: list[str]) -> dict[str, float]:
    """Measure touches through the store and through the bare driver, in turns."""
    store, chosen = _store(url, NOW), random.Random(2)
    client = store._driver._client(store._topology.node_of(0), False)
    found: dict[str, list[float]] = {"store": [], "driver": []}

    def bare(call: Any) -> object:
        return client.evalsha(call.script.sha, len(call.keys), *call.keys, *call.args)

    for number in range(ROUNDS + 1):
        asks = [Touch(name, "unused", LIMITS) for name in chosen.choices(ids, k=TOUCHES)]
        calls = [next(ops.touch(store._space, ask))[0] for ask in asks]
        sides: list[tuple[str, Callable[[Any], object], list[Any]]] = [("store", store.touch, asks)]
        sides.append(("driver", bare, calls))
        chosen.shuffle(sides)
        for name, work, given in sides:
            took = timed_us(work, given)
            if number:  # the first round sends the script
                found[name].append(took)
    store.close()
    ratio = statistics.median(one / other for one, other in zip(found["store"], found["driver"], strict=True))
    return {"ratio": ratio, **{f"{name}_us": statistics.median(values) for name, values in found.items()}}


def claim(url: str, now_ms: int) -> list[str]:
    """Claim and acknowledge in batches of 500 until nothing is found; returns the sessions."""
    store, found = _store(url, now_ms), []
    while True:
        token = secrets.token_hex(8)
        records = store.claim(Claim(token, LIMITS, 500)).records
        if not records:
            break
        found += [record.session_id for record in records]
        store.ack([(record.session_id, record.generation) for record in records], token, 3_600_000)
    store.close()
    return found


def claims(url: str, due: int) -> dict[str, float]:
    """Measure claims by one worker, then by two at once."""
    fill(url, due, NOW - LIMITS.idle_ms)
    began = time.perf_counter()
    alone = claim(url, NOW)
    alone_s = time.perf_counter() - began
    fill(url, due, NOW - LIMITS.idle_ms)
    command = [sys.executable, "-m", "tests.bench.redis", url, str(NOW)]
    pipe = subprocess.PIPE
    workers = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()  # it is ready
    began = time.perf_counter()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    shares = [json.loads(worker.communicate()[0]) for worker in workers]
    shared_s = time.perf_counter() - began
    both = shares[0] + shares[1] + claim(url, NOW)
    return {
        "claimed": float(len(alone)),
        "claim_us": alone_s / len(alone) * 1e6,
        "shared_us": shared_s / due * 1e6,
        "twice": float(len(both) - len(set(both))),
        "missed": float(due - len(set(both))),
    }


def report(server: Server, count: int) -> dict[str, float]:
    """
    Measure a store of *count* sessions.

    Returns:
        ``bytes`` (a session after its first turn, all told), ``small_touch_us`` (1,000 sessions), ``touch_us``,
        ``store_us`` and ``driver_us`` with their ``ratio``, ``claim_us`` and ``shared_us`` (a session, claim and
        acknowledgement), ``claimed``, ``twice``, ``missed``.
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
    _store(sys.argv[1], int(sys.argv[2])).stats()
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(claim(sys.argv[1], int(sys.argv[2]))))
