"""
Sessions as OTLP/JSON: a request a session, a span a turn.

Source:
    OTLP 1.9, "JSON Protobuf Encoding" (ids in hexadecimal, 64-bit integers as text); OpenTelemetry's file exporter
    (JSON Lines, one signal a file).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from ... import __version__
from ..._core import names
from ..._core.records import AttributeValue
from ...ledger import SessionRow, TurnRow

INTERNAL = 1  # SPAN_KIND_INTERNAL
OK, ERROR = 0, 2  # STATUS_CODE_UNSET, as spans of ours have it, and STATUS_CODE_ERROR


def resource_spans(row: SessionRow, turns: Sequence[TurnRow]) -> dict[str, Any]:
    """Return a session as an export request with a span for each of its turns."""
    scope = {"name": "session_mw", "version": __version__}
    spans = [_span(row, turn, number) for number, turn in enumerate(turns)]
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": scope, "spans": spans}]}]}


def _span(row: SessionRow, turn: TurnRow, number: int) -> dict[str, Any]:
    failed = turn.status == "error"
    status = {"code": ERROR, "message": turn.error_type or ""} if failed else {"code": OK}
    return {
        "traceId": turn.trace_id or _made_up(row, number, 32),
        "spanId": turn.span_id or _made_up(row, number, 16),
        "name": "turn",
        "kind": INTERNAL,
        "startTimeUnixNano": str(turn.started_ms * 1_000_000),
        "endTimeUnixNano": str((turn.started_ms + turn.latency_ms) * 1_000_000),
        "attributes": _attributes(_said(row, turn)),
        "status": status,
    }


def _said(row: SessionRow, turn: TurnRow) -> dict[str, AttributeValue]:
    """Return what the span carries: what was said of the turn, and whose it is."""
    known: dict[str, AttributeValue | None] = {
        names.SESSION_ID: row.session_id,
        names.USER_ID: row.user_id,
        names.SESSION_TYPE: row.type,
        names.SESSION_NAME: row.name,
        names.SESSION_PROMPT_VERSION: turn.prompt_version or row.prompt_version,
        names.CONVERSATION_ID: turn.conversation_id,
        names.GEN_AI_CONVERSATION_ID: turn.conversation_id,
        names.TURN_NUMBER: turn.number,
        names.TURN_LATENCY_MS: turn.latency_ms,
    }
    return {**turn.attributes, **{name: value for name, value in known.items() if value is not None}}


def _made_up(row: SessionRow, number: int, digits: int) -> str:
    """Return an id for a turn that had no span: the same each time."""
    text = f"{row.session_id}/{row.generation}/{number}"
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def _attributes(said: Mapping[str, AttributeValue]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in said.items()]


def _value(value: AttributeValue) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}
