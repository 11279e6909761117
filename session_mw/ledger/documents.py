"""
Sessions and turns as documents: the names and types under which they leave the history, in JSON and in tables.

Times are ISO 8601 in UTC, lengths of time milliseconds, money US dollars. What is unknown is None, never 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._core import names
from .._core.events import iso
from .calls import by_turn
from .rows import SessionRow, TurnRow, UsageRow
from .summary import Group

Document = dict[str, Any]

_METADATA = names.METADATA + "."


def session_document(row: SessionRow) -> Document:
    """Return a session: first what every tool of this kind calls so, then what only this one knows."""
    return {
        "session_id": row.session_id,
        "user_id": row.user_id,
        "start_time": moment(row.started_ms),
        "end_time": moment(row.last_ms),
        "duration_ms": row.duration_ms,
        "trace_count": row.traces,
        "total_tokens": row.total_tokens,
        "total_cost_usd": usd(row.cost_microusd),
        "metadata": {
            key.removeprefix(_METADATA): value for key, value in row.attributes.items() if key.startswith(_METADATA)
        },
        "turn_count": row.turns,
        "error_count": row.failed,
        "status": row.status,
        "end_reason": row.end_reason,
        "outcome": row.outcome,
        "type": row.type,
        "name": row.name,
        "prompt_version": row.prompt_version,
        "channel": row.channel,
        "avg_turn_latency_ms": row.avg_turn_latency_ms,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "generation": row.generation,
        "previous_id": row.previous_id,
        "next_id": row.next_id,
        "attributes": {key: value for key, value in row.attributes.items() if not key.startswith(_METADATA)},
    }


def turn_document(turn: TurnRow, calls: Iterable[UsageRow] = ()) -> Document:
    """Return a turn with its calls. What was said in it is there as far as it was read."""
    return {
        "turn_number": turn.number,
        "start_time": moment(turn.started_ms),
        "latency_ms": turn.latency_ms,
        "time_to_first_chunk_ms": turn.first_chunk_ms,
        "status": turn.status,
        "error_type": turn.error_type,
        "conversation_id": turn.conversation_id,
        "trace_id": turn.trace_id,
        "span_id": turn.span_id,
        "action": turn.action,
        "intent": turn.intent,
        "prompt_version": turn.prompt_version,
        "input_tokens": turn.input_tokens,
        "output_tokens": turn.output_tokens,
        "cost_usd": usd(turn.cost_microusd),
        "attributes": dict(turn.attributes),
        "captured": turn.captured,
        **({"content": dict(turn.content)} if turn.content else {}),
        "calls": [call_document(call) for call in calls],
    }


def call_document(call: UsageRow) -> Document:
    """Return a call of a model or a tool, or an agent's run."""
    return {
        "kind": call.kind,
        "name": call.name,
        "model": call.model,
        "provider": call.provider,
        "start_time": moment(call.started_ms),
        "latency_ms": call.latency_ms,
        "time_to_first_token_ms": call.first_token_ms,
        "status": call.status,
        "error_type": call.error_type,
        "span_id": call.span_id,
        "parent_span_id": call.parent_id,
        "input_tokens": call.input_tokens,
        "output_tokens": call.output_tokens,
        "cache_read_tokens": call.cache_read_tokens,
        "cache_write_tokens": call.cache_write_tokens,
        "reasoning_tokens": call.reasoning_tokens,
        "cost_usd": usd(call.cost_microusd),
    }


def whole_document(row: SessionRow, turns: Sequence[TurnRow], calls: Iterable[UsageRow] = ()) -> Document:
    """Return a session with its turns and their calls."""
    made_in = by_turn(calls)
    return {**session_document(row), "turns": [turn_document(turn, made_in.get(turn.pk, ())) for turn in turns]}


def group_document(group: Group, by: Sequence[str]) -> Document:
    """Return sums, with what the group's sessions have in common under the names of *by*."""
    return {
        **({"group": dict(zip(by, group.key, strict=True))} if by else {}),
        "sessions": group.sessions,
        "users": group.users,
        "anonymous_sessions": group.anonymous,
        "turns": group.turns,
        "turns_per_session": _per(group.turns, group.sessions),
        "avg_duration_ms": _per(group.duration_ms, group.sessions),
        "sessions_with_errors": group.with_errors,
        "total_tokens": group.tokens if group.counted else None,
        "avg_tokens": _per(group.tokens, group.counted),
        "sessions_without_tokens": group.sessions - group.counted,
        "total_cost_usd": usd(group.cost_microusd) if group.priced else None,
        "avg_cost_usd": usd(_per(group.cost_microusd, group.priced)),
        "sessions_without_cost": group.sessions - group.priced,
        "avg_turn_latency_ms": group.avg_turn_latency_ms,
        "resolved": group.resolved,
        "settled": group.settled,
        "unknown_outcome": group.sessions - group.settled,
        "resolution_rate": group.resolution_rate,
    }


def moment(ms: int) -> str | None:
    """Return a time as ISO 8601 in UTC, None when no calendar has it: a history may hold what anybody wrote."""
    try:
        return iso(ms)
    except (ValueError, OverflowError, OSError):
        return None


def usd(microusd: float | None) -> float | None:
    """Return millionths of a US dollar as US dollars."""
    return None if microusd is None else microusd / 1_000_000


def _per(total: int, count: int) -> float | None:
    return total / count if count else None


SESSION_NAMES: Sequence[str] = tuple(session_document(SessionRow(0, "", 1, 0, 0)))


def flat(document: Mapping[str, Any]) -> Document:
    """Return a document for a table: objects as JSON."""
    return {
        name: json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value
        for name, value in document.items()
    }
