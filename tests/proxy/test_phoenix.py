"""Real agents or clients, a real LiteLLM with our wrapper, a real Phoenix: its API says what its page would."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.proxy import agents
from tests.proxy.models import model_server
from tests.proxy.phoenix import Phoenix, phoenix
from tests.proxy.real import config, environment, litellm_python, proxying, question
from tests.proxy.support import token

pytestmark = [pytest.mark.real_backend, pytest.mark.timeout(600)]

_numbers = itertools.count(1)
SONNET = (3e-6, 15e-6)  # US dollars for a token in and out


@pytest.fixture(scope="module")
def back_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phoenix]:
    """One Phoenix for all tests."""
    litellm_python()
    with phoenix(tmp_path_factory.mktemp("phoenix")) as found:
        yield found


@pytest.fixture(params=[{}, {"LITELLM_OTEL_V2": "true"}], ids=["v1", "v2"])
def proxied(request: pytest.FixtureRequest, back_end: Phoenix, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A proxy that exports to Phoenix, into a project of its own; its URL and the project."""
    project = f"project-{next(_numbers)}"  # sessions of one id meet in Phoenix, whatever their project
    with model_server() as (models, _):
        config(tmp_path, models)
        env = environment(tmp_path, back_end.url, PHOENIX_PROJECT_NAME=project, **request.param)
        with proxying(litellm_python(), env, tmp_path) as url:
            yield url, project


def headers_of(session_id: str, kind: str, version: str) -> dict[str, str]:
    """Return what the launcher puts into an agent's environment."""
    signed = token(session_id, time.time_ns() // 1_000_000)
    return {"X-Session-Token": signed, "X-Session-Type": kind, "X-Session-Prompt-Version": version}


def test_two_sessions_at_once_stay_apart_and_filters_tokens_and_costs_are_right(
    back_end: Phoenix, proxied: tuple[str, str]
) -> None:
    """Ten answers each, whole and streamed, eight at a time; nothing is counted twice."""
    url, project = proxied
    left, right = f"code-review-{project}", f"debugging-{project}"
    kinds = [(left, "code-review", "v1", 1500, 300), (right, "debugging", "v2", 1000, 200)]

    def ask(at: int) -> int:
        session_id, kind, version, into, out = kinds[at % 2]
        path, body = question("claude-sonnet-4-5", f"use {into} {out}", at % 3 == 0, metadata={"user_id": f"u{at}"})
        return httpx.post(url + path, json=body, headers=headers_of(session_id, kind, version), timeout=120).status_code

    with ThreadPoolExecutor(8) as pool:
        assert {200} == set(pool.map(ask, range(20)))
    found = back_end.until(project, lambda s: sum(one["tokenUsage"]["total"] or 0 for one in s.values()) >= 30_000)
    costs = {name: 10 * (into * SONNET[0] + out * SONNET[1]) for name, _, _, into, out in kinds}

    assert {left, right} == set(found)
    assert {left: 18_000, right: 12_000} == {name: one["tokenUsage"]["total"] for name, one in found.items()}
    assert {left: 10, right: 10} == {name: one["numTraces"] for name, one in found.items()}
    for name, cost in costs.items():
        assert pytest.approx(cost) == found[name]["costSummary"]["total"]["cost"]
    assert {left} == set(back_end.sessions(project, 'attributes["session.type"] == "code-review"'))
    assert pytest.approx(costs[right]) == back_end.cost(project, 'attributes["session.prompt_version"] == "v2"')["cost"]
    assert 18_000 == back_end.spans(project, 'session.type == "code-review"')["tokenCountTotal"]
    assert 12_000 == back_end.spans(project, 'session.prompt_version == "v2"')["tokenCountTotal"]


@pytest.mark.parametrize("name", ["claude", "codex", "gemini"])
def test_two_shells_with_two_sessions(back_end: Phoenix, proxied: tuple[str, str], name: str, tmp_path: Path) -> None:
    """A real agent in two shells at once, and in a third without a session of ours."""
    agents.agent(name)
    url, project = proxied
    shells = {f"{name}-a-{project}": ("code-review", "v1"), f"{name}-b-{project}": ("debugging", "v2")}
    with ThreadPoolExecutor(3) as pool:
        running = [
            pool.submit(agents.run, name, tmp_path / session_id, url, headers_of(session_id, *labels))
            for session_id, labels in shells.items()
        ]
        alone = pool.submit(agents.run, name, tmp_path / "alone", url, {})
        assert all("pong" in one.result() for one in running)
        printed = alone.result()
    own = {json.loads(printed)["session_id"]} if name == "claude" else set()
    found = back_end.until(project, lambda s: set(s) >= {*shells, *own} and all(s[n]["tokenUsage"]["total"] for n in s))

    for session_id, (kind, version) in shells.items():
        assert 0 == found[session_id]["tokenUsage"]["total"] % 17, "each answer has 17 tokens"
        assert {session_id} == set(back_end.sessions(project, f'attributes["session.type"] == "{kind}"'))
        assert {session_id} == set(back_end.sessions(project, f'attributes["session.prompt_version"] == "{version}"'))
        assert found[session_id]["costSummary"]["total"]["cost"] > 0
    print(
        name,
        {k: (v["numTraces"], v["tokenUsage"]["total"], v["costSummary"]["total"]["cost"]) for k, v in found.items()},
    )
