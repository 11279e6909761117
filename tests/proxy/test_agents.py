"""Ids that coding agents bring of their own accord, as their releases were seen to send them."""

from __future__ import annotations

import pytest

from session_mw._core.facts import RequestFacts
from session_mw.integrations.litellm.agents import NOTHING, OwnIds, own_ids, unmistakable
from tests.proxy.support import OPENCODE, UUID


def facts(**headers: str) -> RequestFacts:
    """Return a request with *headers*."""
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    found = RequestFacts("http", "POST", "/v1/messages", "http", "127.0.0.1", {"headers": raw})
    found.bare_id = headers.get("x_session_id", "").encode()
    return found


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({}, NOTHING, id="nothing"),
        pytest.param({"x_claude_code_session_id": UUID}, OwnIds(UUID, UUID), id="claude code"),
        pytest.param({"session_id": UUID, "user_agent": "codex_exec/0.169.0 (Linux)"}, OwnIds(UUID, UUID), id="codex"),
        pytest.param({"session_id": UUID, "user_agent": "curl/8"}, NOTHING, id="session-id of nobody we know"),
        pytest.param({"x_session_id": OPENCODE}, OwnIds(OPENCODE, OPENCODE), id="opencode"),
        pytest.param({"x_session_id": "cr-1"}, NOTHING, id="a bare id is no agent's"),
        pytest.param({"x_litellm_session_id": "mine"}, OwnIds("mine", "mine"), id="litellm"),
        pytest.param(
            {"x_litellm_session_id": "cr-1", "x_session_id": OPENCODE}, OwnIds(OPENCODE, "cr-1"), id="asked beside own"
        ),
        pytest.param({"x_claude_code_session_id": "../etc"}, NOTHING, id="no session id"),
        pytest.param({"x_claude_code_session_id": "a" * 201}, NOTHING, id="too long"),
        pytest.param({"x_litellm_session_id": "é"}, NOTHING, id="not ascii"),
    ],
)
def test_own_ids_are_read_as_the_tools_send_them(headers: dict[str, str], expected: OwnIds) -> None:
    """The tool's own id is kept; what was asked of LiteLLM by name comes before it."""
    assert expected == own_ids(facts(**headers))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (UUID, True),
        (UUID.upper(), True),
        (OPENCODE, True),
        ("ses_short", False),
        (UUID + "0", False),
        ("code-review-20251101-143022-a3f2b1a3f2b1a3f2b1a3f2b1a3f2b1a3", False),
        ("A" * 32, False),
    ],
)
def test_only_forms_that_a_tool_alone_writes_are_unmistakable(text: str, expected: bool) -> None:
    """Neither the launcher's ids nor our own can be taken for a tool's, so nobody joins such a session by its id."""
    assert expected is unmistakable(text)
