"""Turns and sockets that last longer than the idle timeout keep their session, as long as their process lives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from session_mw import current_session, current_turn, session_context, turn
from tests.shells.test_websocket import Wire
from tests.shells.worlds import World, make_world

MINUTES = 3  # turn_timeout is 10: less than a third of it


def pass_time(world: World, minutes: int, renew: bool = True) -> None:
    """Let time pass, and let the background do what it does meanwhile."""
    for _ in range(minutes // MINUTES):
        world.clock.advance(seconds=MINUTES * 60)
        if renew:
            world.engine.background.renew()
        world.work()


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/sessions.db"


class Long:
    """An application whose answer takes *minutes*; parts of it are sent meanwhile."""

    def __init__(self, minutes: int, renew: bool = True) -> None:
        self.minutes, self.renew = minutes, renew
        self.world: World | None = None

    def work(self) -> bytes:
        assert self.world is not None
        pass_time(self.world, self.minutes, self.renew)
        session, current = current_session(), current_turn()
        assert session is not None and current is not None
        current.add_usage(input_tokens=7, output_tokens=3)
        return session.id.encode()

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"...", "more_body": True})
        await send({"type": "http.response.body", "body": self.work()})

    def wsgi(self, environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"..."
        yield self.work()


def long(kind: str, store: str, minutes: int, renew: bool = True) -> World:
    """Return a world with an application that takes its time."""
    app = Long(minutes, renew)
    app.world = make_world(kind, app.asgi if kind == "asgi" else app.wsgi, store=store)
    return app.world


def test_a_turn_longer_than_the_idle_timeout_keeps_its_session(kind: str, store: str) -> None:
    """Two hours in one turn: the session lives, its tokens are counted, and the next turn is number 2."""
    world = long(kind, store, 120)
    first = world.request()

    assert [] == world.ends()
    record = world.engine.store.read(first.body[3:].decode())
    assert (1, 1, 10) == (record.turns, record.completed, record.input_tokens + record.output_tokens)
    second = world.request()
    assert first.body == second.body
    assert 2 == world.engine.store.read(first.body[3:].decode()).turns


def test_a_turn_that_nobody_renews_ends_its_session(kind: str, store: str) -> None:
    """The same without renewals, as when the process is gone: the idle timeout ends the session."""
    world = long(kind, store, 120, renew=False)
    world.request()
    (end,) = world.ends()

    assert ("idle_timeout", "abnormal") == (end.attributes["session.end_reason"], end.attributes["session.status"])


def test_the_absolute_timeout_ends_a_turn_that_never_ends(kind: str, store: str) -> None:
    """Renewal postpones the idle timeout, and nothing else."""
    world = long(kind, store, 25 * 60)
    world.request()
    (end,) = world.ends()

    assert "max_lifetime" == end.attributes["session.end_reason"]


def test_a_turn_that_has_ended_is_not_renewed(kind: str, store: str) -> None:
    """After its turn a session idles out as any other."""
    world = long(kind, store, 0)
    world.request()
    pass_time(world, 33)

    assert 1 == len(world.ends())


def test_blocks_hold_their_session_as_well(store: str) -> None:
    """A script's turn of two hours, opened by a block."""
    world = make_world("asgi", store=store)
    with session_context("job-1"), turn():
        pass_time(world, 120)
        found = current_session()

    assert found is not None and [] == world.ends()
    assert 1 == world.engine.store.read("job-1").completed


@pytest.mark.parametrize(("mode", "message"), [("message", {"bytes": b"sound"}), ("manual", {"text": "sound"})])
def test_a_live_socket_is_no_idle_session(mode: str, message: dict[str, Any], store: str) -> None:
    """Messages that are no turns keep the session of a connection alive; silence does not."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            await send({"type": "websocket.send", "text": "heard"})

    async def scenario() -> tuple[int, int]:
        wire = Wire(world, [("cookie", "; ".join(f"{k}={v}" for k, v in world.jar.items()))])
        await wire.accepted()
        for _ in range(10):
            world.clock.advance(seconds=1500)
            wire.put({"type": "websocket.receive", **message})
            await asyncio.wait_for(wire._outbox.get(), 5)
            world.work()
        before = len(world.ends())
        world.clock.advance(seconds=1801)
        world.work()
        after = len(world.ends())
        await wire.close()
        return before, after

    async def both(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    world = make_world("asgi", both, store=store, websocket_turns=mode)
    world.request()  # a turn, so that there is a session

    assert (0, 1) == asyncio.run(scenario())


def test_a_connection_that_is_one_turn_is_renewed(store: str) -> None:
    """With ``websocket_turns="connection"`` the turn is open, whatever is said on the wire."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async def scenario() -> None:
        wire = Wire(world)
        await wire.accepted()
        pass_time(world, 120)
        assert [] == world.ends()
        await wire.close()
        pass_time(world, 33)

    world = make_world("asgi", app, store=store, websocket_turns="connection")
    asyncio.run(scenario())

    assert 1 == len(world.ends())


def test_the_background_renews_by_itself(kind: str) -> None:
    """Once a third of ``turn_timeout`` has passed, a step renews; not in every step."""
    world = make_world(kind)
    background, asked = world.engine.background, []
    background._open.overdue = lambda: asked.append(1) or []
    world.work()
    world.work()
    assert 1 == len(asked)
    background._renew_at = 0.0
    world.work()

    assert 2 == len(asked)


def test_a_turn_starts_the_thread_that_renews_it(kind: str) -> None:
    """The first turn of a process may be its longest: it must not have ended before anything holds it."""
    alive: list[bool] = []

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        alive.append(world.engine.background._thread is not None)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        alive.append(world.engine.background._thread is not None)
        start_response("200 OK", [])
        return [b""]

    world = make_world(kind, asgi if kind == "asgi" else wsgi)
    world.engine.background._held = False
    try:
        world.request()
    finally:
        world.engine.background.stop()

    assert [True] == alive
