"""Processes of their own, that serve turns and are killed: for the stores that several processes share."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from session_mw._core.ops import Claim, SessionStore
from session_mw._core.records import Limits

WORKER = Path(__file__).with_name("worker.py")
Start = Callable[..., "Worker"]


class Worker:
    """A process that runs one command of worker.py."""

    def __init__(self, *args: object) -> None:
        environment = {**os.environ, "PYTHONPATH": str(WORKER.parents[2])}
        command = [sys.executable, "-W", "error", str(WORKER), *map(str, args)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, text=True)

    def until_ready(self) -> Worker:
        assert self.process.stdout is not None
        assert "ready\n" == self.process.stdout.readline()
        return self

    def go(self) -> Worker:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self

    def result(self) -> Any:
        out, _ = self.process.communicate(timeout=50)
        assert 0 == self.process.returncode
        return json.loads(out)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None and not stream.closed:
                stream.close()


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Worker] = []

    def begin(*args: object) -> Worker:
        started.append(Worker(*args))
        return started[-1]

    yield begin
    for worker in started:
        worker.kill()


def together(workers: list[Worker]) -> list[Any]:
    """Let them all begin at once, and return what they found."""
    for worker in workers:
        worker.until_ready()
    for worker in workers:
        worker.go()
    return [worker.result() for worker in workers]


def in_child(work: Callable[[], object]) -> object:
    """Do *work* in a forked child; returns what it returned."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(text)


def in_children(count: int, work: Callable[[int], object]) -> list[Any]:
    """Do *work* in forked children that begin at the same moment; returns what each returned."""
    barrier = get_context("fork").Barrier(count)
    pipes = []
    for number in range(count):
        read, write = os.pipe()
        if os.fork() == 0:
            code = 1
            try:
                barrier.wait(20)
                with os.fdopen(write, "w") as pipe:
                    json.dump(work(number), pipe)
                code = 0
            finally:
                os._exit(code)
        os.close(write)
        pipes.append(os.fdopen(read))
    found = []
    for pipe in pipes:
        with pipe:
            found.append(json.load(pipe))
        os.wait()
    return found


def run_and_kill(path: str, folder: Path, start: Start, seconds: float, most: int) -> int:
    """Let three workers live short lives for so long, or until so many were killed; returns how many were."""
    end, kills = time.monotonic() + seconds, 0
    lives: dict[Worker, float] = {}
    while time.monotonic() < end and kills < most:
        while len(lives) < 3:
            # A life begins when its work does: a busy machine may take long to start a process.
            worker = start("live_until_killed", path, folder / f"w{kills}-{len(lives)}").until_ready()
            lives[worker] = time.monotonic() + random.uniform(0.1, 0.8)
        time.sleep(0.005)
        for worker in [w for w, until in lives.items() if time.monotonic() > until]:
            worker.process.send_signal(signal.SIGKILL)
            worker.process.wait()
            del lives[worker]
            kills += 1
    for worker in lives:
        worker.kill()
    return kills + len(lives)


def read_lines(folder: Path, suffix: str) -> list[str]:
    """Return all whole lines: a kill may cut the last one."""
    lines = []
    for file in folder.glob(f"*{suffix}"):
        lines += file.read_text().split("\n")[:-1]
    return lines


def check_after_kills(
    store: SessionStore, path: str, folder: Path, start: Start, *, seconds: float, kills: int = 1_000_000
) -> None:
    """
    Let workers of *path* be killed for so many seconds, or so often.

    Nothing is lost, nothing differs, no turn is miscounted.

    A report that was written before the kill and not acknowledged comes again; it has to be the same, in what was
    worked out for it too.
    """
    kills = run_and_kill(path, folder, start, seconds, kills)
    short = Limits(300, 3_600_000, 100, 60_000)
    time.sleep(0.9)  # leases and sessions of the last ones run out
    ends = defaultdict(list)
    for line in read_lines(folder, ".ends"):
        session_id, shown, _ = json.loads(line)
        ends[session_id].append(shown)
    while records := store.claim(Claim("last", short)).records:
        for r in records:
            total = r.attributes.get("total")
            shown = [r.turns, r.completed, r.reason, r.started_ms, r.last_ms, r.ended_ms, total]
            ends[r.session_id].append(shown)
        store.ack([(r.session_id, r.generation) for r in records], "last", 60_000)
    numbers = defaultdict(list)
    for line in read_lines(folder, ".turns"):
        session_id, number = line.split()
        numbers[session_id].append(int(number))

    assert kills >= 3
    assert len(numbers) > kills, "too little was done to prove anything"
    assert [] == [s for s in numbers if s not in ends], "lost"
    assert [] == [s for s, all_shown in ends.items() if any(x != all_shown[0] for x in all_shown)], "differing"
    # A turn whose number was given out is counted; one that was counted and not written down belongs to a kill.
    assert [] == [s for s, given in numbers.items() if max(given) > ends[s][0][0]], "miscounted"
    assert [] == [s for s, given in numbers.items() if len(set(given)) != len(given)], "numbered twice"
    uncounted = sum(ends[s][0][0] - len(given) for s, given in numbers.items())
    assert uncounted <= kills, "turns that nobody began"
