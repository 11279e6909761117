"""
What the pages under test import: a process with an SDK, whose spans and events go to files, a line each.

``STREAMLIT_FOLDER`` says where; ``STREAMLIT_STORE`` which store (memory by default).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from session_mw import CallableSink, SessionSettings, configure

FOLDER = Path(os.environ["STREAMLIT_FOLDER"])


def note(file: str, **what: Any) -> None:
    """Append a line to a file, whole, whichever thread does."""
    descriptor = os.open(FOLDER / file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, (json.dumps(what) + "\n").encode())
    finally:
        os.close(descriptor)


class Lines(SpanExporter):
    """Writes each span down."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            assert span.context is not None
            parent = None if span.parent is None else span.parent.span_id
            ids = {"trace": span.context.trace_id, "span": span.context.span_id, "parent": parent}
            note("spans", name=span.name, **ids, attributes=dict(span.attributes or {}))
        return SpanExportResult.SUCCESS


def report(events: Sequence[Any]) -> None:
    """Take events, as a sink."""
    for event in events:
        note("events", name=event.event_name, attributes=dict(event.attributes))


PROVIDER = TracerProvider()
PROVIDER.add_span_processor(SimpleSpanProcessor(Lines()))
TRACER = PROVIDER.get_tracer("page")
SETTINGS = SessionSettings(
    secret_key="0123456789abcdef-a-secret-for-tests-only-0123456789",
    store=os.environ.get("STREAMLIT_STORE", "memory://"),
    cookie_secure=False,
    cookie_name="session_mw",
    event_sink=CallableSink(report),
)


def set_up() -> None:
    """Say where sessions are kept; a page's every run does."""
    configure(SETTINGS, tracer_provider=PROVIDER)


def work(name: str, **attributes: Any) -> None:
    """Make a span, as any instrumentation would."""
    with TRACER.start_as_current_span(name, attributes=attributes):
        pass
