"""
How long the SQLite store keeps an event loop from going on while four other processes write to the same file (P13).

Eight tasks touch sessions through the asynchronous face, and a ticker asks to be called each millisecond: how late it
is called is the stall. A machine whose cores are taken stalls a loop too, whatever it does; so the same loop is
measured in turns on a file of its own, while the four write to the other one: what it shows is not the store's waiting.

The writers are workers: each touches, adds what turns brought in batches, and sweeps.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from session_mw._core.ops import Add, Touch
from session_mw.stores.sqlite import AsyncSqliteStore, SqliteStore

from . import beside, sqlite
from .case import CaseError
from .memory import LIMITS
from .surge import percentile

WRITERS, TASKS, SESSIONS = 4, 8, 20_000
ROUNDS, SECONDS, TICK, PAUSE = 5, 3.0, 0.001, 0.002


class Stalls:
    """How late an event loop was, milliseconds."""

    def __init__(self) -> None:
        self.shared: list[float] = []
        self.alone: list[float] = []
        self.touches = 0


async def tick(until: float, late: list[float]) -> None:
    """Note how late this loop calls back."""
    loop = asyncio.get_running_loop()
    while time.perf_counter() < until:
        due = time.perf_counter() + TICK
        called: asyncio.Future[None] = loop.create_future()
        loop.call_later(TICK, called.set_result, None)
        await called
        late.append(max(0.0, time.perf_counter() - due) * 1e3)


async def serve(store: AsyncSqliteStore, until: float, seed: int, stalls: Stalls) -> None:
    """Touch one session after the other."""
    chosen = random.Random(seed)
    while time.perf_counter() < until:
        await store.touch(Touch(beside.scrambled(chosen.randrange(1, SESSIONS)), "unused", LIMITS))
        stalls.touches += 1
        await asyncio.sleep(PAUSE)


async def measured(path: str, seconds: float, late: list[float], stalls: Stalls) -> None:
    """Let one loop serve for so many seconds."""
    store = SqliteStore(path)
    store.stats()  # opened: a first request opens the file in a thread
    face, until = AsyncSqliteStore(store), time.perf_counter() + seconds
    await asyncio.gather(tick(until, late), *(serve(face, until, n, stalls) for n in range(TASKS)))
    store.close()


def report(folder: Path, rounds: int = ROUNDS, seconds: float = SECONDS) -> dict[str, float]:
    """
    Measure.

    Returns:
        ``p99`` and ``max`` (milliseconds) with the four others on the same file, ``alone_p99`` and ``alone_max`` on a
        file of its own, ``touches``, ``ticks``.
    """
    shared, own = str(folder / "shared.db"), str(folder / "own.db")
    for path in (shared, own):
        sqlite.fill(path, 1, SESSIONS, time.time_ns() // 1_000_000)
    command = [sys.executable, "-m", "tests.bench.stall", shared]
    writers = [subprocess.Popen([*command, str(n), str(SESSIONS)], stdout=subprocess.PIPE) for n in range(WRITERS)]
    stalls = Stalls()
    try:
        for writer in writers:
            assert writer.stdout is not None
            writer.stdout.readline()  # it writes
        for _ in range(rounds):
            asyncio.run(measured(own, seconds, stalls.alone, stalls))
            asyncio.run(measured(shared, seconds, stalls.shared, stalls))
        if any(writer.poll() is not None for writer in writers):
            raise CaseError("a writer has stopped: its loop had less to wait for")
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    return {
        "p99": percentile(stalls.shared, 0.99),
        "max": max(stalls.shared),
        "alone_p99": percentile(stalls.alone, 0.99),
        "alone_max": max(stalls.alone),
        "touches": float(stalls.touches),
        "ticks": float(len(stalls.shared)),
    }


def in_own_folder(rounds: int = ROUNDS, seconds: float = SECONDS) -> dict[str, float]:
    """Measure on files of our own."""
    with tempfile.TemporaryDirectory(prefix="smw-stall-") as folder:
        return report(Path(folder), rounds, seconds)


def write(path: str, seed: int, sessions: int) -> None:
    """Be a worker until killed: 20 touches, what they brought, and a look at what is due, again and again."""
    store, chosen = SqliteStore(path), random.Random(seed)
    store.stats()
    print("writing", flush=True)
    while True:
        ids = [beside.scrambled(n) for n in chosen.choices(range(1, sessions), k=20)]
        for session_id in ids:
            store.touch(Touch(session_id, "unused", LIMITS))
            time.sleep(PAUSE / TASKS)
        store.add([Add(session_id, completed=1, latency_ms=5) for session_id in ids])
        beside.drain(store)


if __name__ == "__main__":
    write(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
