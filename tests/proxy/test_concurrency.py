"""Many requests at once through a real LiteLLM with the wrapper: no session gets into another; and what it costs."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from session_mw.cli.demo.otlp import Span
from session_mw.cli.demo.receiver import Receiver
from session_mw.ledger import open_ledger
from tests.proxy.models import model_server
from tests.proxy.real import config, environment, litellm_python, proxying, question
from tests.proxy.test_real import calls, of_session, said_to_be

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

REQUESTS, SESSIONS = 100, 10
BARE = ("-m", "uvicorn", "litellm.proxy.proxy_server:app")
ROUNDS, WARM = 300, 40


def name_of(at: int) -> str:
    """Return the session of a request."""
    return f"s-{at % SESSIONS}"


async def ask_all(url: str) -> list[int]:
    """Ask at once, each for its session, each with a number of tokens that no other has; every answer takes a while."""
    limits = httpx.Limits(max_connections=REQUESTS)
    async with httpx.AsyncClient(timeout=180, limits=limits) as client:

        async def ask(at: int) -> int:
            path, body = question("claude-sonnet-4-5", f"use {1000 + at} 7 slowly", True)
            response = await client.post(url + path, json=body, headers={"X-Session-ID": name_of(at)})
            return response.status_code

        return await asyncio.gather(*(ask(at) for at in range(REQUESTS)))


def all_calls(received: Receiver) -> list[Span]:
    """Return the spans that a back end adds up, of all sessions."""
    spans = received.spans()
    return [call for at in range(SESSIONS) for call in calls(of_session(spans, name_of(at)))]


@pytest.mark.parametrize("telemetry", [{}, {"LITELLM_OTEL_V2": "true"}], ids=["v1", "v2"])
def test_a_hundred_streams_at_once_of_ten_sessions_stay_apart(tmp_path: Path, telemetry: dict[str, str]) -> None:
    """Each span says the session of its own request; each turn of the history has the tokens of its own answer."""
    with Receiver() as received, model_server() as (models, _):
        config(tmp_path, models)
        env = environment(tmp_path, received.url, LITELLM_LOG="ERROR", SESSION_MW_IDLE_TIMEOUT="30m", **telemetry)
        with proxying(litellm_python(), env, tmp_path) as url:
            statuses = asyncio.run(ask_all(url))
            limit = time.monotonic() + 90
            while len(all_calls(received)) < REQUESTS and time.monotonic() < limit:
                time.sleep(0.5)
            found = all_calls(received)
            spans = received.spans()
    ledger = open_ledger(f"sqlite:///{tmp_path}/sessions.db")
    try:
        turns = {name_of(at): ledger.turns(name_of(at)) for at in range(SESSIONS)}
    finally:
        ledger.close()
    sent = sorted((name_of(at), 1000 + at) for at in range(REQUESTS))
    sessions = {span.trace_id: span.attributes["gen_ai.conversation.id"] for span in found}

    assert {200: REQUESTS} == Counter(statuses)
    assert sent == sorted(
        (c.attributes["gen_ai.conversation.id"], c.attributes["llm.token_count.prompt"]) for c in found
    )
    assert all(said_to_be(span, sessions[span.trace_id]) for span in spans if span.trace_id in sessions)
    assert sent == sorted((name, turn.input_tokens) for name, found in turns.items() for turn in found)
    assert all(list(range(1, 11)) == sorted(turn.number for turn in found) for found in turns.values())


def timed(client: httpx.Client, url: str, at: int) -> float:
    """Ask once; return how long it took, milliseconds."""
    path, body = question("claude-sonnet-4-5", "ping", False)
    headers = {"X-Session-ID": name_of(at)}
    began = time.perf_counter()
    assert 200 == client.post(url + path, json=body, headers=headers).status_code
    return (time.perf_counter() - began) * 1000


def test_what_the_wrapper_costs_beside_litellm_alone(tmp_path: Path) -> None:
    """The same question to both in turn, in one run: a small part of what LiteLLM itself takes for a request."""
    python = litellm_python()
    took: dict[str, list[float]] = {"alone": [], "wrapped": []}
    with Receiver() as received, model_server() as (models, _), httpx.Client(timeout=60) as client:
        folders = {name: tmp_path / name for name in took}
        for folder in folders.values():
            folder.mkdir()
            config(folder, models)
        env = {name: environment(folder, received.url, LITELLM_LOG="ERROR") for name, folder in folders.items()}
        with (
            proxying(python, env["alone"], folders["alone"], BARE) as alone,
            proxying(python, env["wrapped"], folders["wrapped"]) as wrapped,
        ):
            for at in range(WARM + ROUNDS):
                for name, url in (("alone", alone), ("wrapped", wrapped)):
                    took[name].append(timed(client, url, at))
    middle = {name: statistics.median(one[WARM:]) for name, one in took.items()}
    print(
        {name: f"{value:.2f} ms" for name, value in middle.items()}, f"ratio {middle['wrapped'] / middle['alone']:.3f}"
    )

    assert middle["wrapped"] < 1.5 * middle["alone"]
