"""
The agent's chat behind a real server: 2 workers, one SQLite file, 60 random conversations, some cut off by the client.

Everything asserted was read from the OTLP bytes that the workers' own exporters sent here, from the SQLite file, and
from the model provider's books. The same with 500 conversations, in process: ``tests/examples/test_agent_chat.py``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples.shared.books import Books
from session_mw.cli.demo.receiver import Receiver
from session_mw.ledger import TurnRow, open_ledger
from tests.e2e.servers import environment, free_port, serving

pytest.register_assert_rewrite("tests.examples.bills", "tests.examples.visitors")

from tests.examples.bills import Reported, check  # noqa: E402
from tests.examples.visitors import Ask, Visitor, visit, visitors  # noqa: E402

CONVERSATIONS, AT_A_TIME = 60, 8


class Remote:
    """A browser on the other end of a connection; who leaves closes it."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def login(self, user: str) -> None:
        (await self._client.post("/login", json={"user": user})).raise_for_status()

    async def ask(self, label: str, ask: Ask, history: list[dict[str, str]]) -> str:
        body, headers = {"message": ask.message, "history": history}, {"X-Conversation-ID": label}
        heard, events = "", 0
        async with self._client.stream("POST", "/chat/stream", json=body, headers=headers) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                heard, events = heard + line + "\n", events + (not line)
                if events == ask.leaves_after:
                    break
        return heard


async def come_in(url: str, crowd: list[Visitor]) -> None:
    """Let visitors come, some at a time, each with a cookie jar of their own."""
    seats = asyncio.Semaphore(AT_A_TIME)

    async def one(visitor: Visitor) -> None:
        async with seats, httpx.AsyncClient(base_url=url, timeout=30) as client:
            await visit(visitor, Remote(client))

    await asyncio.gather(*map(one, crowd))


def settled(receiver: Receiver, sessions: int, seconds: float) -> list[Any]:
    """Wait until every session has ended, and return the records."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if sessions <= sum(record.event_name == "session.end" for record in receiver.records()):
            break
        time.sleep(0.1)
    return receiver.records()


def history(database: Path, sessions: Sequence[str]) -> dict[str, Sequence[TurnRow]]:
    """Read every session's turns from the file."""
    ledger = open_ledger(f"sqlite:///{database}")
    try:
        return {session_id: ledger.turns(session_id) for session_id in sessions}
    finally:
        ledger.close()


@pytest.mark.timeout(90)
@pytest.mark.landing
def test_sessions_of_two_workers_end_with_what_the_model_billed(tmp_path: Path) -> None:
    """Tokens, micro-dollars, turns, tool calls of each session are those of the books that both workers write."""
    crowd, port = visitors(CONVERSATIONS, seed=3), free_port()
    command = ["uvicorn", "examples.agent_chat.app:app", "--port", str(port), "--workers", "2"]
    with Receiver() as receiver:
        env = environment(tmp_path, receiver.url) | {"CHAT_WORD_MS": "1"}
        with serving(command, env, tmp_path, port) as url:
            asyncio.run(come_in(url, crowd))
            settled(receiver, len(crowd), 30)
            page = httpx.get(f"{url}/sessions/", timeout=30)
        records = receiver.records()

    ends = [record.attributes for record in records if record.event_name == "session.end"]
    late = [record.attributes for record in records if record.event_name == "session.usage_late"]
    turns = history(tmp_path / "sessions.db", [end["session.id"] for end in ends])
    assert 200 == page.status_code and any(end["session.id"] in page.text for end in ends)
    check(crowd, Books(tmp_path / "books.jsonl").entries(), Reported(ends, late, turns))
    assert any(row.status == "cancelled" for rows in turns.values() for row in rows)
    assert "Traceback" not in (tmp_path / "server.log").read_text(errors="replace")
