"""A service behind the first one: the session is the same, its turns are counted in front, its usage wherever it is."""

from __future__ import annotations

import logging
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import propagate, trace

from session_mw import current_session, current_turn, instrument, llm_call, session_context
from session_mw._engine import parts
from session_mw.telemetry.notices import reset
from session_mw.testing import FakeClock
from tests.shells.worlds import World, make_world

BAGGAGE_KEY = "fedcba9876543210-a-key-that-both-services-share-0123456789"


class Front:
    """The application that users talk to: each turn calls the service behind, as an HTTP client would."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.ids: set[str] = set()

    def call(self) -> bytes:
        carrier = {"host": "localhost:8001"}
        propagate.inject(carrier)
        self.headers = {"baggage": carrier["baggage"]}
        session = current_session()
        assert session is not None
        self.ids.add(session.id)
        return b"x"

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": self.call()})

    def wsgi(self, environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [self.call()]


class Agent:
    """The service behind: a model call as an instrumentation reports it, one told by a block, one told by hand."""

    def __init__(self) -> None:
        self.world: World | None = None

    def answer(self) -> bytes:
        assert self.world is not None
        tracer = trace.get_tracer("llm", tracer_provider=self.world.provider)
        with tracer.start_as_current_span("chat model") as span:
            span.set_attributes({"gen_ai.operation.name": "chat", "gen_ai.request.model": "no-such-model"})
            span.set_attributes({"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 20})
        with llm_call("no-such-model") as call:
            call.usage(input_tokens=10, output_tokens=2, cost_usd=0.5)
        turn = current_turn()
        if turn is not None:
            turn.add_usage(input_tokens=1)
        return b"answer"

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        body = self.answer()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    def wsgi(self, environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [self.answer()]


def services(kind: str, front_store: str, store: str) -> tuple[World, World, Front]:
    """Return the front, the service behind, and what the front has sent there."""
    clock = FakeClock(time.time_ns() // 1_000_000)  # the propagator signs by the real clock
    front, agent = Front(), Agent()
    given: dict[str, Any] = {"clock": clock, "baggage_key": BAGGAGE_KEY}
    before = make_world(kind, front.asgi if kind == "asgi" else front.wsgi, store=front_store, **given)
    given["secret_key"] = "another-secret-0123456789-another-secret-0123456789"
    behind = agent.world = make_world(kind, agent.asgi if kind == "asgi" else agent.wsgi, store=store, **given)
    return before, behind, front


def hand_on(before: World, behind: World, front: Front) -> None:
    """Take one turn through both services."""
    instrument(before.engine.policy, processors=False)
    before.request()
    behind.request(headers=front.headers, cookies=False)


def test_usage_behind_is_the_sessions_where_both_share_a_store(kind: str, tmp_path: Path) -> None:
    """Three turns: their tokens and cost, used behind, stand on the one session's end, each counted once."""
    store = f"sqlite:///{tmp_path}/shared.db"
    before, behind, front = services(kind, store, store)
    for _ in range(3):
        hand_on(before, behind, front)
    behind.work()
    before.clock.advance(seconds=1801)
    (end,) = before.ends()

    found = end.attributes
    assert (3, 3 * 111, 3 * 22, 1.5) == (
        found["session.total_turns"],
        found["session.total_input_tokens"],
        found["session.total_output_tokens"],
        found["session.total_cost_usd"],
    )
    assert "usage.partial" not in found
    assert [] == behind.events
    assert [] == behind.spans("turn") + behind.spans("session")


def test_service_behind_ends_nothing(kind: str, tmp_path: Path) -> None:
    """Whose sessions they are says that they are over; a service that has visitors of its own sweeps as all do."""
    store = f"sqlite:///{tmp_path}/shared.db"
    before, behind, front = services(kind, store, store)
    hand_on(before, behind, front)
    before.work()
    behind.work()
    before.clock.advance(seconds=1801)
    behind.work()

    assert [] == behind.events
    behind.request()  # somebody comes to it directly
    behind.work()
    assert ["session.end"] == [
        event.event_name for event in behind.events if event.attributes["session.id"] in front.ids
    ]
    assert [] == before.ends()


def test_usage_behind_is_told_where_no_store_is_shared(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Another store does not know the session: what was used there is a record that says so, and one log line."""
    reset()
    before, behind, front = services(kind, "memory://", "memory://")
    for _ in range(2):
        hand_on(before, behind, front)
    with caplog.at_level(logging.WARNING):
        behind.work()

    (late,) = behind.events
    assert ("session.usage_late", True) == (late.event_name, late.attributes["usage.partial"])
    assert (2 * 111, 2 * 22) == (
        late.attributes["session.total_input_tokens"],
        late.attributes["session.total_output_tokens"],
    )
    assert before.starts()[0].attributes["session.id"] == late.attributes["session.id"]
    assert 1 == len([r for r in caplog.records if "usage.partial" in r.getMessage()])
    assert 0 == behind.engine.store.stats().live


def test_spans_behind_carry_the_turn_of_the_front(kind: str, tmp_path: Path) -> None:
    """Also where usage is counted: the number is the front's, and nothing counts a second turn."""
    store = f"sqlite:///{tmp_path}/shared.db"
    before, behind, front = services(kind, store, store)
    hand_on(before, behind, front)
    hand_on(before, behind, front)
    numbers = [s.attributes["turn.number"] for s in behind.spans("chat model")]

    assert [1, 2] == numbers
    session_id = behind.spans("chat model")[0].attributes["session.id"]
    assert 2 == before.engine.store.read(session_id).turns


def test_usage_behind_goes_to_the_generation_that_runs(kind: str, tmp_path: Path) -> None:
    """An id that the application uses again after its end: what is used behind belongs to the second one."""
    store = f"sqlite:///{tmp_path}/shared.db"
    before, behind, front = services(kind, store, store)
    instrument(before.engine.policy, processors=False)
    parts._latest[:] = [weakref.ref(before.engine)]  # what blocks use: the engine that was made last
    with session_context("job-1") as session:
        session.end()
    with session_context("job-1"):
        front.call()
        behind.request(headers=front.headers, cookies=False)
    behind.work()
    record = before.engine.store.read("job-1")

    assert (2, 111, 22) == (record.generation, record.input_tokens, record.output_tokens)
