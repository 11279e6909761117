"""
A real MLflow on this machine: ``SESSION_MW_TEST_MLFLOW`` names its command (``pip install mlflow`` in an environment of
its own), else the one on the path.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.servers import free_port, stop, wait_for

VARIABLE = "SESSION_MW_TEST_MLFLOW"
READER = Path(__file__).with_name("mlflow_reader.py")


class MLflow:
    """
    What MLflow has, by its own client, which runs in its own environment.

    Args:
        url: Of its page.
        command: The program.
        folder: For what its client leaves.
    """

    def __init__(self, url: str, command: Path, folder: Path) -> None:
        self.url = url
        self._python = command.with_name("python")
        self._env = {"PATH": os.environ["PATH"], "HOME": str(folder), "MLFLOW_DISABLE_TELEMETRY": "true"}

    def read(self, experiment: str, where: str = "", *, brief: bool = False) -> dict[str, Any]:
        """Return the version, the sessions and the traces for which *where* holds; see ``mlflow_reader``."""
        command = [self._python, READER, self.url, experiment, where, *(["brief"] if brief else [])]
        done = subprocess.run(command, env=self._env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-4000:]
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def experiment(self, name: str) -> str:
        """Make an experiment, and return its id."""
        answer = httpx.post(f"{self.url}/api/2.0/mlflow/experiments/create", json={"name": name}, timeout=60)
        return str(answer.raise_for_status().json()["experiment_id"])

    def until(self, experiment: str, turns: int) -> None:
        """Wait until the sessions have so many traces."""
        limit = time.monotonic() + 180
        while (there := sum(self.read(experiment, brief=True)["sessions"].values())) < turns:
            assert time.monotonic() < limit, f"{there} traces of {turns} have come"
            time.sleep(1)


@contextmanager
def mlflow(folder: Path) -> Iterator[MLflow]:
    """Run MLflow until the end of the block; skip the test where there is none."""
    found = os.environ.get(VARIABLE) or shutil.which("mlflow")
    if found is None:
        pytest.skip(f"MLflow is not installed: pip install mlflow, or name its command by {VARIABLE}")
    command, port, log = Path(found), free_port(), folder / "mlflow.log"
    env = {"PATH": f"{command.parent}:{os.environ['PATH']}", "HOME": str(folder), "MLFLOW_DISABLE_TELEMETRY": "true"}
    asked = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    asked += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--default-artifact-root", str(folder / "files")]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [command, *asked], env=env, cwd=folder, stdout=out, stderr=out, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url + "/health", process, log, seconds=180)
        yield MLflow(url, command, folder)
    finally:
        stop(process)
