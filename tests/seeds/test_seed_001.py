"""
Seed 001: its commands, as they are written there, typed into a shell one after the other, with a stub for the agent.

Left out is what nobody has to do any more (the proxy's container is not restarted: ``docker`` is a stub that does
nothing), and folders of the seed's author are the desk's. ``claude code "..."`` is no command of today's agent: it runs
as ``claude -p "..."``, which is said once.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from session_mw.ledger import SessionRow
from tests.cli.launch.desk import Desk, eventually

# Each is a few launchers, of a second each. Most sections of the seed differ in their words only: those are slow.
pytestmark = pytest.mark.timeout(180)
landing, slow = pytest.mark.landing, pytest.mark.slow


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A desk whose working directory has ``./claude-session``, as the seed's."""
    desk = Desk(tmp_path)
    (desk.work / "claude-session").symlink_to(desk.bin / "claude-session")
    desk.program("docker", "#!/bin/sh\nexit 0\n")
    return desk


def typed(desk: Desk, text: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Type lines into a shell; a shell that one of them opens has the next ones, until ``exit``."""
    done = desk.run("bash", text=text, **environ)
    assert "command not found" not in done.stderr
    return done


def told(desk: Desk) -> list[tuple[Any, ...]]:
    """What the agent was asked, in which session: type, version, name, prompt."""
    names = ("SESSION_TYPE", "PROMPT_VERSION", "SESSION_NAME")
    found = []
    for call in desk.calls:
        said = [call["environ"].get(f"PHOENIX_{name}") for name in names]
        assert "-p" == call["argv"][0] and 2 == len(call["argv"])
        found.append((*said, call["argv"][1]))
    return found


def ids(desk: Desk) -> list[str]:
    return [call["environ"]["PHOENIX_SESSION_ID"] for call in desk.calls]


def labels(rows: list[SessionRow]) -> list[tuple[str | None, ...]]:
    return [(row.type, row.prompt_version, row.name) for row in rows]


@landing
def test_quick_start(desk: Desk) -> None:
    """Start a code review, two commands, reset: one session, in every call, and its end."""
    done = typed(
        desk,
        """
./claude-session --type code-review --version v2 --name "async-refactor"
claude code "Review this authentication module for security issues"
claude code "Suggest optimizations for the database query in users.py"
exit
./claude-session --reset
""",
    )

    assert [
        ("code-review", "v2", "async-refactor", "Review this authentication module for security issues"),
        ("code-review", "v2", "async-refactor", "Suggest optimizations for the database query in users.py"),
    ] == told(desk)
    assert 1 == len(set(ids(desk)))
    assert 1 == done.stderr.count("is no command of today's Claude Code")
    (row,) = desk.sessions
    assert (ids(desk)[0], "ended", 2) == (row.session_id, row.status, row.turns)
    assert all(f"x-session-id: {row.session_id}" in call["environ"]["ANTHROPIC_CUSTOM_HEADERS"] for call in desk.calls)


@slow
def test_example_1_compare_prompt_versions(desk: Desk) -> None:
    """Two versions under one name are two sessions, to be compared by session.prompt_version."""
    typed(
        desk,
        """
# Version 1 - Basic prompt
./claude-session --type code-review --version v1 --name "auth-module"
claude code "Review the authentication module"
exit

# Version 2 - Detailed prompt
./claude-session --type code-review --version v2 --name "auth-module"
claude code "Review the authentication module for: 1) Security vulnerabilities 2) Performance issues \
3) Code quality 4) Best practices"
exit
""",
    )

    first, second = told(desk)
    assert ("code-review", "v1", "auth-module", "Review the authentication module") == first
    assert ("code-review", "v2", "auth-module") == second[:3]
    assert 2 == len(set(ids(desk)))
    rows = desk.sessions
    assert rows[0].session_id == rows[1].previous_id
    assert "ended" == rows[0].status


@landing
def test_example_2_track_different_workflows(desk: Desk) -> None:
    """Typed one after the other the shells stand inside each other: announced, linked, and each ends with its shell."""
    done = typed(
        desk,
        """
# Debugging session
./claude-session --type debugging --version v1 --shell

# Documentation session
./claude-session --type documentation --version v3 --shell

# Testing session
./claude-session --type testing --version v2 --shell
claude code "Which?"
""",
    )

    rows = desk.sessions
    assert [("debugging", "v1", None), ("documentation", "v3", None), ("testing", "v2", None)] == labels(rows)
    assert [None, rows[0].session_id, rows[1].session_id] == [row.previous_id for row in rows]
    assert ["ended"] * 3 == [row.status for row in rows]
    assert 2 == done.stderr.count("which is its session.previous_id")
    assert [("testing", "v2", None, "Which?")] == told(desk)


@landing
def test_example_3_quick_one_off_command(desk: Desk) -> None:
    """The session is active for this one command: it ends with it, and nothing is kept."""
    prompt = "Review the auth module for security issues"
    typed(desk, f'./claude-session --type code-review --version v2 "{prompt}"\n')

    assert [("code-review", "v2", None, prompt)] == told(desk)
    (row,) = desk.sessions
    assert ("ended", "completed", 1, 1, 0) == (row.status, row.end_reason, row.turns, row.completed, row.failed)
    assert "no session is active here" in desk.run("session-mw", "status").stdout


@slow
def test_options_in_short(desk: Desk) -> None:
    """-t, -v, -n, -s, -r and -h are the same."""
    typed(desk, './claude-session -t learning -v v9 -n "a b" -s\nclaude -p x\nexit\n./claude-session -r\n')
    shown = desk.run("claude-session", "-h").stdout

    assert [("learning", "v9", "a b", "x")] == told(desk)
    for option in ("-t, --type", "-v, --version", "-n, --name", "-s, --shell", "-r, --reset", "-h, --help"):
        assert option in shown
    assert all(f"  {name} " in shown for name in ("code-review", "debugging", "documentation", "testing"))
    assert all(f"  {name} " in shown for name in ("refactoring", "architecture", "learning", "general"))


@slow
def test_defaults(desk: Desk) -> None:
    """Without options a session is general, v1, without a name."""
    typed(desk, './claude-session "Hello"\n')

    assert [("general", "v1", None, "Hello")] == told(desk)


@slow
def test_prompt_version_iteration(desk: Desk) -> None:
    """v1, v2 and v3 of a prompt, the last over several lines."""
    typed(
        desk,
        """
# v1 - Initial prompt
./claude-session --type code-review --version v1
claude code "Review this code"

# v2 - Add specific criteria
./claude-session --type code-review --version v2
claude code "Review this code for security, performance, and maintainability"

# v3 - Add structure
./claude-session --type code-review --version v3
claude code "Review this code and provide:
1. Security analysis
2. Performance bottlenecks
3. Maintainability concerns
4. Specific recommendations"
""",
    )

    assert ["v1", "v2", "v3"] == [call[1] for call in told(desk)]
    assert 3 == len(set(ids(desk)))
    assert ["ended", "ended", "active"] == [row.status for row in desk.sessions]  # the last one is kept
    assert told(desk)[2][3].startswith("Review this code and provide:\n1. Security analysis\n2.")


@slow
def test_descriptive_names(desk: Desk) -> None:
    """Names are taken as they are."""
    typed(
        desk,
        """
# Good
./claude-session --type code-review --version v2 --name "auth-security-audit"
exit

# Less useful
./claude-session --type code-review --version v2 --name "test1"
exit
""",
    )

    assert ["auth-security-audit", "test1"] == [row.name for row in desk.sessions]


@slow
def test_increment_prompt_versions(desk: Desk) -> None:
    """One-off commands of three versions are three sessions that have ended."""
    typed(
        desk,
        """
# First attempt
./claude-session --type debugging --version v1 "Find the bug"

# More specific
./claude-session --type debugging --version v2 "Find the bug causing the timeout in user login"

# Even more structured
./claude-session --type debugging --version v3 "Analyze the user login flow and identify:
1. Timeout causes
2. Database query performance
3. Network latency issues"
""",
    )

    rows = desk.sessions
    assert [("debugging", "v1", None), ("debugging", "v2", None), ("debugging", "v3", None)] == labels(rows)
    assert ["ended"] * 3 == [row.status for row in rows]
    assert "Find the bug" == told(desk)[0][3] and 3 == told(desk)[2][3].count("\n")


@slow
def test_reset_after_each_session(desk: Desk) -> None:
    """--shell ends with exit, and --reset has nothing to do; the next session is another."""
    done = typed(
        desk,
        """
# Work on task
./claude-session --type code-review --version v2 --shell
# ... do work ...
exit

# Reset for next task
./claude-session --reset

# Start new session
./claude-session --type debugging --version v1 --shell
""",
    )

    rows = desk.sessions
    assert [("code-review", "v2", None), ("debugging", "v1", None)] == labels(rows)
    assert [("ended", "user_exit")] * 2 == [(row.status, row.end_reason) for row in rows]
    assert [None, None] == [row.previous_id for row in rows]
    assert "no session is active here" in done.stderr


@slow
def test_ab_tests(desk: Desk) -> None:
    """Two approaches under two names."""
    typed(
        desk,
        """
# Approach A - Detailed instructions
./claude-session --type code-review --version v2 --name "approach-a-detailed"
claude code "Detailed prompt here..."

# Approach B - Minimal instructions
./claude-session --type code-review --version v2 --name "approach-b-minimal"
claude code "Minimal prompt here..."
""",
    )

    assert ["approach-a-detailed", "approach-b-minimal"] == [call[2] for call in told(desk)]
    assert 2 == len(set(ids(desk)))


MANUAL = """
export PHOENIX_SESSION_ID="my-custom-id-$(date +%s)"
export PHOENIX_SESSION_TYPE="custom-workflow"
export PHOENIX_PROMPT_VERSION="v1"
export PHOENIX_SESSION_NAME="experimental"

# Restart container
docker compose --profile phoenix up -d --force-recreate litellm-proxy-phoenix
"""


@slow
def test_manual_session_management(desk: Desk) -> None:
    """The four variables, set by hand, name the session of everything that is launched afterwards."""
    typed(desk, MANUAL + 'claude-session "your prompt"\nsession-mw run claude code "your prompt"\n')

    assert [("custom-workflow", "v1", "experimental", "your prompt")] * 2 == told(desk)
    assert 1 == len(set(ids(desk))) and ids(desk)[0].startswith("my-custom-id-")
    (row,) = desk.sessions
    assert (ids(desk)[0], "active") == (row.session_id, row.status)  # ends by hand, or when it has been idle


@slow
def test_manual_session_without_a_launcher_afterwards(desk: Desk) -> None:
    """``eval`` puts the same into the shell's own environment: the agent is run as it is, and ``end`` ends it."""
    typed(desk, MANUAL + 'eval "$(session-mw env)"\nclaude -p "your prompt"\nsession-mw end\n')

    assert f"x-session-id: {ids(desk)[0]}" in desk.calls[0]["environ"]["ANTHROPIC_CUSTOM_HEADERS"]
    (row,) = desk.sessions
    assert (ids(desk)[0], "ended", "user_exit") == (row.session_id, row.status, row.end_reason)


@slow
def test_session_templates(desk: Desk) -> None:
    """The seed's two scripts work, and ``session-mw templates`` writes one for each type."""
    own = desk.bin / "my-code-review"
    own.write_text(f"#!/bin/bash\ncd {desk.work}\n./claude-session --type code-review --version v2 --shell\n")
    own.chmod(0o755)
    written = desk.run("session-mw", "templates", "--dir", str(desk.bin)).stdout.split()
    typed(desk, 'my-code-review\nclaude code "one"\nexit\nclaude-code-review\nclaude code "two"\nexit\n')
    typed(desk, 'claude-debugging "three"\n')

    names = "code-review debugging documentation testing refactoring architecture learning general".split()
    assert [str(desk.bin / f"claude-{name}") for name in names] == written
    assert [("code-review", "v2", None), ("code-review", "v1", None), ("debugging", "v1", None)] == [
        call[:3] for call in told(desk)
    ]
    assert ["ended"] * 3 == [row.status for row in desk.sessions]


@landing
def test_persistent_sessions(desk: Desk) -> None:
    """The session outlives its shell: the next launches here join it, until --reset; elsewhere they do not."""
    typed(
        desk,
        """
./claude-session --type code-review --version v2 --name "long-running"
# Don't reset - just exit the shell
exit
# Session remains active for subsequent Claude Code commands
claude-session "one"
session-mw run claude -p two
""",
    )
    state = json.loads(desk.run("session-mw", "status", "--json").stdout)
    (kept,) = (desk.home / ".local/state/session-mw/active").iterdir()
    mode = kept.stat().st_mode & 0o777
    elsewhere = desk.run("sh", "-c", "cd / && session-mw status --json")
    typed(desk, '# When done:\n./claude-session --reset\nclaude-session "three"\n')

    assert [("code-review", "v2", "long-running")] * 2 == [call[:3] for call in told(desk)[:2]]
    assert [ids(desk)[0]] * 2 == ids(desk)[:2]
    assert (ids(desk)[0], "directory") == (state["session"]["id"], state["source"])
    assert (0o600, False) == (mode, kept.exists())
    assert (0, None) == (elsewhere.returncode, json.loads(elsewhere.stdout)["session"])
    first, last = desk.sessions
    assert (ids(desk)[0], "ended", "user_exit", 2) == (first.session_id, first.status, first.end_reason, first.turns)
    assert ("general", "ended", None) == (last.type, last.status, last.previous_id)


@slow
def test_current_session_is_shown(desk: Desk) -> None:
    """What the seed looks for in the container is in the shell's environment, and in ``session-mw status``."""
    lines = "./claude-session --type code-review --version v2\nenv | grep ^PHOENIX | sort\nsession-mw status\nexit\n"
    shown = typed(desk, lines).stdout.splitlines()

    assert "PHOENIX_PROMPT_VERSION=v2" == shown[0]
    assert shown[1].startswith("PHOENIX_SESSION_ID=code-review-20")
    assert "PHOENIX_SESSION_TYPE=code-review" == shown[2]
    assert shown[3].split() == ["session", shown[1].partition("=")[2]]


@landing
def test_integration_with_ci(desk: Desk) -> None:
    """The seed's three exports, in a build: the id is the build's, and the end comes with the step."""
    typed(
        desk,
        """
# In your CI script
export PHOENIX_SESSION_TYPE="ci-pipeline"
export PHOENIX_SESSION_ID="build-${CI_BUILD_ID}"
export PHOENIX_PROMPT_VERSION="v1"

# Restart proxy (in CI environment)
docker compose --profile phoenix up -d --force-recreate litellm-proxy-phoenix

# Run Claude Code tasks
session-mw run claude code "Review this PR for security issues"
""",
        CI="true",
        CI_BUILD_ID="4711",
    )

    assert [("ci-pipeline", "v1", None, "Review this PR for security issues")] == told(desk)
    (row,) = desk.sessions
    assert ("build-4711", "ended", "4711") == (row.session_id, row.status, row.attributes["cicd.pipeline.run.id"])


@slow
def test_ci_without_exports(desk: Desk) -> None:
    """A build is recognised: its steps belong to its session, each run a generation that ends with its step."""
    github = {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "9", "GITHUB_JOB": "review", "GITHUB_WORKFLOW": "Nightly"}
    typed(desk, "session-mw run claude -p one\nsession-mw run claude -p two\n", **github)

    assert [("ci-pipeline", "v1", "Nightly", "one"), ("ci-pipeline", "v1", "Nightly", "two")] == told(desk)
    assert ["build-github-9-review"] * 2 == ids(desk)
    assert [(1, "ended"), (2, "ended")] == [(row.generation, row.status) for row in desk.sessions]


@slow
def test_end_of_a_session_says_what_happened(desk: Desk) -> None:
    """session.end carries exit code, duration, turns; a failing agent is a failed turn."""
    done = typed(desk, './claude-session --type debugging "Find the bug"\necho code $?\n', STUB_EXIT="3")

    assert "code 3" in done.stdout
    (row,) = desk.sessions
    assert (1, 0, 1, 3) == (row.turns, row.completed, row.failed, row.attributes["process.exit.code"])
    assert ("claude", "cli", "errored") == tuple(
        row.attributes.get(name) or row.channel
        for name in ("process.executable.name", "session.channel", "session.status")
    )
    assert 0 < row.duration_ms < 60_000
    assert eventually(lambda: f"session {row.session_id} ended, exit code 3, " in done.stderr)
