"""
A chat's sessions in a real MLflow, read back by its client: ``mlflow.search_sessions``, ``mlflow.search_traces``.

``SESSION_MW_TEST_MLFLOW`` names its command (``pip install mlflow`` in an environment of its own).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from session_mw._core.dialects import DIALECTS
from session_mw.cli.demo.receiver import Receiver
from tests.backends.crowd import Visit, visits
from tests.backends.mlflow_server import MLflow, mlflow
from tests.backends.needs import mlflow as need
from tests.backends.running import WORDS, Told, run
from tests.e2e.servers import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.real_backend, pytest.mark.timeout(900)]

VISITS, TURNS = 60, 300
SETTINGS = {"STAMP_SPANS": "turns", "DIALECTS": "openinference,mlflow"}


@dataclass(frozen=True)
class Sent:
    """What went to an experiment of MLflow's, what we know of it, and what MLflow has."""

    experiment: str
    planned: list[Visit]
    told: Told
    found: dict[str, Any]

    def traces(self, session_id: str) -> list[dict[str, Any]]:
        """Return a session's traces, oldest first."""
        mine = [one for one in self.found["traces"] if one["session"] == session_id]
        return sorted(mine, key=lambda one: one["at_ms"])


def send(backend: MLflow, folder: Path, number: int, turns: int, **settings: str) -> Sent:
    """Let users come to a chat that exports to an experiment of its own, and read what is there then."""
    made, planned = backend.experiment(folder.name), visits(number, turns, seed=11)
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": f"x-mlflow-experiment-id={made}"}
    arrived = partial(backend.until, made)
    told = run(folder, f"{backend.url}/v1/traces", planned, headers, arrived, **SETTINGS, **WORDS, **settings)
    return Sent(made, planned, told, backend.read(made))


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflow]:
    """One MLflow for all tests."""
    with mlflow(tmp_path_factory.mktemp("mlflow")) as found:
        yield found


@pytest.fixture(scope="module")
def sent(backend: MLflow, tmp_path_factory: pytest.TempPathFactory) -> Sent:
    """Sixty sessions with content."""
    return send(backend, tmp_path_factory.mktemp("chat"), VISITS, TURNS, CAPTURE_CONTENT="true")


def test_names(sent: Sent) -> None:
    """What its package calls session, user, inputs, outputs and tags is what we write."""
    row, wanted = DIALECTS["mlflow"], need()

    assert [wanted.session, wanted.user, wanted.asked, wanted.answered, row.metadata] == sent.found["names"]


def test_sessions_and_turns(sent: Sent) -> None:
    """``mlflow.search_sessions`` has every session and no other; each of its traces is a turn."""
    assert {visit.session: len(visit.says) for visit in sent.planned} == sent.found["sessions"]
    assert set(sent.told.sessions) == set(sent.found["sessions"])
    failed = {v.session: [one["state"] for one in sent.traces(v.session)].count("ERROR") for v in sent.planned}
    assert {visit.session: visit.failed for visit in sent.planned} == failed
    turns = sum(sent.found["sessions"].values())
    print(f"MLflow {sent.found['version']}: {VISITS} sessions, {len(sent.found['sessions'])} read back; {turns} turns")


def test_tokens(sent: Sent) -> None:
    """MLflow, our history and the model's books say the same of every session."""
    for session_id, row in sent.told.sessions.items():
        used = [one["usage"] for one in sent.traces(session_id) if one["usage"]]
        theirs = sum(one["input_tokens"] for one in used), sum(one["output_tokens"] for one in used)
        assert sent.told.tokens(session_id) == theirs == (row.input_tokens, row.output_tokens)


