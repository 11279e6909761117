"""A process without a middleware: its own store, spans that are kept, events that are remembered, time by hand."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from session_mw import configure
from session_mw._core.events import EventRecord
from session_mw._engine import Engine
from session_mw._hierarchy.hosts import known_engine
from session_mw.testing import FakeClock, RecordingSink

SECRET = "0123456789abcdef-a-secret-for-tests-only-0123456789"
MINUTE = 60


class Script:
    """
    What a script sees: ``configure`` called, and everything that comes out of it.

    Args:
        recording: False leaves OpenTelemetry without an SDK.
        settings: By name.
    """

    def __init__(self, *, recording: bool = True, **settings: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.sink = RecordingSink()
        self.clock = FakeClock()
        configure(
            tracer_provider=self.provider if recording else None,
            clock=self.clock,
            **{"secret_key": SECRET, "event_sink": self.sink, **settings},
        )
        self.tracer = self.provider.get_tracer("app")
        engine = known_engine()
        assert engine is not None
        self.engine: Engine = engine
        self.engine.background.hold()

    def work(self, name: str = "work") -> None:
        """Make a span, as any instrumentation would."""
        with self.tracer.start_as_current_span(name):
            pass

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def only(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    def shown(self, name: str) -> dict[str, Any]:
        """Return the attributes of the one span of that name."""
        return dict(self.only(name).attributes or {})

    def sweep(self, minutes: float = 0) -> None:
        """Let time pass, and the background do what is due."""
        self.clock.advance(seconds=minutes * 60)
        self.engine.background.step()

    def ended(self, session_id: str | None = None, minutes: float = 31) -> dict[str, Any]:
        """Let time pass, and return the attributes of the one ``session.end`` (of that session)."""
        self.sweep(minutes)
        (end,) = [e for e in self.ends() if session_id in (None, e.key[0])]
        return dict(end.attributes)

    def ends(self) -> list[EventRecord]:
        return self.sink.named("session.end")


def parent_of(span: ReadableSpan) -> int | None:
    """Return the span id of a span's parent."""
    return None if span.parent is None else span.parent.span_id


def id_of(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


def trace_of(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.trace_id
