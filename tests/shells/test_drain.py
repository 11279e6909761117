"""The end of a process: bounded, whatever hangs; what is held is given up; and nothing depends on it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from session_mw import CallableSink, SessionSettings
from session_mw._core.ops import Claim
from session_mw._engine import parts
from session_mw.asgi import SessionTrackingMiddleware as ASGIMiddleware
from session_mw.stores import open_store
from session_mw.telemetry import prices
from session_mw.testing import FakeClock
from session_mw.wsgi import SessionTrackingMiddleware as WSGIMiddleware
from tests.patience import PATIENCE
from tests.shells import worlds
from tests.shells.worlds import SECRET

SECONDS = 2.0  # promised
SHORT = 0.4  # the same, where only its shares matter
LATE = 1.0 * PATIENCE  # what a loaded machine may add


class Hanging:
    """Something that does not come back, until the test is over."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self._over = threading.Event()

    def __call__(self, *_: object) -> bool:
        self.entered.set()
        self._over.wait(30)
        return True

    def let_go(self) -> None:
        self._over.set()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    one = Hanging()
    yield one
    one.let_go()


@contextmanager
def bounded(seconds: float = SHORT) -> Iterator[None]:
    """What happens here takes no longer than it may."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds + LATE


def make(sink: Any, clock: FakeClock | None = None, store: str = "memory://", **more: Any) -> Any:
    settings = SessionSettings(secret_key=SECRET, event_sink=sink, store=store, lifecycle_spans="never", **more)
    return WSGIMiddleware(worlds.wsgi_app, settings, clock=clock)


def ask(app: Any, path: str = "/echo") -> dict[str, Any]:
    found: dict[str, Any] = worlds._send_wsgi(app, "POST", path, [], "https", "203.0.113.9").json()
    return found


def until(done: Callable[[], object], seconds: float = 10 * PATIENCE) -> None:
    limit = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.mark.landing
def test_G5_hanging_sink_costs_two_seconds_and_no_counter(hanging: Hanging, tmp_path: Path) -> None:
    """While a sink hangs, what turns brought is written all the same, and the process goes in time."""
    url = f"sqlite:///{tmp_path}/sessions.db"
    app = make(CallableSink(hanging), store=url)
    session_id = ask(app)["id"]
    assert hanging.entered.wait(10 * PATIENCE)
    ask(app, "/usage")
    with bounded(SECONDS):
        app.engine.drain()

    store, _ = open_store(url)
    rows = [store.read(session_id), store.stats()]
    assert (1, 2) == (rows[0].completed, rows[1].live)
    assert not app.engine.background._adds and not app.engine.background._turns


def test_G5_own_leases_are_given_up(hanging: Hanging, tmp_path: Path) -> None:
    """What this process has claimed and cannot report, another one claims at once, not when the lease has run out."""
    url, clock = f"sqlite:///{tmp_path}/sessions.db", FakeClock()

    def only_ends(events: Any) -> bool:
        return hanging() if any(e.event_name == "session.end" for e in events) else True

    app = make(CallableSink(only_ends), clock, url)
    session_id = ask(app)["id"]
    clock.advance(seconds=1801)
    assert hanging.entered.wait(10 * PATIENCE)
    other, _ = open_store(url, clock=clock)
    leased = other.claim(Claim("other", app.engine.policy.limits)).records
    with bounded():
        app.engine.drain(SHORT)

    assert [] == leased
    (record,) = other.claim(Claim("another", app.engine.policy.limits)).records
    assert (session_id, "idle_timeout") == (record.session_id, record.reason)


def test_G5_hanging_store_costs_two_seconds(hanging: Hanging) -> None:
    """A store that does not answer holds no process."""
    app = make(CallableSink(lambda events: None))
    ask(app)
    app.engine.background._plan.store = Stuck(hanging)
    with bounded():
        app.engine.drain(SHORT)

    assert hanging.entered.is_set()


class Stuck:
    """A store behind a network that swallows everything."""

    name, is_async, boot_id = "stuck", False, None

    def __init__(self, hanging: Hanging) -> None:
        self._hanging = hanging

    def __getattr__(self, name: str) -> Any:
        return self._hanging


def test_G5_prices_that_never_come_are_not_waited_for(hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> None:
    """A price list that takes long to load leaves time for the rest."""
    events: list[Any] = []
    app = make(CallableSink(events.extend))
    ask(app)
    loading = prices.PriceList()
    loading._thread = threading.Thread(target=hanging, daemon=True)
    loading._thread.start()
    monkeypatch.setattr(prices, "_list", loading)
    with bounded():
        app.engine.drain(SHORT)

    assert ["session.start", "session.end"] == [e.event_name for e in events]


def test_backlog_is_left_to_others(tmp_path: Path) -> None:
    """With more sessions due than there is time for, none is held when the process goes."""
    url, clock, taken = f"sqlite:///{tmp_path}/sessions.db", FakeClock(), []

    def slow(events: Any) -> None:
        ends = [e for e in events if e.event_name == "session.end"]
        taken.extend(ends)
        time.sleep(0.06 if ends else 0)

    app = make(CallableSink(slow), clock, url)
    app.engine.background.hold()
    for _ in range(40):
        ask(app)
    app.engine.background.step()
    clock.advance(seconds=1801)
    app.engine.background.sweep = lambda limit=500: type(app.engine.background).sweep(app.engine.background, 4)
    with bounded():
        app.engine.drain(SHORT)

    other, _ = open_store(url, clock=clock)
    left = other.claim(Claim("other", app.engine.policy.limits)).records
    assert 40 == len(taken) + len(left)
    assert taken and left


def test_engine_works_after_a_drain() -> None:
    """Requests may come after the shutdown began, and the application may start again: each drain is as the first."""
    events: list[Any] = []
    app = make(CallableSink(events.extend))
    for count in (1, 2, 3):
        ask(app)
        until(lambda: app.engine.background._thread is not None)
        app.engine.drain()
        app.engine.drain()

        assert app.engine.background._thread is None
        assert count == len([e for e in events if e.event_name == "session.end"])


def test_thread_that_hung_is_not_a_second_one(hanging: Hanging) -> None:
    """After a drain the next thing to do starts a thread; the one that hung ends when it is let go."""
    app = make(CallableSink(hanging))
    ask(app)
    assert hanging.entered.wait(10 * PATIENCE)
    stuck = app.engine.background._thread
    app.engine.drain(0.2)
    ask(app)

    until(lambda: app.engine.background._thread is not None)
    assert stuck is not app.engine.background._thread
    hanging.let_go()
    until(lambda: not stuck.is_alive())
    assert app.engine.background._thread.is_alive()


def test_G6_unused_engine_is_drained_without_a_file(tmp_path: Path) -> None:
    """A master that only forks opens nothing when it ends."""
    app = make(CallableSink(lambda events: None), store=f"sqlite:///{tmp_path}/sessions.db")
    app.engine.drain()

    assert [] == list(tmp_path.iterdir())


EXIT = """
import atexit, sys, threading, time
marks = []
atexit.register(lambda: print(time.monotonic() - marks[0]))  # runs last
from session_mw import CallableSink
from session_mw.wsgi import SessionTrackingMiddleware
from tests.shells import worlds
stuck, never = threading.Semaphore(0), threading.Event()
def hang(events):
    stuck.release()
    never.wait()
