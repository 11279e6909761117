"""
Where there is no POSIX (Windows): everything of the command can be imported, and launches work, without job control.

No Windows runs here: an interpreter is robbed of the modules and functions that Windows has not, after the standard
library and others' packages were imported as they are for this system. So it shows what this package does, no more.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from session_mw._settings.state import state_folders

ROBBED = """
import asyncio, ctypes, concurrent.futures, getpass, http.server, importlib, json, logging.handlers, multiprocessing
import os, pathlib, pkgutil, platform, random, secrets, select, shutil, signal, socket, sqlite3, ssl, subprocess, sys
import tempfile, threading, urllib.request, uuid, zoneinfo
import click, click.shell_completion, jinja2, opentelemetry.sdk.resources, opentelemetry.sdk.trace.export, httpx
import opentelemetry.sdk._logs, pydantic_settings, rich.console, rich.table, starlette.applications, uvicorn, anyio

MISSING = ("fcntl", "grp", "posix_ipc", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty")
for name in MISSING:
    sys.modules[name] = None
for name in ("chown", "fchmod", "fork", "forkpty", "getegid", "geteuid", "getgid", "getpgid", "getpgrp", "getppgid",
             "getuid", "killpg", "mkfifo", "openpty", "register_at_fork", "setpgid", "setsid", "tcgetpgrp", "tcsetpgrp",
             "wait", "WNOHANG", "WUNTRACED", "O_NOFOLLOW", "O_NOCTTY", "sched_getaffinity", "uname"):
    if hasattr(os, name):
        delattr(os, name)
for name in list(vars(signal)):
    keeps = ("SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM", "SIG_DFL", "SIG_IGN")
    if (name.startswith("SIG") and name not in keeps) or name in ("pthread_sigmask", "sigwait", "sigwaitinfo", "alarm",
                                                                    "sigpending", "sigtimedwait", "setitimer"):
        delattr(signal, name)
sys.platform = "win32"
"""

IMPORTING = """
import session_mw.cli
failed = {}
for one in pkgutil.walk_packages(session_mw.cli.__path__, "session_mw.cli."):
    try:
        importlib.import_module(one.name)
    except Exception as error:
        failed[one.name] = f"{type(error).__name__}: {error}"
print(json.dumps(failed))
"""

RUNNING = """
from session_mw.cli import claude_session, main
(claude_session if sys.argv[1] == "claude-session" else main)(sys.argv[2:])
"""


@pytest.fixture
def outside(tmp_path: Path) -> dict[str, str]:
    """An environment with a home of its own."""
    agent = tmp_path / "claude.exe"  # found under that name only, as there
    agent.write_text('#!/bin/sh\necho "agent: $* in $PHOENIX_SESSION_TYPE"\nexit 5\n')
    agent.chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    return {
        "PATH": path,
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "SHELL": "/bin/sh",
        "PATHEXT": ".exe",
    }


def robbed(code: str, environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Run *code* in an interpreter that was robbed."""
    return subprocess.run(
        [sys.executable, "-c", ROBBED + code, *words],
        env={**environ, "PYTHONPATH": os.fspath(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        input="exit 4\n",
        timeout=60,
    )


@pytest.mark.landing
def test_everything_of_the_command_can_be_imported(outside: dict[str, str]) -> None:
    """But for the module of job control, which is imported where there are process groups."""
    failed = json.loads(robbed(IMPORTING, outside).stdout)

    assert ["session_mw.cli.launch.process"] == list(failed)


slow = pytest.mark.slow
COMMANDS = [
    pytest.param(
        *(["session-mw", "run", "-t", "testing", "claude", "x"], 5, "agent: x in testing\n"),
        marks=pytest.mark.landing,
        id="run",
    ),
    pytest.param(
        ["claude-session", "-t", "testing", "Hello"], 5, "agent: -p Hello in testing\n", marks=slow, id="claude-session"
    ),
    pytest.param(["session-mw", "run", "no-such-program"], 127, "", marks=slow, id="not found"),
    pytest.param(["session-mw", "shell"], 4, "", marks=slow, id="shell"),
    pytest.param(["session-mw", "status", "--json"], 0, None, marks=slow, id="status"),
    pytest.param(["session-mw", "doctor", "--only", "here"], 0, None, marks=slow, id="doctor"),
]


@pytest.mark.parametrize(("words", "code", "said"), COMMANDS)
def test_commands_work_without_job_control(outside: dict[str, str], words: list[str], code: int, said: str) -> None:
    """Exit codes and output are the child's, and its session is recorded."""
    done = robbed(RUNNING, outside, *words)

    assert code == done.returncode, done.stderr
    assert said is None or said == done.stdout
    assert "Traceback" not in done.stderr and "is not recorded" not in done.stderr


@pytest.mark.parametrize(
    ("platform", "environ", "home", "expected"),
    [
        ("linux", {}, "/home/ana", ["/home/ana/.local/state/session-mw"]),
        ("linux", {"XDG_STATE_HOME": "/s"}, "/home/ana", ["/s/session-mw", "/home/ana/.local/state/session-mw"]),
        ("linux", {"XDG_STATE_HOME": "s"}, "/home/ana", ["/home/ana/.local/state/session-mw"]),
        ("linux", {}, "~", []),
        ("darwin", {}, "/Users/ana", ["/Users/ana/Library/Application Support/session-mw"]),
        ("win32", {"LOCALAPPDATA": "C:\\L"}, "C:\\Users\\ana", ["C:\\L\\session-mw"]),
        ("win32", {}, "C:\\Users\\ana", ["C:\\Users\\ana\\AppData\\Local\\session-mw"]),
        (
            "win32",
            {"XDG_STATE_HOME": "D:\\s", "LOCALAPPDATA": "C:\\L"},
            "C:\\Users\\ana",
            ["D:\\s\\session-mw", "C:\\L\\session-mw"],
        ),
    ],
)
def test_where_files_are(platform: str, environ: dict[str, str], home: str, expected: list[str]) -> None:
    """XDG_STATE_HOME where it is absolute; else %LOCALAPPDATA%, ~/Library/Application Support, ~/.local/state."""
    assert expected == list(state_folders(environ, platform, home))
