"""Seed 002, "Sessions": every sample with its own calls; only the import is another one."""

from __future__ import annotations

import asyncio
import hashlib
from itertools import pairwise
from typing import Any

import pytest

from session_mw import hash_user_id, session_context, session_metrics
from tests.hierarchy.support import Script, trace_of

from .support import Agent, everything, like


def traces(script: Script, session_id: str) -> set[int]:
    """Return the traces that belong to a session."""
    return {trace_of(span) for span in script.spans if (span.attributes or {}).get("session.id") == session_id}


# -- What is a Session?


def test_seed_002_what_is_a_session(script: Script) -> None:
    """Several traces, one session: each request is a trace of its own, and all of them say whose they are."""
    for message in ("Hello", "Search for Python tutorials", "Show me the first result", "Thanks, goodbye"):
        with session_context(session_id="sess-abc123"):
            Agent().process(message)

    assert 4 == len(traces(script, "sess-abc123")) == len({trace_of(span) for span in script.spans})
    assert 4 == script.ended()["session.total_turns"]


# -- Creating Sessions


class AsyncAgent:
    """The sample's agent."""

    async def process(self, message: str) -> str:
        await asyncio.sleep(0)
        return Agent().process(message)


agent = AsyncAgent()


async def handle_message(user_id: str, session_id: str, message: str) -> str:
    """As the sample has it, to the letter."""
    with session_context(session_id=session_id, user_id=user_id):
        response = await agent.process(message)
        return response


def test_seed_002_creating_sessions_automatic(script: Script) -> None:
    """Giving an id creates the session; fifty users at once stay apart."""

    async def main() -> list[str]:
        return await asyncio.gather(*(handle_message(f"user-{n}", f"sess-{n}", f"message {n}") for n in range(50)))

    answers = asyncio.run(main())

    assert ["an answer to found"] * 50 == answers
    for number in range(50):
        mine = [span for span in script.spans if (span.attributes or {})["session.id"] == f"sess-{number}"]
        assert {hash_user_id(f"user-{number}")} == {(span.attributes or {})["user.id"] for span in mine}
        assert ["chat local-small-1", "execute_tool search", "invoke_agent helper", "session", "turn"] == sorted(
            {span.name for span in mine}
        )


def test_seed_002_creating_sessions_with_metadata(script: Script) -> None:
    """Each entry stands on the session's end and in its history, under a name of its own to filter by."""

    async def process_request() -> None:
        script.work()

    async def main() -> None:
        with session_context(
            session_id="sess-abc123",
            user_id="user-456",
            metadata={"source": "web", "device": "mobile", "locale": "en-US"},
        ):
            # All traces here belong to this session
            await process_request()

    asyncio.run(main())

    expected = {"metadata.source": "web", "metadata.device": "mobile", "metadata.locale": "en-US"}
    assert "sess-abc123" == script.shown("work")["session.id"]
    assert expected == like(expected, script.ended())
    row = script.engine.history.session("sess-abc123")
    assert row is not None
    assert expected == like(expected, row.attributes)


# -- Session Attributes, Session List View


def two_traces(script: Script) -> None:
    """Two requests of one session, five minutes apart."""
    for seconds in (300, 0):
        with session_context(session_id="sess-123", user_id="user-456", metadata={"source": "web"}):
            Agent(tokens=(100, 20)).process("hello")
        script.clock.advance(seconds=seconds)


def test_seed_002_session_attributes(script: Script) -> None:
    """Every line of the table, with its type: on ``session.end``, in the totals, in the history. A trace is a turn."""
    two_traces(script)
    during = session_metrics("sess-123")
    end = script.ended()

    expected = {
        "session.id": "sess-123",
        "user.id": hash_user_id("user-456"),
        "session.start_time": "2025-01-01T00:00:00.000Z",
        "session.end_time": "2025-01-01T00:05:00.000Z",
        "session.duration_ms": 300_000,
        "session.total_turns": 2,
        "session.total_tokens": 480,
        "session.total_cost_usd": 0.004,
        "metadata.source": "web",
    }
    assert expected == like(expected, end)
    assert end["session.total_turns"] == len(traces(script, "sess-123"))
    assert (300_000, 2, 480, 0.004) == (during["duration_ms"], during["turns"], during["tokens"], during["cost"])
    row = script.engine.history.session("sess-123")
    assert row is not None
    assert ("sess-123", hash_user_id("user-456"), 300_000, 2, 480, 4000, "web") == (
        row.session_id,
        row.user_id,
        row.duration_ms,
        row.turns,
        row.total_tokens,
        row.cost_microusd,
        row.attributes["metadata.source"],
    )
    assert 300_000 == row.last_ms - row.started_ms


