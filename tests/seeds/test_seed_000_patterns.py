"""
Seed 000, "Session and Conversation Tracking", second half: journeys, drop-off, frameworks, aggregates, anti-patterns.

As in ``test_seed_000``: the sample's calls work unchanged, and our own spans and events carry the same names.
"""

from __future__ import annotations

import threading
from typing import TypedDict

import pytest
from opentelemetry.trace import get_current_span

from session_mw import (
    conversation,
    copy_context,
    current_conversation,
    current_turn,
    end_session,
    hash_user_id,
    manage_context,
    observe,
    session_context,
    turn,
)
from tests.hierarchy.support import Script, id_of, trace_of

from .support import Agent, Stopwatch, everything, like, set_by_hand

# -- User Journey Tracking, Drop-off Tracking

JOURNEY = {
    "journey.name": "onboarding",
    "journey.stage": "setup_complete",
    "journey.stage_number": 3,
    "journey.total_stages": 5,
    "journey.time_in_stage_ms": 45_000,
    "journey.converted": True,
    "journey.conversion_turn": 8,
    "journey.conversion_time_ms": 180_000,
}


def test_seed_000_user_journey_tracking_by_hand(script: Script) -> None:
    """The sample's own calls."""
    assert JOURNEY == set_by_hand(script, JOURNEY)


def test_seed_000_user_journey_tracking(script: Script) -> None:
    """Stage and conversion are said, times and turn are known: on the turn's span and on the session's end."""
    for number in range(1, 9):
        with session_context("s-1") as session, turn():
            if number == 6:
                session.journey("onboarding", "setup_complete", 3, 5)
            if number == 8:
                session.convert()
        script.clock.advance(seconds=27 if number < 6 else 22.5)

    converted = dict(script.named("turn")[-1].attributes or {})
    assert {**JOURNEY, "journey.conversion_time_ms": 180_000} == like(JOURNEY, converted)
    end = script.ended()
    assert JOURNEY == like(JOURNEY, end)
    assert (False, "resolved") == (end["dropoff.detected"], end["session.outcome"])


DROPOFF = {
    "dropoff.detected": True,
    "dropoff.last_turn": 5,
    "dropoff.last_intent": "clarification_needed",
    "dropoff.agent_last_action": "asked_question",
    "dropoff.time_since_last_turn_ms": 600_000,
    "session.inactive_timeout": True,
    "session.idle_time_ms": 600_000,
}


def test_seed_000_drop_off_tracking_by_hand(script: Script) -> None:
    """The sample's own calls."""
    assert DROPOFF == set_by_hand(script, DROPOFF)


def test_seed_000_drop_off_tracking() -> None:
    """Nobody comes back for ten minutes: where the user was lost stands on the session's end."""
    script = Script(idle_timeout="10m")
    for _ in range(5):
        with session_context("s-1"), turn(intent="clarification_needed") as mine:
            mine.set(action="asked_question")

    assert DROPOFF == like(DROPOFF, script.ended(minutes=10))


def test_seed_000_drop_off_tracking_without_a_word(script: Script) -> None:
    """What the agent did last is known from its spans, where nobody says it."""
    with session_context("s-1"):
        Agent(["search", "read"]).process("hello")
    with session_context("s-1"):
        pass

    assert "read" == script.ended()["dropoff.agent_last_action"]


# -- Framework Integration


def test_seed_000_langfuse_sessions(script: Script) -> None:
    """Langfuse's client takes a session id with each trace; here a block says it, and each turn is a trace of it."""
    session_id, user_id = "chat-7", "user-456"
    with session_context(session_id=session_id, user_id=user_id, metadata={"channel": "web"}), observe("chat_session"):
        pass
    for _ in range(2):
        with session_context(session_id=session_id, user_id=user_id), observe("chat_turn"):
            pass

    spans = [script.only("chat_session"), *script.named("chat_turn")]
    assert 3 == len({trace_of(span) for span in spans})
    found = [((span.attributes or {})["session.id"], (span.attributes or {})["user.id"]) for span in spans]
    assert [(session_id, hash_user_id(user_id))] * 3 == found
    end = script.ended()
    assert ("web", 3) == (end["metadata.channel"], end["session.total_turns"])


class ConversationState(TypedDict):
    """The sample's state."""

    session_id: str
    conversation_id: str
    turn_number: int
    messages: list[str]
    context_tokens: int


@observe(name="conversation.turn")
def handle_turn(state: ConversationState) -> ConversationState:
    """Do as the sample does, and process the turn."""
    span = get_current_span()
    span.set_attribute("session.id", state["session_id"])
    span.set_attribute("conversation.turn_number", state["turn_number"])
    span.set_attribute("context.tokens", state["context_tokens"])
    return {**state, "turn_number": state["turn_number"] + 1, "messages": [*state["messages"], "hello"]}


STATE: ConversationState = {
    "session_id": "s-1",
    "conversation_id": "c-1",
    "turn_number": 1,
    "messages": [],
    "context_tokens": 4500,
}


def test_seed_000_langgraph_state_by_hand(script: Script) -> None:
    """The sample as it stands, as a node: what goes in and comes out is the state."""
    after = handle_turn(STATE)

    assert (2, ["hello"]) == (after["turn_number"], after["messages"])
    sample = {"session.id": "s-1", "conversation.turn_number": 1, "context.tokens": 4500}
    assert sample == like(sample, script.shown("conversation.turn"))


