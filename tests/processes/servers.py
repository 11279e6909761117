"""Real servers on loopback ports, started again and again on the same one, and stopped with all their processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import httpx

from tests.e2e.servers import ROOT, SECRET, free_port
from tests.patience import PATIENCE

GUNICORN = ("gunicorn", "tests.processes.served:{kind}", "-b", "127.0.0.1:{port}", "--graceful-timeout", "10")
UVICORN = ("uvicorn", "tests.processes.served:{kind}", "--port", "{port}", "--log-level", "warning")


@dataclass(frozen=True)
class Mode:
    """
    A server, and how it is run.

    Attributes:
        server: For people.
        mode: For people.
        kind: ``wsgi`` or ``asgi``.
        command: With ``{port}`` and ``{kind}`` in it.
        workers: How many processes serve.
        drains: Whether the middleware hears of the end (lifespan, or the interpreter's exit).
    """

    server: str
    mode: str
    kind: str
    command: tuple[str, ...]
    workers: int = 1
    drains: bool = True

    def __str__(self) -> str:
        return f"{self.server}-{self.mode}".replace(" ", "-")


def _gunicorn(mode: str, kind: str, *options: str) -> list[Mode]:
    command = (*GUNICORN, "-w", "2", *options)
    return [
        Mode("gunicorn", mode, kind, command, 2),
        Mode("gunicorn", f"{mode} preload", kind, (*command, "--preload"), 2),
    ]


def _uvicorn(workers: int) -> list[Mode]:
    command = (*UVICORN, *(("--workers", str(workers)) if workers > 1 else ()))
    return [
        Mode("uvicorn", f"{workers}", "asgi", command, workers),
        Mode("uvicorn", f"{workers} lifespan off", "asgi", (*command, "--lifespan", "off"), workers, drains=False),
    ]


MODES = [
    *_gunicorn("sync", "wsgi"),
    *_gunicorn("gthread", "wsgi", "-k", "gthread", "--threads", "4"),
    *_gunicorn("uvicorn", "asgi", "-k", "uvicorn.workers.UvicornWorker"),
    *_uvicorn(1),
    *_uvicorn(4),
]
WATCHED = ("uvicorn", "watched:asgi", "--app-dir", "code", *UVICORN[2:], "--reload", "--reload-dir", "code")
RELOAD = Mode("uvicorn", "reload", "asgi", WATCHED)


def environment(mode: Mode, folder: Path, *, bare: bool = False, **settings: str) -> dict[str, str]:
    """Return the environment of a server: one SQLite file unless told otherwise, plain http."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("SESSION_MW_", "OTEL_", "PROCESSES_"))}
    ours = {
        "SECRET_KEY": SECRET,
        "STORE": f"sqlite:///{folder}/sessions.db",
        "COOKIE_SECURE": "false",
        "COOKIE_NAME": "session_mw_processes",
        "LIFECYCLE_SPANS": "never",
        **settings,
    }
    keep |= {f"SESSION_MW_{name}": value for name, value in ours.items()}
    keep |= {"PROCESSES_FOLDER": str(folder), "PROCESSES_KIND": mode.kind, "PYTHONPATH": str(ROOT)}
    return keep | {"PYTHONUNBUFFERED": "1", **({"PROCESSES_BARE": "1"} if bare else {})}


class Server:
    """
    A server for a ``with`` block.

    Args:
        mode: What to run.
        env: Its environment.
        folder: Where it works and writes its log.
    """

    def __init__(self, mode: Mode, env: Mapping[str, str], folder: Path) -> None:
        self.mode = mode
        self.port = free_port()
        self.folder = folder
        self._env = dict(env)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that was started; the leader of its group."""
        assert self._process is not None
        return self._process

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill_all()

    def start(self) -> Server:
        """Start it, on the same port as before, and wait until it answers."""
        command = [part.format(port=self.port, kind=self.mode.kind) for part in self.mode.command]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command],
                env=self._env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait()
        return self

    def _wait(self, seconds: float = 30) -> None:
        limit = time.monotonic() + seconds * PATIENCE
        while time.monotonic() < limit and self.process.poll() is None:
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=5, trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.05)
        raise RuntimeError(f"the server did not start:\n{self.log()[-4000:]}")

    def log(self) -> str:
        """What it has written."""
        return (self.folder / "server.log").read_text(errors="replace")

    def terminate(self) -> float:
        """Send SIGTERM as a supervisor does, to the first process; return the seconds until all are gone."""
        began = time.monotonic()
        self.process.terminate()
        self.process.wait(30 * PATIENCE)
        while self.alive():
            assert time.monotonic() - began < 30 * PATIENCE, "a worker outlives its server"
            time.sleep(0.01)
        return time.monotonic() - began

    def alive(self) -> bool:
        """Return whether any process of the group is still there."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def kill_all(self) -> None:
        """Kill the whole group, as a machine that goes down."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def hang_up(self) -> None:
        """Have it replace its workers."""
        self.process.send_signal(signal.SIGHUP)


def watch(folder: Path) -> Path:
    """Write the code that a reloading server watches, and return its file."""
    (folder / "code").mkdir()
    code = folder / "code" / "watched.py"
    code.write_text("from tests.processes.served import asgi\n")
    return code
