"""Where session.start and session.end stand as spans: inside of a turn's trace and time, whenever they happen."""

from __future__ import annotations

import time
from typing import Any

from session_mw import current_turn
from session_mw.testing import FakeClock
from tests.shells.worlds import make_world


def now() -> FakeClock:
    """Return a clock that is turned by hand and begins with the spans' own."""
    return FakeClock(time.time_ns() // 1_000_000)


def test_logout_long_after_the_last_turn(kind: str) -> None:
    """A user who logs out ten minutes later does not make the last turn's trace ten minutes long."""
    world = make_world(kind, clock=now(), turn_paths=("/echo",), lifecycle_spans="always")
    world.request("POST", "/echo")
    world.clock.advance(seconds=600)
    world.request("POST", "/logout")
    (end,) = world.ends()
    (root,) = [span for span in world.spans() if span.kind.name == "SERVER" and span.parent is None][:1]
    (span,) = world.spans("session.end")

    assert (600_000, "user_exit") == (end.attributes["session.duration_ms"], end.attributes["session.end_reason"])
    assert end.timestamp_ms == world.clock()
    assert root.context.trace_id == span.context.trace_id
    assert 0 == span.end_time - span.start_time
    assert span.end_time <= root.end_time
    assert end.attributes == dict(span.attributes)


def test_idle_timeout(kind: str) -> None:
    """An end that is noticed half an hour later stands where the last turn ended."""
    world = make_world(kind, clock=now(), lifecycle_spans="always")
    for _ in range(3):
        world.request("POST", "/echo")
    world.clock.advance(seconds=1801)
    (end,) = world.ends()
    (span,) = world.spans("session.end")
    turn = next(one for one in world.spans("turn") if one.context.trace_id == span.context.trace_id)

    assert 3 == turn.attributes["turn.number"]
    assert span.end_time <= turn.end_time
    assert end.timestamp_ms * 1_000_000 == span.start_time


def test_usage_that_comes_after_the_end(kind: str) -> None:
    """It is an event, and no span: that would be one more trace of the session, a turn without user or words."""
    kept: list[Any] = []

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        kept.append(current_turn())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        kept.append(current_turn())
        start_response("200 OK", [])
        return [b""]

    world = make_world(kind, asgi if kind == "asgi" else wsgi, lifecycle_spans="always")
    world.request("POST")
    world.clock.advance(seconds=1801)
    assert 1 == len(world.ends())
    kept[0].add_usage(input_tokens=5, output_tokens=2)
    world.work()

    assert [5] == [
        event.attributes["session.total_input_tokens"]
        for event in world.events
        if event.event_name == "session.usage_late"
    ]
    assert 1 == len({span.context.trace_id for span in world.spans()})
