"""Starts real servers on free loopback ports, as process groups of their own, and stops them whole."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
SECRET = "e2e-Zq7xW2vK9dLm4TzR8sYb1NcJf6HgU0aEoXiVtS3yB"


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(folder: Path, endpoint: str, **settings: str) -> dict[str, str]:
    """Return the environment of a service: one SQLite file, plain http, short times."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("SESSION_MW_", "OTEL_", "CHAT_"))}
    ours = {
        "SECRET_KEY": SECRET,
        "STORE": f"sqlite:///{folder}/sessions.db",
        "COOKIE_SECURE": "false",
        "COOKIE_NAME": "session_mw_e2e",
        "IDLE_TIMEOUT": "5s",
        "TURN_TIMEOUT": "30s",
        "CLOCK_SKEW": "1s",
        **settings,
    }
    env = keep | {f"SESSION_MW_{name}": value for name, value in ours.items()}
    env |= {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "CHAT_BOOKS": str(folder / "books.jsonl"), "CHAT_WORD_MS": "0"}
    return env | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@contextmanager
def serving(command: Sequence[str], env: Mapping[str, str], folder: Path, port: int) -> Iterator[str]:
    """Run *command* until the end of the block, and give its URL once it answers."""
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], env=dict(env), cwd=folder, stdout=out, stderr=out, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url + "/health", process, log)
        yield url
    finally:
        stop(process)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 30) -> None:
    """Wait until *url* answers."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if process.poll() is not None:
            break
        try:
            if httpx.get(url, timeout=1).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise RuntimeError(f"the server did not start:\n{log.read_text(errors='replace')[-4000:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process group: politely, then not."""
    for sign, seconds in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            pass
        try:
            process.wait(seconds)
            break
        except subprocess.TimeoutExpired:
            continue
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
