"""
The server's span, when nobody else makes one: OpenTelemetry's own ASGI middleware, with what is noise left out.

Its spans per receive and send would triple the cost of a request and say nothing that the turn's span does not; its
metrics would be a second set beside those of an instrumentor.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.metrics import NoOpMeterProvider

from .._engine import Engine
from ..telemetry._traces import written
from .types import ASGIApp, Scope


class ServerSpan:
    """
    Wraps *inside* in a server span.

    Args:
        inside: What to serve within it.
        engine: Says whether one is wanted.
        tracer_provider: None takes the global one.
    """

    def __init__(self, inside: ASGIApp, engine: Engine, tracer_provider: Any) -> None:
        self._inside = inside
        self._engine = engine
        self._mode = engine.settings.server_span
        self._provider = tracer_provider
        self._made_for: object = None
        self._app: Any = None

    def wanted(self) -> bool:
        """Return whether this request needs a server span of ours."""
        mode = self._mode
        if mode == "never" or self._engine.spans.live is None:
            return False
        return mode == "always" or not trace.get_current_span().get_span_context().is_valid

    @property
    def app(self) -> ASGIApp:
        """The wrapped application; made anew when the global provider changes, because it keeps its tracer."""
        provider = self._engine.spans.provider
        if provider is not self._made_for:
            self._app = OpenTelemetryMiddleware(
                self._inside,
                default_span_details=span_details,
                tracer_provider=provider,
                meter_provider=NoOpMeterProvider(),
                exclude_spans=["send", "receive"],
            )
            self._made_for = provider  # last: until then, a request in another thread does the same
        app: ASGIApp = self._app
        return app


def continued(headers: Iterable[tuple[bytes, bytes]], context: Context) -> list[tuple[bytes, bytes]]:
    """
    Return a request's headers with the current span as the caller's.

    An application that starts a server span whatever is current (FastAPI's own telemetry does) then continues ours.

    Args:
        headers: Of the request.
        context: Holds the span.

    Source:
        W3C Trace Context, 3.4 "Mutating the traceparent Field" and 3.5 "Mutating the tracestate Field".
    """
    span = trace.get_current_span(context).get_span_context()
    line = f"00-{written(span)}"
    kept = [header for header in headers if header[0] not in (b"traceparent", b"tracestate")]
    kept.append((b"traceparent", line.encode("ascii")))
    if span.trace_state:  # the caller's, if the caller is continued
        kept.append((b"tracestate", span.trace_state.to_header().encode("latin-1")))
    return kept


def span_details(scope: Scope) -> tuple[str, dict[str, Any]]:
    """Name the span by its method: paths hold ids, and a name per id is no name (semconv, HTTP span names)."""
    return scope.get("method", "WEBSOCKET"), {}
