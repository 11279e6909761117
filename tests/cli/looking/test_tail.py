"""``session-mw tail``: what is new since the last look, and that Ctrl-C ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import session_mw
from session_mw.cli.looking.tail import Follower, _line
from session_mw.ledger import Ledger, RingLedger, open_ledger, read_filter
from tests.ledger.support import T0, end, make, start, turn

ROOT = Path(session_mw.__file__).parents[1]


def follow(ledger: Ledger, text: str = "") -> Follower:
    found = Follower(ledger, read_filter(text, T0))
    found.begin()
    return found


def looked(follower: Follower) -> list[tuple[str, str]]:
    return [(event, row.session_id) for event, row in follower.look()]


@pytest.fixture(params=["sqlite", "memory"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    return make(request.param, tmp_path)


def test_sessions_come_as_they_begin_and_end(ledger: Ledger) -> None:
    """Each once, in the order of the history; what was there before is not told, but its end is."""
    ledger.emit([end("old"), start("before")])
    follower = follow(ledger)
    assert [] == looked(follower)
    ledger.write_turns([turn("a")])
    ledger.emit([start("b")])
    assert [("start", "a"), ("start", "b")] == looked(follower)
    ledger.write_turns([turn("a", 2)])
    assert [] == looked(follower)
    ledger.emit([end("a"), end("before"), start("c"), end("at-once")])
    assert [("end", "before"), ("end", "a"), ("start", "c"), ("end", "at-once")] == looked(follower)
    assert [] == looked(follower)
    ledger.close()


def test_a_session_may_fit_only_at_its_end(ledger: Ledger) -> None:
    """What it cost is not known before."""
    follower = follow(ledger, "cost:>0.001")
    ledger.emit([start("dear"), start("cheap")])
    assert [] == looked(follower)
    ledger.emit([end("dear"), end("cheap", cost_microusd=5)])
    assert [("end", "dear")] == looked(follower)
    ledger.close()


def test_another_generation_is_another_session(ledger: Ledger) -> None:
    """The same id, used again."""
    follower = follow(ledger)
    ledger.emit([start("s"), end("s"), start("s", generation=2)])
    assert [("end", "s"), ("start", "s")] == looked(follower)
    ledger.emit([end("s", generation=2)])
    assert [("end", "s")] == looked(follower)
    ledger.close()


def test_many_come_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a page of new ones, and more open ones than one question takes."""
    module = sys.modules[Follower.__module__]  # the package has the command under its name
    monkeypatch.setattr(module, "PAGE", 2)
    monkeypatch.setattr(module, "ASKED_AT_ONCE", 3)
    ledger = RingLedger()
    follower = follow(ledger)
    names = [f"s{n}" for n in range(7)]
    ledger.emit([start(name) for name in names])
    assert [("start", name) for name in names] == looked(follower)
    ledger.emit([end(name) for name in names])
    assert sorted(("end", name) for name in names) == sorted(looked(follower))


def test_lines_say_what_happened() -> None:
    """For people, and as JSON."""
    ledger = RingLedger()
    ledger.emit([end("s1", cost_microusd=1_500_000)])
    row = ledger.session("s1")
    assert row is not None

    told = (
        "2025-10-09 09:24:20  end    s1  chat/v2  u_1  idle_timeout  1m 00s  turns 3  errors 1  tokens 140  cost $1.50"
    )
    assert told == _line("end", row, as_json=False)
    assert ("session.end", "s1", 1.5) == tuple(
        json.loads(_line("end", row, as_json=True))[name] for name in ("event", "session_id", "total_cost_usd")
    )


def test_ctrl_c_ends_it(tmp_path: Path) -> None:
    """A real process: it prints what comes, and a signal ends it well."""
    url = f"sqlite:///{tmp_path}/history.db"
    ledger = open_ledger(url)
    ledger.sessions()
    command = [sys.executable, "-m", "session_mw", "tail", "--interval", "0.05", "--json", "--ledger", url]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True, env=environment) as process:
        assert process.stdout and process.stderr
        assert process.stderr.readline().startswith("waiting for sessions")
        ledger.emit([start("new")])
        line = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    ledger.close()

    assert ("session.start", "new") == (line["event"], line["session_id"])
    assert (0, "") == (process.returncode, said)
