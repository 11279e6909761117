"""Real workers, each in a process group of its own, stopped at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.patience import PATIENCE
from tests.queues import seen
from tests.stores.redis_server import wait_for


@contextmanager
def running(folder: Path, command: Sequence[str], **more: str) -> Iterator[Callable[[Sequence[str]], None]]:
    """Start a worker; gives a function that waits until spans of these names have been seen."""
    environment = seen.environment(folder, TEST_WORKER="1", **more)
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], env=environment, stdout=log, stderr=log, start_new_session=True
        )

    def wait(names: Sequence[str]) -> None:
        def done() -> bool:
            if process.poll() is not None:
                raise AssertionError((folder / "worker.log").read_text())
            return set(names) <= {line.get("span") for line in seen.read(folder)}

        wait_for(done, f"{names}", 40 * PATIENCE)

    try:
        yield wait
    finally:
        for _ in range(10):  # one that comes while a client swallows the cancellation is lost
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(2)
                break
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
