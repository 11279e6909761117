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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from session_mw._core.ops import Claim, SessionStore

from .memory import LIMITS

BATCH, TOMB_MS, LEASE_MS = 500, 3_600_000, 30_000
TOUCH_ROUNDS, CLAIM_ROUNDS = 9, 5

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


def claim(store: SessionStore) -> list[str]:
    """Claim up to 500 sessions and acknowledge them; returns them."""
    token = secrets.token_hex(8)
    records = store.claim(Claim(token, LIMITS, BATCH, LEASE_MS)).records
    if records:
        store.ack([(record.session_id, record.generation) for record in records], token, TOMB_MS)
    return [record.session_id for record in records]


def drain(store: SessionStore) -> list[str]:
    """Claim and acknowledge until nothing is found; returns the sessions."""
    found: list[str] = []
    while some := claim(store):
        found += some
    return found


@dataclass
class Spent:
    """What one side has claimed, and what that took: seconds on the clock, of its CPU, and of the server's."""

    claimed: list[str] = field(default_factory=list)
    wall: float = 0.0
    cpu: float = 0.0
    server: float = 0.0

    def us(self, seconds: float) -> float:
        """Return *seconds* as microseconds a session."""
        return seconds / max(1, len(self.claimed)) * 1e6


def claims(
    fill: Callable[[], object],
    sides: Mapping[str, Callable[[], list[str]]],
    worker: Sequence[str],
    due: int,
    server_cpu: Callable[[], float] = lambda: 0.0,
) -> dict[str, float]:
    """
    Measure claims with their acknowledgement: the store beside its bare driver, then two workers at once.

    Args:
        fill: Makes *due* sessions that are due.
        sides: ``store`` and ``driver``: each claims and acknowledges a batch and returns it. They take turns.
        worker: Module and arguments of a process that drains the store too, see ``work``.
        due: How many are due each time.
        server_cpu: Returns the CPU seconds that the server has used so far; it has none by default.

    Returns:
        ``claim_us``, ``bare_us`` and ``shared_us`` (a session), ``claim_ratio``, ``cpu_us``, ``bare_cpu_us`` and
        ``server_us`` (CPU of this process and of the server: a busy machine makes everything else longer),
        ``claimed``, ``twice``, ``missed``.
    """
    _turns(fill, sides, {name: Spent() for name in sides}, lambda: 0.0)  # fills caches, prepares what is prepared
    spent = {name: Spent() for name in sides}
    claimed = min(_turns(fill, sides, spent, server_cpu) for _ in range(CLAIM_ROUNDS))
    fill()
    shares, shared_s = _together(worker)
    both = [*shares[0], *shares[1], *sides["store"]()]
    store, driver = spent["store"], spent["driver"]
    return {
        "due": float(due),
        "claimed": float(claimed),
        "claim_us": store.us(store.wall),
        "bare_us": driver.us(driver.wall),
        "claim_ratio": store.us(store.wall) / driver.us(driver.wall),
        "cpu_us": store.us(store.cpu),
        "bare_cpu_us": driver.us(driver.cpu),
        "server_us": store.us(store.server),
        "shared_us": shared_s / due * 1e6,
        "twice": float(len(both) - len(set(both))),
        "missed": float(due - len(set(both))),
    }


def _turns(
    fill: Callable[[], object],
    sides: Mapping[str, Callable[[], list[str]]],
    spent: Mapping[str, Spent],
    server_cpu: Callable[[], float],
) -> int:
    """
    Make sessions that are due, and let the sides claim batches until nothing is left; returns how many were claimed.

    Who is next is left to chance: what comes each so many batches (a checkpoint) would else always hit the same side.
    """
    fill()
    chosen, left, claimed = random.Random(len(spent["store"].claimed)), list(sides), set[str]()
    while left:
        name = chosen.choice(left)
        server = server_cpu()
        began, cpu = time.perf_counter(), time.process_time()
        some = sides[name]()
        mine = spent[name]
        mine.wall += time.perf_counter() - began
        mine.cpu += time.process_time() - cpu
        mine.server += server_cpu() - server
        mine.claimed += some
        claimed.update(some)
        if not some:
            left.remove(name)
    return len(claimed)


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
