"""
A store beside its bare driver: the same statements with the same answers, in turns, so that a slow moment slows both.

The bare side decides nothing and makes no records: what the store costs above it is what this project costs.
"""

from __future__ import annotations

import json
import random
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from session_mw._core.ops import Claim, SessionStore

from .memory import LIMITS

BATCH, TOMB_MS, LEASE_MS = 500, 3_600_000, 30_000
TOUCH_ROUNDS, CLAIM_ROUNDS = 9, 3

Side = tuple[str, Callable[[Any], object], list[Any]]


def scrambled(number: int) -> str:
    """Return an id of 32 characters; those of numbers that follow each other lie far apart, as random ones do."""
    return f"s{number * 2_654_435_761 % 2**32:031d}"


def timed_us(work: Callable[[Any], object], given: Sequence[Any]) -> float:
    """Return the wall time of one, microseconds."""
    began = time.perf_counter_ns()
    for one in given:
        work(one)
    return (time.perf_counter_ns() - began) / len(given) / 1_000


def touches(sides: Callable[[random.Random], list[Side]]) -> dict[str, float]:
    """
    Measure touches through the store and through the bare driver, in turns.

    Args:
        sides: Returns one round's work: ``store`` and ``driver``, what each does with one, and with which.

    Returns:
        ``store_us``, ``driver_us`` (medians) and their ``ratio`` (the median of the rounds').
    """
    chosen = random.Random(2)
    found: dict[str, list[float]] = {"store": [], "driver": []}
    for number in range(TOUCH_ROUNDS + 1):
        round_ = sides(chosen)
        chosen.shuffle(round_)
        for name, work, given in round_:
            took = timed_us(work, given)
            if number:  # the first round fills caches, and prepares what is prepared
                found[name].append(took)
    return {"ratio": _ratio(found), **{f"{name}_us": statistics.median(values) for name, values in found.items()}}


def _ratio(found: dict[str, list[float]]) -> float:
    return statistics.median(one / other for one, other in zip(found["store"], found["driver"], strict=True))


def drain(store: SessionStore) -> list[str]:
    """Claim and acknowledge in batches of 500 until nothing is found; returns the sessions."""
    found: list[str] = []
    while True:
        token = secrets.token_hex(8)
        records = store.claim(Claim(token, LIMITS, BATCH, LEASE_MS)).records
        if not records:
            return found
        found += [record.session_id for record in records]
        store.ack([(record.session_id, record.generation) for record in records], token, TOMB_MS)


def claims(
    fill: Callable[[], object],
    sides: dict[str, Callable[[], list[str]]],
    worker: Sequence[str],
    due: int,
    server_cpu: Callable[[], float] = lambda: 0.0,
) -> dict[str, float]:
    """
    Measure claims with their acknowledgement: the store beside its bare driver, then two workers at once.

    Args:
        fill: Makes *due* sessions that are due.
        sides: ``store`` and ``driver``: each claims and acknowledges until nothing is found, and returns whom.
        worker: Module and arguments of a process that drains the store too, see ``work``.
        due: How many are due each time.
        server_cpu: Returns the CPU seconds that the server has used so far; it has none by default.

    Returns:
        ``claim_us``, ``bare_us`` and ``shared_us`` (a session), ``claim_ratio``, ``cpu_us``, ``bare_cpu_us`` and
        ``server_us`` (CPU of this process and of the server: a busy machine makes everything else longer),
        ``claimed``, ``twice``, ``missed``.
    """
    order, took = ["store", "driver"], dict[str, list[float]](store=[], driver=[])
    used: dict[str, list[float]] = {"store": [], "driver": [], "server": []}
    claimed = due
    for number in range(CLAIM_ROUNDS + 1):
        for name in order:
            fill()
            began, cpu, server = time.perf_counter(), time.process_time(), server_cpu()
            mine = sides[name]()
            seconds = time.perf_counter() - began
            claimed = min(claimed, len(set(mine)))
            if number:
                took[name].append(seconds / due * 1e6)
                used[name].append((time.process_time() - cpu) / due * 1e6)
                used["server"] += [(server_cpu() - server) / due * 1e6] if name == "store" else []
        order.reverse()
    fill()
    shares, shared_s = _together(worker)
    both = [*shares[0], *shares[1], *sides["store"]()]
    return {
        "claimed": float(claimed),
        "claim_us": statistics.median(took["store"]),
        "bare_us": statistics.median(took["driver"]),
        "claim_ratio": _ratio(took),
        "cpu_us": statistics.median(used["store"]),
        "bare_cpu_us": statistics.median(used["driver"]),
        "server_us": statistics.median(used["server"]),
        "shared_us": shared_s / due * 1e6,
        "twice": float(len(both) - len(set(both))),
        "missed": float(due - len(set(both))),
    }


def _together(worker: Sequence[str]) -> tuple[list[list[str]], float]:
    """Let two workers drain at once; returns whom each claimed, and the seconds that took."""
    pipe = subprocess.PIPE
    workers = [subprocess.Popen([sys.executable, "-m", *worker], stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    for one in workers:
        assert one.stdout is not None
        one.stdout.readline()  # it is ready
    began = time.perf_counter()
    for one in workers:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    shares: list[list[str]] = [json.loads(one.communicate()[0]) for one in workers]
    return shares, time.perf_counter() - began


def work(store: SessionStore) -> None:
    """Be such a worker: drain *store* when told to."""
    store.stats()  # connects
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(drain(store)))
    store.close()


def keys_of(session_ids: Iterable[str]) -> list[tuple[str, int]]:
    """Return what an acknowledgement names: ids with their generation."""
    return [(session_id, 1) for session_id in session_ids]
