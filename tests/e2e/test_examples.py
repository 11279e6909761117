"""
The three examples behind real servers: 4 workers, one SQLite file, 200 sessions of 5 turns from 8 clients at once.

Everything asserted was read from the OTLP bytes that the servers' own exporters sent here, from the SQLite file, and
from the model's books.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from session_mw.cli.demo.receiver import Receiver
from session_mw.ledger import open_ledger
from tests.e2e.servers import environment, free_port, serving

SESSIONS, TURNS, CLIENTS, WORKERS = 200, 5, 8, 4


def gunicorn(example: str, port: int) -> list[str]:
    """Return the command that serves *example* with gunicorn."""
    return ["gunicorn", f"examples.{example}.app:app", "-b", f"127.0.0.1:{port}", "-w", str(WORKERS), "--threads", "4"]


def uvicorn(example: str, port: int) -> list[str]:
    """Return the command that serves *example* with uvicorn."""
    return ["uvicorn", f"examples.{example}.app:app", "--port", str(port), "--workers", str(WORKERS)]


SERVERS: dict[str, Callable[[int], list[str]]] = {
    "fastapi": lambda port: uvicorn("fastapi_chat", port),
    "flask": lambda port: gunicorn("flask_chat", port),
    "django": lambda port: gunicorn("django_chat", port),
}


def converse(url: str, number: int) -> list[dict[str, Any]]:
    """Hold one session of five turns, logged in with the first, and return the answers."""
    with httpx.Client(base_url=url, timeout=30) as client:
        client.post("/login", json={"user": f"user-{number}"}).raise_for_status()
        history: list[dict[str, str]] = []
        answers = []
        for turn in range(TURNS):
            message = f"What does lamp {turn} cost?"
            reply = client.post("/chat", json={"message": message, "history": history})
            reply.raise_for_status()
            answers.append(reply.json())
            history += [{"role": "user", "content": message}, {"role": "assistant", "content": answers[-1]["answer"]}]
        return answers


def settled(receiver: Receiver, seconds: float) -> list[Any]:
    """Wait until every session has ended, and return the events."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        events = [r for r in receiver.records() if r.event_name in ("session.start", "session.end")]
        if SESSIONS <= sum(r.event_name == "session.end" for r in events):
            return events
        time.sleep(0.25)
    return [r for r in receiver.records() if r.event_name in ("session.start", "session.end")]


@pytest.mark.timeout(150)
@pytest.mark.parametrize(
    "example",
    [pytest.param(name, marks=pytest.mark.slow if name == "flask" else pytest.mark.landing) for name in SERVERS],
)
def test_two_hundred_sessions_over_four_workers(example: str, tmp_path: Path) -> None:
    """200 starts, 200 ends, 1,000 turns numbered 1..5 in each session, every span with session and user."""
    port = free_port()
    with Receiver() as receiver:
        env = environment(tmp_path, receiver.url)
        with serving(SERVERS[example](port), env, tmp_path, port) as url, ThreadPoolExecutor(CLIENTS) as clients:
            talks = list(clients.map(lambda number: converse(url, number), range(SESSIONS)))
            events = settled(receiver, 60)
            check_viewer(url, talks[0][0]["session_id"])
        spans, records = receiver.spans(), receiver.records()

    ids = [{answer["session_id"] for answer in talk} for talk in talks]
    assert [1] * SESSIONS == [len(found) for found in ids]
    assert [[1, 2, 3, 4, 5]] * SESSIONS == [[answer["turn_number"] for answer in talk] for talk in talks]
    known = {found.pop() for found in ids}
    assert SESSIONS == len(known)
    check_events(events, known)
    check_spans(spans, known)
    check_logs(records, known)
    check_totals(events, tmp_path / "books.jsonl")
    check_history(tmp_path / "sessions.db", known)
    assert "Traceback" not in (tmp_path / "server.log").read_text(errors="replace")


