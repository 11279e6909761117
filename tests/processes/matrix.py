"""
What is done to which server while clients talk, and what must be true afterwards.

Every number is read from the store, the history and the files of the application, and held against what the clients
were told. A client knows a turn when it has its answer; what it was not told may have been counted or not.
"""

from __future__ import annotations

import itertools
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from session_mw.ledger import open_ledger
from session_mw.stores import open_store
from tests.processes.clients import Crowd, Talk
from tests.processes.servers import MODES, RELOAD, Mode, Server, environment, watch

CLIENTS = 6
PATIENT = 50  # looks for a worker that should be gone, before it is told again
SOME = 40  # answers before and after: every client has had several
SHUTDOWN = 2.0  # seconds that a shutdown with the middleware may take longer than without


def terminated(server: Server, crowd: Crowd) -> float | None:
    """SIGTERM, and the same server again: a deploy of a machine. Returns the seconds that stopping took."""
    took = server.terminate()
    server.start()
    return took


def rolled(server: Server, crowd: Crowd) -> float | None:
    """SIGHUP: all workers are replaced, one deploy after the other."""
    for _ in range(2):
        old = crowd.hear(SOME // 2)
        server.hang_up()
        for tries in itertools.count(1):
            if not old & crowd.hear(SOME // 2):
                break
            if tries % PATIENT == 0:  # uvicorn forgets a signal that comes while it is still replacing workers
                server.hang_up()
    return None


def worker_killed(server: Server, crowd: Crowd) -> float | None:
    """SIGKILL of one worker; the server starts another."""
    victim = min(crowd.hear(SOME // 4))
    os.kill(victim, signal.SIGKILL)
    while victim in crowd.hear(SOME // 2):
        pass
    return None


def all_killed(server: Server, crowd: Crowd) -> float | None:
    """SIGKILL of every process, and the same server again."""
    server.kill_all()
    server.start()
    return None


def reloaded(server: Server, crowd: Crowd) -> float | None:
    """The code is written anew while requests run."""
    old = crowd.hear(SOME // 2)
    code = server.folder / "code" / "watched.py"
    code.write_text(code.read_text() + "# changed\n")
    while old & crowd.hear(SOME // 2):
        pass
    return None


Event = Callable[[Server, Crowd], float | None]
EVENTS: dict[str, Event] = {
    "SIGTERM": terminated,
    "SIGHUP": rolled,
    "SIGKILL worker": worker_killed,
    "SIGKILL all": all_killed,
    "reload": reloaded,
}


@dataclass(frozen=True)
class Case:
    """One row: a server, a store (``sqlite``, ``redis`` or ``postgresql``), and what happens."""

    mode: Mode
    event: str
    store: str = "sqlite"

    def __str__(self) -> str:
        return f"{self.mode}-{self.event.replace(' ', '-')}-{self.store}"

    @property
    def kills(self) -> bool:
        """Whether processes end without any warning."""
        return "KILL" in self.event


def _events(mode: Mode) -> list[str]:
    more = ["SIGHUP", "SIGKILL worker"] if mode.workers > 1 else []
    return ["SIGTERM", *more, "SIGKILL all"]


CASES = [Case(mode, event) for mode in MODES for event in _events(mode)] + [Case(RELOAD, "reload")]
CASES += [
    Case(mode, event, store)
    for store in ("redis", "postgresql")
    for mode in MODES
    if str(mode) in ("gunicorn-gthread-preload", "uvicorn-4")
    for event in _events(mode)
]


@dataclass
class Row:
    """
    What came of a case.

    Attributes:
        case: Which.
        requests: Sent.
        acknowledged: Turns that clients were told of.
        counted: Turns that the store has of their sessions.
        written: Acknowledged turns that stand in the history.
        unstored: Answers without a turn number: the store was not there in time.
        ended: Sessions that were reported as ended, or whose client was told another id.
        lost: Requests that reached the application and were never answered.
        wrong: What else is not as it must be.
        seconds: That stopping under load took; None where nothing was stopped.
        bare: The same without the middleware.
        log: Of the server.
    """

    case: Case
    requests: int
    acknowledged: int
    counted: int
    written: int
    unstored: int
    ended: int
    lost: int
    wrong: list[str]
    seconds: float | None
    log: str
    bare: float | None = None


def run(case: Case, url: str | None = None) -> Row:
    """
    Run *case*.

    Args:
        case: Which.
        url: Of the store, emptied; None takes an SQLite file.
    """
    with tempfile.TemporaryDirectory(prefix="smw-processes-") as place:
        folder = Path(place)
        history = f"sqlite:///{folder}/sessions.db"
        settings = {} if url is None else {"STORE": url, "LEDGER": history}
        watch(folder)
        env = environment(case.mode, folder, **settings)
        with Server(case.mode, env, folder) as server, Crowd(server.port, CLIENTS) as crowd:
            crowd.hear(SOME)
            seconds = EVENTS[case.event](server, crowd)
            crowd.hear(SOME)
            crowd.finish()
            stopped = server.terminate()
            row = count(case, crowd, folder, url or history, history)
            row.seconds, row.log = seconds, server.log()
            if stopped > SHUTDOWN + 10:
                row.wrong.append(f"stopping without load took {stopped:.1f} s")
        return row


def stop_bare(mode: Mode) -> float:
    """Return the seconds that *mode* takes to stop under load without the middleware."""
    with tempfile.TemporaryDirectory(prefix="smw-processes-") as place:
        folder = Path(place)
        with (
            Server(mode, environment(mode, folder, bare=True), folder) as server,
            Crowd(server.port, CLIENTS) as crowd,
        ):
            crowd.hear(SOME)
            return server.terminate()


def count(case: Case, crowd: Crowd, folder: Path, store_url: str, history_url: str) -> Row:
    """Hold what the clients know against what was kept."""
    talks = [talk for talk in crowd.talks if talk.turns]
    store, _ = open_store(store_url)
    ledger = open_ledger(history_url)
    counted = written = 0
    wrong = list(crowd.strange)
    for talk in talks:
        record = store.read(talk.ids[0])
        turns = record.turns if record is not None else 0
        counted += turns
        wrong += faults(talk, turns, sure=not case.kills)
        kept = {line.number for line in ledger.turns(talk.ids[0])}
        written += sum(number in kept for number in talk.turns if number is not None)
    live = store.stats().live
    store.close()
    ledger.close()
    calls = Counter(_lines(folder / "calls"))
    unanswered = [request for talk in crowd.talks for request in talk.unanswered]
    if max(calls.values(), default=0) > 1:
        wrong.append("a request reached the application twice")
    if not len(talks) <= live <= len(talks) + len(unanswered):
        wrong.append(f"{live} sessions live, {len(talks)} known to clients")
    ends = [line for line in _lines(folder / "events") if line.startswith("session.end ")]
    return Row(
        case,
        requests=crowd.answers + len(unanswered),
        acknowledged=crowd.answers,
        counted=counted,
        written=written,
        unstored=sum(number is None for talk in talks for number in talk.turns),
        ended=len(ends) + sum(len(talk.ids) - 1 for talk in talks),
        lost=sum(request in calls for request in unanswered),
        wrong=wrong,
        seconds=None,
        log="",
    )


def faults(talk: Talk, counted: int, *, sure: bool) -> list[str]:
    """
    Return what is wrong with a session's numbers.

    Args:
        talk: As its client saw it.
        counted: Turns that the store has.
        sure: Every turn that was counted was answered too.
    """
    numbers = [number for number in talk.turns if number is not None]
    last = numbers[-1] if numbers else 0
    if sure and not talk.unanswered:
        fine = numbers == list(range(1, len(numbers) + 1)) and counted == len(numbers)
    else:
        rising = all(a < b for a, b in pairwise(numbers))
        fine = rising and last <= counted <= len(numbers) + len(talk.unanswered)
    return [] if fine else [f"{talk.ids}: turns {talk.turns}, {counted} counted, {len(talk.unanswered)} unanswered"]


def check(row: Row) -> None:
    """
    Assert what was promised (G5).

    Every acknowledged turn is counted once, no session ended, and where there was a warning, every request that had
    reached the application was answered. The history is complete where somebody heard the warning.
    """
    assert [] == row.wrong, row.log[-2000:]
    assert 0 == row.ended
    assert 0 == row.unstored
    assert row.acknowledged <= row.counted
    assert "Traceback" not in row.log, row.log[-4000:]
    if not row.case.kills:
        assert 0 == row.lost
        if row.case.mode.drains:
            assert row.acknowledged == row.written
    if row.seconds is not None and row.bare is not None:
        assert row.seconds <= row.bare + SHUTDOWN


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
