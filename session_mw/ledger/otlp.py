"""
Sessions as OTLP/JSON: a request a session, a span a turn, below it one for each call, and one for its start or end.

An import gives back the same sessions and turns: whatever of a span is not the turn's own is named in it.

Source:
    OTLP 1.9, "JSON Protobuf Encoding" (ids in hexadecimal, 64-bit integers as text); OpenTelemetry's file exporter
    (JSON Lines, one signal a file).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._core import names
from .._core.events import iso
from .._core.records import AttributeValue
from .calls import by_turn
from .documents import usd
from .history import TEXTS
from .rows import SessionRow, TurnRow, UsageRow

INTERNAL, CLIENT = 1, 3  # SPAN_KIND_INTERNAL, SPAN_KIND_CLIENT
OK, ERROR = 0, 2  # STATUS_CODE_UNSET, as spans of ours have it, and STATUS_CODE_ERROR
# OpenTelemetry's conventions for generative AI, and OpenInference's kinds, as our own spans carry them.
_OPERATIONS = {"model": "chat", "embedding": "embeddings", "agent": "invoke_agent", "tool": "execute_tool"}
_KINDS = {"model": "LLM", "embedding": "EMBEDDING", "agent": "AGENT", "tool": "TOOL"}
_YEAR_10000_MS = 253_402_300_800_000
_NAMED = {"agent": "gen_ai.agent.name", "tool": "gen_ai.tool.name"}


def resource_spans(
    row: SessionRow, turns: Sequence[TurnRow], calls: Iterable[UsageRow] = (), *, version: str
) -> dict[str, Any]:
    """
    Return a session as an export request: a span for each turn, one for each call below these, one for itself.

    Args:
        row: The session.
        turns: Of it.
        calls: Made in these.
        version: Of this package, for the scope.
    """
    scope, made_in = {"name": "session_mw", "version": version}, by_turn(calls)
    own = [_span(row, turn, number) for number, turn in enumerate(turns)]
    spans = []
    for number, (turn, span) in enumerate(zip(turns, own, strict=True)):
        spans += [span, *(_call(row, turn, span, number, call) for call in made_in.get(turn.pk, ()))]
    spans.append(_lifecycle(row, own))
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


def _iso(ms: int) -> str | None:
    return iso(ms) if 0 <= ms < _YEAR_10000_MS else None


def _times(started_ms: int, latency_ms: int) -> dict[str, str]:
    """Return begin and end of a span."""
    return {
        "startTimeUnixNano": str(started_ms * 1_000_000),
        "endTimeUnixNano": str((started_ms + latency_ms) * 1_000_000),
    }


def _status(status: str, error_type: str | None) -> dict[str, Any]:
    return {"code": ERROR, "message": error_type or ""} if status == "error" else {"code": OK}


def _known(said: Mapping[str, AttributeValue | None]) -> dict[str, AttributeValue]:
    """Return what is known."""
    return {name: value for name, value in said.items() if value is not None}


def _identity(row: SessionRow, turn: TurnRow) -> dict[str, AttributeValue | None]:
    """Return what every span of a turn carries: whose it is."""
    return {
        names.SESSION_ID: row.session_id,
        names.SESSION_GENERATION: row.generation if row.generation > 1 else None,
        names.USER_ID: row.user_id,
        names.SESSION_TYPE: turn.attributes.get(names.SESSION_TYPE, row.type),
        names.SESSION_NAME: turn.attributes.get(names.SESSION_NAME, row.name),
        names.SESSION_PROMPT_VERSION: turn.attributes.get(names.SESSION_PROMPT_VERSION, row.prompt_version),
        names.CONVERSATION_ID: turn.conversation_id,
        names.GEN_AI_CONVERSATION_ID: turn.conversation_id,
        names.TURN_NUMBER: turn.number,
    }


def _said(row: SessionRow, turn: TurnRow) -> dict[str, AttributeValue | None]:
    """Return what the turn's own span carries beside what was said of it."""
    whose = _identity(row, turn)
    others = [name for name in names.EVERYWHERE if name not in turn.attributes and whose[name] is not None]
    return {
        **whose,
        names.TURN_LATENCY_MS: turn.latency_ms,
        names.TURN_TIME_TO_FIRST_CHUNK_MS: turn.first_chunk_ms,
        names.TURN_STATUS: turn.status,
        names.TURN_INPUT_TOKENS: turn.input_tokens,
        names.TURN_OUTPUT_TOKENS: turn.output_tokens,
        names.TURN_COST_USD: usd(turn.cost_microusd),
        names.ERROR_TYPE: turn.error_type,
        names.EXPORT_MADE_UP: " ".join([*_not_there(turn), *others]) or None,
    }


def _not_there(turn: TurnRow) -> list[str]:
    """Return what of the span's context the turn has not."""
    found = (("trace", not turn.trace_id), ("span", not turn.span_id), ("sampled", turn.sampled is False))
    return [name for name, missing in found if missing]


def _lifecycle(row: SessionRow, turns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return ``session.start``, or ``session.end`` once it ended, as the span that is written live."""
    ended = row.status != "active"
    beside = turns[-1 if ended else 0] if turns else None
    said = {**row.attributes, **_whole(row), **(_end(row) if ended else {})}
    return {
        "traceId": beside["traceId"] if beside else _made_up(f"{row.session_id}/{row.generation}", 32),
        "spanId": _made_up(f"{row.session_id}/{row.generation}", 16),
        "parentSpanId": beside["spanId"] if beside else "",
        "name": names.EVENT_END if ended else names.EVENT_START,
        "kind": INTERNAL,
        **_times(row.last_ms if ended else row.started_ms, 0),
        "attributes": _attributes(_known(said)),
        "status": {"code": OK},
    }


def _whole(row: SessionRow) -> dict[str, AttributeValue | None]:
    return {
        **{name: getattr(row, column) for name, column in TEXTS.items()},
        names.SESSION_ID: row.session_id,
        names.SESSION_GENERATION: row.generation,
        names.SESSION_START_TIME: _iso(row.started_ms),
    }


def _end(row: SessionRow) -> dict[str, AttributeValue | None]:
    """Return what the end of a session said, as ``_core.events`` has it."""
    return {
        names.SESSION_END_TIME: _iso(row.last_ms),
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
        names.SESSION_TOTAL_COST_USD: usd(row.cost_microusd),
    }


def _made_up(text: str, digits: int) -> str:
    """Return an id for what had no span: the same each time."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:digits]


def _attributes(said: Mapping[str, AttributeValue]) -> list[dict[str, Any]]:
    """Return attributes as OTLP/JSON has them."""
    return [{"key": key, "value": _value(value)} for key, value in said.items()]


def _value(value: AttributeValue) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}
