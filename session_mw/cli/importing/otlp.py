"""
Spans and log records out of OTLP/JSON, as plain values.

Source:
    OTLP 1.9, "JSON Protobuf Encoding": ids in hexadecimal, 64-bit integers as text or number. Ids in base64, as plain
    protobuf writes them, are taken too.

Rule 1: nothing raises but ``Unreadable``, which says what is wrong with one span or record.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..._core import names

MAX_DEPTH = 16  # of values inside values
MAX_NAME = 500  # characters of a span's name, and of a service's
NO_REQUEST = "no resourceSpans and no resourceLogs in it"
ERROR = (2, "2", "STATUS_CODE_ERROR")
_LAST_NS = 253_402_300_800 * 10**9  # the year 10000

Piece = tuple[str, Mapping[str, Any], Mapping[str, Any], Any]  # "spans" or "logRecords", resource, scope, element
_GROUPS = {"resourceSpans": ("scopeSpans", "spans"), "resourceLogs": ("scopeLogs", "logRecords")}
_OLD = {"scopeSpans": "instrumentationLibrarySpans", "scopeLogs": "instrumentationLibraryLogs"}


class Unreadable(Exception):
    """What is wrong with a line, span or record, in a few words."""


class Scope(NamedTuple):
    """What made a span; named as the SDK's spans have it."""

    name: str


class Event(NamedTuple):
    """Something that happened during a span, at nanoseconds since the epoch."""

    name: str
    attributes: dict[str, Any]
    timestamp: int


class Span(NamedTuple):
    """
    A finished span, with the names that the SDK's have for the same. Times are nanoseconds since the epoch.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits.
        parent_id: The same; empty for a root.
        service: ``service.name`` of its resource.
        failed: Its status is an error.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    tracer: str
    service: str
    start_time: int
    end_time: int
    failed: bool
    attributes: dict[str, Any]
    told: tuple[tuple[str, dict[str, Any], int], ...] = ()

    @property
    def instrumentation_scope(self) -> Scope:
        """What made it."""
        return Scope(self.tracer)

    @property
    def events(self) -> list[Event]:
        """What happened during it."""
        return [Event(*event) for event in self.told]


class Record(NamedTuple):
    """A log record that is an event."""

    event_name: str
    at_ns: int
    attributes: dict[str, Any]


def pieces(document: Any) -> Iterator[Piece]:
    """
    Yield the spans and log records of an export request, or of a list of them.

    Raises:
        Unreadable: It is no such request.
    """
    for request in document if isinstance(document, list) else [document]:
        if not isinstance(request, dict) or not any(key.startswith("resource") for key in request):
            raise Unreadable(NO_REQUEST)
        for outer, (middle, inner) in _GROUPS.items():
            for group in _dicts(request.get(outer)):
                for part in _dicts(group.get(middle) or group.get(_OLD[middle])):
                    scope = part.get("scope") or part.get("instrumentationLibrary")
                    for element in _list(part.get(inner)):
                        yield inner, _dict(group.get("resource")), _dict(scope), element


def span_of(resource: Mapping[str, Any], scope: Mapping[str, Any], found: Any) -> Span:
    """
    Read a span.

    Raises:
        Unreadable: It has no ids or no time.
    """
    if not isinstance(found, dict):
        raise Unreadable("a span that is no object")
    trace_id, span_id = _id(found.get("traceId"), 16), _id(found.get("spanId"), 8)
    start = _time(found.get("startTimeUnixNano"))
    if not trace_id or not span_id:
        raise Unreadable("a span without ids")
    if not start:
        raise Unreadable("a span without a start")
    kept = attributes(resource.get("attributes"))
    said = attributes(found.get("attributes"))
    if names.SESSION_ID in kept:  # an application of one user at a time says it once
        said.setdefault(names.SESSION_ID, kept[names.SESSION_ID])
    return Span(
        trace_id,
        span_id,
        _id(found.get("parentSpanId"), 8),
        _text(found.get("name")),
        _text(scope.get("name")),
        _text(kept.get("service.name")),
        start,
        max(start, _time(found.get("endTimeUnixNano"))),
        _dict(found.get("status")).get("code") in ERROR,
        said,
        tuple(_event(event) for event in _dicts(found.get("events"))),
    )


def _event(found: Mapping[str, Any]) -> tuple[str, dict[str, Any], int]:
    return _text(found.get("name")), attributes(found.get("attributes")), _time(found.get("timeUnixNano"))


def record_of(found: Any) -> Record | None:
    """
    Read a log record, None when it is no event.

    Raises:
        Unreadable: It is none at all.
    """
    if not isinstance(found, dict):
        raise Unreadable("a log record that is no object")
    said = attributes(found.get("attributes"))
    name = _text(found.get("eventName")) or _text(said.pop("event.name", ""))
    if not name:
        return None
    at = _time(found.get("timeUnixNano")) or _time(found.get("observedTimeUnixNano"))
    if not at:
        raise Unreadable("a log record without a time")
    return Record(name, at, said)


def attributes(found: Any) -> dict[str, Any]:
    """Return attributes as plain values; what is none is left out."""
    said = {}
    for pair in _dicts(found):
        key, value = pair.get("key"), _value(pair.get("value"), 0)
        if isinstance(key, str) and value is not None:
            said[_clean(key)] = value
    return said


def _value(found: Any, depth: int) -> Any:
    if not isinstance(found, dict) or depth > MAX_DEPTH:
        return None
    for kind, value in found.items():
        if kind == "stringValue":
            return _clean(value) if isinstance(value, str) else None
        if kind == "boolValue":
            return value if isinstance(value, bool) else None
        if kind == "intValue":
            return _whole(value)
        if kind == "doubleValue":
            return _number(value)
        if kind == "arrayValue":
            return [_value(item, depth + 1) for item in _list(_dict(value).get("values"))]
        if kind == "kvlistValue":
            pairs = _dicts(_dict(value).get("values"))
            return {_text(pair.get("key")): _value(pair.get("value"), depth + 1) for pair in pairs}
    return None


def _whole(value: Any) -> int | None:
    if isinstance(value, str) and len(value) <= 20:
        try:
            return int(value)
        except ValueError:
            return None
    return value if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 64 else None


def _number(value: Any) -> float | None:
    if isinstance(value, str) and len(value) <= 30:  # "NaN", "Infinity"
        try:
            return float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _time(value: Any) -> int:
    """Return nanoseconds since the epoch, 0 for what is no time."""
    found = _whole(value)
    if found is None and isinstance(value, float) and 0 < value < _LAST_NS:
        found = int(value)  # a writer that knows no other numbers
    return found if found is not None and 0 < found < _LAST_NS else 0


def _id(value: Any, size: int) -> str:
    """Return an id of *size* bytes in hexadecimal, empty for what is none."""
    if not isinstance(value, str) or not 0 < len(value) <= 64:
        return ""
    try:
        raw = bytes.fromhex(value) if len(value) == 2 * size else base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        return ""
    return raw.hex() if len(raw) == size and any(raw) else ""


def _text(value: Any) -> str:
    return _clean(value[:MAX_NAME]) if isinstance(value, str) else ""


def _clean(text: str) -> str:
    """Return text without lone surrogates, which JSON can hold and no database."""
    return text if text.isascii() or text.isprintable() else text.encode("utf-8", "replace").decode("utf-8")


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in _list(value) if isinstance(item, dict)]
