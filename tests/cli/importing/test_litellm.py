"""Rows of LiteLLM's logs in the history: spend logs and standard logging payloads, as LiteLLM 1.108 wrote them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from session_mw._core.identity import is_pseudonym
from session_mw.cli.importing.litellm import span_of
from session_mw.cli.importing.otlp import Unreadable
from tests.cli.importing.support import bring, lines, opened
from tests.cli.looking.history import run

CLAUDE = "0d5e7a1e-1111-4222-8333-123456789abc"
KEY = "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b"
T0 = 1_760_000_000.25
BROKEN_DOWN = {"input_cost": 0.0003, "output_cost": 0.00015, "total_cost": 0.00045}


def spend(number: int, at: int = 0, metadata: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Return a row of the table: a request *at* seconds from the first."""
    used = {"cache_read_input_tokens": 40, "completion_tokens_details": {"reasoning_tokens": 3}}
    told = {"cost_breakdown": BROKEN_DOWN, "usage_object": used, **(metadata or {})}
    row = {
        "request_id": f"msg_{number}",
        "litellm_call_id": f"call-{number}",
        "call_type": "anthropic_messages",
        "api_key": KEY,
        "spend": 0.00045,
        "total_tokens": 110,
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "startTime": f"2025-10-09T08:53:{20 + at:02d}.250000+00:00",
        "endTime": f"2025-10-09T08:53:{20 + at:02d}.750000+00:00",
        "completionStartTime": f"2025-10-09T08:53:{20 + at:02d}.350000+00:00",
        "model": "anthropic/claude-sonnet-4-5",
        "custom_llm_provider": "anthropic",
        "user": "default_user_id",
        "metadata": json.dumps(told),
        "cache_hit": "None",
        "end_user": "",
        "session_id": "cr-1",
        "status": "success",
        "messages": [{"role": "user", "content": "a secret"}],
    }
    return {**row, **more}


def payload(number: int, at: int = 0, metadata: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Return the same as a standard logging payload."""
    row = spend(number, at)
    base = {key: row[key] for key in ("call_type", "model", "custom_llm_provider", "litellm_call_id", "status")}
    base |= {key: row[key] for key in ("total_tokens", "prompt_tokens", "completion_tokens", "messages")}
    base |= {"id": row["request_id"], "trace_id": "made-up", "session_id": "", "response_cost": 0.00045}
    base |= {"startTime": T0 + at, "endTime": T0 + at + 0.5, "completionStartTime": T0 + at + 0.1}
    base |= {"cost_breakdown": BROKEN_DOWN, "cache_hit": None, "end_user": None}
    own = {**json.loads(row["metadata"]), "user_api_key_hash": KEY, "requester_metadata": {"session_id": "cr-1"}}
    return {**base, "metadata": {**own, **(metadata or {})}, **more}


@pytest.mark.parametrize("form", [spend, payload], ids=["spend log", "payload"])
def test_a_request_is_a_turn_with_what_it_used(url: str, tmp_path: Path, form: Any) -> None:
    """Either form says the same: tokens by kind, cost, model, time to the first token; nothing that was said."""
    bring(url, lines(tmp_path / "log.jsonl", form(1), form(2, at=5)))
    first, second = opened(url).turns("cr-1")
    call, _ = opened(url).usages("cr-1")
    row = opened(url).session("cr-1")
    told = (call.model, call.provider, call.first_token_ms, call.cache_read_tokens, call.reasoning_tokens)

    assert row is not None
    assert (2, 220, 900) == (row.turns, row.total_tokens, row.cost_microusd)
    assert (100, 10, 450, 500) == (first.input_tokens, first.output_tokens, first.cost_microusd, first.latency_ms)
    assert 5_000 == second.started_ms - first.started_ms
    assert ("claude-sonnet-4-5", "anthropic", 100, 40, 3) == told
    assert b"a secret" not in (tmp_path / "history.db").read_bytes()


@pytest.mark.parametrize("shape", ["lines", "list", "document", "page"])
def test_rows_come_in_any_shape(url: str, tmp_path: Path, shape: str) -> None:
    """A row a line, a list in a line, a list over many lines, a page of ``/spend/logs/v2``."""
    rows = [spend(number, at=number) for number in range(1, 4)]
    path = tmp_path / "log.json"
    lines(path, *rows)
    if shape == "list":
        path.write_text(json.dumps(rows))
    elif shape == "document":
        path.write_text(json.dumps(rows, indent=2))
    elif shape == "page":
        path.write_text(json.dumps({"data": rows, "total": 3, "page": 1, "page_size": 50, "total_pages": 1}, indent=1))
    bring(url, str(path))

    assert [1, 2, 3] == [turn.number for turn in opened(url).turns("cr-1")]


def test_the_same_again_changes_nothing_in_either_form(url: str, tmp_path: Path) -> None:
    """A request is known by LiteLLM's id of it, so that a spend log after a payload adds nothing."""
    bring(url, lines(tmp_path / "a.jsonl", spend(1)))
    bring(url, lines(tmp_path / "b.jsonl", payload(1), payload(2, at=5), spend(1)))

    assert [450, 450] == [turn.cost_microusd for turn in opened(url).turns("cr-1")]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (spend(1), "cr-1"),
        (spend(1, metadata={"spend_logs_metadata": {"session_id": "ours"}}), "ours"),
        (spend(1, session_id=None, end_user=json.dumps({"device_id": "d", "session_id": CLAUDE})), CLAUDE),
        (spend(1, session_id=None), None),
        (payload(1), "cr-1"),
        (payload(1, metadata={"requester_metadata": {}}), None),
        (payload(1, metadata={"requester_metadata": None}, session_id="said"), "said"),
        (
            payload(
                1,
                metadata={"requester_metadata": {}, "requester_custom_headers": {"X-LiteLLM-Session-Id": "by-header"}},
            ),
            "by-header",
        ),
        (
            payload(
                1, metadata={"requester_metadata": {}, "requester_custom_headers": {"x-claude-code-session-id": CLAUDE}}
            ),
            CLAUDE,
        ),
    ],
)
def test_a_session_is_what_somebody_said(row: dict[str, Any], expected: str | None) -> None:
    """This package's metadata, the client's, its headers, the agent's own; a trace id that LiteLLM made up is none."""
    assert expected == span_of(row).attributes.get("session.id")


