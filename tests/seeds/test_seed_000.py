"""
Seed 000, "Session and Conversation Tracking": every sample, with its own calls, and what nobody has to set any more.

Two things are shown under each heading: the sample's calls work unchanged (``observe`` is ours, ``get_current_span`` is
OpenTelemetry's), and our own spans and events carry the same names, with the sample's types and units.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from opentelemetry.trace import get_current_span

from session_mw import (
    agent_run,
    conversation,
    current_session,
    end_session,
    hash_user_id,
    llm_call,
    manage_context,
    observe,
    session_context,
    session_metrics,
    start_session,
    tool_call,
    turn,
)
from tests.hierarchy.support import Script, id_of, parent_of
from tests.shells.worlds import make_world

from .support import Agent, Stopwatch, like, set_by_hand

NOW = datetime(2025, 1, 1, tzinfo=timezone.utc).isoformat()
MODEL_CONTEXT_LIMIT = 10


# -- Core Principle, Hierarchy


def test_seed_000_core_principle(script: Script) -> None:
    """Who, which conversation, how long, success or failure, where they drop off: the end of a session answers all."""
    for seconds in (60, 0):
        with session_context("s-1", user_id="user-456"), turn(intent="clarification_needed"):
            Agent().process("hello")
        script.clock.advance(seconds=seconds)
    end = script.ended()

    assert hash_user_id("user-456") == end["user.id"]
    assert (60_000, "ok", "abandoned") == tuple(end[f"session.{key}"] for key in ("duration_ms", "status", "outcome"))
    assert (True, 2, "clarification_needed") == tuple(
        end[f"dropoff.{key}"] for key in ("detected", "last_turn", "last_intent")
    )


def test_seed_000_hierarchy(script: Script) -> None:
    """User > Session > Conversation > Turn > Agent Run > LLM Call | Tool Call, as spans and as attributes of each."""
    with session_context("s-1", user_id="user-456"), conversation("c-1"), turn(), agent_run("helper"):
        with llm_call("local-small-1"):
            pass
        with tool_call("search"):
            pass

    tree = ["session", "turn", "invoke_agent helper", "chat local-small-1", "execute_tool search"]
    session, exchange, agent, model, tool = (script.only(name) for name in tree)
    assert [id_of(session), id_of(exchange), id_of(agent), id_of(agent)] == [
        parent_of(exchange),
        parent_of(agent),
        parent_of(model),
        parent_of(tool),
    ]
    expected = {"user.id": hash_user_id("user-456"), "session.id": "s-1", "conversation.id": "c-1", "turn.number": 1}
    inside = [script.shown(name) for name in tree[1:]]
    assert [expected] * 4 == [{key: shown[key] for key in expected} for shown in inside]


# -- Span attributes

SESSION = {
    "session.id": "6ad6ae6e-2c4d-4b0e-9d0c-0d8b8e1f7f30",
    "session.start_time": NOW,
    "session.type": "chat",
    "user.id": "u_0123456789abcdef0123456789abcdef",
    "user.tier": "premium",
    "user.org_id": "org_123",
    "session.channel": "web",
    "session.client_version": "2.1.0",
    "session.locale": "en-US",
}


def test_seed_000_session_span_attributes_by_hand(script: Script) -> None:
    """The sample's own calls."""
    assert SESSION == set_by_hand(script, SESSION)


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_seed_000_session_span_attributes(kind: str) -> None:
    """A request's session span has all of them; the application only says who the user is."""

    def identify() -> None:
        session = current_session()
        assert session is not None
        session.identify("user-456", tier="premium", org_id="org_123")

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        identify()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        identify()
        start_response("200 OK", [])
        return [b"ok"]

    world = make_world(kind, asgi if kind == "asgi" else wsgi)
    browser = {"sec-fetch-mode": "cors", "accept-language": "en-US,en;q=0.9", "x-client-version": "2.1.0"}
    world.request(headers=browser)

    (span,) = world.spans("session")
    shown = like(SESSION, span.attributes)
    said = ("session.type", "session.channel", "session.client_version", "session.locale", "user.tier", "user.org_id")
    assert {key: SESSION[key] for key in said} == {key: shown[key] for key in said}
    assert len(shown["session.id"]) >= 32
    assert datetime(2025, 1, 1, tzinfo=timezone.utc) == _time(shown["session.start_time"])
    assert shown["user.id"].startswith("u_")
    assert "user-456" not in repr([span.to_json() for span in world.spans()])


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


