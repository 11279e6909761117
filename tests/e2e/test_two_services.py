"""
``examples/two_services`` with its one command: a gateway, an agent service and a vendor, as processes of their own.

Everything asserted was read from the OTLP bytes that the services' own exporters sent here, from the vendor's books,
and from the headers that reached it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from examples.shared.books import Books
from examples.two_services.__main__ import QUESTIONS, leaked
from session_mw.cli.demo.receiver import Receiver
from tests.e2e.servers import ROOT, environment

EVERYWHERE = ("session.id", "user.id", "conversation.id", "gen_ai.conversation.id", "turn.number")


@pytest.mark.landing
@pytest.mark.timeout(120)
@pytest.mark.parametrize("agent", ["fastapi", "flask"])
def test_two_services_are_one_session(agent: str, tmp_path: Path) -> None:
    """One session over both services, one trace a turn, totals of what was used behind; nothing for the vendor."""
    with Receiver() as receiver:
        run = subprocess.run(
            [sys.executable, "-m", "examples.two_services", "--agent", agent, "--dir", str(tmp_path)],
            env=environment(tmp_path, receiver.url, IDLE_TIMEOUT="60s"),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
        )
        spans, records = receiver.spans(), receiver.records()

    assert (0, "") == (run.returncode, run.stderr), run.stdout
    assert "what the vendor was told of it: nothing" in run.stdout
    assert f"session-mw view --ledger sqlite:///{tmp_path}/sessions.db\n" in run.stdout
    turns = sorted((s for s in spans if s.name == "turn"), key=lambda s: s.start_ns)
    assert [1, 2, 3] == [turn.attributes["turn.number"] for turn in turns]
    assert ["gateway"] * 3 == [turn.service for turn in turns]
    assert 1 == len({turn.attributes["session.id"] for turn in turns})
    for turn in turns:
        check_behind(turn, [s for s in spans if s.trace_id == turn.trace_id], records)
    check_events(turns[0].attributes, records, Books(tmp_path / "books.jsonl").entries())
    check_vendor(tmp_path / "vendor-headers.jsonl", turns)
    for log in tmp_path.glob("*.log"):
        assert "Traceback" not in log.read_text(errors="replace"), log


def check_behind(turn: Any, trace: list[Any], records: list[Any]) -> None:
    """What the agent service did in a turn is below the gateway's turn, and says whose it is; so do its log lines."""
    expected = {name: turn.attributes[name] for name in EVERYWHERE}
    assert str(expected["user.id"]).startswith("u_")
    behind = [span for span in trace if span.service == "agent"]
    by_id = {span.span_id: span for span in trace}
    (entry,) = [span for span in behind if by_id[span.parent_id].service == "gateway"]
    assert turn.span_id in ancestors(entry, by_id)
    assert {"invoke_agent assistant", "chat local-small-1"} < {span.name for span in behind}
    assert {"session", "turn"}.isdisjoint(span.name for span in behind)
    lines = [record for record in records if record.service == "agent" and record.trace_id == turn.trace_id]
    assert 1 == len(lines)
    for found in (*behind, *lines):
        assert expected == {name: found.attributes.get(name) for name in EVERYWHERE}, found


def ancestors(span: Any, by_id: dict[str, Any]) -> list[str]:
    """Return the ids of the spans above *span*; between turn and call stand those of the framework."""
    above = []
    while span.parent_id:
        above.append(span.parent_id)
        span = by_id[span.parent_id]
    return above


def check_events(first: Any, records: list[Any], calls: list[Any]) -> None:
    """The gateway says once that the session began and once that it ended, with what the vendor billed behind it."""
    events = [record for record in records if record.event_name]
    assert ["session.start", "session.end"] == [e.event_name for e in sorted(events, key=lambda e: e.timestamp_ns)]
    assert ["gateway"] * 2 == [event.service for event in events]
    end = next(event.attributes for event in events if event.event_name == "session.end")
    assert len(QUESTIONS) == len(calls) == end["session.total_turns"]
    assert (first["session.id"], first["user.id"]) == (end["session.id"], end["user.id"])
    assert sum(call.input_tokens + call.output_tokens for call in calls) == end["session.total_tokens"]
    assert sum(call.cost_microusd for call in calls) == round(end["session.total_cost_usd"] * 1_000_000)
    assert "usage.partial" not in end


def check_vendor(headers_file: Path, turns: list[Any]) -> None:
    """The vendor was called once a turn, under its own name, with the trace and nothing else of ours."""
    received = [json.loads(line) for line in headers_file.read_text().splitlines()]
    assert len(turns) == len(received)
    for turn, pairs in zip(turns, received, strict=True):
        headers = {name.lower(): value for name, value in pairs}
        assert "api.vendor.example" == headers["host"]
        assert turn.trace_id == headers["traceparent"].split("-")[1]
        assert "baggage" not in headers
        assert not any(str(turn.attributes[name]) in value for name in EVERYWHERE[:4] for value in headers.values())


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (["baggage", "tenant=acme,session.id=s-1"], True),
        (["Baggage", "user.id=u_1"], True),
        (["X-Session-Token", "x"], True),
        (["baggage", "tenant=acme"], False),
        (["traceparent", "00-" + "1" * 32 + "-" + "2" * 16 + "-01"], False),
    ],
)
def test_example_would_notice_what_the_vendor_is_told(header: list[str], told: bool, tmp_path: Path) -> None:
    """The example's own check finds what it looks for."""
    seen = tmp_path / "seen.jsonl"
    seen.write_text(json.dumps([["Host", "api.vendor.example"], header]) + "\n")

    assert told == bool(leaked(seen))
