"""Real agents or clients, a real LiteLLM with our wrapper, a real Phoenix: its API says what its page would."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from session_mw.ledger import open_ledger
from tests.proxy import agents
from tests.proxy.models import model_server
from tests.proxy.phoenix import Phoenix, phoenix
from tests.proxy.real import config, environment, litellm_python, proxying, question
from tests.proxy.support import UUID, token

pytestmark = [pytest.mark.real_backend, pytest.mark.timeout(600)]

_numbers = itertools.count(1)
SONNET, GPT_4O = (3e-6, 15e-6), (2.5e-6, 10e-6)  # US dollars for a token in and out


@dataclass(frozen=True)
class Proxied:
    """
    A proxy that exports to Phoenix.

    Attributes:
        url: Of the proxy.
        project: In Phoenix.
        folder: Of the proxy.
        asked: Of the model server.
        v2: Whether it is LiteLLM's newer telemetry.
    """

    url: str
    project: str
    folder: Path
    asked: list[dict[str, Any]]
    v2: bool


@pytest.fixture(scope="module")
def back_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phoenix]:
    """One Phoenix for all tests."""
    litellm_python()
    with phoenix(tmp_path_factory.mktemp("phoenix")) as found:
        yield found


@pytest.fixture(params=[{}, {"LITELLM_OTEL_V2": "true"}], ids=["v1", "v2"])
def proxied(request: pytest.FixtureRequest, back_end: Phoenix, tmp_path: Path) -> Iterator[Proxied]:
    """A proxy that exports to Phoenix, into a project of its own."""
    project = f"project-{next(_numbers)}"  # sessions of one id meet in Phoenix, whatever their project
    with model_server() as (models, asked):
        config(tmp_path, models)
        env = environment(tmp_path, back_end.url, PHOENIX_PROJECT_NAME=project, **request.param)
        env["SESSION_MW_IDLE_TIMEOUT"] = "30m"
        with proxying(litellm_python(), env, tmp_path) as url:
            yield Proxied(url, project, tmp_path, asked, bool(request.param))


def headers_of(session_id: str, kind: str, version: str) -> dict[str, str]:
    """Return what the launcher puts into an agent's environment."""
    signed = token(session_id, time.time_ns() // 1_000_000)
    return {"X-Session-Token": signed, "X-Session-Type": kind, "X-Session-Prompt-Version": version}


def test_two_sessions_at_once_stay_apart_and_filters_tokens_and_costs_are_right(
    back_end: Phoenix, proxied: Proxied
) -> None:
    """Ten answers each, whole and streamed, eight at a time; nothing is counted twice."""
    url, project = proxied.url, proxied.project
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


DIALECTS = [
    ("/v1/messages", {"model": "claude-sonnet-4-5", "max_tokens": 50}),
    ("/v1/chat/completions", {"model": "gpt-4o"}),
    ("/v1/responses", {"model": "gpt-4o"}),
    ("/v1/embeddings", {"model": "gpt-embed"}),
]


def body_of(path: str, base: dict[str, Any], text: str, stream: bool) -> dict[str, Any]:
    """Return a question in a dialect."""
    if path.endswith(("responses", "embeddings")):
        return {**base, "input": text, **({"stream": True} if stream else {})}
    more = {"stream_options": {"include_usage": True}} if stream and path.endswith("completions") else {}
    return {**base, "stream": stream, "messages": [{"role": "user", "content": text}], **more}


def test_every_dialect_belongs_to_the_session_whole_and_streamed(back_end: Phoenix, proxied: Proxied) -> None:
    """Anthropic's, OpenAI's two and embeddings: seven traces, each answer's tokens and cost once."""
    session_id, total = f"dialects-{proxied.project}", 0
    for path, base in DIALECTS:
        for stream in (False, True) if not path.endswith("embeddings") else (False,):
            body = body_of(path, base, "use 1000 100", stream)
            answer = httpx.post(
                proxied.url + path, json=body, headers=headers_of(session_id, "chat", "v1"), timeout=120
            )
            assert 200 == answer.status_code, answer.text
            # Phoenix adds up spans of kind LLM; v1 has EMBEDDING for these, as OpenInference wants it.
            total += 1100 if not path.endswith("embeddings") else 1000 if proxied.v2 else 0
    found = back_end.until(
        proxied.project, lambda s: session_id in s and (s[session_id]["tokenUsage"]["total"] or 0) >= total
    )
    cost = 2 * (1000 * SONNET[0] + 100 * SONNET[1]) + 4 * (1000 * GPT_4O[0] + 100 * GPT_4O[1])

    assert {session_id} == set(found)
    assert (7, total) == (found[session_id]["numTraces"], found[session_id]["tokenUsage"]["total"])
    assert pytest.approx(cost) == found[session_id]["costSummary"]["total"]["cost"]
    assert total == back_end.spans(proxied.project, 'session.type == "chat"')["tokenCountTotal"]


def test_errors_and_streams_that_break_off_or_are_left(back_end: Phoenix, proxied: Proxied) -> None:
    """Phoenix shows the errors in their session; nothing of them is in another; the history has their turns."""
    session_id = f"failing-{proxied.project}"
    headers = headers_of(session_id, "debugging", "v1")
    for text, stream in (("fail 500", False), ("fail 401", True), ("ping", False)):
        path, body = question("claude-sonnet-4-5", text, stream)
        httpx.post(proxied.url + path, json=body, headers=headers, timeout=120)
    path, body = question("claude-sonnet-4-5", "break", True)
    with suppress(httpx.HTTPError):
        httpx.post(proxied.url + path, json=body, headers=headers, timeout=120)
    path, body = question("claude-sonnet-4-5", "slowly", True)
    with httpx.stream("POST", proxied.url + path, json=body, headers=headers, timeout=120) as response:
        next(response.iter_raw())
    found = back_end.until(
        proxied.project,
        lambda s: session_id in s and s[session_id]["numTraces"] >= 4 and bool(s[session_id]["tokenUsage"]["total"]),
    )
    time.sleep(6)  # longer than a turn waits for its usage
    ledger = open_ledger(f"sqlite:///{proxied.folder}/sessions.db")
    try:
        turns = [turn.status for turn in ledger.turns(session_id)]
    finally:
        ledger.close()
    print(proxied.project, found[session_id], turns)

    assert {session_id} == set(found)
    assert found[session_id]["numTracesWithError"] >= 2
    assert ["error", "error", "ok", "error", "cancelled"] == turns


def test_what_claude_code_says_of_itself_stays(back_end: Phoenix, proxied: Proxied) -> None:
    """Its JSON in ``metadata.user_id`` goes to the provider as it came, and does not become the session."""
    session_id = f"claude-{proxied.project}"
    agent = json.dumps({"device_id": "d-1", "account_uuid": "", "session_id": UUID})
    path, body = question("claude-sonnet-4-5", "ping", False, metadata={"user_id": agent})
    headers = {**headers_of(session_id, "code-review", "v2"), "X-Claude-Code-Session-Id": UUID}
    assert 200 == httpx.post(proxied.url + path, json=body, headers=headers, timeout=120).status_code
    found = back_end.until(proxied.project, lambda s: session_id in s and bool(s[session_id]["tokenUsage"]["total"]))
    spans = back_end.kept(proxied.project, session_id)
    log = (proxied.folder / "proxy.log").read_text()

    assert {session_id} == set(found)
    assert {"user_id": agent} == proxied.asked[-1]["body"]["metadata"]
    assert spans and all(UUID == span["attributes"]["agent.session.id"] for span in spans)
    assert log.count(f"[LOGGING] Injected session_id from header: {session_id}") == 1
    assert "[LOGGING] Injected session_type from header: code-review" in log
    if not proxied.v2:
        told = [one for one in map(metadata_of, spans) if one]
        ours = {"session_id": session_id, "session_type": "code-review", "prompt_version": "v2", "user_id": agent}
        assert 2 == len(told)
        for one in told:
            assert ours.items() <= {name: one.get(f"requester_metadata.{name}") for name in ours}.items()
            assert agent == one["user_api_key_end_user_id"]


def metadata_of(span: dict[str, Any]) -> dict[str, Any]:
    """Return what stands in the metadata of a span, as Phoenix hands it out: a name a value, inner ones by dots."""
    found = {key.removeprefix("metadata."): value for key, value in span["attributes"].items()}
    kept = {key: value for key, value in found.items() if f"metadata.{key}" in span["attributes"]}
    whole = span["attributes"].get("metadata")
    for key, value in (json.loads(whole) if isinstance(whole, str) else whole or {}).items():
        kept |= {f"{key}.{inner}": one for inner, one in value.items()} if isinstance(value, dict) else {key: value}
    return kept


@pytest.mark.parametrize("name", ["claude", "codex", "gemini"])
def test_two_shells_with_two_sessions(back_end: Phoenix, proxied: Proxied, name: str, tmp_path: Path) -> None:
    """A real agent in two shells at once, and in a third without a session of ours."""
    agents.agent(name)
    url, project = proxied.url, proxied.project
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
