"""Logs of a real LiteLLM that nothing of ours is around, brought into the history; and of one with the wrapper."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from session_mw.cli.app import command
from session_mw.ledger import open_ledger
from tests.proxy.logs import writing, written
from tests.proxy.models import model_server
from tests.proxy.real import config, environment, litellm_python, proxying, question
from tests.proxy.support import UUID

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BARE = ("-m", "uvicorn", "litellm.proxy.proxy_server:app")
AGENT = json.dumps({"device_id": "d-1", "account_uuid": "", "session_id": UUID})


def post(url: str, model: str, text: str, stream: bool = False, headers: Any = None, **more: Any) -> int:
    """Ask; return the status."""
    if stream and model.startswith("gpt"):
        more["stream_options"] = {"include_usage": True}
    path, body = question(model, text, stream, **more)
    return httpx.post(url + path, json=body, headers=headers, timeout=60).status_code


def until(enough: Callable[[], bool]) -> None:
    """Wait until LiteLLM has written."""
    limit = time.monotonic() + 30
    while not enough():
        assert time.monotonic() < limit
        time.sleep(0.1)


def brought(path: Path, url: str) -> dict[str, Any]:
    """Import a file, and return what the command said."""
    done = CliRunner().invoke(command, ["ledger", "import", str(path), "--ledger", url, "--json"])
    assert 0 == done.exit_code, done.output
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_a_litellm_that_ran_without_us_can_be_analysed(tmp_path: Path) -> None:
    """Both of its logs tell of the same turns, tokens, costs and users; what named no session is none in payloads."""
    python = litellm_python()
    labels = json.dumps({"session_type": "code-review", "prompt_version": "v2"})
    mine = {"x-litellm-session-id": "cr-1", "x-litellm-spend-logs-metadata": labels}
    with model_server() as (models, _):
        config(tmp_path, models, [writing(tmp_path)])
        with proxying(python, environment(tmp_path, models, LITELLM_LOG="ERROR"), tmp_path, BARE) as url:
            assert 200 == post(url, "claude-sonnet-4-5", "use 1000 100", headers=mine)
            assert 200 == post(url, "gpt-4o", "use 500 50", stream=True, headers=mine, user="ann")
            assert 401 == post(url, "claude-sonnet-4-5", "fail 401", headers=mine)
            agent = {"x-claude-code-session-id": UUID}
            assert 200 == post(url, "claude-sonnet-4-5", "ping", True, agent, metadata={"user_id": AGENT})
            assert 200 == post(url, "gpt-4o", "nobody")
            until(lambda: len(written(tmp_path, "spend.jsonl")) >= 4 and len(written(tmp_path, "payloads.jsonl")) >= 5)
    found = {}
    for name in ("spend.jsonl", "payloads.jsonl"):
        ledger_url = f"sqlite:///{tmp_path}/{name}.db"
        told = brought(tmp_path / name, ledger_url)
        ledger = open_ledger(ledger_url)
        try:
            row, other = ledger.session("cr-1"), ledger.session(UUID)
            turns = [
                (one.status, one.input_tokens, one.output_tokens, one.cost_microusd) for one in ledger.turns("cr-1")
            ]
        finally:
            ledger.close()
        assert row is not None and other is not None
        assert ("code-review", "v2") == (row.type, row.prompt_version)
        assert ("d-1", 1, 17) == (other.user_id, other.turns, other.total_tokens)
        found[name] = (told, turns)
    whole, streamed = ("ok", 1000, 100, 4_500), ("ok", 500, 50, 1_750)

    assert [whole, streamed] == found["spend.jsonl"][1]
    assert [whole, streamed, ("error", None, None, None)] == found["payloads.jsonl"][1]
    assert 1 == found["payloads.jsonl"][0]["skipped"]["without_session"]
    assert 3 == found["spend.jsonl"][0]["sessions"], "LiteLLM's spend log makes up a session for who names none"


def test_spend_logs_of_a_proxy_with_the_wrapper_know_the_session_and_its_labels(tmp_path: Path) -> None:
    """Also where the client has a trace id of its own, which LiteLLM alone would take for the session."""
    python = litellm_python()
    headers = {"X-Session-ID": "cr-7", "X-Session-Type": "code-review", "X-Session-Prompt-Version": "v3"}
    headers |= {"X-LiteLLM-Trace-Id": "their-trace"}
    with model_server() as (models, _):
        config(tmp_path, models, [writing(tmp_path)])
        with proxying(python, environment(tmp_path, models, SESSION_MW_IDLE_TIMEOUT="30m"), tmp_path) as url:
            for model in ("claude-sonnet-4-5", "gpt-4o"):
                spent = json.dumps({"team": "mine"})
                assert 200 == post(url, model, "ping", headers={**headers, "x-litellm-spend-logs-metadata": spent})
            until(lambda: len(written(tmp_path, "spend.jsonl")) >= 2)
    rows = written(tmp_path, "spend.jsonl")
    ours = {"session_id": "cr-7", "session_type": "code-review", "prompt_version": "v3"}
    kept = [json.loads(row["metadata"])["spend_logs_metadata"] for row in rows]
    ledger = open_ledger(f"sqlite:///{tmp_path}/sessions.db")
    try:
        live = [(one.attributes.get("agent.trace.id"), one.input_tokens) for one in ledger.turns("cr-7")]
    finally:
        ledger.close()
    brought(tmp_path / "spend.jsonl", f"sqlite:///{tmp_path}/imported.db")
    imported = open_ledger(f"sqlite:///{tmp_path}/imported.db")
    row = imported.session("cr-7")
    imported.close()

    assert ["cr-7", "cr-7"] == [one["session_id"] for one in rows]
    assert [{**ours, "team": "mine", "client_trace_id": "their-trace"}] * 2 == kept
    assert [("their-trace", 12), ("their-trace", 12)] == live
    assert row is not None and ("code-review", "v3", 2) == (row.type, row.prompt_version, row.turns)