for _ in range(3):
    app = SessionTrackingMiddleware(worlds.wsgi_app, secret_key=worlds.SECRET, event_sink=CallableSink(hang))
    worlds._send_wsgi(app, "POST", "/echo", [], "https", "203.0.113.9")
    stuck.acquire()
atexit.register(lambda: marks.append(time.monotonic()))  # runs first
"""


@pytest.mark.slow
def test_G5_several_engines_share_the_time_at_exit() -> None:
    """Three engines whose sinks hang do not take three times as long."""
    done = subprocess.run([sys.executable, "-c", EXIT], capture_output=True, text=True, timeout=50)

    assert 0 == done.returncode, done.stderr
    assert float(done.stdout) < SECONDS + LATE


def test_G5_every_engine_has_its_share(hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine whose sink hangs does not take the others' time."""
    monkeypatch.setattr(parts, "DRAIN_SECONDS", SHORT)
    events: list[Any] = []
    stuck, well = make(CallableSink(hanging)), make(CallableSink(events.extend))
    for app in (stuck, well):
        ask(app)
    assert hanging.entered.wait(10 * PATIENCE)
    others = [engine for engine in parts._engines if engine not in (stuck.engine, well.engine)]
    for engine in others:
        parts._engines.discard(engine)
    try:
        with bounded():
            parts._drain_all()
    finally:
        parts._engines.update(others)

    assert ["session.start", "session.end"] == [e.event_name for e in events]


# -- lifespan


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("session_mw.asgi.lifespan.DRAIN_SECONDS", SHORT)


