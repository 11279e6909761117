"""Calls of a turn and scores of a session, made fit to be kept; no database here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Final

from .._core import names
from .._core.records import Attributes, TurnRecord, UsageRecord
from . import values
from .rows import UsageRow
from .values import optional_text, whole

# Of one turn: an agent that makes more in one exchange is known by its sums.
MOST_CALLS: Final = 1_000
SCORE: Final = names.SESSION_SCORE + "."
DEEPEST: Final = 6  # calls in calls; what lies deeper is shown there
KINDS: Final = frozenset({"model", "embedding", "agent", "tool", "other"})
# The columns of a call, apart from the turn it belongs to and its place there.
COLUMNS: Final = [f.name for f in fields(UsageRow) if f.name not in ("turn_pk", "place", "turn_number")]

SCORE_NAMES = """
    WITH RECURSIVE k (name) AS (SELECT min(name) FROM {scores} UNION ALL
        SELECT (SELECT min(s.name) FROM {scores} AS s WHERE s.name > k.name) FROM k WHERE k.name IS NOT NULL)
    SELECT name FROM k WHERE name IS NOT NULL
"""  # a step in the index for each name, however many sessions have it


def calls_of(turn: TurnRecord) -> tuple[UsageRow, ...]:
    """Return the calls of a turn in the order in which they began, each with its place."""
    if not turn.usages:
        return ()
    inner = sorted(turn.usages[:MOST_CALLS], key=lambda call: whole(call.started_ms) or 0)
    number = whole(turn.number)
    return tuple(_row(call, place, number) for place, call in enumerate(inner))


def by_turn(calls: Iterable[UsageRow]) -> dict[int, list[UsageRow]]:
    """Return calls by the ``pk`` of their turn, each turn's in the order in which it made them."""
    found: dict[int, list[UsageRow]] = {}
    for call in calls:
        found.setdefault(call.turn_pk, []).append(call)
    return {pk: sorted(mine, key=lambda call: call.place) for pk, mine in found.items()}


def depths(calls: Iterable[UsageRow]) -> list[int]:
    """Return in how many other calls of its turn each call was made; what somebody wrote may go round in circles."""
    calls = list(calls)
    above = {call.span_id: call for call in calls if call.span_id}
    return [_depth(call, above) for call in calls]


def _depth(call: UsageRow, above: Mapping[str, UsageRow]) -> int:
    depth, one = 0, above.get(call.parent_id or "")
    while one is not None and one is not call and depth < DEEPEST:
        depth, one = depth + 1, above.get(one.parent_id or "")
    return depth


def _row(call: UsageRecord, place: int, number: int | None) -> UsageRow:
    return UsageRow(
        turn_pk=0,
        place=place,
        turn_number=number,
        kind=call.kind if call.kind in KINDS else "other",
        started_ms=whole(call.started_ms) or 0,
        latency_ms=whole(call.latency_ms) or 0,
        name=values.text(call.name),
        model=optional_text(call.model),
        provider=optional_text(call.provider),
        span_id=optional_text(call.span_id),
        parent_id=optional_text(call.parent_id),
        status="error" if call.status == "error" else "ok",
        error_type=optional_text(call.error_type),
        first_token_ms=whole(call.first_token_ms),
        input_tokens=whole(call.input_tokens),
        output_tokens=whole(call.output_tokens),
        cache_read_tokens=whole(call.cache_read_tokens),
        cache_write_tokens=whole(call.cache_write_tokens),
        reasoning_tokens=whole(call.reasoning_tokens),
        cost_microusd=whole(call.cost_microusd),
    )


def scores_of(attributes: Attributes) -> Iterator[tuple[str, float | None, str | None]]:
    """Yield the scores of a session: name, and number (a flag is 1 or 0) or word."""
    for key, value in attributes.items():
        if key.startswith(SCORE):
            text = isinstance(value, str)
            yield key.removeprefix(SCORE), None if text else float(value), str(value) if text else None
