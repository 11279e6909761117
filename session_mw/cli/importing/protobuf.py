"""
Binary OTLP: an export request as it goes over the wire, or many, each behind its length (the Collector's file exporter
with ``format: proto``: four bytes, the highest first).

The requests are turned into the shape that their JSON has, so that there is one way to read them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from ...exceptions import MissingDependency
from .otlp import Piece, Unreadable

MAX_MESSAGE = 256 * 1024 * 1024  # bytes; a message is read whole
FIRST_FIELD = b"\x0a"  # how a request begins: its field 1, of some length

Found = tuple[int, "Piece | Unreadable"]


def read_binary(file: BinaryIO, name: str) -> Iterator[Found]:
    """
    Yield what a binary file holds, and what is wrong with it; messages are numbered from 1.

    Raises:
        MissingDependency: opentelemetry-proto is not installed.
    """
    try:
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise MissingDependency(f"session-mw ledger import {name}", "opentelemetry-proto", "demo") from error
    for number, message in enumerate(_messages(file), 1):
        try:
            if isinstance(message, Unreadable):
                raise message
            for piece in _pieces(message):
                yield number, piece
        except DecodeError:
            yield number, Unreadable("neither JSON nor OTLP in protobuf")
        except Unreadable as error:
            yield number, error


def _messages(file: BinaryIO) -> Iterator[bytes | Unreadable]:
    head = file.read(4)
    if head[:1] == FIRST_FIELD:
        message = head + file.read(MAX_MESSAGE + 1)
        yield message if len(message) <= MAX_MESSAGE else Unreadable(f"longer than {MAX_MESSAGE >> 20} MB")
        return
    while head:
        size = int.from_bytes(head, "big")
        message = file.read(size) if len(head) == 4 and size <= MAX_MESSAGE else b""
        if len(message) < size or not size:
            yield Unreadable("neither JSON nor OTLP in protobuf, or it ends in the middle")
            return
        yield message
        head = file.read(4)


def _pieces(message: bytes) -> Iterator[Piece]:
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    traces = ExportTraceServiceRequest.FromString(message)
    spans = [(group, part) for group in traces.resource_spans for part in group.scope_spans]
    # A request of logs parses as one of traces, too: what has no trace id is none.
    if all(len(span.trace_id) == 16 for _, part in spans for span in part.spans):
        for group, part in spans:
            resource, scope = {"attributes": _pairs(group.resource.attributes)}, {"name": part.scope.name}
            for span in part.spans:
                yield "spans", resource, scope, _span(span)
        return
    for logs in ExportLogsServiceRequest.FromString(message).resource_logs:
        for record in (record for part in logs.scope_logs for record in part.log_records):
            yield "logRecords", {}, {}, _record(record)


def _span(span: Any) -> dict[str, Any]:
    return {
        "traceId": span.trace_id.hex(),
        "spanId": span.span_id.hex(),
        "parentSpanId": span.parent_span_id.hex(),
        "name": span.name,
        "startTimeUnixNano": span.start_time_unix_nano,
        "endTimeUnixNano": span.end_time_unix_nano,
        "attributes": _pairs(span.attributes),
        "status": {"code": span.status.code},
        "events": [_event(event) for event in span.events],
    }


def _event(event: Any) -> dict[str, Any]:
    return {
        "name": event.name,
        "timeUnixNano": event.time_unix_nano,
        "attributes": _pairs(event.attributes),
    }


def _record(record: Any) -> dict[str, Any]:
    return {
        "eventName": record.event_name,
        "timeUnixNano": record.time_unix_nano,
        "observedTimeUnixNano": record.observed_time_unix_nano,
        "attributes": _pairs(record.attributes),
    }


_KINDS = {
    "string_value": "stringValue",
    "bool_value": "boolValue",
    "int_value": "intValue",
    "double_value": "doubleValue",
}


def _pairs(pairs: Iterable[Any]) -> list[dict[str, Any]]:
    return [{"key": pair.key, "value": _value(pair.value)} for pair in pairs]


def _value(value: Any) -> dict[str, Any]:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return {"arrayValue": {"values": [_value(item) for item in value.array_value.values]}}
    if kind == "kvlist_value":
        return {"kvlistValue": {"values": _pairs(value.kvlist_value.values)}}
    return {_KINDS[kind]: getattr(value, kind)} if kind in _KINDS else {}
