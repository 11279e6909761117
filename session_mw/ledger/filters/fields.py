"""The names that a filter may use. The reference in the README and in the viewer is made from this table."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from .tree import Field, Kind

ROOTS = ("metadata", "attributes")  # metadata["any key"], attributes["any.key"]


def _field(name: str, kind: Kind, column: str, *aliases: str, choices: tuple[str, ...] = ()) -> _Row:
    return Field(name, kind, column, choices=choices), aliases


_Row = tuple[Field, tuple[str, ...]]

STATUSES = ("active", "ended", "timed_out")
OUTCOMES = ("resolved", "escalated", "abandoned", "none")

TABLE: tuple[_Row, ...] = (
    _field("session_id", "text", "session_id", "id", "session", "session.id"),
    _field("user_id", "text", "user_id", "user", "user.id", "user.hash"),
    _field("type", "text", "type", "session.type", "session_type"),
    _field("prompt_version", "text", "prompt_version", "version", "session.prompt_version"),
    _field("name", "text", "name", "session.name", "session_name"),
    _field("channel", "text", "channel", "session.channel"),
    _field("status", "text", "status", choices=STATUSES),
    _field("outcome", "text", "outcome", "session.outcome", choices=OUTCOMES),
    _field("end_reason", "text", "end_reason", "session.end_reason", "reason"),
    _field("previous_id", "text", "previous_id", "session.previous_id"),
    _field("next_id", "text", "next_id", "session.next_id"),
    _field("started", "time", "started_ms", "start_time", "date", "session.start_time"),
    _field("last", "time", "last_ms", "last_activity", "end_time", "session.end_time"),
    _field("ended", "time", "ended_ms", "ended_at"),
    _field("duration", "duration", "duration_ms", "duration_ms", "session.duration_ms"),
    _field("active", "duration", "latency_ms", "active_ms"),  # somebody waited for an answer
    _field("turn_count", "number", "turns", "turns", "messages", "session.total_turns"),
    _field("trace_count", "number", "traces", "traces", "num_traces"),
    _field("errors", "number", "failed", "failed", "error_count", "session.failed_turns"),
    _field("tokens", "number", "total_tokens", "total_tokens", "session.total_tokens"),
    _field("input_tokens", "number", "input_tokens", "session.total_input_tokens"),
    _field("output_tokens", "number", "output_tokens", "session.total_output_tokens"),
    _field("cost", "money", "cost_microusd", "total_cost", "total_cost_usd", "session.total_cost_usd"),
    _field("generation", "number", "generation", "session.generation"),
    # Those two are no columns: they stand for a condition on another one.
    _field("has_errors", "flag", "failed", "has_error"),
    _field("resolved", "flag", "outcome"),
)

FIELDS: Mapping[str, Field] = {name: field for field, aliases in TABLE for name in (field.name, *aliases)}


def find(name: str) -> Field | None:
    """Return the field that *name* means; any other name with a dot is an attribute. None when there is none."""
    known = FIELDS.get(name.lower())
    if known is not None or "." not in name:
        return known
    return attribute(name)


def attribute(key: str) -> Field:
    """Return the attribute with the wire name *key*; those that have a column are that column."""
    return FIELDS.get(key) or Field(key, "text", key, attribute=True)


def near(name: str) -> str | None:
    """Return the field whose name looks most like *name*."""
    return next(iter(get_close_matches(name.lower(), FIELDS, 1, 0.7)), None)
