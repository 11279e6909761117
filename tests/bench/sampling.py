"""
What it costs that a sampler knows the session before the server's span begins: OpenTelemetry's middleware around ours.

Both cases keep everything, so that they make the same spans; one decides by the trace's id, one by the session.
"""

from __future__ import annotations

import asyncio
from typing import Any

from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from session_mw import SessionRatioSampler
from session_mw.asgi import SessionTrackingMiddleware
from session_mw.telemetry import early, install
from session_mw.wsgi import SessionTrackingMiddleware as WSGIMiddleware

from . import ours, stacks
from .apps import ASGIApp, WSGIApp
from .case import Case, Web
from .drivers import ASGIClient, WSGIClient
from .telemetry import Recorder


class Alone:
    """
    Runs a case as if its middleware were the only one of the process, and no sampler another's.

    Args:
        client: Drives it.
        policy: Of its middleware.
        samplers: How many samplers ask for sessions.
    """

    def __init__(self, client: ASGIClient | WSGIClient, policy: Any, samplers: int) -> None:
        self._client = client
        self._policy = policy
        self._samplers = samplers
        self.use = client.use

    def ask(self, cookie: str | None) -> Any:
        """Send one request and return the response."""
        self._enter()
        try:
            return self._client.ask(cookie)
        finally:
            early._samplers = 0

    def run(self, count: int) -> int:
        """Send *count* requests; return the CPU nanoseconds that the process used meanwhile."""
        self._enter()
        try:
            return self._client.run(count)
        finally:
            early._samplers = 0

    def _enter(self) -> None:
        propagator = install._installed.propagator
        assert propagator is not None
        propagator.policy, early._samplers = self._policy, self._samplers


def sampled_case(name: str, loop: asyncio.AbstractEventLoop, *, by_session: bool) -> Case:
    """Return OpenTelemetry's ASGI middleware around ours, sampled by session or by trace."""
    recorder, inner = sampled_recorder(by_session), ASGIApp()
    app = SessionTrackingMiddleware(inner, ours.settings(), tracer_provider=recorder.provider)
    around = stacks.server_span(app, recorder.provider)
    client = Alone(ASGIClient(around, inner, loop, ours.look, page=False), app.engine.policy, int(by_session))
    return ours._case(Web(name, client, ours.seen_by), "bare ASGI app", app.engine, recorder, spans=3)


def sampled_wsgi_case(name: str, *, by_session: bool) -> Case:
    """Return the same in WSGI."""
    recorder, inner = sampled_recorder(by_session), WSGIApp()
    app = WSGIMiddleware(inner, ours.settings(), tracer_provider=recorder.provider)
    around = OpenTelemetryMiddleware(app, tracer_provider=recorder.provider, meter_provider=NoOpMeterProvider())
    client = Alone(WSGIClient(around, inner, ours.look, page=False), app.engine.policy, int(by_session))
    return ours._case(Web(name, client, ours.seen_by), "bare WSGI app", app.engine, recorder, spans=3)


def sampled_recorder(by_session: bool) -> Recorder:
    """Return a recorder that keeps everything, by one sampler or the other."""
    recorder = Recorder()
    recorder.provider.sampler = ParentBased(SessionRatioSampler(1) if by_session else TraceIdRatioBased(1))
    early._samplers = 0
    return recorder
