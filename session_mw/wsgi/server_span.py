"""The server's span, when nobody else makes one: OpenTelemetry's own WSGI middleware, without its metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opentelemetry import trace
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.metrics import NoOpMeterProvider

from .._engine import Engine
from .types import KEY, Environ, StartResponse


class ServerSpan:
    """
    Wraps calls in a server span.

    Args:
        engine: Says whether one is wanted.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._mode = engine.settings.server_span
        self._made_for: object = None
        self._app: Any = None

    def wanted(self, environ: Environ) -> bool:
        """Return whether this request needs a server span of ours."""
        mode = self._mode
        if mode == "never" or self._engine.spans.live is None:
            return False
        return mode == "always" or not trace.get_current_span().get_span_context().is_valid

    def app(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Call the application inside a server span."""
        provider = self._engine.spans.provider
        if provider is not self._made_for:
            self._app = OpenTelemetryMiddleware(_inside, tracer_provider=provider, meter_provider=NoOpMeterProvider())
            self._made_for = provider  # last: until then, a request in another thread does the same
        body: Iterable[bytes] = self._app(environ, start_response)
        return body


def _inside(environ: Environ, start_response: StartResponse) -> Any:
    return environ[KEY].inside(environ, start_response)
