"""A launcher that is killed at any moment of its life: nothing runs on, no session stays open, no file is spoilt."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from session_mw.cli.launch import places
from tests.cli.launch.desk import PATIENCE, Desk, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KILLS = 40
SHORT = {"SESSION_MW_IDLE_TIMEOUT": "1s", "SESSION_MW_TURN_TIMEOUT": "1s", "SESSION_MW_CLOCK_SKEW": "100ms"}


def running(word: str) -> list[str]:
    """Return the processes that have *word* in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            found += [f"{entry.name} {line}"] if word in line else []
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_killed_at_any_moment(desk: Desk, number: signal.Signals) -> None:
    """Forty launches, each hit at a random moment: the next launcher and a sweep bring every end that is missing."""
    chosen = random.Random(number)
    word = f"0.7{chosen.randrange(10**9)}"
    launch = ("session-mw", "run", "-q", "-t", "testing", "sleep", word)
    began = time.monotonic()
    assert 0 == desk.run(*launch, **SHORT).returncode
    longest = 1.2 * (time.monotonic() - began)
    for _ in range(KILLS):
        with desk.started(*launch, **SHORT) as process:
            time.sleep(chosen.uniform(0, longest))
            process.send_signal(number)
            process.wait(PATIENCE)
            eventually(lambda: not running(word))
    assert 0 == desk.run("session-mw", "run", "-q", "-t", "last", "sh", "-c", "sleep 0.5", **SHORT).returncode
    sweep = ["session-mw", "sweep", "--store", f"sqlite:///{desk.database}"]
    eventually(
        lambda: desk.run(*sweep, **SHORT).returncode == 0 and all(row.status != "active" for row in desk.sessions)
    )

    rows = desk.sessions
    assert KILLS // 5 < len(rows) <= KILLS + 2  # some were hit before they began
    assert len(rows) == len({row.session_id for row in rows})
    reasons = {row.end_reason for row in rows if row.type == "testing"}
    assert reasons <= {"shutdown", "completed", "user_exit", "idle_timeout"}
    assert [] == list(desk.home.rglob("*.draft"))


@pytest.mark.parametrize("number", [signal.SIGKILL], ids=["SIGKILL"])
def test_runs_of_killed_launchers_are_forgotten(
    desk: Desk, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What says that they run is gone after the next launch."""
    with desk.started("session-mw", "run", "-q", "sleep", "600") as process:
        eventually(lambda: list(desk.home.rglob("runs/*.json")))
        process.kill()
        process.wait(PATIENCE)
    monkeypatch.setenv("XDG_STATE_HOME", str(desk.home / ".local/state"))
    assert [] == places.runs()
    desk.run("session-mw", "run", "-q", "sh", "-c", "sleep 0.5")

    assert [] == list(desk.home.rglob("runs/*.json"))