CONVERSATION = {
    "conversation.id": "0f0c3d7c-6f1b-4a55-8f0a-2f6f0c1b2d3e",
    "conversation.session_id": "s-1",
    "conversation.topic": "document_analysis",
    "conversation.turn_number": 5,
    "conversation.total_turns": 12,
    "conversation.messages_in_context": 10,
    "conversation.context_tokens": 4500,
    "conversation.context_window_pct": 0.15,
}


def test_seed_000_conversation_span_attributes_by_hand(script: Script) -> None:
    """The sample's own calls."""
    assert CONVERSATION == set_by_hand(script, CONVERSATION)


def test_seed_000_conversation_span_attributes(script: Script) -> None:
    """Topic and window are said once; ids and numbers come by themselves, per session and per conversation."""
    conversation_id = str(uuid4())
    with session_context("s-1"):
        for number in range(1, 6):
            with conversation(conversation_id, topic="document_analysis") as thread, turn():
                thread.context(current_tokens=4000, new_tokens=500, limit=30_000, messages=10)
                assert number == thread.turn_number

    last = dict(script.named("turn")[-1].attributes or {})
    # So far: who asks while the fifth turn runs cannot know of a twelfth.
    expected = {**CONVERSATION, "conversation.id": conversation_id, "conversation.total_turns": 5}
    assert expected == like(CONVERSATION, last)


TURN = {
    "turn.id": "5c8e4c6e-7e0f-4b1b-a9f9-9f3a3c0e8f11",
    "turn.number": 5,
    "turn.role": "user",
    "turn.input_length": 150,
    "turn.input_type": "question",
    "turn.has_attachments": False,
    "turn.output_length": 500,
    "turn.output_type": "answer",
    "turn.agent_runs": 1,
    "turn.tool_calls": 2,
    "turn.latency_ms": 2500,
}


def test_seed_000_turn_span_attributes_by_hand(script: Script) -> None:
    """The sample's own calls."""
    assert TURN == set_by_hand(script, TURN)


def test_seed_000_turn_span_attributes(script: Script, watch: Stopwatch) -> None:
    """Number, runs, calls and latency are counted; the application says what only it knows."""
    with session_context("s-1"):
        for _ in range(5):
            with turn(input_type="question", input_length=150, has_attachments=False) as mine:
                Agent(["search", "read"]).process("hello")
                mine.set(output_type="answer", output_length=500)
                watch.advance(ms=2500)

    shown = like(TURN, dict(script.named("turn")[-1].attributes or {}))
    assert {**TURN, "turn.id": shown["turn.id"]} == shown
    ids = {str((span.attributes or {})["turn.id"]) for span in script.named("turn")}
    assert 5 == len(ids)


# -- Session Lifecycle


def test_seed_000_session_start_by_hand(script: Script) -> None:
    """The sample as it stands: its span says what it says."""

    @observe(name="session.start")
    def start_session(user_id: str, channel: str) -> str:
        session_id = str(uuid4())
        span = get_current_span()

        span.set_attribute("session.id", session_id)
        span.set_attribute("user.id", hash_user_id(user_id))
        span.set_attribute("session.channel", channel)
        span.set_attribute("session.start_time", datetime.now(timezone.utc).isoformat())

        return session_id

    session_id = start_session("user-456", "web")

    shown = script.shown("session.start")
    assert 4 == UUID(session_id).version
    assert (session_id, hash_user_id("user-456"), "web") == tuple(
        shown[key] for key in ("session.id", "user.id", "session.channel")
    )


def test_seed_000_session_start(script: Script) -> None:
    """The same call, ours: ``session.start`` is an event with the sample's names, and what follows belongs to it."""
    session_id = start_session("user-456", "web")
    script.work()
    script.sweep()

    (start,) = script.sink.named("session.start")
    sample = {"session.id": session_id, "user.id": "u_", "session.channel": "web", "session.start_time": NOW}
    shown = like(sample, start.attributes)
    assert (session_id, hash_user_id("user-456"), "web", _time(NOW)) == (
        shown["session.id"],
        shown["user.id"],
        shown["session.channel"],
        _time(shown["session.start_time"]),
    )
    assert session_id == script.shown("work")["session.id"]


END = {
    "session.id": "s-1",
    "session.end_reason": "user_exit",
    "session.end_time": NOW,
    "session.duration_ms": 90_000,
    "session.total_turns": 2,
    "session.total_tokens": 480,
    "session.total_cost_usd": 0.004,
}