def test_labels_and_the_agents_own_id_come_along(url: str, tmp_path: Path) -> None:
    """So that prompt versions of before can be compared."""
    labels = {"session_type": "code-review", "prompt_version": "v2", "session_name": "auth"}
    agent = json.dumps({"device_id": "d", "account_uuid": "ann", "session_id": CLAUDE})
    bring(url, lines(tmp_path / "log.jsonl", spend(1, metadata={"spend_logs_metadata": labels}, end_user=agent)))
    row = opened(url).session("cr-1")

    assert row is not None
    assert ("code-review", "v2", "auth", "ann") == (row.type, row.prompt_version, row.name, row.user_id)
    assert CLAUDE == span_of(spend(1, end_user=agent)).attributes["agent.session.id"]


def test_a_key_is_a_user_only_under_a_pseudonym() -> None:
    """And only where nobody else is named; LiteLLM's own hash of it does not stand in the history."""
    user = span_of(spend(1)).attributes["user.id"]

    assert is_pseudonym(user) and KEY not in user
    assert user == span_of(payload(1)).attributes["user.id"]
    assert "ann" == span_of(spend(1, end_user="ann")).attributes["user.id"]
    assert "boss" == span_of(spend(1, user="boss")).attributes["user.id"]


def test_what_failed_is_a_failed_turn_without_a_message(url: str, tmp_path: Path) -> None:
    """Its class stands there; tokens and cost of nothing are unknown."""
    failed = {"status": "failure", "spend": 0.0, "total_tokens": 0, "prompt_tokens": 0, "completion_tokens": 0}
    told = {"error_information": {"error_class": "InternalServerError", "error_message": "a secret"}}
    bring(url, lines(tmp_path / "log.jsonl", spend(1, metadata={**told, "cost_breakdown": None}, **failed)))
    (turn,) = opened(url).turns("cr-1")

    assert ("error", "InternalServerError", None, None) == (
        turn.status,
        turn.error_type,
        turn.input_tokens,
        turn.cost_microusd,
    )


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, 0.00045),
        ({"spend": 0.0}, 0.0),
        ({"spend": 0.0, "metadata": {"cost_breakdown": None}}, None),
        ({"spend": 0.0, "metadata": {"cost_breakdown": None}, "cache_hit": "True"}, 0.0),
        ({"spend": "0.1"}, None),
        ({"spend": True}, None),
    ],
    ids=["known", "free, and LiteLLM says of what", "nobody knows a price", "from the cache", "a text", "a flag"],
)
def test_a_cost_of_nothing_is_unknown_unless_litellm_knows(more: dict[str, Any], expected: float | None) -> None:
    """No price is unknown, never 0."""
    assert expected == span_of(spend(1, **more)).attributes.get("gen_ai.usage.cost")


@pytest.mark.parametrize(
    "row",
    [
        spend(1, startTime=None),
        spend(1, startTime="yesterday"),
        spend(1, startTime=float("inf")),
        spend(1, request_id=None),
        spend(1, request_id="x" * 2_000),
        {"call_type": "x"},
        [],
        None,
    ],
)
def test_a_row_that_cannot_be_read_says_why(row: Any) -> None:
    """Nothing but that is raised, whatever stands in it."""
    with pytest.raises(Unreadable):
        span_of(row)


def test_a_broken_row_costs_nothing_but_itself(url: str, tmp_path: Path) -> None:
    """It is named by its line; what has no session is counted."""
    path = lines(tmp_path / "log.jsonl", spend(1), spend(2, startTime=None), spend(3, session_id=None), spend(4, at=9))
    done = run("ledger", "import", path, "--ledger", url, "--json")
    told = json.loads(done.stdout)

    assert 2 == told["turns"] and 1 == told["skipped"]["parts"] and 1 == told["skipped"]["without_session"]
    assert f"{path}:2: a row of LiteLLM's logs without an id, or without a time; skipped" in done.stderr
