"""
A worker's first requests come at once, in several threads: none of them may find telemetry half set up.

Each test lets one thread stand in the middle of the set-up while another asks for the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from werkzeug.test import Client

from session_mw.asgi.server_span import ServerSpan as ASGIServerSpan
from session_mw.telemetry.metrics import Metrics
from session_mw.telemetry.spans import SpanMaker
from session_mw.wsgi import SessionTrackingMiddleware

SECRET = "0123456789abcdef-a-secret-for-tests-only-0123456789"


class Door:
    """Holds the first thread that comes through, until it is opened."""

    def __init__(self) -> None:
        self.reached, self._opened, self._first = threading.Event(), threading.Event(), threading.Lock()
        self.armed = True

    def __call__(self) -> None:
        if self.armed and self._first.acquire(blocking=False):
            self.reached.set()
            assert self._opened.wait(10)

    def second(self, ask: Callable[[], Any]) -> tuple[Any, Any]:
        """Return what a first thread gets, who is held in the middle, and what a second one gets meanwhile."""
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(ask()))
        thread.start()
        assert self.reached.wait(10)
        second = ask()
        self._opened.set()
        thread.join(10)
        return answers[0], second


class SlowTracers(TracerProvider):
    def __init__(self, door: Door) -> None:
        super().__init__(shutdown_on_exit=False)
        self._door = door

    def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
        self._door()
        return super().get_tracer(*args, **kwargs)


class SlowMeters(MeterProvider):
    def __init__(self, door: Door) -> None:
        super().__init__(shutdown_on_exit=False)
        self._door = door

    def get_meter(self, *args: Any, **kwargs: Any) -> Any:
        self._door()
        return super().get_meter(*args, **kwargs)


def test_tracer_of_the_second_request() -> None:
    """It has spans like the first one."""
    door = Door()
    maker = SpanMaker(SlowTracers(door))

    assert None not in door.second(maker.tracer)


def test_instruments_of_the_second_request() -> None:
    """It is measured like the first one."""
    door = Door()
    metrics = Metrics(SlowMeters(door))

    assert (True, True) == door.second(metrics.configured)


def test_server_span_of_the_second_asgi_request() -> None:
    """It is served like the first one."""
    door = Door()

    async def inside(scope: Any, receive: Any, send: Any) -> None: ...

    class Engine:
        spans = SpanMaker(SlowTracers(door))
        settings = type("Settings", (), {"server_span": "always"})

    span = ASGIServerSpan(inside, Engine, None)  # type: ignore[arg-type]

    assert None not in door.second(lambda: span.app)


def test_server_span_of_the_second_wsgi_request() -> None:
    """It is answered like the first one."""
    door = Door()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"ok"]

    door.armed = False
    middleware = SessionTrackingMiddleware(app, secret_key=SECRET, tracer_provider=SlowTracers(door))
    middleware.engine.background.hold()
    middleware.engine.ensure_instrumented()
    door.armed = True

    def status() -> str:
        return Client(middleware).post("/").status

    assert ("200 OK", "200 OK") == door.second(status)