def two_turns(script: Script) -> None:
    """Hold a session of two turns, a minute and a half apart."""
    for pause in (90, 0):
        with session_context("s-1", user_id="user-456"), turn():
            Agent().process("hello")
        script.clock.advance(seconds=pause)


def test_seed_000_session_end_by_hand(script: Script) -> None:
    """The sample as it stands, with ``calculate_session_metrics`` from here."""
    calculate_session_metrics = session_metrics

    @observe(name="session.end")
    def end_session(session_id: str, reason: str = "user_exit") -> None:
        span = get_current_span()

        span.set_attribute("session.id", session_id)
        span.set_attribute("session.end_reason", reason)
        span.set_attribute("session.end_time", datetime(2025, 1, 1, tzinfo=timezone.utc).isoformat())

        metrics = calculate_session_metrics(session_id)
        span.set_attribute("session.duration_ms", metrics["duration_ms"])
        span.set_attribute("session.total_turns", metrics["turns"])
        span.set_attribute("session.total_tokens", metrics["tokens"])
        span.set_attribute("session.total_cost_usd", metrics["cost"])

    two_turns(script)
    end_session("s-1")

    assert END == like(END, script.shown("session.end"))


def test_seed_000_session_end(script: Script) -> None:
    """The same call, ours: nobody aggregates, and the event says it all."""
    two_turns(script)
    assert end_session("s-1", reason="user_exit")
    script.sweep()

    (end,) = script.ends()
    shown = like(END, end.attributes)
    assert {**END, "session.end_time": "2025-01-01T00:01:30.000Z"} == shown


# -- Context Window Management

WINDOW = {
    "context.current_tokens": 7,
    "context.new_tokens": 2,
    "context.limit": MODEL_CONTEXT_LIMIT,
    "context.pruned": True,
    "context.messages_pruned": 2,
}


class History:
    """The sample's helpers: messages of a conversation, tokens in them, and what takes the oldest out."""

    def __init__(self, *messages: str) -> None:
        self.messages = list(messages)

    def get_history(self, conversation_id: str) -> list[str]:
        return self.messages

    @staticmethod
    def count_tokens(text: str | list[str]) -> int:
        return len((text if isinstance(text, str) else " ".join(text)).split())

    def prune_context(self, conversation_id: str) -> int:
        del self.messages[:2]
        return 2


@pytest.mark.parametrize(("new_message", "pruned"), [("eight nine", True), ("eight", False)])
def test_seed_000_context_window_management_by_hand(script: Script, new_message: str, pruned: bool) -> None:
    """The sample as it stands."""
    chat = History("one two", "three four", "five six", "seven")
    get_history, count_tokens, prune_context = chat.get_history, chat.count_tokens, chat.prune_context

    @observe(name="conversation.manage_context")
    def manage_context(conversation_id: str, new_message: str) -> None:
        span = get_current_span()

        current_tokens = count_tokens(get_history(conversation_id))
        new_tokens = count_tokens(new_message)

        span.set_attribute("context.current_tokens", current_tokens)
        span.set_attribute("context.new_tokens", new_tokens)
        span.set_attribute("context.limit", MODEL_CONTEXT_LIMIT)

        if current_tokens + new_tokens > MODEL_CONTEXT_LIMIT * 0.8:
            pruned = prune_context(conversation_id)
            span.set_attribute("context.pruned", True)
            span.set_attribute("context.messages_pruned", pruned)
        else:
            span.set_attribute("context.pruned", False)

    manage_context("c-1", new_message)

    shown = script.shown("conversation.manage_context")
    expected = dict(WINDOW) if pruned else {**WINDOW, "context.new_tokens": 1, "context.pruned": False}
    if not pruned:
        del expected["context.messages_pruned"]
    assert expected == {key: value for key, value in shown.items() if key.startswith("context.")}


def test_seed_000_context_window_management(script: Script) -> None:
    """The same call, made of the sample's helpers: the span of that name, and the turn's, say the same."""
    chat = History("one two", "three four", "five six", "seven")
    manage = manage_context(
        count=chat.count_tokens, limit=MODEL_CONTEXT_LIMIT, prune=chat.prune_context, history=chat.get_history
    )
    with session_context("s-1"), conversation("c-1"), turn():
        manage("c-1", "eight nine")

    assert WINDOW == like(WINDOW, script.shown("conversation.manage_context"))
    assert WINDOW == like(WINDOW, script.shown("turn"))
    assert ["five six", "seven"] == chat.messages
