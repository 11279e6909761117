"""
100,000 sessions due at once (G15): how long one sweeper takes, and what requests notice of it.

The sweeper is the usual one: a thread of the process that serves the requests, here touches of other sessions, one
each other millisecond. It hands each end, as OpenTelemetry makes them, to an exporter that takes everything. What a
touch takes while it sweeps is compared with what it took just before and takes just after.

Runs in a process of its own for each store (``python -m tests.bench.surge KIND LIVE DUE``); the others' servers too.
"""

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.resources import Resource

from session_mw._core.ops import SessionStore, Touch
from session_mw._plan import Plan
from session_mw.stores import open_store
from session_mw.sweeper import Background
from session_mw.telemetry.metrics import Metrics
from session_mw.telemetry.sinks import ExporterSink
from tests.stores import pg_server, redis_server

from . import beside, memory, postgres, redis, sqlite
from .memory import ATTRIBUTES, LIMITS

LIVE, DUE, SERVED = 1_000_000, 100_000, 1_000
NOW = sqlite.NOW
PACE, CALM_SECONDS = 0.002, 3.0


class Taken:
    """An exporter that takes everything, and counts the ends."""

    def __init__(self) -> None:
        self.ends = 0

    def export(self, batch: Any) -> LogRecordExportResult:
        """Take *batch*."""
        self.ends += sum(1 for one in batch if one.log_record.event_name == "session.end")
        return LogRecordExportResult.SUCCESS


@dataclass(frozen=True)
class Filled:
    """
    A store before the surge.

    Attributes:
        store: It.
        names: Some of its living sessions.
        bytes: What a session takes.
    """

    store: SessionStore
    names: list[str]
    bytes: float


@contextmanager
def in_memory(live: int, due: int) -> Iterator[Filled]:
    """Fill a memory store; what a session takes is what the process has grown by."""
    clock = [NOW]
    store, _ = open_store("memory://", clock=lambda: clock[0])
    gc.collect()
    before = memory.resident()
    for first, last, at_ms in ((live + 1, live + due, NOW - LIMITS.idle_ms), (1, live, NOW)):
        clock[0] = at_ms
        for number in range(first, last + 1):
            store.touch(Touch(None, beside.scrambled(number), LIMITS, turn=False, attributes=ATTRIBUTES))
    yield Filled(store, _some(live), (memory.resident() - before) / (live + due))


@contextmanager
def in_sqlite(live: int, due: int) -> Iterator[Filled]:
    """Fill a file."""
    with tempfile.TemporaryDirectory(prefix="smw-surge-") as folder:
        path = str(Path(folder) / "sessions.db")
        sqlite.fill(path, 1, live, NOW)
        sqlite.fill(path, live + 1, live + due, NOW - LIMITS.idle_ms)
        yield Filled(sqlite.store_of(path), _some(live), Path(path).stat().st_size / (live + due))


@contextmanager
def in_postgres(live: int, due: int) -> Iterator[Filled | None]:
    """Fill a server of our own, if there is one."""
    found = pg_server.programs()
    if found is None:
        yield None
        return
    server = pg_server.Server(found)
    try:
        server.start(shared_buffers="1GB", max_wal_size="4GB", autovacuum_naptime="1min")
        store = postgres.store_of(server.url())
        store.stats()  # makes the tables
        postgres.fill(server.url(), 1, live, NOW)
        postgres.fill(server.url(), live + 1, live + due, NOW - LIMITS.idle_ms)
        yield Filled(store, _some(live), postgres.size(server.url()) / (live + due))
        store.close()
    finally:
        server.remove()


@contextmanager
def in_redis(live: int, due: int) -> Iterator[Filled | None]:
    """Fill a server of our own, if there is one."""
    if redis_server.binary() is None:
        yield None
        return
    with redis_server.servers() as make:
        server = make()
        before = redis.used(server)
        names = redis.fill(server.url, live, NOW)[:SERVED]
        redis.fill(server.url, due, NOW - LIMITS.idle_ms)
        yield Filled(redis.store_of(server.url), names, (redis.used(server) - before) / (live + due))


