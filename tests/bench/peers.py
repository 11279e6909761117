"""What our middleware is measured against: nothing, the floor, and what others publish or people write themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NoOpTracerProvider
from starlette.middleware.sessions import SessionMiddleware

from . import stacks
from .apps import ASGIApp, WSGIApp
from .case import Case, Web, web_case
from .drivers import ASGIClient, WSGIClient
from .floor import ASGIFloor, WSGIFloor
from .telemetry import Recorder

Stack = Callable[[Any, TracerProvider], Any]


def ignore(_: Any) -> object:
    """See nothing."""
    return None


def starlette_id(scope: Any) -> object:
    """Return the id in Starlette's session; the first request puts one there."""
    session = scope["session"]
    if "id" not in session:
        session["id"], session["user"] = "a3f1c2d4e5b60718293a4b5c6d7e8f90", "user-42"
    return session["id"]


def text(seen: object) -> str | None:
    """Return the id that a handler saw."""
    return seen if isinstance(seen, str) else None


def bare_asgi(loop: asyncio.AbstractEventLoop) -> Case:
    """Return the ASGI application alone."""
    app = ASGIApp()
    return web_case(Web("bare ASGI app", ASGIClient(app, app, loop, ignore, page=False)), base=None)


def bare_wsgi() -> Case:
    """Return the WSGI application alone."""
    app = WSGIApp()
    return web_case(Web("bare WSGI app", WSGIClient(app, app, ignore, page=False)), base=None)


def starlette_sessions(loop: asyncio.AbstractEventLoop) -> Case:
    """Return Starlette's session middleware; its handler reads the session in every request."""
    inner = ASGIApp(lambda scope: scope["session"].get("id"))
    app = SessionMiddleware(inner, stacks.SECRET)
    web = Web("Starlette SessionMiddleware, read", ASGIClient(app, inner, loop, starlette_id, page=False), text)
    return web_case(web, base="bare ASGI app")


def stack(name: str, make: Stack, loop: asyncio.AbstractEventLoop, *, spans: int, sessions: bool) -> Case:
    """Return an ASGI stack that records; *sessions* says whether it keeps one, in a cookie written every time."""
    recorder, inner = Recorder(), ASGIApp()
    client = ASGIClient(make(inner, recorder.provider), inner, loop, starlette_id if sessions else ignore, page=False)
    web = Web(name, client, text if sessions else None, issues=sessions)
    return web_case(web, base="bare ASGI app", spans=spans, recorder=recorder)


def otel_wsgi() -> Case:
    """Return OpenTelemetry's WSGI middleware alone, recording."""
    recorder, inner = Recorder(), WSGIApp()
    app = OpenTelemetryMiddleware(inner, tracer_provider=recorder.provider, meter_provider=NoOpMeterProvider())
    web = Web("OpenTelemetry WSGI alone", WSGIClient(app, inner, ignore, page=False))
    return web_case(web, base="bare WSGI app", spans=1, recorder=recorder)


def asgi_floor(name: str, loop: asyncio.AbstractEventLoop, recorder: Recorder | None, spans: int) -> Case:
    """Return the hand-written floor in ASGI."""
    inner = ASGIApp()
    app = ASGIFloor(inner, (recorder.provider if recorder else NoOpTracerProvider()).get_tracer("floor"))
    web = Web(name, ASGIClient(app, inner, loop, ignore, page=False), cookie=app.issue("a3f1c2d4e5b60718", "user-42"))
    return web_case(web, base="bare ASGI app", spans=spans, recorder=recorder)


def wsgi_floor() -> Case:
    """Return the hand-written floor in WSGI, recording."""
    recorder, inner = Recorder(), WSGIApp()
    app = WSGIFloor(inner, recorder.provider.get_tracer("floor"))
    name, cookie = "WSGI floor, recording", app.issue("a3f1c2d4e5b60718", "user-42")
    web = Web(name, WSGIClient(app, inner, ignore, page=False), cookie=cookie)
    return web_case(web, base="bare WSGI app", spans=2, recorder=recorder)
