"""A sender: an engine of this test's own, in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry import context as otel_context
from opentelemetry import propagate
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from session_mw import conversation, session_context, session_metrics, turn
from session_mw._core.scope import current_scope
from session_mw._engine import parts
from session_mw._hierarchy import hosts
from session_mw.context import users
from session_mw.telemetry import install, notices, outgoing
from session_mw.telemetry.destination import unplaced
from tests.queues import seen


class Sender:
    """What sends: a session with a user, a conversation, and its second turn."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.provider = TracerProvider(shutdown_on_exit=False)
        hosts.configure(tracer_provider=self.provider, **seen.settings(folder))
        self.session_id = self.trace_id = self.user_id = ""

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Open the second turn of a session."""
        with session_context("chat-7", user_id="user-456") as session, conversation("thread-1"):
            with turn():
                pass
            with turn(), self.provider.get_tracer("x").start_as_current_span("send") as span:
                self.session_id, self.user_id = session.id, session.user_id or ""
                self.trace_id = format(span.get_span_context().trace_id, "032x")
                yield

    @property
    def identity(self) -> tuple[str, str, str, int]:
        """What a job has to carry."""
        return self.session_id, self.user_id, "thread-1", 2

    def totals(self) -> tuple[int, int]:
        """Return turns and tokens of the session."""
        found = session_metrics(self.session_id)
        return found["turns"], found["tokens"]


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Sender]:
    textmap, installed = propagate.get_global_textmap(), install._installed
    propagate.set_global_textmap(CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()]))
    install._installed = install._Installed()
    _forget()
    yield Sender(tmp_path)
    for engine in hosts._own:
        engine.drain()
    _forget()
    outgoing.remove()
    install._installed = installed
    propagate.set_global_textmap(textmap)


def _forget() -> None:
    otel_context.attach(Context())
    current_scope.set(None)
    unplaced.set(None)
    notices.reset()
    for known in (hosts._own, hosts._said, parts._latest, users._hashers):
        known.clear()
