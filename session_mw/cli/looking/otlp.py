"""
Sessions as OTLP/JSON: a request a session, a span a turn, and one that says what the session's start or end said.

An import gives back the same sessions and turns: whatever of a span is not the turn's own is named in it.

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
from ..._core.events import iso
from ..._core.records import AttributeValue
from ...ledger import SessionRow, TurnRow
from ...ledger.history import TEXTS

INTERNAL = 1  # SPAN_KIND_INTERNAL
OK, ERROR = 0, 2  # STATUS_CODE_UNSET, as spans of ours have it, and STATUS_CODE_ERROR


def resource_spans(row: SessionRow, turns: Sequence[TurnRow]) -> dict[str, Any]:
    """Return a session as an export request with a span for each of its turns, and one for itself."""
    scope = {"name": "session_mw", "version": __version__}
    spans = [_span(row, turn, number) for number, turn in enumerate(turns)]
    spans.append(_lifecycle(row, spans))
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": scope, "spans": spans}]}]}


def _span(row: SessionRow, turn: TurnRow, number: int) -> dict[str, Any]:
    failed = turn.status == "error"
    status = {"code": ERROR, "message": turn.error_type or ""} if failed else {"code": OK}
    return {
        "traceId": turn.trace_id or _made_up(row, number, 32),
        "spanId": turn.span_id or _made_up(row, number, 16),
        "name": "turn",
        "kind": INTERNAL,
        "startTimeUnixNano": _nanoseconds(turn.started_ms),
        "endTimeUnixNano": _nanoseconds(turn.started_ms + turn.latency_ms),
        "attributes": _attributes(_said(row, turn)),
        "status": status,
    }


def _lifecycle(row: SessionRow, turns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return ``session.start``, or ``session.end`` once it ended, as the span that is written live."""
    ended = row.status != "active"
    beside = turns[-1 if ended else 0] if turns else None
    at = _nanoseconds(row.last_ms if ended else row.started_ms)
    return {
        "traceId": beside["traceId"] if beside else _made_up(row, -1, 32),
        "spanId": _made_up(row, -1, 16),
        "parentSpanId": beside["spanId"] if beside else "",
        "name": names.EVENT_END if ended else names.EVENT_START,
        "kind": INTERNAL,
        "startTimeUnixNano": at,
        "endTimeUnixNano": at,
        "attributes": _attributes(_known({**row.attributes, **_identity(row), **(_end(row) if ended else {})})),
        "status": {"code": OK},
    }


def _identity(row: SessionRow) -> dict[str, AttributeValue | None]:
    texts = {name: getattr(row, column) for name, column in TEXTS.items()}
    return {
        **texts,
        names.SESSION_ID: row.session_id,
        names.SESSION_GENERATION: row.generation,
        names.SESSION_START_TIME: iso(row.started_ms),
    }


def _end(row: SessionRow) -> dict[str, AttributeValue | None]:
    """Return what the end of a session said, as ``_core.events`` has it."""
    return {
        names.SESSION_END_TIME: iso(row.last_ms),
        names.SESSION_DURATION_MS: row.duration_ms,
        names.SESSION_IDLE_TIME_MS: max(0, (row.ended_ms or row.last_ms) - row.last_ms),
        names.SESSION_INACTIVE_TIMEOUT: row.end_reason == "idle_timeout",
        names.SESSION_CONFIRMED: row.confirmed,
        names.SESSION_TOTAL_TURNS: row.turns,
        names.SESSION_COMPLETED_TURNS: row.completed,
        names.SESSION_FAILED_TURNS: row.failed,
        names.SESSION_AVG_TURN_LATENCY_MS: row.avg_turn_latency_ms,
        names.SESSION_TOTAL_INPUT_TOKENS: row.input_tokens,
        names.SESSION_TOTAL_OUTPUT_TOKENS: row.output_tokens,
        names.SESSION_TOTAL_TOKENS: row.total_tokens,
        names.SESSION_TOTAL_COST_USD: _usd(row.cost_microusd),
    }


def _said(row: SessionRow, turn: TurnRow) -> dict[str, AttributeValue]:
    """Return what the span carries: what was said of the turn, and whose it is."""
    of_session = {
        names.SESSION_TYPE: row.type,
        names.SESSION_NAME: row.name,
        names.SESSION_PROMPT_VERSION: row.prompt_version,
    }
    added = _known({name: value for name, value in of_session.items() if name not in turn.attributes})
    of_turn: dict[str, AttributeValue | None] = {
        names.SESSION_ID: row.session_id,
        names.SESSION_GENERATION: row.generation if row.generation > 1 else None,
        names.USER_ID: row.user_id,
        names.CONVERSATION_ID: turn.conversation_id,
        names.GEN_AI_CONVERSATION_ID: turn.conversation_id,
        names.TURN_NUMBER: turn.number,
        names.TURN_LATENCY_MS: turn.latency_ms,
        names.TURN_TIME_TO_FIRST_CHUNK_MS: turn.first_chunk_ms,
        names.TURN_STATUS: turn.status,
        names.TURN_INPUT_TOKENS: turn.input_tokens,
        names.TURN_OUTPUT_TOKENS: turn.output_tokens,
        names.TURN_COST_USD: _usd(turn.cost_microusd),
        names.ERROR_TYPE: turn.error_type,
        names.EXPORT_MADE_UP: " ".join([*_invented(turn), *added]) or None,
    }
    return {**added, **turn.attributes, **_known(of_turn)}


def _invented(turn: TurnRow) -> list[str]:
    """Return what of the span's context the turn has not."""
    found = (("trace", not turn.trace_id), ("span", not turn.span_id), ("sampled", turn.sampled is False))
    return [name for name, missing in found if missing]


def _known(said: Mapping[str, AttributeValue | None]) -> dict[str, AttributeValue]:
    return {name: value for name, value in said.items() if value is not None}


def _usd(microusd: int | None) -> float | None:
    return None if microusd is None else microusd / 1_000_000


def _nanoseconds(ms: int) -> str:
    return str(max(0, ms) * 1_000_000)


def _made_up(row: SessionRow, number: int, digits: int) -> str:
    """Return an id for what has no span: the same each time."""
    text = f"{row.session_id}/{row.generation}/{number}"
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:digits]


def _attributes(said: Mapping[str, AttributeValue]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in said.items()]


def _value(value: AttributeValue) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}