def test_seed_000_langgraph_state(script: Script) -> None:
    """With the session around it the node has nothing to set, and its state cannot be out of step."""
    state = STATE
    for _ in range(2):
        with session_context(state["session_id"]), conversation(state["conversation_id"]) as thread, turn():
            thread.context(current_tokens=state["context_tokens"])
            assert thread.turn_number == state["turn_number"]
            state = handle_turn(state)

    sample = {"session.id": "s-1", "conversation.id": "c-1", "conversation.turn_number": 2, "context.tokens": 4500}
    assert sample == like(sample, dict(script.named("turn")[-1].attributes or {}))
    assert ["s-1", "s-1"] == [(span.attributes or {})["session.id"] for span in script.named("conversation.turn")]


# -- Aggregation Metrics

AGGREGATES = {
    "session.avg_turn_latency_ms": 2500,
    "session.avg_turn_tokens": 850,
    "session.user_satisfaction": 0.85,
    "user.sessions_total": 15,
    "user.avg_session_length": 8.0,  # turns, on average: seldom a whole number
    "user.retention_days": 30,
}


def test_seed_000_aggregation_metrics_by_hand(script: Script) -> None:
    """The sample's own calls."""
    assert AGGREGATES == set_by_hand(script, AGGREGATES)


def test_seed_000_aggregation_metrics(watch: Stopwatch) -> None:
    """Per session and across sessions of a user: fifteen sessions of six, eight or ten turns in thirty days."""
    script = Script(ledger_retention=None)
    ends = []
    for number in range(15):
        for _ in range((6, 8, 10)[number % 3]):
            with session_context(f"s-{number}", user_id="user-456") as session, turn():
                Agent(tokens=(400, 25)).process("hello")
                session.satisfaction(0.85)
                watch.advance(ms=2500)
        script.clock.advance(seconds=30 * 86_400 // 14 + 1)
        script.sweep()
        ends = script.ends()

    assert AGGREGATES == like(AGGREGATES, ends[-1].attributes)


# -- Anti-Patterns

SECRET_TEXT = "my diagnosis is known to nobody"


def talk(text: str = SECRET_TEXT) -> None:
    """Say something personal wherever something can be said."""

    @observe
    def answer(question: str) -> str:
        return Agent().process(question)

    manage = manage_context(count=lambda text: len(text), limit=20, prune=lambda messages: messages[1:])
    with session_context("s-1"), turn():
        answer(text)
        manage([text, text], text)
    with session_context("s-1"):
        answer(text)


@pytest.mark.parametrize("capture", [False, True])
def test_seed_000_anti_pattern_logging_full_history(capture: bool, caplog: pytest.LogCaptureFixture) -> None:
    """What was said is recorded nowhere, unless content is captured: spans, events, history, store and log."""
    script = Script(capture_content=capture)
    talk()
    script.ended()

    assert capture is (SECRET_TEXT in everything(script))
    assert SECRET_TEXT not in caplog.text


def test_seed_000_anti_pattern_no_session_linking(script: Script) -> None:
    """No span inside a session is an orphan: not in a thread, not in a second trace, whoever made it."""
    with session_context("s-1"):
        for number in range(3):
            with turn():
                Agent().process("hello")
                thread = threading.Thread(target=copy_context(lambda number=number: script.work(f"thread-{number}")))
                thread.start()
                thread.join()

    assert 3 == len({trace_of(span) for span in script.spans})
    orphans = [span.name for span in script.spans if (span.attributes or {}).get("session.id") != "s-1"]
    assert [] == orphans
    later = script.named("turn")[1:]
    assert [[id_of(script.only("session"))]] * 2 == [[link.context.span_id for link in span.links] for span in later]


def test_seed_000_anti_pattern_missing_turn_numbers(script: Script) -> None:
    """Every span of a turn has its number, in the session and in its conversation, over processes and pauses."""
    for _ in range(3):
        with session_context("s-1"), conversation("c-1"):
            for _ in range(2):
                with turn():
                    Agent().process("hello")
        script.clock.advance(seconds=600)

    for name in ("turn", "invoke_agent helper", "execute_tool search"):
        assert [1, 2, 3, 4, 5, 6] == [(span.attributes or {}).get("turn.number") for span in script.named(name)]
    assert [1, 2, 3, 4, 5, 6] == [(s.attributes or {})["conversation.turn_number"] for s in script.named("turn")]
    script.sweep()
    assert [1, 2, 3, 4, 5, 6] == [row.number for row in script.engine.history.turns("s-1")]


def test_seed_000_anti_pattern_no_drop_off_detection(script: Script) -> None:
    """Nobody calls anything when a user just leaves: it is detected, and only where it happened."""
    for session_id in ("left", "resolved", "converted", "said-goodbye"):
        for _ in range(2):
            with session_context(session_id) as session:
                if session_id == "resolved":
                    session.outcome("resolved")
                if session_id == "converted":
                    session.convert()
    end_session("said-goodbye")
    script.sweep(31)

    found = {event.key[0]: event.attributes["dropoff.detected"] for event in script.ends()}
    assert {"left": True, "resolved": False, "converted": False, "said-goodbye": False} == found


def test_seed_000_anti_pattern_user_id_without_hashing(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    """A raw id goes in and a keyed pseudonym comes out, whoever is told: spans, events, history, store and log."""
    raw = "jane@example.org"
    with session_context("s-1", user_id=raw) as session:
        Agent().process("hello")
        assert current_turn() is not None and current_conversation() is not None
    with session_context("s-2", user_id=hash_user_id(raw)):
        pass
    script.sweep(31)

    assert raw not in everything(script) + caplog.text
    assert session.user_id == hash_user_id(raw)
    assert [hash_user_id(raw)] * 2 == [event.attributes["user.id"] for event in script.ends()]
