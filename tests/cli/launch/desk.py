"""
A desk to launch from: a home, a directory to work in, a PATH with stub programs, and the launcher as it is installed.

The stub agent writes what it was given, words and variables, as one line of JSON to ``agent.jsonl`` in its folder.
"""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from session_mw._core.records import SessionRecord
from session_mw.ledger import Ledger, SessionRow, open_ledger
from session_mw.stores import SqliteStore
from tests.patience import PATIENCE as TIMES

PATIENCE = 40 * TIMES  # seconds: a launcher takes one to start, on a machine that has nothing else to do
ROOT = Path(__file__).parents[3]

AGENT = """#!{python} -S
import json, os, sys
with open({out!r}, "a", encoding="utf-8") as out:
    out.write(json.dumps({{"argv": sys.argv[1:], "environ": dict(os.environ)}}) + "\\n")
print("agent:", *sys.argv[1:], flush=True)
sys.exit(int(os.environ.get("STUB_EXIT", "0")))
"""

COMMAND = """#!{python}
import sys
sys.path.insert(0, {root!r})
from session_mw.cli import {entry}
{entry}()
"""


class Desk:
    """
    Args:
        folder: Where all of it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.work, self.bin = folder, folder / "home", folder / "work", folder / "bin"
        for each in (self.home, self.work, self.bin):
            each.mkdir()
        self._out = folder / "agent.jsonl"
        self.program("claude", AGENT.format(python=sys.executable, out=str(self._out)))
        for name, entry in (("session-mw", "main"), ("claude-session", "claude_session")):
            self.program(name, COMMAND.format(python=sys.executable, root=str(ROOT), entry=entry))
        self.environ = {
            "PATH": f"{self.bin}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "TERM": "dumb",
        }

    def program(self, name: str, text: str) -> Path:
        """Put an executable into PATH."""
        path = self.bin / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
        return path

    def run(self, *argv: str, text: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command without a terminal, to its end."""
        return subprocess.run(
            list(argv),
            cwd=self.work,
            env={**self.environ, **environ},
            input=text,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            start_new_session=True,
        )

    @contextmanager
    def started(self, *argv: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command without a terminal; whatever is left of it is killed at the end."""
        process = subprocess.Popen(
            list(argv),
            cwd=self.work,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            _kill(process.pid)
            process.communicate()

    @contextmanager
    def terminal(self, *argv: str, **environ: str) -> Iterator[Terminal]:
        """Start a command on a terminal of its own."""
        pid, file = pty.fork()
        if not pid:
            os.chdir(self.work)
            os.execvpe(argv[0], list(argv), {**self.environ, **environ})
        terminal = Terminal(pid, file)
        try:
            yield terminal
        finally:
            _kill(pid)
            terminal.close()
            terminal.reap()

    @property
    def calls(self) -> list[dict[str, Any]]:
        """What the stub agent was given, call by call."""
        if not self._out.exists():
            return []
        return [json.loads(line) for line in self._out.read_text(encoding="utf-8").splitlines()]

    @property
    def database(self) -> Path:
        """The launcher's own file."""
        return self.home / ".local/state/session-mw/sessions.db"

    @property
    def sessions(self) -> list[SessionRow]:
        """The history, oldest first."""
        ledger: Ledger = open_ledger(f"sqlite:///{self.database}")
        try:
            return sorted(ledger.sessions(100), key=lambda row: (row.started_ms, row.generation))
        finally:
            ledger.close()

    def live(self, session_id: str) -> SessionRecord | None:
        """Return what the store has of a session."""
        store = SqliteStore(str(self.database))
        try:
            return store.read(session_id)
        finally:
            store.close()


class Terminal:
    """
    A command on a pseudo-terminal.

    Args:
        pid: The command.
        file: The terminal's other end.
    """

    def __init__(self, pid: int, file: int) -> None:
        self.pid, self._file, self.seen = pid, file, ""
        self._status: int | None = None

    def type(self, text: str) -> None:
        """Type *text*; ``\\x03`` is Ctrl-C, ``\\x1a`` Ctrl-Z."""
        os.write(self._file, text.encode())

    def close(self) -> None:
        """Close what is still open."""
        if self._file >= 0:
            self.hang_up()

    def hang_up(self) -> None:
        """Close the terminal, as who closes its window."""
        os.close(self._file)
        self._file = -1

    def until(self, text: str) -> str:
        """Wait for *text* on the screen; returns what stood before it since the last call."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.seen:
            left = deadline - time.monotonic()
            ready = select.select([self._file], [], [], max(0, left))[0]
            piece = self._read() if ready else b""
            if not piece:
                raise AssertionError(f"{text!r} did not come, but {self.seen!r}")
            self.seen += piece.decode("utf-8", "replace")
        before, _, self.seen = self.seen.partition(text)
        return before

    def _read(self) -> bytes:
        try:
            return os.read(self._file, 4096)
        except OSError:  # nobody has the terminal open any more
            return b""

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait for the command's end, reading what it writes; returns its exit code, negative for a signal."""
        deadline = time.monotonic() + seconds
        while self.reap() is None:
            if select.select([self._file], [], [], 0.02)[0]:
                self.seen += self._read().decode("utf-8", "replace")
            if time.monotonic() > deadline:
                raise AssertionError(f"no end came, but {self.seen!r}")
        while select.select([self._file], [], [], 0)[0] and (piece := self._read()):
            self.seen += piece.decode("utf-8", "replace")  # what it wrote last
        assert self._status is not None
        return os.waitstatus_to_exitcode(self._status)

    def reap(self) -> int | None:
        """Return the status of the command if it has ended."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = status if pid else None
        return self._status


def _kill(leader: int) -> None:
    """Kill what is left in the session of process *leader*."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and session_of(entry) == leader:
            try:
                os.kill(int(entry.name), signal.SIGKILL)
            except ProcessLookupError:
                pass


def session_of(entry: Path) -> int | None:
    """Return the session, as the kernel has them, of the process at ``/proc/...``; None when it is gone."""
    try:
        return int(entry.joinpath("stat").read_text().rpartition(")")[2].split()[3])
    except (OSError, IndexError, ValueError):
        return None


def alive(pid: int) -> bool:
    """Return whether a process runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def eventually(look: Any, seconds: float = PATIENCE) -> Any:
    """Return what *look* returns once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError("it did not come to that")
        time.sleep(0.02)
    return found
