"""From the bytes of OTLP/HTTP to plain values. (OpenTelemetry Protocol 1.x, binary protobuf encoding.)"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

Attributes = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """
    One span as it was received.

    Attributes:
        service: ``service.name`` of its resource.
        library: What made it: the name of its instrumentation scope.
        name: Its name.
        trace_id: Hexadecimal.
        span_id: Hexadecimal.
        parent_id: Hexadecimal; empty for a root.
        start_ns: Nanoseconds since the epoch.
        end_ns: Nanoseconds since the epoch.
        failed: Whether its status is ERROR.
        attributes: Its attributes.
    """

    service: str
    library: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    failed: bool
    attributes: Attributes

    @property
    def path(self) -> str | None:
        """Route or path of a server's span, by the names of the conventions, newer and older."""
        said = self.attributes
        found = said.get("http.route") or said.get("url.path") or said.get("http.target")
        return None if found is None else str(found)

    @property
    def title(self) -> str:
        """What people call it: a server's span with its path, if its name has none."""
        return f"{self.name} {self.path}" if self.path and "/" not in self.name else self.name


@dataclass(frozen=True, slots=True)
class Record:
    """
    One log record as it was received; an event when it has a name.

    Attributes:
        service: ``service.name`` of its resource.
        event_name: Empty for a line of a log.
        timestamp_ns: Nanoseconds since the epoch.
        trace_id: Hexadecimal; empty when it belongs to none.
        body: Text of a line of a log.
        attributes: Its attributes.
    """

    service: str
    event_name: str
    timestamp_ns: int
    trace_id: str
    body: Any
    attributes: Attributes


def spans_of(body: bytes) -> Iterator[Span]:
    """Read the body of a POST to ``/v1/traces``."""
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = _service(group.resource.attributes)
        for library, span in ((part.scope.name, span) for part in group.scope_spans for span in part.spans):
            yield Span(
                service,
                library,
                span.name,
                span.trace_id.hex(),
                span.span_id.hex(),
                span.parent_span_id.hex(),
                span.start_time_unix_nano,
                span.end_time_unix_nano,
                span.status.code == span.status.STATUS_CODE_ERROR,
                _attributes(span.attributes),
            )


def records_of(body: bytes) -> Iterator[Record]:
    """Read the body of a POST to ``/v1/logs``."""
    for group in ExportLogsServiceRequest.FromString(body).resource_logs:
        service = _service(group.resource.attributes)
        for record in (record for part in group.scope_logs for record in part.log_records):
            yield Record(
                service,
                record.event_name,
                record.time_unix_nano,
                record.trace_id.hex(),
                _value(record.body),
                _attributes(record.attributes),
            )


def _service(attributes: Iterable[KeyValue]) -> str:
    return str(_attributes(attributes).get("service.name", ""))


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, kind)
