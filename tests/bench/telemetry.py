"""Tracer providers, one for each case: no case sees another's processors, and every span can be accounted for."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON


class Counted(SpanExporter):
    """
    Exports to nowhere, and counts.

    Attributes:
        spans: Seen so far.
    """

    def __init__(self) -> None:
        self.spans = 0
        self._lock = threading.Lock()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Count *spans*."""
        with self._lock:
            self.spans += len(spans)
        return SpanExportResult.SUCCESS


class Recorder:
    """
    A tracer provider with a batch processor before a counting exporter.

    Args:
        sampled: False records nothing (``ALWAYS_OFF``).
    """

    def __init__(self, sampled: bool = True) -> None:
        self.exporter = Counted()
        self.provider = TracerProvider(sampler=ALWAYS_ON if sampled else ALWAYS_OFF, shutdown_on_exit=False)
        self.provider.add_span_processor(BatchSpanProcessor(self.exporter))

    def settle(self) -> None:
        """Export what is queued now, so that no other case pays for it."""
        self.provider.force_flush()

    def close(self) -> None:
        """Stop the processor's thread."""
        self.provider.shutdown()
