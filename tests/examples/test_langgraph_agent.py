"""The LangGraph agent: two threads, a tool, a person who is asked; printed and kept alike."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from session_mw.ledger import open_ledger
from tests.hierarchy.conftest import _outside

pytest.importorskip("langgraph", reason="langgraph is not installed: pip install 'session-mw[langgraph]' runs these")

__all__ = ["_outside"]

SAID = [
    "order-1042  < Order 1042 is on its way.",
    "order-1050  < Order 1050 is on its way.",
    "order-1042  < (to a person) Pay order 1042 back?",
    "order-1042  < Order 1042 is paid back.",
    "order-1050  < Order 1050 is on its way.",
]


@pytest.fixture
def printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What it prints, with its history in a file of the test's."""
    from examples.langgraph_agent import __main__ as example

    monkeypatch.setattr(example.telemetry, "setup", lambda name: lambda: None)
    monkeypatch.setenv("SESSION_MW_SECRET_KEY", "0123456789abcdef-examples-only-0123456789")
    monkeypatch.setenv("SESSION_MW_STORE", f"sqlite:///{tmp_path / 'sessions.db'}")
    example.main()
    return capsys.readouterr().out


def test_langgraph_agent(printed: str, tmp_path: Path) -> None:
    """Five turns of one session in two conversations: what was said, what ran, and which turn stopped and went on."""
    assert SAID == [line for line in printed.splitlines() if "  < " in line]
    (session_id,) = re.findall(r"^session (\S+)$", printed, re.M)
    ledger = open_ledger(f"sqlite:///{tmp_path / 'sessions.db'}")
    rows: list[Any] = ledger.turns(session_id)
    ledger.close()
    shown = [
        (
            row.number,
            row.conversation_id,
            row.status,
            *(row.attributes.get(f"turn.{name}") for name in ("agent_runs", "tool_calls", "input_type", "output_type")),
        )
        for row in rows
    ]
    assert [
        (1, "order-1042", "ok", 2, 1, None, None),
        (2, "order-1050", "ok", 2, 1, None, None),
        (3, "order-1042", "ok", 1, 1, None, "interrupt"),
        (4, "order-1042", "ok", 1, 1, "resume", None),
        (5, "order-1050", "ok", 2, 1, None, None),
    ] == shown
    assert len(rows) == printed.count("  turn ")
    assert all((row.input_tokens or 0) > 0 and row.attributes["context.tokens"] > 0 for row in rows)
