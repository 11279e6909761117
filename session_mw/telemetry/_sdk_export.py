"""
Events as the SDK's exporters take them, without the pipeline in between: only an exporter says whether it delivered.

Imported when an exporter is used. SDKs up to 1.38 take ``LogData``, later ones ``ReadableLogRecord``.
"""

from __future__ import annotations

import hashlib
import time
import warnings
from functools import lru_cache
from typing import Any

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk import _logs as sdk_logs
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from .._core import names
from .._core.events import EventRecord
from ._library import LIBRARY_NAME, SCHEMA_URL, library_version
from ._providers import logger_provider_of, tracer_provider_of
from ._traces import context_of, span_context_of

SCOPE = InstrumentationScope(LIBRARY_NAME, library_version(), SCHEMA_URL)


def takes_spans(exporter: Any) -> bool:
    """Return whether *exporter* is a span exporter."""
    return isinstance(exporter, SpanExporter)


def default_resource() -> Any:
    """Return the resource of the application's own telemetry, so that its events name the same service."""
    for provider in (logger_provider_of(), tracer_provider_of()):
        resource = getattr(provider, "resource", None)
        if isinstance(resource, Resource):
            return resource
    try:
        return _detected_resource()
    except RuntimeError:  # interpreter shutdown: its detectors want threads, which can no longer be started
        return Resource.get_empty()


@lru_cache(maxsize=1)
def _detected_resource() -> Resource:
    """What OTEL_RESOURCE_ATTRIBUTES and the detectors say; asking them takes milliseconds."""
    return Resource.create({})


def log_data(record: EventRecord, resource: Any) -> Any:
    """
    Return *record* as a log record that an exporter takes.

    Source:
        OpenTelemetry semantic conventions, events: the timestamp is when it happened, severity number set, severity
        text and body not.
    """
    fields: dict[str, Any] = {
        "timestamp": record.timestamp_ms * 1_000_000,
        "observed_timestamp": time.time_ns(),
        "context": context_of(span_context_of(record.trace)),
        "severity_number": SeverityNumber.INFO,
        "attributes": dict(record.attributes),
        "event_name": record.event_name,
    }
    if hasattr(sdk_logs, "ReadableLogRecord"):
        return sdk_logs.ReadableLogRecord(LogRecord(**fields), resource, SCOPE)
    with warnings.catch_warnings():  # 1.38 warns about its own classes, which it has no others for
        warnings.simplefilter("ignore")
        old: Any = sdk_logs
        return old.LogData(old.LogRecord(resource=resource, **fields), SCOPE)


def readable_span(record: EventRecord, resource: Any) -> ReadableSpan:
    """
    Return *record* as a span of zero length.

    It stands in its turn's trace, else in one of its own. Ids come from the record's uid: a duplicate is the same span
    to every back end.
    """
    parent = span_context_of(record.trace)
    uid = str(record.attributes.get(names.LOG_RECORD_UID) or f"{record.key}/{record.event_name}")
    trace_id = parent.trace_id if parent is not None else derived_id(f"trace:{uid}", 16)
    flags = TraceFlags(TraceFlags.SAMPLED)
    at = record.span_ms * 1_000_000
    return ReadableSpan(
        record.event_name,
        SpanContext(trace_id, derived_id(f"span:{uid}", 8), is_remote=False, trace_flags=flags),
        parent,
        resource,
        dict(record.attributes),
        kind=SpanKind.INTERNAL,
        status=trace.Status(),
        start_time=at,
        end_time=at,
        instrumentation_scope=SCOPE,
    )


def derived_id(text: str, size: int) -> int:
    """Return an id of *size* bytes that depends on *text* alone. Zero, which would be invalid, is one in 2**64."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:size], "big") or 1
