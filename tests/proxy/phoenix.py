"""
A real Phoenix on this machine: ``SESSION_MW_TEST_PHOENIX`` names its command (``pip install arize-phoenix`` in an
environment of its own), else the one on the path.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.servers import free_port, stop, wait_for

VARIABLE = "SESSION_MW_TEST_PHOENIX"
SESSIONS = """
query($id: ID!, $c: String) { node(id: $id) { ... on Project {
  sessions(first: 50, sessionFilterCondition: $c) { edges { node {
    sessionId numTraces numTracesWithError
    tokenUsage { prompt completion total } costSummary { total { cost } } } } }
  costSummary(sessionFilterCondition: $c) { total { cost tokens } } } } }
"""
SPANS = """
query($id: ID!, $c: String) { node(id: $id) { ... on Project {
  recordCount(filterCondition: $c) tokenCountTotal(filterCondition: $c) } } }
"""


class Phoenix:
    """
    What Phoenix has, by its API.

    Args:
        url: Of its page.
        grpc_port: Where it takes OTLP over gRPC.
    """

    def __init__(self, url: str, grpc_port: int = 4317) -> None:
        self.url, self.grpc_port = url, grpc_port

    def asked(self, query: str, **variables: Any) -> Any:
        """Ask GraphQL."""
        answer = httpx.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def project(self, name: str) -> str | None:
        """Return the id of a project, None when there is none."""
        found = self.asked("{ projects(first: 100) { edges { node { id name } } } }")["projects"]["edges"]
        return next((edge["node"]["id"] for edge in found if edge["node"]["name"] == name), None)

    def sessions(self, project: str, where: str | None = None) -> dict[str, dict[str, Any]]:
        """Return sessions by id, of those for which *where* holds."""
        found = self.project(project)
        if found is None:
            return {}
        edges = self.asked(SESSIONS, id=found, c=where)["node"]["sessions"]["edges"]
        return {edge["node"]["sessionId"]: edge["node"] for edge in edges}

    def cost(self, project: str, where: str | None = None) -> dict[str, float]:
        """Return cost and tokens over sessions for which *where* holds."""
        total: dict[str, float] = self.asked(SESSIONS, id=self.project(project), c=where)["node"]["costSummary"][
            "total"
        ]
        return total

    def spans(self, project: str, where: str) -> dict[str, float]:
        """Return number and tokens of the spans for which *where* holds."""
        found: dict[str, float] = self.asked(SPANS, id=self.project(project), c=where)["node"]
        return found

    def kept(self, project: str, session_id: str) -> list[dict[str, Any]]:
        """Return the spans of a session as Phoenix has kept them: name, status, attributes by their wire names."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            asked = {"limit": 500, **({"cursor": cursor} if cursor else {})}
            answer = httpx.get(f"{self.url}/v1/projects/{project}/spans", params=asked, timeout=60).json()
            found += [one for one in answer["data"] if one["attributes"].get("session.id") == session_id]
            cursor = answer.get("next_cursor") or ""
            if not cursor:
                return found

    def until(self, project: str, enough: Callable[[dict[str, dict[str, Any]]], bool]) -> dict[str, dict[str, Any]]:
        """Return the sessions of a project, once they are *enough*."""
        limit = time.monotonic() + 60
        while not enough(found := self.sessions(project)):
            assert time.monotonic() < limit, found
            time.sleep(0.5)
        return found


@contextmanager
def phoenix(folder: Path, **more: str) -> Iterator[Phoenix]:
    """Run Phoenix until the end of the block, with *more* of its variables; skip the test where there is none."""
    command = os.environ.get(VARIABLE) or shutil.which("phoenix")
    if command is None:
        pytest.skip(f"Phoenix is not installed: pip install arize-phoenix, or name its command by {VARIABLE}")
    port, grpc_port, log = free_port(), free_port(), folder / "phoenix.log"
    env = {"PATH": f"{Path(command).parent}:{os.environ['PATH']}", "HOME": str(folder), "PHOENIX_PORT": str(port)}
    env |= {"PHOENIX_WORKING_DIR": str(folder), "PHOENIX_HOST": "127.0.0.1", "PHOENIX_GRPC_PORT": str(grpc_port)}
    env |= {"PHOENIX_TELEMETRY_ENABLED": "false", **more}
    with log.open("wb") as out:
        process = subprocess.Popen([command, "serve"], env=env, stdout=out, stderr=out, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url + "/healthz", process, log, seconds=180)
        yield Phoenix(url, grpc_port)
    finally:
        stop(process)
