"""A real agent is at work when its launcher is told to stop: it goes, nothing of it stays, its session ends."""

from __future__ import annotations

import itertools
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.agents.ground import Ground
from tests.agents.installed import CLAUDE, CODEX, Agent, command_of, desk_with
from tests.cli.launch.desk import Desk, Terminal, alive, eventually, session_of

pytestmark = [pytest.mark.real_backend, pytest.mark.timeout(300)]

SECONDS = 60.0
_numbers = itertools.count(100_001)
AGENTS = pytest.mark.parametrize("agent", [CLAUDE, CODEX], ids=["claude", "codex"])


@contextmanager
def at_work(ground: Ground, desk: Desk, agent: Agent) -> Iterator[tuple[Terminal, str, list[int]]]:
    """Launch *agent*, and wait until its question is asked; give terminal, session and the agent's processes."""
    prompt = f"think {next(_numbers)}"
    with desk.terminal(
        "session-mw", "run", "-t", "debugging", "--", *command_of(agent, prompt), **ground.environ
    ) as on:
        eventually(lambda: ground.models_asked(prompt), SECONDS)
        found = re.search(r"session (debugging-\S+) ", on.until("(debugging v1)"))
        assert found is not None
        yield on, found[1], [pid for pid in _processes_of(on.pid) if pid != on.pid]


def _processes_of(leader: int) -> list[int]:
    """Return what runs in the terminal's session."""
    return [int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit() and session_of(one) == leader]


def ended(ground: Ground, session_id: str, code: int) -> None:
    """See to it that a session has ended, once, with an exit code."""
    start, end = ground.events(session_id)
    row = ground.row(session_id)

    assert ("session.start", "session.end") == (start.event_name, end.event_name)
    reason = "user_exit" if code else "completed"  # it is the agent's to say: Claude Code leaves with 0
    assert (code, reason) == (end.attributes["process.exit.code"], end.attributes["session.end_reason"])
    assert ("ended", code) == (row.status, row.attributes["process.exit.code"])


@AGENTS
def test_ctrl_c(ground: Ground, agent: Agent, tmp_path: Path) -> None:
    """The terminal tells the whole group: the launcher has the agent's end, and ends the same way."""
    with at_work(ground, desk_with(agent, tmp_path, ground.url), agent) as (terminal, session_id, processes):
        terminal.type("\x03")
        code = terminal.wait(SECONDS)
        gone = eventually(lambda: not any(map(alive, processes)))

    assert processes and gone
    ended(ground, session_id, code if code >= 0 else 128 - code)


@AGENTS
def test_sigterm_of_the_launcher(ground: Ground, agent: Agent, tmp_path: Path) -> None:
    """It reaches the agent and all that the agent has started."""
    with at_work(ground, desk_with(agent, tmp_path, ground.url), agent) as (terminal, session_id, processes):
        os.kill(terminal.pid, signal.SIGTERM)
        code = terminal.wait(SECONDS)
        gone = eventually(lambda: not any(map(alive, processes)))

    assert processes and gone
    ended(ground, session_id, code if code >= 0 else 128 - code)


def test_sigkill_of_the_launcher(ground: Ground, tmp_path: Path) -> None:
    """The agent goes as with its terminal; the next launcher ends the session."""
    desk = desk_with(CLAUDE, tmp_path, ground.url)
    with at_work(ground, desk, CLAUDE) as (terminal, session_id, processes):
        os.kill(terminal.pid, signal.SIGKILL)
        assert -signal.SIGKILL == terminal.wait(SECONDS)
        gone = eventually(lambda: not any(map(alive, processes)))
        next_ = desk.run("session-mw", "run", "-t", "testing", "--", "sleep", "1", **ground.environ)

    assert processes and gone
    assert 0 == next_.returncode
    assert ["session.start", "session.end"] == [one.event_name for one in ground.events(session_id)]
    assert "ended" == ground.row(session_id).status
