"""
The two services of the demo, as processes of their own.

Each is a process group: uvicorn's workers are its children, and what stops the demo stops them all. A terminal's
Ctrl-C reaches the demo only, which then ends them in order.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .errors import DemoError
from .signals import ENDING, noted

if TYPE_CHECKING:
    from typing_extensions import Self

START_SECONDS = 45.0  # a cold start of two workers takes two seconds; a busy machine may need ten times that
STOP_SECONDS = 10.0  # uvicorn's graceful end is bounded to less
GRACE_SECONDS = 4
LOG_LINES = 15
DIED = "] died"  # "Child process [12] died", says uvicorn's supervisor, and starts it again, for ever
HEALTH = "/health"  # among the paths that session-mw leaves alone


class Service:
    """
    One service on a free port of this machine.

    Args:
        name: For people, and for the log's file.
        application: ``module:name`` as uvicorn takes it.
        log: File that gets everything the service prints.
        workers: Processes that serve.
    """

    def __init__(self, name: str, application: str, log: Path, workers: int = 1) -> None:
        self.name = name
        self.log = log
        self.port = free_port()
        self.workers = workers
        self._application = application
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, environment: Mapping[str, str]) -> None:
        """Start the process, and do not wait for it."""
        command = [sys.executable, "-m", "uvicorn", self._application, "--host", "127.0.0.1", "--no-use-colors"]
        command += ["--port", str(self.port), "--workers", str(self.workers)]
        command += ["--timeout-graceful-shutdown", str(GRACE_SECONDS)]
        with self.log.open("ab") as log, noted():
            self._process = subprocess.Popen(  # noqa: S603 - our own words, no shell
                command,
                cwd=self.log.parent,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ready(self) -> bool:
        """
        Return whether it answers.

        Raises:
            DemoError: If its process has ended.
        """
        code = None if self._process is None else self._process.poll()
        if code is not None:
            raise DemoError(f"cannot start {self.name}: it ended with exit code {code}. {self.last_words()}")
        if DIED in self._log_text():
            raise DemoError(f"cannot start {self.name}: its workers end as soon as they start. {self.last_words()}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)  # asks no proxy
        try:
            connection.request("GET", HEALTH)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def last_words(self) -> str:
        """Return the end of its log."""
        said = "\n".join(f"    {line}" for line in self._log_text().splitlines()[-LOG_LINES:])
        return f"Its log ({self.log}) ends with:\n{said}" if said else f"Its log ({self.log}) is empty."

    def _log_text(self) -> str:
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def taken(self) -> bool:
        """Return whether it ended because its port was taken meanwhile."""
        ended = self._process is not None and self._process.poll() is not None
        return ended and "address already in use" in self.last_words().lower()

    def ask_to_stop(self) -> None:
        """Ask the group's leader to end; it asks its workers."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def stop(self, within: float) -> None:
        """End the whole group: in order within so many seconds, else by force."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.wait(max(0.0, within))
        except subprocess.TimeoutExpired:
            pass
        _kill_group(process)
        process.wait()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing of the group behind, also when its leader is gone already."""
    if not hasattr(os, "killpg"):
        process.kill()
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # nobody is left (macOS reports a group of zombies as not permitted)


class Services:
    """
    Services that stand and fall together. Leaving the context ends them.

    Args:
        services: What to start, all at once.
    """

    def __init__(self, *services: Service) -> None:
        self._services: Sequence[Service] = services

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, environments: Mapping[str, Mapping[str, str]]) -> None:
        """
        Start all, and wait until they answer.

        Args:
            environments: Environment of each service, by its name.

        Raises:
            DemoError: If one of them ends, or does not answer in time; its log's end is in the message.
        """
        for service in self._services:
            service.start(environments[service.name])
        until = time.monotonic() + START_SECONDS
        waiting = list(self._services)
        while waiting:
            waiting = [service for service in waiting if not service.ready()]
            if waiting and time.monotonic() > until:
                slow = waiting[0]
                raise DemoError(
                    f"cannot start {slow.name}: no answer at {slow.url}{HEALTH} within {START_SECONDS:.0f} seconds. "
                    f"{slow.last_words()}"
                )
            if waiting:
                time.sleep(0.05)

    def taken(self) -> bool:
        """Return whether a port was taken by somebody else before its service had it."""
        return any(service.taken() for service in self._services)

    def stop(self) -> None:
        """End all, at the same time; a second Ctrl-C meanwhile does not leave half of them running."""
        previous = _ignore_interrupts()
        try:
            for service in self._services:
                service.ask_to_stop()
            until = time.monotonic() + STOP_SECONDS
            for service in self._services:
                service.stop(until - time.monotonic())
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def free_port() -> int:
    """Return a port of this machine on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _ignore_interrupts() -> dict[int, Any]:
    """Ignore what would interrupt the main thread, and return what was done about it before."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, signal.SIG_IGN) for number in ENDING}
