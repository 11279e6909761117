"""Real Streamlit servers, each a process group with a folder of its own, and what came out of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.patience import PATIENCE as TIMES

PATIENCE = 30 * TIMES  # seconds until a test gives up
ROOT = Path(__file__).parents[2]
OPTIONS = {
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.address": "127.0.0.1",
    "browser.gatherUsageStats": "false",
}
T = TypeVar("T")


class Server:
    """
    A server that runs.

    Args:
        port: On loopback.
        folder: Where its spans and events are written.
    """

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self.folder = folder
        self.url = f"http://localhost:{port}"

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Return what was written to a file so far."""
        path = self.folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def spans(self, name: str, **attributes: Any) -> list[dict[str, Any]]:
        """Return spans of a name, with these attributes (dots written as two underscores)."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        found = [span for span in self.lines("spans") if span["name"] == name]
        return [span for span in found if wanted.items() <= span["attributes"].items()]

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the attributes of events of a name."""
        return [event["attributes"] for event in self.lines("events") if event["name"] == name]

    def ends(self, count: int) -> list[dict[str, Any]]:
        """Wait for so many ends of sessions."""
        return soon(lambda: self.events("session.end"), lambda found: len(found) >= count)


def soon(look: Callable[[], T], enough: Callable[[T], object] = bool) -> T:
    """Look again and again until what is there is enough."""
    until = time.monotonic() + PATIENCE
    while not enough(found := look()):
        assert time.monotonic() < until, found
        time.sleep(0.02)
    return found


@contextmanager
def serving(
    folder: Path, page: str, app: str | None = None, *, apps: Path | None = None, **options: str
) -> Iterator[Server]:
    """
    Serve a page, by ``streamlit run``; with *app*, as the application that this module defines, by uvicorn.

    Args:
        folder: An empty one.
        page: The script.
        app: Source of a module with ``app`` in it.
        apps: Where the module ``asgi`` with ``app`` is, if it is there already.
        options: Of Streamlit, dots written as two underscores.
    """
    (folder / "page.py").write_text(page, encoding="utf-8")
    if app is not None:
        (folder / "asgi.py").write_text(app, encoding="utf-8")
    given = {**OPTIONS, **{key.replace("__", "."): value for key, value in options.items()}}
    port = _free_port()
    command = ["-m", "streamlit", "run", "page.py", "--server.port", str(port)]
    if app is not None or apps is not None:
        command = ["-m", "uvicorn", "asgi:app", "--port", str(port), "--app-dir", str(apps or folder)]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env={**_environ(folder), **{f"STREAMLIT_{_variable(key)}": value for key, value in given.items()}},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        soon(lambda: _answers(port) or process.poll() is not None)
        assert process.poll() is None, (folder / "log").read_text()
        yield Server(port, folder)
    finally:
        _stop(process)


def _environ(folder: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
        "STREAMLIT_FOLDER": str(folder),
    }


def _variable(option: str) -> str:
    """Return the name by which Streamlit reads an option from the environment."""
    words = "".join(f"_{c}" if c.isupper() else c for c in option.replace(".", "_"))
    return words.replace("_T_T_L", "_TTL").upper()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, signal_number)
            process.wait(10)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
