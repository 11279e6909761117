"""Trace contexts as ``EventRecord.trace`` writes them: ``<trace id>-<span id>-<flags>``, as in traceparent."""

from __future__ import annotations

import re

from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    set_span_in_context,
)

UNSAMPLED = "unsampled"  # of a turn whose spans nobody keeps

_FLAGS = tuple(f"{flags:02x}" for flags in range(256))
_TRACE = re.compile(r"([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


def written(context: SpanContext) -> str:
    """Return how *context* is written; a third of the time that formatting its numbers takes."""
    trace_id, span_id = context.trace_id.to_bytes(16, "big"), context.span_id.to_bytes(8, "big")
    return f"{trace_id.hex()}-{span_id.hex()}-{_FLAGS[context.trace_flags & 255]}"


def span_context_of(trace: str) -> SpanContext | None:
    """Return the span context that *trace* names; None when it is empty or names none."""
    match = _TRACE.fullmatch(trace)
    if match is None:
        return None
    flags = TraceFlags(int(match[3], 16))
    context = SpanContext(int(match[1], 16), int(match[2], 16), is_remote=True, trace_flags=flags)
    return context if context.is_valid else None


def context_of(span_context: SpanContext | None) -> Context:
    """
    Return a context with nothing but that span.

    Without one it holds the invalid span: an empty context is taken for "the current one" by the SDK's log records.
    """
    span = INVALID_SPAN if span_context is None else NonRecordingSpan(span_context)
    return set_span_in_context(span, Context())


def sampled(trace: str) -> bool:
    """Return whether spans in this trace are kept; True when there is no trace to belong to."""
    if trace == UNSAMPLED:
        return False
    span_context = span_context_of(trace)
    return span_context is None or span_context.trace_flags.sampled
