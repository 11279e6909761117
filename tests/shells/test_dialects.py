"""Dialects on the wire: on every span of a request, whoever makes it, and on the spans where they belong."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.trace import set_span_in_context

from session_mw import current_session
from session_mw._core.scope import current_scope
from session_mw.telemetry import notices
from tests.shells.bodies import Plan, send, world_of
from tests.shells.test_websocket import Wire
from tests.shells.worlds import World, make_world

ALL = "openinference langfuse langsmith traceloop mlflow opik weave posthog laminar".split()


@pytest.fixture(autouse=True)
def _say_again() -> None:
    notices.reset()


def by_name(world: World) -> dict[str, dict[str, Any]]:
    spans = {"server" if s.kind.name == "SERVER" else s.name: dict(s.attributes) for s in world.spans()}
    assert {"server", "session", "turn"} <= spans.keys()
    return spans


def work(tracer: Any) -> None:
    with tracer.start_as_current_span("child") as span:
        alone = threading.Thread(target=_in_thread, args=(tracer, span))
        alone.start()
        alone.join()


def _in_thread(tracer: Any, parent: Any) -> None:
    """A callback's thread: it got the span, and no session."""
    assert current_scope.get() is None
    token = attach(set_span_in_context(parent, trace.context_api.Context()))
    tracer.start_span("callback").end()
    detach(token)


def test_every_span_carries_the_dialects(kind: str) -> None:
    """Server, session, turn, what is made inside, and what a callback makes that knows its parent only."""
    world = world_of(kind, Plan(work=work), dialects=ALL)
    send(world, [b"{}"])

    spans = by_name(world)
    session_id = spans["turn"]["session.id"]
    for name in ("server", "session", "turn", "child", "callback"):
        found = spans[name]
        assert session_id == found["wandb.thread_id"] == found["thread_id"] == found["$ai_session_id"], name
        assert session_id == found["langsmith.metadata.thread_id"], name
        assert session_id == found["traceloop.association.properties.session_id"], name
        assert session_id == found["lmnr.association.properties.session_id"], name


def test_marks_of_a_turn_stand_on_the_turn_only(kind: str) -> None:
    """A back end that counts marked spans counts one a turn."""
    world = world_of(kind, Plan(work=work), dialects=ALL)
    send(world, [b"{}"])

    marked = [name for name, found in by_name(world).items() if "wandb.is_turn" in found]
    assert ["turn"] == marked
    kinds = [name for name, found in by_name(world).items() if "openinference.span.kind" in found]
    assert {"session", "turn"} == set(kinds)


def test_default_writes_no_vendors_name(kind: str) -> None:
    """With the default dialect, spans carry the conventions' names and OpenInference's kind."""
    world = world_of(kind, Plan(work=work))
    send(world, [b"{}"])

    vendors = ("langfuse", "langsmith", "traceloop", "mlflow", "opik", "wandb", "$", "lmnr", "thread_id")
    assert not [key for found in by_name(world).values() for key in found if key.startswith(vendors)]


def _tell(tracer: Any) -> None:
    session = current_session()
    assert session is not None
    if not session.metadata.get("metadata.plan"):
        session.set(plan="pro", story="ö" * 150)


def test_metadata_stands_in_each_form_and_tags_on_the_root_only(kind: str) -> None:
    """Said in the first turn, it is on that turn's spans and on the next one's; MLflow's tags on the trace's root."""
    world = world_of(kind, Plan(work=_tell), dialects=ALL)
    for _ in range(2):
        world.exporter.clear()
        reply = world.request()
        assert 200 == reply.status

        spans = by_name(world)
        assert {"plan": "pro", "story": "ö" * 150} == json.loads(spans["session"]["metadata"])
        assert "pro" == spans["session"]["metadata.plan"] == spans["session"]["langsmith.metadata.plan"]
        assert "pro" == spans["server"]["langfuse.trace.metadata.plan"] == spans["server"]["opik.metadata.plan"]
        assert "pro" == spans["server"]["mlflow.traceTag.plan"]
        assert not [n for n, found in spans.items() if n != "server" and "mlflow.traceTag.plan" in found]


def test_values_are_made_fit_with_one_warning(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A user id that Langfuse drops stands under its alias, cut and marked; operators read of it once."""
    world = make(dialects=["langfuse"], user_id_mode="plain", user=lambda facts: "ü" * 300)
    for _ in range(3):
        world.request()

    shown = dict(world.spans("turn")[-1].attributes)
    assert "ü" * 200 == shown["user.id"]
    assert shown["langfuse.user.id"].isascii() and 200 == len(shown["langfuse.user.id"])
    assert 1 == len([r for r in caplog.records if "langfuse" in r.getMessage()])
    assert "ü" not in caplog.text


def test_lifecycle_spans_speak_the_dialects(make: Any) -> None:
    """The spans of start and end belong to the same session in each back end."""
    world = make(dialects=ALL, lifecycle_spans="always")
    world.request()
    world.clock.advance(seconds=7200)
    world.ends()

    for name in ("session.start", "session.end"):
        (span,) = world.spans(name)
        assert span.attributes["session.id"] == span.attributes["$ai_session_id"]


def test_websocket_turns_are_roots_of_their_own() -> None:
    """Each message's turn is a trace: marked, tagged, and counted in the conversation that the handshake names."""
    told: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            session = current_session()
            assert session is not None
            session.set(plan="pro")
            told.append((session.conversation.id, session.conversation.turn_number))
            await send({"type": "websocket.send", "text": "ok"})

    world = make_world("asgi", app, dialects=ALL)

    async def scenario() -> None:
        wire = Wire(world, headers=[("x-conversation-id", "c" * 24)])
        await wire.accepted()
        for _ in range(2):
            await wire.ask("hi")
        await wire.close()

    asyncio.run(scenario())
    first, second = world.spans("turn")
    assert [("c" * 24, 1), ("c" * 24, 2)] == told
    assert "pro" == first.attributes["mlflow.traceTag.plan"] == second.attributes["mlflow.traceTag.plan"]
    assert first.attributes["wandb.is_turn"] is True
    assert "c" * 24 == second.attributes["wandb.thread_id"] == second.attributes["gen_ai.conversation.id"]
