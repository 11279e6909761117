"""Names, types, units and sources of everything on session and turn spans and on the events, in one table."""

from __future__ import annotations

import re
from typing import Any

import pytest

from session_mw import current_session, current_turn
from session_mw.testing import RecordingSink
from tests.shells.worlds import make_world

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
HEADERS = {"accept-language": "fr-FR,fr;q=0.8", "x-client-version": "2.1.0", "sec-fetch-site": "same-origin"}

EVERYWHERE = {
    "session.id": str,
    "user.id": str,
    "gen_ai.conversation.id": str,
    "conversation.id": str,
    "turn.number": int,
    "session.type": str,
    "session.name": str,
    "session.prompt_version": str,
}
SESSION = {
    **EVERYWHERE,
    "session.start_time": "iso",
    "session.channel": str,
    "session.client_version": str,
    "session.locale": str,
    "user.tier": str,
    "user.org_id": str,
    "user.hash": str,
    "metadata": str,
    "metadata.device": str,
}
TURN = {
    **EVERYWHERE,
    "turn.id": str,
    "turn.role": str,
    "turn.input_type": str,
    "turn.input_length": int,
    "turn.output_type": str,
    "turn.output_length": int,
    "turn.has_attachments": bool,
    "turn.intent": str,
    "turn.action": str,
    "turn.latency_ms": int,
    "turn.time_to_first_chunk_ms": int,
    "journey.name": str,
    "journey.stage": str,
    "journey.stage_number": int,
    "journey.total_stages": int,
    "journey.time_in_stage_ms": int,
    "conversation.session_id": str,
    "conversation.turn_number": int,
    "conversation.total_turns": int,
}
END = {
    "session.id": str,
    "user.id": str,
    "user.hash": str,
    "user.tier": str,
    "user.org_id": str,
    "session.type": str,
    "session.name": str,
    "session.prompt_version": str,
    "session.channel": str,
    "session.client_version": str,
    "session.locale": str,
    "session.start_time": "iso",
    "session.end_time": "iso",
    "session.end_reason": str,
    "session.duration_ms": int,
    "session.idle_time_ms": int,
    "session.inactive_timeout": bool,
    "session.total_turns": int,
    "session.completed_turns": int,
    "session.failed_turns": int,
    "session.total_tokens": int,
    "session.total_input_tokens": int,
    "session.total_output_tokens": int,
    "session.total_cost_usd": float,
    "session.avg_turn_latency_ms": int,
    "session.avg_turn_tokens": int,
    "session.user_satisfaction": float,
    "session.outcome": str,
    "session.outcome_source": str,
    "session.status": str,
    "session.generation": int,
    "session.confirmed": bool,
    "session.emit_attempt": int,
    "session.score.helpfulness": float,
    "session.score.tone": str,
    "session.score.safe": bool,
    "journey.name": str,
    "journey.stage": str,
    "journey.stage_number": int,
    "journey.total_stages": int,
    "journey.time_in_stage_ms": int,
    "user.sessions_total": int,
    "user.avg_session_length": float,
    "user.retention_days": int,
    "dropoff.detected": bool,
    "dropoff.last_turn": int,
    "dropoff.last_intent": str,
    "dropoff.agent_last_action": str,
    "dropoff.time_since_last_turn_ms": int,
    "metadata.device": str,
    "log.record.uid": str,
}


def handler() -> bytes:
    """Say everything that can be said."""
    session, turn = current_session(), current_turn()
    assert session is not None and turn is not None
    session.identify("ada", tier="premium", org_id="org_123")
    session.set(name="demo", prompt_version="v2", device="mobile")
    session.satisfaction(0.85)
    session.outcome("none", source="implied")
    session.score("helpfulness", 0.5)
    session.score("tone", "friendly")
    session.score("safe", True)
    session.journey("onboarding", "setup_complete", stage_number=3, total_stages=5)
    turn.set(role="user", input_type="question", input_length=150, output_type="answer", output_length=500)
    turn.set(has_attachments=False, intent="clarification_needed", action="asked_question")
    turn.add_usage(input_tokens=10, output_tokens=5, cost_usd=0.001)
    return b"x"


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """The handler in ASGI."""
    body = handler()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    """The handler in WSGI."""
    body = handler()
    start_response("200 OK", [])
    return [body]


def check(expected: dict[str, Any], found: Any, also: frozenset[str]) -> None:
    """Compare names, and the type of each value; bool is no int here."""
    assert expected.keys() == found.keys() - also
    for name, kind in expected.items():
        value = found[name]
        if kind == "iso":
            assert ISO.fullmatch(value), name
        else:
            assert kind is type(value), (name, value)


@pytest.fixture
def told(kind: str) -> Any:
    """Two turns of one session in which everything is said, then the idle end."""
    sink = RecordingSink()
    world = make_world(kind, asgi if kind == "asgi" else wsgi, event_sink=sink)
    world.request(headers=HEADERS)
    world.request(headers=HEADERS)
    world.clock.advance(seconds=1801)
    world.work()
    return world, sink


def test_session_and_turn_spans(told: Any) -> None:
    """Names and types of what stands on the spans of the second turn, when everything is known from its begin."""
    world, _ = told
    also = frozenset({"openinference.span.kind"})
    check(SESSION, world.spans("session")[1].attributes, also)
    check(TURN, world.spans("turn")[1].attributes, also)


def test_end_event(told: Any) -> None:
    """Names and types of the end; a session that idled out unresolved is a drop-off."""
    _, sink = told
    (end,) = sink.named("session.end")
    check(END, end.attributes, frozenset())

    found = end.attributes
    assert [2, 2, True] == [
        found["session.total_turns"],
        found["dropoff.last_turn"],
        found["dropoff.detected"],
    ]
    assert ("clarification_needed", "asked_question") == (
        found["dropoff.last_intent"],
        found["dropoff.agent_last_action"],
    )
    assert 1_800_000 == found["dropoff.time_since_last_turn_ms"] == found["session.idle_time_ms"]


def test_sources(told: Any) -> None:
    """Locale from Accept-Language, client version from its header, channel from Sec-Fetch, type chat."""
    world, _ = told
    found = world.spans("session")[0].attributes
    assert ("fr-FR", "2.1.0", "web", "chat") == (
        found["session.locale"],
        found["session.client_version"],
        found["session.channel"],
        found["session.type"],
    )


def test_no_name_is_one_that_back_ends_add_up(told: Any) -> None:
    """No total stands under a name that back ends sum over spans, and none begins with input or output."""
    world, sink = told
    names = {name for span in world.spans() for name in span.attributes}
    names |= {name for record in sink.records for name in record.attributes}
    summed = ("gen_ai.usage.", "llm.token_count.", "llm.cost.", "input", "output")
    assert [] == [name for name in names if name.startswith(summed)]


def test_recording_sink_can_fail() -> None:
    """What it refuses is reported again later, and kept then."""
    sink = RecordingSink()
    world = make_world("asgi", event_sink=sink)
    sink.failing = True
    world.request()
    world.request(path="/logout")
    world.work()
    sink.failing = False
    world.clock.advance(seconds=60)
    world.work()

    assert sink.refused > 0
    assert ["session.start", "session.end"] == [r.event_name for r in sink.records]
