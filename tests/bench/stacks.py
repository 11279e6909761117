"""
What people write themselves today: a server span, a signed cookie, baggage, and a span with ten attributes for a turn.

Twice the same, as pure ASGI and on ``BaseHTTPMiddleware``. Each counts turns in Starlette's session, which signs the
cookie anew in every response: the count has to live somewhere.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from opentelemetry import baggage, trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.trace import Tracer
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import Response

SECRET = "a secret for the benchmark's peers"


class BaggageToSpan(SpanProcessor):
    """Copies baggage to every span."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Copy it to *span*."""
        for key, value in baggage.get_all(parent_context).items():
            span.set_attribute(key, str(value))


def server_span(app: Any, provider: TracerProvider) -> Any:
    """Return *app* in OpenTelemetry's ASGI middleware: a server span, no send and receive spans, no metrics."""
    return OpenTelemetryMiddleware(
        app, tracer_provider=provider, meter_provider=NoOpMeterProvider(), exclude_spans=["send", "receive"]
    )


def pure_asgi(app: Any, provider: TracerProvider) -> Any:
    """Return *app* in the stack as pure ASGI."""
    provider.add_span_processor(BaggageToSpan())
    turns = PureTurns(app, provider.get_tracer("handmade"))
    return server_span(SessionMiddleware(turns, SECRET), provider)


def base_http(app: Any, provider: TracerProvider) -> Any:
    """Return *app* in the stack on ``BaseHTTPMiddleware``."""
    provider.add_span_processor(BaggageToSpan())
    turns = BaseTurns(app, provider.get_tracer("handmade"))
    return server_span(SessionMiddleware(turns, SECRET), provider)


def begin(session: MutableMapping[str, Any]) -> tuple[str, str]:
    """Count a turn, and return session and user."""
    session_id = session.get("id")
    if session_id is None:
        session_id = session["id"] = uuid.uuid4().hex
        session["user"] = "user-42"
        session["started"] = time.time()
    session["turns"] = session.get("turns", 0) + 1
    return session_id, session["user"]


def identified(session_id: str, user_id: str) -> Context:
    """Put session and user into baggage and onto the server's span."""
    server = trace.get_current_span()
    server.set_attribute("session.id", session_id)
    server.set_attribute("user.id", user_id)
    return baggage.set_baggage("user.id", user_id, baggage.set_baggage("session.id", session_id))


def attributes(session: MutableMapping[str, Any]) -> dict[str, Any]:
    """Return what the turn's span says; session and user come from baggage."""
    return {
        "gen_ai.conversation.id": session["id"],
        "turn.id": uuid.uuid4().hex,
        "turn.number": session["turns"],
        "turn.role": "user",
        "session.type": "chat",
        "session.start_time": session["started"],
        "conversation.turn_number": session["turns"],
    }


class PureTurns:
    """The turn as pure ASGI."""

    def __init__(self, app: Any, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        session = scope["session"]
        token = attach(identified(*begin(session)))
        try:
            with self._tracer.start_as_current_span("turn", attributes=attributes(session)) as span:

                async def watched(message: Any) -> None:
                    if message["type"] == "http.response.start":
                        span.set_attribute("http.response.status_code", message["status"])
                    await send(message)

                await self._app(scope, receive, watched)
        finally:
            detach(token)


class BaseTurns(BaseHTTPMiddleware):
    """The turn on ``BaseHTTPMiddleware``."""

    def __init__(self, app: Any, tracer: Tracer) -> None:
        super().__init__(app)
        self._tracer = tracer

    async def dispatch(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """Serve one request."""
        session = request.session
        token = attach(identified(*begin(session)))
        try:
            with self._tracer.start_as_current_span("turn", attributes=attributes(session)) as span:
                response = await call_next(request)
                span.set_attribute("http.response.status_code", response.status_code)
                return response
        finally:
            detach(token)
