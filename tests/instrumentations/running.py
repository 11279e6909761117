"""Runs the workers: two processes at a time, each with nothing in its environment that could call out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .fake_models import ModelServer
from .rows import Row

ROOT = Path(__file__).parents[2]
_KEEP = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "LD_LIBRARY_PATH")
_CALL_NOBODY = {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false", "TRACELOOP_TELEMETRY": "false"}


@dataclass(frozen=True)
class Outcome:
    """What a worker printed: a dictionary for each case, and its standard error."""

    cases: dict[str, Any]
    stderr: str


class Runs:
    """Every row once, when somebody first asks, or earlier."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="instrumentations")
        self._started: dict[str, Future[Outcome]] = {}

    def start(self, row: Row) -> Future[Outcome]:
        """Have *row* run soon."""
        if row.name not in self._started:
            self._started[row.name] = self._pool.submit(self._run, row)
        return self._started[row.name]

    def outcome(self, row: Row) -> Outcome:
        """
        Return what *row* gave.

        Raises:
            AssertionError: If its process failed, with what it said last.
        """
        return self.start(row).result(timeout=120)

    def close(self) -> None:
        """Wait for what runs; start nothing more."""
        self._pool.shutdown(cancel_futures=True)

    def _run(self, row: Row) -> Outcome:
        env = {name: os.environ[name] for name in _KEEP if name in os.environ}
        env |= {**_CALL_NOBODY, "NO_PROXY": "*", "PYTHONPATH": str(ROOT), **row.env}
        command = [sys.executable, "-m", "tests.instrumentations.worker", row.name, self._server.url]
        done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=100)
        assert 0 == done.returncode, f"the worker of {row.name!r} failed:\n{done.stderr[-4000:]}"
        return Outcome(json.loads(done.stdout), done.stderr)
