"""Records as rows of a database: the columns that SQLite and PostgreSQL have alike, and how records travel."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .._core.records import AttributeValue, SessionRecord

# In the order of SessionRecord's fields; the last one is JSON.
_LIVE = (
    "session_id, started_ms, last_ms, generation, origin_ms, open_until_ms, turns, completed, failed, latency_ms, "
    "input_tokens, output_tokens, cost_microusd, user_id, bound_ms, previous_id"
)
_END = "next_id, reason, ended_ms, lease_token, lease_until_ms, attempts"
_FLAGS = "start_emitted, confirmed, recovered, partial, attributes"
LIVE_COLUMNS = f"{_LIVE}, {_FLAGS}"
ENDED_COLUMNS = f"{_LIVE}, {_END}, {_FLAGS}"
_LIVE_FIELDS = len(_LIVE.split(","))

_LARGEST = 2**63 - 1
_read = json.JSONDecoder().raw_decode  # what ``json.loads`` comes to, for a text without white space around it
_NO_END = (None, None, None, None, 0, 0)


def dump(attributes: Mapping[str, AttributeValue]) -> str:
    """Return *attributes* as JSON: ASCII only, since not every Python string is valid UTF-8."""
    return json.dumps(dict(attributes), separators=(",", ":"), default=str)


def live_values(record: SessionRecord) -> tuple[Any, ...]:
    """Return what LIVE_COLUMNS hold of *record*."""
    return (*_common(record), *_flags(record))


def ended_values(record: SessionRecord) -> tuple[Any, ...]:
    """Return what ENDED_COLUMNS hold of *record*."""
    end = (
        record.next_id,
        record.reason,
        record.ended_ms,
        record.lease_token,
        record.lease_until_ms,
        record.attempts,
    )
    return (*_common(record), *end, *_flags(record))


def _common(record: SessionRecord) -> tuple[Any, ...]:
    return (
        record.session_id,
        record.started_ms,
        record.last_ms,
        record.generation,
        record.origin_ms,
        record.open_until_ms,
        record.turns,
        record.completed,
        record.failed,
        fit(record.latency_ms),
        fit(record.input_tokens),
        fit(record.output_tokens),
        fit(record.cost_microusd),
        record.user_id,
        record.bound_ms,
        record.previous_id,
    )


def fit(number: int | None) -> int | None:
    """Keep a sum within what a database can hold: one absurd number must not stop all others from being written."""
    return number if number is None or -_LARGEST <= number <= _LARGEST else _LARGEST


def _flags(record: SessionRecord) -> tuple[Any, ...]:
    return record.start_emitted, record.confirmed, record.recovered, record.partial, dump(record.attributes)


def live_record(row: tuple[Any, ...]) -> SessionRecord:
    """Return the record that a row of LIVE_COLUMNS holds."""
    return _record((*row[:_LIVE_FIELDS], *_NO_END, *row[_LIVE_FIELDS:]))


def ended_record(row: tuple[Any, ...]) -> SessionRecord:
    """Return the record that a row of ENDED_COLUMNS holds."""
    return _record(row)


def _record(row: tuple[Any, ...]) -> SessionRecord:
    # SQLite has no flags but 0 and 1. One expression: a sweep makes ten thousand of them.
    return SessionRecord(*(*row[:-5], row[-5] == 1, row[-4] == 1, row[-3] == 1, row[-2] == 1, _read(row[-1])[0]))
