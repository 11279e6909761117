"""WebSocket connections: the handshake, a turn for each message, and how turns end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import StatusCode

from session_mw import current_session, current_turn
from session_mw._core.ops import Touch, Touched
from session_mw.exceptions import StoreUnavailable
from tests.shells.worlds import World, make_world

App = Callable[[Any, Any, Any], Awaitable[None]]


class Wire:
    """The client's side of one connection, driven by hand."""

    def __init__(self, world: World, headers: Any = ()) -> None:
        self.sent: list[Any] = []
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()
        self._outbox: asyncio.Queue[Any] = asyncio.Queue()
        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0"},
            "path": "/ws",
            "scheme": "wss",
            "query_string": b"",
            "root_path": "",
            "headers": [(k.encode(), v.encode()) for k, v in headers],
            "client": ("203.0.113.9", 5000),
            "server": ("testserver", 443),
        }
        self.task = asyncio.ensure_future(world.app(scope, self._inbox.get, self._send))
        self.put({"type": "websocket.connect"})

    async def _send(self, message: Any) -> None:
        self.sent.append(message)
        await self._outbox.put(message)

    def put(self, message: Any) -> None:
        """Send a raw message to the application."""
        self._inbox.put_nowait(message)

    async def ask(self, text: str) -> str:
        """Send a text and wait for the answer."""
        self.put({"type": "websocket.receive", "text": text})
        message = await asyncio.wait_for(self._outbox.get(), 5)
        return str(message["text"])

    async def accepted(self) -> Any:
        """Wait for the accept."""
        return await asyncio.wait_for(self._outbox.get(), 5)

    async def close(self) -> None:
        """Disconnect, and wait for the application."""
        self.put({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(self.task, 5)


def chat(provider: Callable[[], TracerProvider]) -> App:
    """Return an application that answers each text with what it sees of its session."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("text") == "boom":
                raise RuntimeError("the application failed")
            session, turn = current_session(), current_turn()
            with trace.get_tracer("app", tracer_provider=provider()).start_as_current_span("work"):
                seen = f"{session.id if session else None}|{turn.number if turn else None}"
            await send({"type": "websocket.send", "text": seen})

    return app


def connect(**settings: Any) -> World:
    """Return the chat behind the middleware."""
    world = make_world("asgi", chat(lambda: world.provider), **settings)
    return world


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run one scenario."""
    asyncio.run(scenario())  # type: ignore[arg-type]


def test_each_message_is_a_turn_in_a_trace_of_its_own() -> None:
    """Messages are turns 1, 2 of one session, each a new root linked to the connection's span."""
    world = connect()
    answers: list[str] = []

    async def scenario() -> None:
        wire = Wire(world)
        await wire.accepted()
        answers.extend([await wire.ask("one"), await wire.ask("two")])
        await wire.close()

    run(scenario)
    ids, numbers = zip(*(a.split("|") for a in answers), strict=True)
    assert ("1", "2") == numbers and 1 == len(set(ids))
    first, second = world.spans("turn")
    (connection,) = world.spans("session")
    assert first.parent is None and second.parent is None
    assert 3 == len({first.context.trace_id, second.context.trace_id, connection.context.trace_id})
    assert connection.context.span_id == first.links[0].context.span_id == second.links[0].context.span_id
    assert [first.context.span_id, second.context.span_id] == [s.parent.span_id for s in world.spans("work")]
    assert {ids[0]} == {s.attributes["session.id"] for s in world.spans()}


def test_turn_that_the_store_did_not_count_is_not_completed_either() -> None:
    """A message whose touch failed has no number and is in no total; the next one goes on, what was used is counted."""
    world = connect()
    answers: list[str] = []

    async def scenario() -> None:
        wire = Wire(world)
        await wire.accepted()
        answers.append(await wire.ask("one"))
        with failing(world):
            answers.append(await wire.ask("two"))
        answers.append(await wire.ask("three"))
        await wire.close()

    run(scenario)
    world.work()
    ids, numbers = zip(*(a.split("|") for a in answers), strict=True)
    record = world.engine.store.read(ids[0])

    assert (1, ("1", "None", "2")) == (len(set(ids)), numbers)
    assert (2, 2, 0) == (record.turns, record.completed, record.failed)
    assert [1, 2] == [line.number for line in world.engine.history.turns(ids[0])]


@contextmanager
def failing(world: World) -> Iterator[None]:
    """The store counts no turn meanwhile."""

    def away(ask: Touch) -> Touched:
        raise StoreUnavailable("the store is away")

    with pytest.MonkeyPatch.context() as patch:
        for face in {world.engine.store, world.engine.async_store}:
            patch.setattr(face, "touch", away)
        yield


def test_cookie_is_issued_in_the_accept() -> None:
    """The accept carries the cookie; the session continues over HTTP with it."""
    world = connect()
    lines: list[str] = []

    async def scenario() -> None:
        wire = Wire(world)
        accept = await wire.accepted()
        lines.extend(v.decode() for k, v in accept["headers"] if k == b"set-cookie")
        lines.append(await wire.ask("one"))
        await wire.close()

    run(scenario)
    cookie, answer = lines
    name, value = cookie.split(";")[0].split("=", 1)
    again = make_world("asgi", clock=world.clock)
    again.app.engine.store = world.engine.store
    reply = again.request(headers={"cookie": f"{name}={value}"})
    assert answer.split("|")[0] == reply.json()["id"]
    assert 2 == reply.json()["turn"]


def test_handshake_with_a_cookie_continues_the_session() -> None:
    """A connection that presents the cookie belongs to its session and gets no new one."""
    world = connect()
    found: list[Any] = []

    async def scenario() -> None:
        first = Wire(world)
        accept = await first.accepted()
        cookie = dict(accept["headers"])[b"set-cookie"].decode().split(";")[0]
        found.append(await first.ask("one"))
        await first.close()
        second = Wire(world, [("cookie", cookie)])
        found.append(await second.accepted())
        found.append(await second.ask("two"))
        await second.close()

    run(scenario)
    assert found[0].split("|")[0] == found[2].split("|")[0]
    assert "2" == found[2].split("|")[1]


def test_S45_handshakes_are_verified() -> None:
    """A handshake is verified like any request: what does not verify is not adopted."""
    world = connect()
    answers: list[str] = []

    async def scenario() -> None:
        wire = Wire(world, [("cookie", "__Host-session_mw=forged.signature")])
        await wire.accepted()
        answers.append(await wire.ask("one"))
        await wire.close()

    run(scenario)
    assert "forged" not in answers[0]


@pytest.mark.parametrize("message", [{"bytes": b"\x00\x01"}, {"text": ""}, {"text": "  \n"}])
def test_binary_and_empty_messages_are_no_turns(message: dict[str, Any]) -> None:
    """Heartbeats, empty and binary frames are no turns."""
    world = connect()

    async def scenario() -> None:
        wire = Wire(world)
        await wire.accepted()
        wire.put({"type": "websocket.receive", **message})
        await asyncio.wait_for(wire._outbox.get(), 5)
        await wire.close()

    run(scenario)
    assert [] == world.spans("turn")
    assert 0 == world.engine.store.stats().live


def test_turn_rule_of_the_application_decides() -> None:
    """``turn_when`` decides which messages are turns."""
    world = connect(turn_when=lambda facts: False)

    async def scenario() -> None:
        wire = Wire(world)
        await wire.accepted()
        await wire.ask("one")
        await wire.close()

    run(scenario)
    assert [] == world.spans("turn")


def test_turn_ends_when_the_application_waits_again() -> None:
    """A turn ends when the application calls receive after it has sent, not with the connection."""
    world = connect()
    ended: list[int] = []

    async def scenario() -> None:
        wire = Wire(world)
        await wire.accepted()
        await wire.ask("one")
        await asyncio.sleep(0)
        ended.append(len(world.spans("turn")))
        await wire.close()

    run(scenario)
    assert [1] == ended
    assert 1 == len(world.spans("turn"))


def test_turn_ends_at_its_timeout() -> None:
    """A turn that gets no answer ends at ``turn_timeout``."""
    world: World

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        await asyncio.sleep(0.3)
        await receive()

    world = make_world("asgi", silent, turn_timeout=0.05)
    ended: list[int] = []

    async def scenario() -> None:
        wire = Wire(world)
        await wire.accepted()
        wire.put({"type": "websocket.receive", "text": "one"})
        await asyncio.sleep(0.2)
        ended.append(len(world.spans("turn")))
        await wire.close()

    run(scenario)
    assert [1] == ended


def test_exception_fails_the_turn_and_passes() -> None:
    """The application's exception ends turn and session span once, as errors, and reaches the server."""
    world = connect()

    async def scenario() -> None:
        wire = Wire(world)
        await wire.accepted()
        wire.put({"type": "websocket.receive", "text": "boom"})
        with pytest.raises(RuntimeError, match="the application failed"):
            await asyncio.wait_for(wire.task, 5)

    run(scenario)
    (turn,) = world.spans("turn")
    assert StatusCode.ERROR is turn.status.status_code
    assert 1 == len(world.spans("session"))


def test_connection_as_one_turn() -> None:
    """With ``websocket_turns="connection"`` the whole connection is one turn, inside its session span."""
    world = connect(websocket_turns="connection")
    answers: list[str] = []

    async def scenario() -> None:
        wire = Wire(world)
        await wire.accepted()
        answers.extend([await wire.ask("one"), await wire.ask("two")])
        await wire.close()

    run(scenario)
    assert ["1", "1"] == [a.split("|")[1] for a in answers]
    (turn,), (connection,) = world.spans("turn"), world.spans("session")
    assert connection.context.span_id == turn.parent.span_id


def test_manual_turns_are_left_to_the_application() -> None:
    """With ``websocket_turns="manual"`` no message begins a turn."""
    world = connect(websocket_turns="manual")
    answers: list[str] = []

    async def scenario() -> None:
        wire = Wire(world)
        await wire.accepted()
        answers.append(await wire.ask("one"))
        await wire.close()

    run(scenario)
    assert "None" == answers[0].split("|")[1]


def test_session_that_idled_out_between_messages_is_followed() -> None:
    """A message after the idle time belongs to the next session, linked to the one that ended."""
    world = connect()
    answers: list[str] = []

    async def scenario() -> None:
        wire = Wire(world)
        await wire.accepted()
        answers.append(await wire.ask("one"))
        world.clock.advance(seconds=3600)
        answers.append(await wire.ask("two"))
        await wire.close()

    run(scenario)
    first, second = (a.split("|") for a in answers)
    assert first[0] != second[0] and "1" == second[1]
    starts = world.starts()
    assert [first[0], second[0]] == [e.attributes["session.id"] for e in starts]
    assert first[0] == starts[1].attributes["session.previous_id"]


def test_denied_connection_is_passed_on() -> None:
    """A close before the accept passes, and ends the session span."""

    async def deny(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 4403})

    world = make_world("asgi", deny)
    found: list[Any] = []

    async def scenario() -> None:
        wire = Wire(world)
        found.append(await wire.accepted())
        await asyncio.wait_for(wire.task, 5)

    run(scenario)
    assert {"type": "websocket.close", "code": 4403} == found[0]
    assert 1 == len(world.spans("session"))


def test_sweep_by_requests_steps_when_a_connection_ends() -> None:
    """With ``sweep="request"`` the end of a connection is followed by a bounded step, as a response is."""
    world = connect(sweep="request")

    async def scenario() -> None:
        wire = Wire(world)
        await wire.accepted()
        await wire.ask("one")
        await wire.close()

    run(scenario)
    assert ["session.start"] == [e.event_name for e in world.events]