def check_viewer(url: str, session_id: str) -> None:
    """The history is to be seen beside the chat: the list with its sum, and a session turn by turn; by no proxy."""
    listed = httpx.get(f"{url}/sessions/", params={"n": 200}, timeout=30)
    shown = httpx.get(f"{url}/sessions/s", params={"id": session_id}, timeout=30)
    forwarded = httpx.get(f"{url}/sessions/", headers={"x-forwarded-for": "192.0.2.1"}, timeout=30)
    assert (200, 200, 403) == (listed.status_code, shown.status_code, forwarded.status_code)
    assert f"{SESSIONS} sessions" in listed.text
    assert session_id in shown.text
    assert [f"Turn {number}" for number in range(1, TURNS + 1)] == sorted(set(re.findall(r"Turn \d", shown.text)))
    assert not listed.headers.get("set-cookie")


def check_events(events: list[Any], known: set[str]) -> None:
    """Each session started once and ended once."""
    counted = Counter((r.event_name, r.attributes["session.id"]) for r in events)
    assert {(name, i) for name in ("session.start", "session.end") for i in known} == set(counted)
    assert {1} == set(counted.values())
    ends = [r.attributes for r in events if r.event_name == "session.end"]
    assert {(TURNS, "idle_timeout", "ok")} == {
        (a["session.total_turns"], a["session.end_reason"], a["session.status"]) for a in ends
    }


def check_spans(spans: list[Any], known: set[str]) -> None:
    """A thousand turns, one trace each, and every span of theirs names session and user."""
    by_trace: dict[str, list[Any]] = defaultdict(list)
    for span in spans:
        by_trace[span.trace_id].append(span)
    turns = [s for s in spans if s.name == "turn"]
    assert SESSIONS * TURNS == len(turns) == len({s.trace_id for s in turns})
    numbers = Counter((s.attributes["session.id"], s.attributes["turn.number"]) for s in turns)
    assert {(i, n): 1 for i in known for n in range(1, TURNS + 1)} == numbers
    for turn in turns:
        for span in by_trace[turn.trace_id]:
            assert turn.attributes["session.id"] == span.attributes.get("session.id"), span
            assert str(span.attributes.get("user.id")).startswith("u_"), span
            assert turn.attributes["turn.number"] == span.attributes.get("turn.number"), span
    # What is no turn (logging in) belongs to its session as well; health checks belong to none.
    others = [s for s in spans if "turn" not in {t.name for t in by_trace[s.trace_id]}]
    logins = [s for s in others if any(t.name == "session" for t in by_trace[s.trace_id])]
    assert SESSIONS == len({s.trace_id for s in logins})
    assert {True} == {s.attributes.get("session.id") in known for s in logins}


def check_logs(records: list[Any], known: set[str]) -> None:
    """The application's own log lines, one a turn, name session, user and turn."""
    lines = [r for r in records if r.service and not r.event_name and r.trace_id]
    assert SESSIONS * TURNS <= len(lines)
    for line in lines:
        assert line.attributes.get("session.id") in known, line
        assert str(line.attributes.get("user.id")).startswith("u_"), line
        assert isinstance(line.attributes.get("turn.number"), int), line


def check_totals(events: list[Any], books: Path) -> None:
    """What the ends say in sum is what the model's own books say."""
    calls = [json.loads(line) for line in books.read_text().splitlines()]
    ends = [r.attributes for r in events if r.event_name == "session.end"]
    tokens = sum(c["input_tokens"] + c["output_tokens"] for c in calls)
    assert SESSIONS * TURNS == len(calls)
    assert tokens == sum(a["session.total_tokens"] for a in ends)
    cost = sum(round(a["session.total_cost_usd"] * 1_000_000) for a in ends)
    assert sum(c["cost_microusd"] for c in calls) == cost


def check_history(database: Path, known: set[str]) -> None:
    """The history in the SQLite file says the same."""
    ledger = open_ledger(f"sqlite:///{database}")
    rows = ledger.sessions(limit=1000)
    assert known == {row.session_id for row in rows}
    assert {TURNS} == {row.turns for row in rows}
    numbers = {tuple(turn.number for turn in ledger.turns(row.session_id)) for row in rows}
    assert {(1, 2, 3, 4, 5)} == numbers
    ledger.close()
