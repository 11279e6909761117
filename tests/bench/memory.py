"""
The memory store with a million live sessions: what a touch, a sweep and a session cost (P9), and what size costs (P10).

Runs in a process of its own (``python -m tests.bench.memory COUNT``), so that a heap of half a gigabyte disturbs no
other measurement. The clock is turned by hand; sessions are touched in random order.
"""

from __future__ import annotations

import gc
import json
import random
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from session_mw._core.ops import Claim, Touch
from session_mw._core.records import Limits
from session_mw.stores import open_store

LIMITS = Limits(idle_ms=1_800_000, absolute_ms=86_400_000, turn_ms=600_000, skew_ms=60_000)
DUE = 10_000
ATTRIBUTES = {"session.type": "chat", "session.channel": "web", "session.locale": "en-GB"}


class Turned:
    """A clock turned by hand, milliseconds."""

    def __init__(self) -> None:
        self.now_ms = 1_761_999_022_000

    def __call__(self) -> int:
        """Return the time."""
        return self.now_ms


def _touch(session_id: str | None, new_id: str) -> Touch:
    return Touch(session_id, new_id, LIMITS, turn=False, attributes=ATTRIBUTES)


def _id(number: int) -> str:
    """Return the id of a session; its text is the store's to keep, so that it counts."""
    return f"s{number:031d}"


def touch_us(store: Any, numbers: range, rounds: int = 7, count: int = 5_000) -> float:
    """Return the median time of a touch of a random session, microseconds; building the question is not counted."""
    chosen = random.Random(2)
    found = []
    for _ in range(rounds):
        asks = [_touch(_id(number), "unused") for number in chosen.choices(numbers, k=count)]
        for ask in asks:
            hash(ask.session_id)  # known from looking up the token
        began = time.process_time_ns()
        for ask in asks:
            store.touch(ask)
        found.append((time.process_time_ns() - began) / count / 1_000)
    return statistics.median(found)


def _claim_ms(store: Any, limit: int) -> tuple[int, float]:
    began = time.process_time_ns()
    claimed = 0
    while True:
        records = store.claim(Claim("lease", LIMITS, 500)).records
        claimed += len(records)
        if not records or claimed >= limit:
            return claimed, (time.process_time_ns() - began) / 1e6


def resident() -> int:
    """
    Return the memory that this process has now, bytes.

    Not the peak that getrusage tells: a child begins with its parent's, and what stays below that would not show.
    """
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * resource.getpagesize()


def report(count: int) -> dict[str, float]:
    """
    Measure a store of *count* sessions.

    Returns:
        ``touch_us``, ``small_touch_us`` (1,000 sessions), ``claim_ms`` (10,000 due), ``claimed``, ``none_ms`` (nothing
        due), ``bytes`` (a session, from the memory the process has).
    """
    small, _ = open_store("memory://", clock=Turned())
    for number in range(1_000):
        small.touch(_touch(None, _id(number)))
    small_us = touch_us(small, range(1_000))
    clock = Turned()
    store, _ = open_store("memory://", clock=clock)
    gc.collect()
    gc.freeze()
    before = resident()
    due = min(DUE, count // 10)
    for number in range(count):
        if number == due:
            clock.now_ms += 60_000  # the first ones are due a minute earlier
        store.touch(_touch(None, _id(number)))
    grown = resident() - before
    result = {"sessions": float(count), "bytes": grown / count, "small_touch_us": small_us}
    result["touch_us"] = touch_us(store, range(due, count))
    clock.now_ms += LIMITS.idle_ms - 60_000 - 1_000
    _claim_ms(store, 1)  # whoever was touched is filed anew in its own time, not in the measured one
    result["none_ms"] = statistics.median(_claim_ms(store, 1)[1] for _ in range(5))
    clock.now_ms += 2_000
    result["claimed"], result["claim_ms"] = _claim_ms(store, due)
    return result


def in_process(count: int = 1_000_000) -> dict[str, float]:
    """Measure in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.memory", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


if __name__ == "__main__":
    print(json.dumps(report(int(sys.argv[1]))))