async def lifespan(app: Any, meanwhile: Any = None) -> float:
    """Start and stop *app*; returns the seconds that stopping took."""
    began, stop = 0.0, asyncio.Event()
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    inbox.put_nowait({"type": "lifespan.startup"})

    async def send(message: Any) -> None:
        if message["type"] == "lifespan.shutdown.complete":
            stop.set()

    running = asyncio.ensure_future(app({"type": "lifespan", "asgi": {}}, inbox.get, send))
    await asyncio.sleep(0.01)
    began = time.monotonic()
    inbox.put_nowait({"type": "lifespan.shutdown"})
    other = asyncio.ensure_future(meanwhile()) if meanwhile is not None else None
    await stop.wait()
    took = time.monotonic() - began
    await running
    if other is not None:
        other.cancel()
    return took


def asgi(sink: Any, app: Any = worlds.asgi_app, **options: Any) -> Any:
    settings = SessionSettings(secret_key=SECRET, event_sink=sink, lifecycle_spans="never")
    return ASGIMiddleware(app, settings, **options)


def ask_asgi(app: Any) -> None:
    worlds._send_asgi(app, "POST", "/echo", [], "https", "203.0.113.9")


@pytest.mark.landing
def test_G5_lifespan_shutdown_is_bounded_and_leaves_the_loop_free(hanging: Hanging) -> None:
    """While the drain waits for what hangs, other requests are served."""
    app, gaps = asgi(CallableSink(hanging)), [0.0]
    ask_asgi(app)
    assert hanging.entered.wait(10 * PATIENCE)

    async def ticking() -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(0.01)
            gaps.append(time.monotonic() - before)
            before = time.monotonic()

    took = asyncio.run(lifespan(app, ticking))

    assert took < SECONDS + LATE
    assert max(gaps) < 0.5 * PATIENCE
    assert len(gaps) > 10


@pytest.mark.usefixtures("short")
def test_G5_threads_that_are_all_taken_do_not_hold_a_shutdown(hanging: Hanging) -> None:
    """Where the application's own jobs fill asyncio's threads, nobody drains, and nothing waits for that."""
    app = asgi(CallableSink(lambda events: None))
    ask_asgi(app)

    async def run() -> float:
        from concurrent.futures import ThreadPoolExecutor

        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = loop.run_in_executor(None, hanging)
        try:
            return await lifespan(app)
        finally:
            hanging.let_go()
            await busy

    assert asyncio.run(run()) < SHORT + LATE


def test_events_are_reported_before_the_application_closes_its_telemetry() -> None:
    """The drain comes before the application's own shutdown: sinks and providers still take what it brings."""
    order: list[str] = []

    async def closing(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await worlds.asgi_app(scope, receive, send)
            return
        for kind in ("startup", "shutdown"):
            await receive()
            order.append(kind)
            await send({"type": f"lifespan.{kind}.complete"})

    app = asgi(CallableSink(lambda events: order.extend(e.event_name for e in events)), closing)
    app.engine.background.hold()
    ask_asgi(app)
    asyncio.run(lifespan(app))

    assert ["startup", "session.start", "session.end", "shutdown"] == order


def test_turns_that_the_shutdown_ends_are_written_too() -> None:
    """What the application's own shutdown brings is drained before the server hears that all is done."""

    async def closing(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await asyncio.to_thread(ask_asgi, app)
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await worlds.asgi_app(scope, receive, send)

    events: list[Any] = []
    app = asgi(CallableSink(events.extend), closing)
    asyncio.run(lifespan(app))

    assert ["session.start", "session.end"] == [e.event_name for e in events]


def test_last_spans_are_sent_at_lifespan_shutdown() -> None:
    """Uvicorn ends a worker by a signal, so providers' exit hooks never run: they are flushed, and stay open."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=600_000))
    app = asgi(CallableSink(lambda events: None), tracer_provider=provider)
    ask_asgi(app)
    asyncio.run(lifespan(app))

    assert {"session", "turn"} <= {span.name for span in exporter.get_finished_spans()}
    ask_asgi(app)
    provider.force_flush()
    assert 2 == len([span for span in exporter.get_finished_spans() if span.name == "turn"])
    provider.shutdown()


class HangingExporter(SpanExporter):
    """A back end that does not answer."""

    def __init__(self, hanging: Hanging) -> None:
        self._hanging = hanging

    def export(self, spans: Any) -> SpanExportResult:
        self._hanging()
        return SpanExportResult.SUCCESS


@pytest.mark.usefixtures("short")
def test_G5_back_end_that_does_not_answer_does_not_hold_a_shutdown(hanging: Hanging) -> None:
    """The SDK would wait for half a minute; a shutdown does not."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(HangingExporter(hanging), schedule_delay_millis=600_000))
    app = asgi(CallableSink(lambda events: None), tracer_provider=provider)
    ask_asgi(app)
    took = asyncio.run(lifespan(app))
    hanging.let_go()
    provider.shutdown()

    assert took < SHORT + LATE
