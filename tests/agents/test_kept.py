"""A session that is kept for a directory: commands join it, one after the other, until it is reset; seen in Phoenix."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.agents.ground import Ground
from tests.agents.installed import CLAUDE, CODEX, desk_with, installed
from tests.cli.launch.desk import Desk

pytestmark = [pytest.mark.real_backend, pytest.mark.timeout(300)]

SECONDS = 60.0
MODEL = ("--model", "claude-sonnet-4-5")


def claude_session(desk: Desk, ground: Ground, *words: str) -> str:
    """Type a line of claude-session, on a terminal; return what it says."""
    with desk.terminal("claude-session", *words, **ground.environ) as terminal:
        assert 0 == terminal.wait(SECONDS), terminal.seen
        return terminal.seen


def session_in(screen: str) -> str:
    """Return the session that a launcher names first."""
    found = re.search(r"session (kept-\S+) ", screen)
    assert found is not None, screen
    return found[1]


def test_commands_join_one_session_until_it_is_reset(ground: Ground, tmp_path: Path) -> None:
    """Two agents' commands and two traces are one session in Phoenix; after the reset there is another."""
    desk = desk_with(CLAUDE, tmp_path, ground.url)
    with desk.terminal("claude-session", "-t", "kept-work", "-v", "v3", **ground.environ) as shell:
        shell.until("(kept-work")
        shell.type("exit\n")
        assert 0 == shell.wait(SECONDS)
        kept = session_in(shell.seen)
    first = claude_session(desk, ground, "use 1110 10", *MODEL)
    second = claude_session(desk, ground, "use 1220 20", *MODEL)
    reset = claude_session(desk, ground, "--reset")
    after = claude_session(desk, ground, "-t", "kept-work", "use 1330 30", *MODEL)
    found = ground.phoenix.until(
        ground.project,
        lambda sessions: {kept, session_in(after)} <= set(sessions) and (sessions[kept]["tokenUsage"]["total"] >= 2360),
    )
    start, end = ground.events(kept)

    assert [kept, kept, kept] == [session_in(screen) for screen in (first, second, reset)]
    assert ": that of this directory" in first and f"{kept} goes on" in first
    assert kept != session_in(after)
    assert (2, 2360) == (found[kept]["numTraces"], found[kept]["tokenUsage"]["total"])
    assert (1, 1360) == (found[session_in(after)]["numTraces"], found[session_in(after)]["tokenUsage"]["total"])
    assert ("session.start", "session.end") == (start.event_name, end.event_name)
    assert (2360, "user_exit") == (end.attributes["session.total_tokens"], end.attributes["session.end_reason"])


def test_two_agents_join_one_shells_session(ground: Ground, tmp_path: Path) -> None:
    """Claude Code and Codex in one shell of ``claude-session --shell``: one session, which ends with the shell."""
    codex = installed(CODEX)
    desk = desk_with(CLAUDE, tmp_path, ground.url)
    (desk.bin / "codex").symlink_to(codex)
    desk.environ |= CODEX.variables(ground.url)
    CODEX.set_up(desk, ground.url)
    with desk.terminal("claude-session", "-t", "kept-shell", "-v", "v1", "--shell", **ground.environ) as shell:
        shell.until("(kept-shell")
        shell.type(f"claude {' '.join(CLAUDE.words)} 'use 2110 10'\n")
        shell.until("pong")
        shell.type(f"codex {' '.join(CODEX.words)} 'use 2220 20'\n")
        shell.until("pong")
        shell.type("exit\n")
        assert 0 == shell.wait(SECONDS), shell.seen
    kept = session_in(shell.seen)
    found = ground.phoenix.until(
        ground.project, lambda sessions: kept in sessions and sessions[kept]["tokenUsage"]["total"] >= 4360
    )

    assert (2, 4360) == (found[kept]["numTraces"], found[kept]["tokenUsage"]["total"])
    assert 4360 == ground.events(kept)[-1].attributes["session.total_tokens"]
