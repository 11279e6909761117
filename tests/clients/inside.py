"""What these tests begin with: a session, a client's instrumentation, and spans that tell nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace

from session_mw._core.scope import current_scope
from tests.clients.callers import CLIENTS
from tests.clients.test_matrix import WAYS, set_up
from tests.telemetry.support import make_scope

HIDDEN = trace.NoOpTracerProvider()  # spans of it tell nothing: the wrappers have to know


@contextmanager
def in_session(client: str, way: str = "otel-last") -> Iterator[None]:
    """Inside of a session, with OpenTelemetry's instrumentation of a client."""
    with set_up(WAYS[way], CLIENTS[client][1], HIDDEN):
        current_scope.set(make_scope())
        yield