def test_seed_002_session_list_view_status(script: Script) -> None:
    """Whether a session had errors is known of each, the lasting and the ended ones."""
    with session_context("well"):
        Agent().process("hello")
    with pytest.raises(RuntimeError), session_context("badly"):
        raise RuntimeError("no answer")
    script.sweep()
    assert {"well": 0, "badly": 1} == {name: session_metrics(name)["failed_turns"] for name in ("well", "badly")}

    script.sweep(31)
    found = {event.key[0]: event.attributes["session.status"] for event in script.ends()}
    assert {"well": "ok", "badly": "errored"} == found


def test_seed_002_session_detail_view_timeline(script: Script) -> None:
    """Traces in their order, the gaps between them, errors, and tokens and cost of each."""
    two_traces(script)
    with pytest.raises(RuntimeError), session_context("sess-123"):
        raise RuntimeError("no answer")
    script.sweep()

    rows = script.engine.history.turns("sess-123")
    assert [(1, "ok", 240, 2000), (2, "ok", 240, 2000), (3, "error", 0, 0)] == [
        (row.number, row.status, (row.input_tokens or 0) + (row.output_tokens or 0), row.cost_microusd or 0)
        for row in rows
    ]
    assert [300_000, 0] == [later.started_ms - row.started_ms for row, later in pairwise(rows)]
    assert "RuntimeError" == rows[2].error_type
    assert {f"{trace:032x}" for trace in traces(script, "sess-123")} == {row.trace_id for row in rows}


# -- Session Continuity


def test_seed_002_session_continuity(script: Script) -> None:
    """The same id five minutes later is the same session."""

    async def process(message: str) -> None:
        script.work(message)

    async def main() -> None:
        # First interaction
        with session_context(session_id="sess-123"):
            await process("Hello")

        script.clock.advance(seconds=300)

        # 5 minutes later - same session
        with session_context(session_id="sess-123"):
            await process("I have a follow-up question")

    asyncio.run(main())

    assert (1, 2) == tuple(script.shown(name)["turn.number"] for name in ("Hello", "I have a follow-up question"))
    end = script.ended()
    assert (1, 2, 300_000) == (end["session.generation"], end["session.total_turns"], end["session.duration_ms"])


@pytest.mark.parametrize(("seconds", "generations"), [(29 * 60 + 59, [1]), (30 * 60 + 1, [1, 2])])
def test_seed_002_session_continuity_timeout(script: Script, seconds: int, generations: list[int]) -> None:
    """Thirty minutes of inactivity end it; the id used again is the next generation, and says nothing of the first."""
    with session_context(session_id="sess-123"):
        pass
    script.clock.advance(seconds=seconds)
    with session_context(session_id="sess-123"):
        pass
    script.sweep(31)

    ends = sorted(script.ends(), key=lambda event: event.key)
    assert generations == [event.key[1] for event in ends]
    assert 2 == sum(int(str(event.attributes["session.total_turns"])) for event in ends)
    assert {("idle_timeout", 1_800_000)} == {
        (event.attributes["session.end_reason"], event.attributes["session.idle_time_ms"]) for event in ends
    }


# -- Privacy Considerations


def their_hash(user_id: str) -> str:
    """As the sample has it, under another name."""
    return hashlib.sha256(user_id.encode()).hexdigest()[:16]


def test_seed_002_user_id_hashing_with_the_samples_helper(script: Script) -> None:
    """An id that was hashed elsewhere is an id: one user, whose pseudonym is made of it."""
    real_user_id = "jane@example.org"
    for session_id in ("s-1", "s-2"):
        with session_context(session_id=session_id, user_id=their_hash(real_user_id)):
            script.work()
    script.sweep(31)

    assert {hash_user_id(their_hash(real_user_id))} == {event.attributes["user.id"] for event in script.ends()}
    assert real_user_id not in everything(script)
    assert their_hash(real_user_id) not in everything(script)


def test_seed_002_user_id_hashing(script: Script) -> None:
    """The same name from here is keyed, so nobody who guesses ids can check; hashing before, or not, is one user."""
    real_user_id = "jane@example.org"
    with session_context(session_id="s-1", user_id=hash_user_id(real_user_id)):
        pass
    with session_context(session_id="s-1", user_id=real_user_id):
        pass
    end: dict[str, Any] = script.ended()

    assert (1, 2) == (end["session.generation"], end["session.total_turns"])
    assert hash_user_id(real_user_id) == end["user.id"] == hash_user_id(hash_user_id(real_user_id))
    assert real_user_id not in everything(script)
    plain = {hashlib.sha256(real_user_id.encode()).hexdigest()[:size] for size in (16, 32)}
    assert [] == [guess for guess in plain if guess in everything(script)]
    Script(secret_key="another-key-of-another-application-0123456789")
    assert hash_user_id(real_user_id) != end["user.id"]
