"""What happens behind the requests: late usage, failing sinks, forks, and the drain at the end of a process."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from session_mw import CallableSink
from session_mw._core import pace
from session_mw._core.ops import Add
from session_mw.telemetry import notices
from session_mw.telemetry.metrics import Metrics
from tests.shells.test_capacity import counted
from tests.shells.worlds import SECRET, make_world


def test_late_usage_is_a_record_of_its_own(world: Any) -> None:
    """Tokens that come after the end was reported are one session.usage_late, and change no other number."""
    session_id = world.request().json()["id"]
    world.request(path="/logout")
    (end,) = world.ends()
    world.engine.background.add(Add(session_id, completed=1, input_tokens=5, output_tokens=2, cost_microusd=7))
    world.engine.background.add(Add(session_id, completed=1))
    world.work()

    (late,) = [e for e in world.events if e.event_name == "session.usage_late"]
    found = late.attributes
    assert (session_id, 7, 0.000007) == (
        found["session.id"],
        found["session.total_tokens"],
        found["session.total_cost_usd"],
    )
    assert [end] == world.ends()


def test_end_is_reported_again_until_every_sink_took_it(make: Any) -> None:
    """An end is acknowledged only when all sinks said so; what is reported again is the same but for the attempt."""
    taken: list[Any] = []
    refusing = [True]

    def moody(records: Any) -> bool:
        taken.extend(records)
        return not refusing[0]

    world = make(event_sink=CallableSink(moody))
    world.request()
    world.request(path="/logout")
    world.work()
    world.clock.advance(seconds=120)
    world.work()
    refusing[0] = False
    world.clock.advance(seconds=120)
    world.work()
    world.clock.advance(seconds=120)
    world.work()

    ends = [dict(e.attributes) for e in taken if e.event_name == "session.end"]
    assert [1, 2, 3] == [e.pop("session.emit_attempt") for e in ends]
    assert ends[0] == ends[1] == ends[2]
    assert 0 == world.engine.store.stats().ended


def test_start_that_was_refused_comes_with_the_end(make: Any) -> None:
    """A session.start that its sink did not take is reported before the session's end."""
    taken: list[Any] = []
    refusing = [True]

    def moody(records: Any) -> bool:
        if refusing[0]:
            return False
        taken.extend(records)
        return True

    world = make(event_sink=CallableSink(moody))
    world.request()
    world.work()
    refusing[0] = False
    world.request(path="/logout")
    world.work()

    assert ["session.start", "session.end"] == [e.event_name for e in taken]


def test_lifespan_passes_and_its_shutdown_writes_what_is_queued() -> None:
    """Lifespan messages pass untouched; at shutdown the sessions in memory end with reason shutdown."""
    world = make_world("asgi")
    world.request()
    sent: list[str] = []
    inbox = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> Any:
        return {"type": next(inbox)}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    asyncio.run(world.app({"type": "lifespan", "asgi": {}}, receive, send))

    assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == sent
    (end,) = [e for e in world.events if e.event_name == "session.end"]
    assert "shutdown" == end.attributes["session.end_reason"]


def test_nothing_starts_at_construction(make: Any) -> None:
    """Import and construction start no thread: the first thing to do does."""
    import threading

    before = threading.active_count()
    world = make()

    assert before >= threading.active_count()  # what earlier tests left may end meanwhile
    assert world.engine.background._thread is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_child_begins_with_an_empty_queue(world: Any) -> None:
    """What is queued at a fork belongs to the parent, whose thread is not in the child."""
    world.request()
    background = world.engine.background
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, b"%d %d" % (len(background._adds), background._pid))
        os._exit(0)
    os.waitpid(child, 0)

    assert b"0 0" == os.read(read, 100)
    assert 1 == len(background._adds)


def test_sweep_by_requests_needs_no_thread(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``sweep="request"`` a bounded step follows each response: nothing else ever runs."""
    from session_mw import SessionSettings
    from session_mw.asgi import SessionTrackingMiddleware as ASGI
    from session_mw.testing import FakeClock
    from session_mw.wsgi import SessionTrackingMiddleware as WSGI
    from tests.shells import worlds

    monkeypatch.setattr(pace, "SHARE", 0)
    clock, events = FakeClock(), []
    settings = SessionSettings(secret_key=SECRET, sweep="request", event_sink=CallableSink(events.extend))
    if kind == "asgi":
        app: Any = ASGI(worlds.asgi_app, settings, clock=clock)
    else:
        app = WSGI(worlds.wsgi_app, settings, clock=clock)
    send = worlds._send_asgi if kind == "asgi" else worlds._send_wsgi
    send(app, "POST", "/untouched", [], "https", "203.0.113.9")
    clock.advance(seconds=1801)
    send(app, "POST", "/untouched", [], "https", "203.0.113.9")

    assert app.engine.background._thread is None
    assert 1 == len([e for e in events if e.event_name == "session.end"])


def test_G10_end_that_is_set_aside_is_said_and_comes_out_when_it_is_revived(
    make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The last refusal is one error with what to do, and counted; revived, the same report comes out after all."""
    refused: list[Any] = []
    refusing = [True]

    def moody(records: Any) -> bool:
        if refusing[0]:
            refused.extend(records)
        return not refusing[0]

    notices.reset()
    reader = InMemoryMetricReader()
    world = make(event_sink=CallableSink(moody))
    world.engine.background._plan.metrics = Metrics(MeterProvider([reader]))
    world.request()
    world.request(path="/logout")
    for _ in range(25):
        world.work()
        world.clock.advance(seconds=61)
    dead = world.engine.store.stats().dead
    refusing[0] = False
    revived = world.engine.store.revive(10)
    world.work()

    ends = [event for event in refused if event.event_name == "session.end"]
    assert (21, 1, 1, 0) == (len(ends), dead, revived, world.engine.store.stats().ended)
    lines = [r for r in caplog.records if "session-mw store revive" in r.getMessage()]
    assert ["ERROR"] == [line.levelname for line in lines]
    assert "21 times: 1 of them" in lines[0].getMessage()
    assert ("dead_letter", 1) in counted(reader)
