"""``sweep="request"``: nothing runs between requests, and each response is followed by a bounded step."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from session_mw import CallableSink
from session_mw._core import pace
from session_mw._core.ops import Touch
from session_mw._core.records import Limits
from session_mw._engine import parts
from tests.shells.worlds import World, make_world

LIMITS = Limits(60_000, 86_400_000, 1_000, 1_000)


@pytest.fixture(params=["memory", "sqlite", "postgresql", "redis"])
def world(request: pytest.FixtureRequest, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The application over each store; a step may follow a step at once."""
    monkeypatch.setattr(pace, "SHARE", 0)
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/live.db"}
    more: dict[str, Any] = {}
    if request.param == "redis":
        more["ledger"] = "memory://"
        urls["redis"] = f"{request.getfixturevalue('redis_url')}?socket_timeout=5"
    elif request.param == "postgresql":
        urls["postgresql"] = request.getfixturevalue("pg_emptied")
    world = make_world(kind, store=urls[request.param], sweep="request", **more)
    yield world
    parts._engines.discard(world.engine)  # at exit its server is gone
    world.engine.store.close()


def leave(world: World, many: int) -> None:
    """Let so many sessions of others begin, and time pass until they are over."""
    for number in range(many):
        world.engine.store.touch(Touch(None, f"s{number}", LIMITS))
    world.clock.advance(seconds=3600)


def reported(world: World) -> list[str]:
    return [event.attributes["session.id"] for event in world.events if event.event_name == "session.end"]


def test_response_is_followed_by_a_step_of_twenty_sessions_at_most(world: World) -> None:
    """What is left over is left to later responses; each end is reported once, and no thread ever runs."""
    leave(world, 45)
    found = [0]
    for _ in range(60):  # fewer than twenty where a step takes longer than it may
        world.request()
        found.append(len(reported(world)))

    steps = [after - before for before, after in pairwise(found)]
    assert max(steps) <= 20
    assert steps[0] >= 1
    assert {f"s{number}" for number in range(45)} == set(reported(world))
    assert 45 == len(reported(world))
    assert world.engine.background._thread is None


def test_step_comes_when_the_client_has_all_of_the_response(kind: str) -> None:
    """Whoever waits for an answer does not wait for the sweep."""
    order: list[str] = []
    sink = CallableSink(lambda records: order.append("report"))
    world = make_world(kind, sweep="request", event_sink=sink)
    send = (_sent_asgi if kind == "asgi" else _sent_wsgi)(world, order)

    assert order.index("report") > max(at for at, what in enumerate(order) if what == "body")
    assert send >= 1


def test_step_that_takes_long_is_rare_and_small(kind: str) -> None:
    """A slow collector costs a tenth of the time, and one session at a time in the end."""
    world = make_world(kind, sweep="request", event_sink=CallableSink(lambda records: time.sleep(0.03)))
    leave(world, 100)
    began = time.monotonic()
    for _ in range(100):
        world.request(path="/untouched", method="GET")
    took = time.monotonic() - began

    assert world.engine.background._pace.limit < 20
    steps = took / (0.03 * pace.SHARE)
    assert world.engine.store.stats().live >= 100 - 20 * (steps + 1)


def test_request_that_brings_nothing_makes_no_step_in_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """No hand-over to a thread, where there is nothing to write and no time to sweep."""
    world = make_world("asgi", sweep="request")
    world.request()
    world.engine.background._pace.took(0.0, time.monotonic() + 1000, full=False)
    handed: list[Any] = []
    monkeypatch.setattr(asyncio, "to_thread", lambda *given: handed.append(given))
    world.request(method="GET", headers={"Sec-Fetch-Mode": "navigate", "Accept": "text/html"})

    assert [] == handed


def _sent_asgi(world: World, order: list[str]) -> int:
    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        order.append(message["type"].rpartition(".")[2])

    scope = {"type": "http", "method": "POST", "path": "/stream", "query_string": b"", "headers": [], "scheme": "https"}
    asyncio.run(world.app(scope, receive, send))
    return order.count("body")


def _sent_wsgi(world: World, order: list[str]) -> int:
    environ: dict[str, Any] = {"REQUEST_METHOD": "POST", "PATH_INFO": "/stream"}
    setup_testing_defaults(environ)
    body = world.app(environ, lambda *given: None)
    for _ in body:
        order.append("body")
    order.append("body")  # the server writes what ends the response, then it closes
    body.close()
    return order.count("body")
