"""Three gunicorn workers that serve and sweep, clients that talk, and what kills the workers meanwhile."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from session_mw._core.ops import SessionStore
from session_mw.ledger import open_ledger
from session_mw.stores import open_store
from tests.patience import PATIENCE
from tests.processes.servers import Mode, Server, environment
from tests.reliability.evidence import Evidence
from tests.reliability.talkers import IDLE, Asked, Talker

WORKERS, CLIENTS = 3, 12
LATE = 5.0 * PATIENCE  # seconds, of promise G1
LIFE = (0.15, 1.3)  # seconds
LEASE = 6.0  # seconds, in short runs: longer than this machine holds its breath
OWN_LEASE = 30.0  # the product's
PATIENT = 30 * PATIENCE  # seconds for what takes a moment
TURN = 0.5  # seconds that a dead worker's turn keeps its session alive
Hunt = Callable[["Hunted"], None]

_SERVED = "tests.reliability.served"
_COMMAND = ("gunicorn", f"{_SERVED}:{{kind}}", "-c", f"python:{_SERVED}", "-b", "127.0.0.1:{port}", "--preload")
_CLASSES = {"wsgi": ("-k", "gthread", "--threads", "4"), "asgi": ("-k", "uvicorn.workers.UvicornWorker")}


def mode(kind: str) -> Mode:
    """Return the server of a kind of application."""
    command = (*_COMMAND, "-w", str(WORKERS), "--graceful-timeout", "10", *_CLASSES[kind])
    return Mode("gunicorn", "kills", kind, command, WORKERS)


@dataclass
class Hunted:
    """
    What a hunt goes on in.

    Attributes:
        folder: Where workers write, and failpoints are armed.
        group: Of the server's processes.
        working: Returns the workers that have answered.
        killed: Workers that were killed so far.
    """

    folder: Path
    group: int
    working: Callable[[], set[int]]
    killed: set[int] = field(default_factory=set)

    def born(self) -> list[int]:
        """Return the workers there ever were, in order."""
        path = self.folder / "born"
        return [int(line) for line in path.read_text().splitlines() if line] if path.exists() else []

    def kill(self, pid: int) -> None:
        """Kill a worker as the kernel does when memory is short."""
        assert self.group == os.getpgid(pid), "a worker ended by itself"
        os.kill(pid, signal.SIGKILL)
        self.killed.add(pid)


def at_random(count: int) -> Hunt:
    """
    Return a hunt that kills *count* workers, each a short life after its first answer, or now and then after its birth.

    A busy machine may take longer to start a worker than that lives: from birth on, hardly one would do anything.
    """

    def hunt(hunted: Hunted) -> None:
        lives: dict[int, float] = {}
        limit = time.monotonic() + PATIENT
        while len(hunted.killed) < count:
            now, working = time.monotonic(), hunted.working()
            assert now < limit, f"no worker began to work after {len(lives)}"
            for number, pid in enumerate(hunted.born()):
                if pid not in lives and (pid in working or number % 4 == 0):
                    lives[pid], limit = now + random.uniform(*LIFE), now + PATIENT
            for pid, until in lives.items():
                if now > until and pid not in hunted.killed and len(hunted.killed) < count:
                    hunted.kill(pid)
            time.sleep(0.005)

    return hunt


def at_points(points: tuple[str, ...], count: int) -> Hunt:
    """Return a hunt in which workers die at named points, in turn, *count* times at each."""

    def hunt(hunted: Hunted) -> None:
        for number in range(count * len(points)):
            armed = hunted.folder / f"armed-{points[number % len(points)]}"
            armed.touch()
            limit = time.monotonic() + PATIENT
            while armed.exists():
                assert time.monotonic() < limit, f"nobody came to {armed.name}"
                time.sleep(0.005)

    return hunt


@dataclass
class Run:
    """What a hunt left behind: the evidence, what the history lacks, and how long killing and waiting took."""

    evidence: Evidence
    strange: list[str]
    missing: list[str]
    held: str
    log: str
    hunted: float
    waited: float


def run(kind: str, url: str | None, folder: Path, hunt: Hunt, lease: float) -> Run:
    """
    Let clients talk to a server while *hunt* goes on, and then until every session is over.

    Args:
        kind: ``wsgi`` or ``asgi``.
        url: Of the store, emptied; None takes an SQLite file.
        folder: For everything.
        hunt: What kills.
        lease: Seconds that workers' leases last; ``OWN_LEASE`` leaves the product as it is.
    """
    file = f"sqlite:///{folder}/sessions.db"
    history = url if url is not None and url.startswith("postgresql:") else file
    store = url or file
    times = {"IDLE_TIMEOUT": f"{IDLE}", "TURN_TIMEOUT": f"{TURN}", "CLOCK_SKEW": f"{IDLE / 10}"}
    env = environment(mode(kind), folder, bare=False, STORE=store, LEDGER=history, **times)
    if lease != OWN_LEASE:
        env["KILLS_LEASE_MS"] = str(round(lease * 1000))
    over = threading.Event()
    with Server(mode(kind), env, folder) as server:
        talkers = [Talker(server.port, f"c{number}", over) for number in range(CLIENTS)]
        hunted = Hunted(folder, server.process.pid, lambda: set().union(*(talker.pids for talker in talkers)))
        began = time.monotonic()
        try:
            for talker in talkers:
                talker.start()
            hunt(hunted)
        finally:
            over.set()
        asked = _finish(talkers)
        done = time.monotonic()
        held = _until_over(store, lease)
        waited = time.monotonic() - done
        server.terminate()
        log = server.log()
    evidence = Evidence(folder, asked, hunted.killed)
    evidence.killed |= {death.pid for death in evidence.deaths}
    ledger = open_ledger(history)
    missing = evidence.missing_in(ledger)
    ledger.close()
    strange = [text for talker in talkers for text in talker.strange]
    return Run(evidence, strange, missing, held, log, done - began, waited)


def _finish(talkers: list[Talker]) -> list[Asked]:
    for talker in talkers:
        talker.join(60 * PATIENCE)
        assert not talker.is_alive(), "a client waits for ever"
    return [asked for talker in talkers for asked in talker.asked]


def _until_over(url: str, lease: float) -> str:
    """Wait until every session was reported, for as long as G1 says; return what the store still holds then."""
    store: SessionStore = open_store(url)[0]
    limit = time.monotonic() + IDLE + TURN + lease + LATE
    while True:
        stats = store.stats()
        held = stats.live + stats.ended + stats.dead
        if not held or time.monotonic() > limit:
            store.close()
            return f"{stats}" if held else ""
        time.sleep(0.1)