def _some(live: int) -> list[str]:
    return [beside.scrambled(number) for number in random.Random(3).sample(range(1, live + 1), min(live, SERVED))]


KINDS: Mapping[str, Callable[[int, int], AbstractContextManager[Filled | None]]] = {
    "memory": in_memory,
    "sqlite": in_sqlite,
    "postgresql": in_postgres,
    "redis": in_redis,
}


def serve(store: SessionStore, names: list[str], until: threading.Event, seconds: float) -> list[float]:
    """Touch sessions at a steady pace until *until* is set, or for so many seconds; returns what each took, ms."""
    chosen, took = random.Random(4), []
    end = time.perf_counter() + seconds
    while not until.is_set() and time.perf_counter() < end:
        ask = Touch(chosen.choice(names), "unused", LIMITS)
        began = time.perf_counter()
        store.touch(ask)
        took.append((time.perf_counter() - began) * 1e3)
        time.sleep(PACE)
    return took


def percentile(values: list[float], share: float) -> float:
    """Return the value that *share* of them do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def report(kind: str, live: int, due: int, calm: float = CALM_SECONDS) -> dict[str, float] | None:
    """
    Let *due* sessions of a store end at once.

    Returns:
        ``live``, ``bytes`` (a session), ``seconds`` until all had ended, ``rate`` (ends a second), ``ended``, ``left``
        (should be 0), ``calm_p50``, ``calm_p99``, ``calm_max`` and the same as ``busy_...`` (a touch, ms),
        ``extra_p99``. None without a server.
    """
    with KINDS[kind](live, due) as made:
        if made is None:
            return None
        store, names = made.store, made.names
        exporter = Taken()
        sinks = [ExporterSink(exporter, Resource.create({}))]
        background = Background(Plan(store, LIMITS, sinks, Metrics(), mode="thread"))
        over = threading.Event()
        seconds = [0.0]

        def sweep() -> None:
            began = time.perf_counter()
            try:
                background.sweep()
            finally:
                seconds[0] = time.perf_counter() - began
                over.set()

        serve(store, names, threading.Event(), calm / 3)  # fills caches
        before = serve(store, names, threading.Event(), calm)
        sweeper = threading.Thread(target=sweep)
        sweeper.start()
        busy = serve(store, names, over, 600)
        sweeper.join()
        quiet = before + serve(store, names, threading.Event(), calm)
        stats = store.stats()
    found = {
        "live": float(live),
        "bytes": made.bytes,
        "seconds": seconds[0],
        "rate": due / seconds[0],
        "ended": float(exporter.ends),
    }
    found["left"] = float(stats.live + stats.ended - live)
    for name, values in (("calm", quiet), ("busy", busy)):
        for share, label in ((0.5, "p50"), (0.99, "p99"), (1.0, "max")):
            found[f"{name}_{label}"] = percentile(values, share)
    return {**found, "extra_p99": found["busy_p99"] - found["calm_p99"]}


def in_process(kind: str, live: int = LIVE, due: int = DUE) -> dict[str, float] | None:
    """Measure in a process of its own; None where there is no server."""
    command = [sys.executable, "-m", "tests.bench.surge", kind, str(live), str(due)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] | None = json.loads(done.stdout)
    return found


def scaling(found: Mapping[str, Mapping[str, float]]) -> str:
    """Return what the README shows of *found*, in Markdown."""
    rows = [
        "| store | sessions live | bytes a session | touch, median | 100,000 due at once: ended in | ends a second |"
    ]
    rows.append("|---|---|---|---|---|---|")
    for kind, one in found.items():
        sizes = f"{one['live']:,.0f} | {one['bytes']:.0f} | {one['calm_p50'] * 1_000:.0f} us"
        rows.append(f"| {kind} | {sizes} | {one['seconds']:.0f} s | {one['rate']:,.0f} |")
    return "\n".join(rows)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(report(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
    else:
        measured = {kind: in_process(kind) for kind in KINDS}
        print(scaling({kind: one for kind, one in measured.items() if one is not None}))
