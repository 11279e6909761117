"""What a real LiteLLM refuses: by key, by budget, by rate, by model; none of it is a turn of anybody's session."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from session_mw.cli.demo.receiver import Receiver
from session_mw.ledger import open_ledger
from session_mw.stores import open_store
from tests.proxy.keys import with_keys
from tests.proxy.models import model_server
from tests.proxy.real import config, environment, litellm_python, proxying, question
from tests.proxy.support import token

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SONNET = "claude-sonnet-4-5"


@dataclass
class Ground:
    """
    What a test stands on.

    Attributes:
        url: Of the proxy.
        received: What LiteLLM exports.
        asked: Of the model server.
        folder: Of the proxy.
    """

    url: str
    received: Receiver
    asked: list[dict[str, Any]]
    folder: Path

    def ask(self, session_id: str, key: str, model: str = SONNET, **more: Any) -> httpx.Response:
        """Ask for a session, with a key to the proxy."""
        path, body = question(model, "use 1000 100", False, **more)
        headers = {"X-Session-Token": token(session_id, time.time_ns() // 1_000_000)}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        return httpx.post(self.url + path, json=body, headers=headers, timeout=60)

    def stored(self, session_id: str) -> Any:
        """Return what the store has of a session."""
        store, _ = open_store(f"sqlite:///{self.folder}/sessions.db")
        try:
            return store.read(session_id)
        finally:
            store.close()


@pytest.fixture(scope="module", params=[{}, {"LITELLM_OTEL_V2": "true"}], ids=["v1", "v2"])
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A proxy that asks for keys."""
    python, folder = litellm_python(), tmp_path_factory.mktemp("refused")
    with Receiver() as received, model_server() as (models, asked):
        with_keys(config(folder, models))
        env = environment(folder, received.url, SESSION_MW_IDLE_TIMEOUT="30m", **request.param)
        with proxying(python, env, folder) as url:
            yield Ground(url, received, asked, folder)


@pytest.mark.parametrize(
    ("key", "model", "statuses"),
    [
        ("", SONNET, {401}),
        ("sk-nobody", SONNET, {401}),
        ("sk-blocked", SONNET, {401, 403}),
        ("sk-poor", SONNET, {400, 422, 429}),
        ("sk-other", SONNET, {401, 403}),
    ],
    ids=["no key", "wrong key", "blocked", "budget", "model not allowed"],
)
def test_refused_by_its_key_it_is_no_turn(ground: Ground, key: str, model: str, statuses: set[int]) -> None:
    """No session begins, no model is asked, no token goes out."""
    session_id, before = f"refused-{key or 'none'}", len(ground.asked)
    response = ground.ask(session_id, key, model)

    assert response.status_code in statuses, response.text
    assert "x-session-token" not in response.headers
    assert ground.stored(session_id) is None
    assert before == len(ground.asked)


def test_refused_by_rate_it_extends_nothing(ground: Ground) -> None:
    """The first of a minute is a turn; the ones that come too fast are none."""
    session_id = "too-fast"
    answers = [ground.ask(session_id, "sk-slow").status_code for _ in range(4)]
    record = ground.stored(session_id)

    assert 200 == answers[0] and 429 == answers[-1], answers
    assert answers.count(200) == record.turns


def test_what_is_refused_stays_out_of_a_session_that_runs(ground: Ground) -> None:
    """Between two answers somebody tries without a key: two turns, and the tokens of two."""
    for key in ("sk-good", "sk-nobody", "sk-poor", "sk-good"):
        ground.ask("running", key)
    time.sleep(2)  # more than a turn waits, and the background's own pace
    ledger = open_ledger(f"sqlite:///{ground.folder}/sessions.db")
    try:
        turns = [(turn.number, turn.status, turn.input_tokens, turn.output_tokens) for turn in ledger.turns("running")]
    finally:
        ledger.close()

    assert [(1, "ok", 1000, 100), (2, "ok", 1000, 100)] == turns
    assert 2 == ground.stored("running").turns


def test_what_no_model_does_is_no_turn(ground: Ground) -> None:
    """Health, models, keys, the page, a path that is not there."""
    signed = {"X-Session-Token": token("looking", time.time_ns() // 1_000_000), "Authorization": "Bearer sk-good"}
    for path in ("/health/liveliness", "/health/readiness", "/v1/models", "/models", "/key/info", "/ui/", "/none"):
        httpx.get(ground.url + path, headers=signed, timeout=60)
    for path in ("/key/generate", "/v1/none", "/v1/messages/count_tokens"):
        body = {"model": SONNET, "messages": [{"role": "user", "content": "ping"}]}
        httpx.post(ground.url + path, json=body, headers=signed, timeout=60)

    assert ground.stored("looking") is None


def test_a_model_that_fails_is_a_turn_that_failed(ground: Ground) -> None:
    """The provider's own 401 and 500 come after LiteLLM has let the call in."""
    for number, status in enumerate((401, 500), 1):
        path, body = question(SONNET, f"fail {status}", False)
        headers = {"X-Session-Token": token("failing", time.time_ns() // 1_000_000)}
        headers["Authorization"] = "Bearer sk-good"
        response = httpx.post(ground.url + path, json=body, headers=headers, timeout=60)

        assert status == response.status_code, response.text
        assert number == ground.stored("failing").turns


def test_the_echo_says_how_many_were_refused(ground: Ground) -> None:
    """For ``session-mw doctor``."""
    ground.ask("echoed", "sk-nobody")
    told = httpx.get(ground.url + "/session-mw/echo", headers={"X-Session-ID": "echoed"}, timeout=30).json()

    assert told["litellm"]["refused"]["401"] >= 1
    assert [] == [path for path in told["litellm"]["missing"] if "_in_memory" not in path]
