"""
Sessions as OTLP/JSON: a request a session, a span a turn, and below it one for each call.

Source:
    OTLP 1.9, "JSON Protobuf Encoding" (ids in hexadecimal, 64-bit integers as text); OpenTelemetry's file exporter
    (JSON Lines, one signal a file).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._core import names
from .._core.records import AttributeValue
from .calls import by_turn
from .documents import usd
from .rows import SessionRow, TurnRow, UsageRow

INTERNAL, CLIENT = 1, 3  # SPAN_KIND_INTERNAL, SPAN_KIND_CLIENT
OK, ERROR = 0, 2  # STATUS_CODE_UNSET, as spans of ours have it, and STATUS_CODE_ERROR
# OpenTelemetry's conventions for generative AI, and OpenInference's kinds, as our own spans carry them.
_OPERATIONS = {"model": "chat", "embedding": "embeddings", "agent": "invoke_agent", "tool": "execute_tool"}
_KINDS = {"model": "LLM", "embedding": "EMBEDDING", "agent": "AGENT", "tool": "TOOL"}
_NAMED = {"agent": "gen_ai.agent.name", "tool": "gen_ai.tool.name"}


def resource_spans(
    row: SessionRow, turns: Sequence[TurnRow], calls: Iterable[UsageRow] = (), *, version: str
) -> dict[str, Any]:
    """
    Return a session as an export request with a span for each of its turns, and one for each call below these.

    Args:
        row: The session.
        turns: Of it.
        calls: Made in these.
        version: Of this package, for the scope.
    """
    scope, made_in = {"name": "session_mw", "version": version}, by_turn(calls)
    spans = []
    for number, turn in enumerate(turns):
        span = _span(row, turn, number)
        spans += [span, *(_call(row, turn, span, number, call) for call in made_in.get(turn.pk, ()))]
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": scope, "spans": spans}]}]}


def _span(row: SessionRow, turn: TurnRow, number: int) -> dict[str, Any]:
    return {
        "traceId": turn.trace_id or _made_up(f"{row.session_id}/{row.generation}/{number}", 32),
        "spanId": turn.span_id or _made_up(f"{row.session_id}/{row.generation}/{number}", 16),
        "name": "turn",
        "kind": INTERNAL,
        **_times(turn.started_ms, turn.latency_ms),
        "attributes": _attributes({**turn.attributes, **turn.content, **_known(_said(row, turn))}),
        "status": _status(turn.status, turn.error_type),
    }


def _call(row: SessionRow, turn: TurnRow, above: Mapping[str, Any], number: int, call: UsageRow) -> dict[str, Any]:
    said = {**_identity(row, turn), **_of_call(call)}
    operation = _OPERATIONS.get(call.kind, "")
    return {
        "traceId": above["traceId"],
        "spanId": call.span_id or _made_up(f"{row.session_id}/{row.generation}/{number}/{call.place}", 16),
        "parentSpanId": call.parent_id or above["spanId"],
        "name": " ".join(word for word in (operation, call.name if call.kind in _NAMED else call.model or "") if word)
        or call.name
        or "call",
        "kind": CLIENT if call.kind in ("model", "embedding") else INTERNAL,
        **_times(call.started_ms, call.latency_ms),
        "attributes": _attributes(_known(said)),
        "status": _status(call.status, call.error_type),
    }


def _of_call(call: UsageRow) -> dict[str, AttributeValue | None]:
    return {
        "gen_ai.operation.name": _OPERATIONS.get(call.kind),
        "openinference.span.kind": _KINDS.get(call.kind),
        _NAMED.get(call.kind, "gen_ai.response.model"): call.name if call.kind in _NAMED else call.model,
        "gen_ai.provider.name": call.provider,
        "gen_ai.usage.input_tokens": call.input_tokens,
        "gen_ai.usage.output_tokens": call.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": call.cache_read_tokens,
        "gen_ai.usage.cache_creation.input_tokens": call.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": call.reasoning_tokens,
        "llm.cost.total": usd(call.cost_microusd),
        "error.type": call.error_type,
    }


def _times(started_ms: int, latency_ms: int) -> dict[str, str]:
    return {
        "startTimeUnixNano": str(started_ms * 1_000_000),
        "endTimeUnixNano": str((started_ms + latency_ms) * 1_000_000),
    }


def _status(status: str, error_type: str | None) -> dict[str, Any]:
    return {"code": ERROR, "message": error_type or ""} if status == "error" else {"code": OK}


def _known(said: Mapping[str, AttributeValue | None]) -> dict[str, AttributeValue]:
    return {name: value for name, value in said.items() if value is not None}


def _identity(row: SessionRow, turn: TurnRow) -> dict[str, AttributeValue | None]:
    """Return what every span of a turn carries: whose it is."""
    return {
        names.SESSION_ID: row.session_id,
        names.USER_ID: row.user_id,
        names.SESSION_TYPE: row.type,
        names.SESSION_NAME: row.name,
        names.SESSION_PROMPT_VERSION: turn.prompt_version or row.prompt_version,
        names.CONVERSATION_ID: turn.conversation_id,
        names.GEN_AI_CONVERSATION_ID: turn.conversation_id,
        names.TURN_NUMBER: turn.number,
    }


def _said(row: SessionRow, turn: TurnRow) -> dict[str, AttributeValue | None]:
    """Return what the turn's own span carries beside what was said of it."""
    return {**_identity(row, turn), names.TURN_LATENCY_MS: turn.latency_ms}


def _made_up(text: str, digits: int) -> str:
    """Return an id for what had no span: the same each time."""
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def _attributes(said: Mapping[str, AttributeValue]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in said.items()]


def _value(value: AttributeValue) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}
