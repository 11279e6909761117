"""
The PostgreSQL store with a million live sessions: what a touch costs beside the bare driver (P11) and by size (P10),
what a claim with its acknowledgement costs (P12), alone and with a second worker.

On a server of our own with its defaults, over its Unix socket; sessions are touched in random order, those due lie at
random places of the table. Wall time: most of it is the server's.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import psycopg

from session_mw._core.ops import Claim, Touch
from session_mw.stores import _pg_live
from session_mw.stores.postgres import PostgresStore
from tests.stores.pg_server import Server, programs

from .memory import ATTRIBUTES, DUE, LIMITS

NOW = 1_761_999_022_000
ROUNDS, TOUCHES = 9, 2_000

FILL = """
INSERT INTO session_mw_live SELECT 's' || lpad(n::text, 31, '0'), %(at)s, %(at)s, 1, %(at)s, 0, 1, 1, 0, 12,
    NULL, NULL, NULL, NULL, NULL, NULL, true, true, false, false, %(attributes)s, %(at)s + %(idle)s, NULL
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n ORDER BY hashint8(n)
"""


def _id(number: int) -> str:
    return f"s{number:031d}"


def _store(url: str, now_ms: int) -> PostgresStore:
    return PostgresStore(url, lambda: now_ms, request_ms=60_000, background_ms=600_000)


def fill(url: str, first: int, last: int, at_ms: int) -> None:
    """Make sessions, last active at *at_ms*."""
    given = {"first": first, "last": last, "at": at_ms, "idle": LIMITS.idle_ms, "attributes": json.dumps(ATTRIBUTES)}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FILL, given)
        connection.execute("VACUUM ANALYZE session_mw_live")


def timed_us(work: Callable[[Touch], object], asks: list[Touch]) -> float:
    """Return the time of one touch, microseconds."""
    began = time.perf_counter_ns()
    for ask in asks:
        work(ask)
    return (time.perf_counter_ns() - began) / len(asks) / 1_000


def touches(url: str, numbers: range) -> dict[str, float]:
    """Measure touches through the store and through the bare driver, in turns."""
    store, chosen = _store(url, NOW), random.Random(2)
    found: dict[str, list[float]] = {"store": [], "driver": []}
    with psycopg.connect(url, autocommit=True, prepare_threshold=0) as connection:

        def bare(ask: Touch) -> object:
            return connection.execute(_pg_live.sql.EXTEND, _pg_live._extension(ask, NOW, False)).fetchall()

        sides: list[tuple[str, Callable[[Touch], Any]]] = [("store", store.touch), ("driver", bare)]
        for number in range(ROUNDS + 1):
            chosen.shuffle(sides)
            for name, work in sides:
                asks = [Touch(_id(n), "unused", LIMITS) for n in chosen.choices(numbers, k=TOUCHES)]
                took = timed_us(work, asks)
                if number:  # the first round fills caches
                    found[name].append(took)
    store.close()
    ratio = statistics.median(one / other for one, other in zip(found["store"], found["driver"], strict=True))
    return {"ratio": ratio, **{f"{name}_us": statistics.median(values) for name, values in found.items()}}


def claim(url: str, now_ms: int) -> list[str]:
    """Claim and acknowledge in batches of 500 until nothing is found; returns the sessions."""
    store, found = _store(url, now_ms), []
    for number in range(10_000):
        token = f"{id(store)}-{number}"
        records = store.claim(Claim(token, LIMITS, 500)).records
        if not records:
            break
        found += [record.session_id for record in records]
        store.ack([(record.session_id, record.generation) for record in records], token, 3_600_000)
    store.close()
    return found


def claims(url: str, count: int, due: int) -> dict[str, float]:
    """Measure claims by one worker, then by two at once."""
    fill(url, count + 1, count + due, NOW - LIMITS.idle_ms)
    began = time.perf_counter()
    alone = claim(url, NOW)
    alone_s = time.perf_counter() - began
    fill(url, count + 1, count + due, NOW - LIMITS.idle_ms)
    command = [sys.executable, "-m", "tests.bench.postgres", url, str(NOW)]
    pipe = subprocess.PIPE
    workers = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()  # it is ready
    began = time.perf_counter()
    shares = [json.loads(worker.communicate()[0]) for worker in _all_begin(workers)]
    shared_s = time.perf_counter() - began
    both = shares[0] + shares[1] + claim(url, NOW)
    return {
        "claimed": float(len(alone)),
        "claim_us": alone_s / len(alone) * 1e6,
        "shared_us": shared_s / due * 1e6,
        "twice": float(len(both) - len(set(both))),
        "missed": float(due - len(set(both))),
    }


def _all_begin(workers: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    return workers


def report(url: str, count: int) -> dict[str, float]:
    """
    Measure a store of *count* sessions.

    Returns:
        ``small_touch_us`` (1,000 sessions), ``touch_us``, ``store_us`` and ``driver_us`` with their ``ratio``,
        ``claim_us`` and ``shared_us`` (a session, claim and acknowledgement), ``claimed``, ``twice``, ``missed``.
    """
    _store(url, NOW).stats()  # makes the tables
    due = min(DUE, count // 10)
    fill(url, 1, 1_000, NOW)
    small = touches(url, range(1, 1_001))
    fill(url, 1_001, count, NOW)
    large = touches(url, range(1, count + 1))
    found = {"sessions": float(count), "small_touch_us": small["store_us"], "touch_us": large["store_us"], **small}
    return {**found, **claims(url, count, due)}


def in_own_server(count: int = 1_000_000) -> dict[str, float] | None:
    """Measure on a server of our own; None where there is none."""
    found = programs()
    if found is None:
        return None
    server = Server(found)
    try:
        server.start(shared_buffers="1GB", max_wal_size="4GB", autovacuum_naptime="1min")
        return report(server.url(), count)
    finally:
        server.remove()


if __name__ == "__main__":
    _store(sys.argv[1], int(sys.argv[2])).stats()
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(claim(sys.argv[1], int(sys.argv[2]))))