def test_cost(sent: Sent) -> None:
    """The cost is the same; ours is rounded to a millionth of a dollar at each call."""
    theirs = 0.0
    for session_id, row in sent.told.sessions.items():
        cost = sum(one["cost"]["total_cost"] for one in sent.traces(session_id) if one["cost"])
        assert row.cost_microusd is not None
        assert abs(cost - row.cost_microusd / 1e6) <= 0.5e-6 * len(sent.told.books[session_id]) + 1e-12
        theirs += cost
    print(f"MLflow: {theirs:.6f} USD, ours {sum(r.cost_microusd or 0 for r in sent.told.sessions.values()) / 1e6:.6f}")


def test_users(sent: Sent) -> None:
    """Each trace has its user's pseudonym."""
    users = {k: {one["user"] for one in sent.traces(k)} for k in sent.told.sessions}

    assert {k: {row.user_id} for k, row in sent.told.sessions.items()} == users


def test_inputs_and_outputs(sent: Sent) -> None:
    """A trace's request and response are what its user wrote and what was answered."""
    for visit in sent.planned:
        traces = sent.traces(visit.session)
        assert [f'"{message}"' for message in visit.says] == [one["request"] for one in traces]
        answered = [f'"{answer}"' for answer in visit.answers if answer is not None]
        assert answered == [one["response"] for one in traces if one["state"] == "OK"]


def test_latency_of_a_trace_is_its_turns(sent: Sent) -> None:
    """The spans session.start and session.end do not make a trace longer than its turn, whenever they happened."""
    longest = max(one["duration_ms"] for visit in sent.planned for one in sent.traces(visit.session))

    assert VISITS == sum(s["name"] == "session.end" for one in sent.found["traces"] for s in one["spans"])
    assert longest <= 1000 * sent.told.seconds


@pytest.mark.parametrize(("name", "value"), [("session.type", "code-review"), ("session.prompt_version", "v2")])
def test_filters(backend: MLflow, sent: Sent, name: str, value: str) -> None:
    """Traces are found by what their spans say of the session; and those whose random id happens to say the same."""
    found = backend.read(sent.experiment, f"span.attributes.`{name}` LIKE '%{value}%'")
    mine = {k for k, row in sent.told.sessions.items() if value in (row.type, row.prompt_version)}
    there = [one["session"] for one in found["traces"] if one["session"] in mine or value not in one["session"]]

    assert mine == set(there)
    assert sum(sent.told.sessions[k].turns for k in mine) == len(there)


def test_without_content_nothing_was_said(backend: MLflow, tmp_path: Path) -> None:
    """``capture_content`` is off by default: no trace has request or response of ours; all else is the same."""
    sent = send(backend, tmp_path, 6, 18)
    said = [(one["request"], one["response"]) for visit in sent.planned for one in sent.traces(visit.session)]

    assert {v.session: len(v.says) for v in sent.planned} == sent.found["sessions"]
    assert not [text for pair in said for text in pair if text and "lamps" in text]


def test_export_as_json(backend: MLflow, tmp_path: Path) -> None:
    """What ``session-mw export --format otlp`` writes is OTLP in JSON: MLflow takes it, and shows the same sessions."""
    planned, made = visits(6, 18, seed=5), backend.experiment("exported")
    with Receiver() as elsewhere:  # MLflow knows a trace by its id, whatever the experiment
        told = run(tmp_path, f"{elsewhere.url}/v1/traces", planned, {})
    database = f"sqlite:///{tmp_path}/sessions.db"
    command = [sys.executable, "-m", "session_mw", "export", "--format", "otlp", "--unconfirmed", "--ledger", database]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=60).stdout.splitlines()
    headers = {"content-type": "application/json", "x-mlflow-experiment-id": made}
    for line in lines:
        httpx.post(f"{backend.url}/v1/traces", content=line, headers=headers, timeout=60).raise_for_status()
    backend.until(made, 18)
    found = backend.read(made)

    assert 6 == len(lines)
    assert {visit.session: len(visit.says) for visit in planned} == found["sessions"]
    used = [one["usage"]["total_tokens"] for one in found["traces"] if one["usage"]]
    assert sum(sum(told.tokens(visit.session)) for visit in planned) == sum(used)
