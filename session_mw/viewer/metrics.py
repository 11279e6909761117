"""What the turns of one session add up to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from operator import attrgetter
from typing import Any

from .._core import names
from ..ledger import TurnRow, UsageRow
from ..ledger.documents import usd
from ..ledger.shown import many, shown_ms, shown_number, shown_usd
from .lanes import tokens_of
from .list import NOTHING, dash
from .waterfall import unpriced

CONTEXT = (names.CONTEXT_TOKENS, names.CONVERSATION_CONTEXT_TOKENS, names.CONTEXT_CURRENT_TOKENS)
MOST_BARS = 200
TOKENS = (
    ("Input", "input_tokens"),
    ("of it from cache", "cache_read_tokens"),
    ("of it to cache", "cache_write_tokens"),
    ("Output", "output_tokens"),
    ("of it reasoning", "reasoning_tokens"),
)


@dataclass(frozen=True, slots=True)
class Chart:
    """
    Bars, one a turn.

    Attributes:
        title: What they show.
        bars: Number of the turn, value for people, height in hundredths, and whether it failed.
        highest: The largest value, for people.
    """

    title: str
    bars: list[tuple[str, str, float, bool]]
    highest: str


def busy_ms(turns: Iterable[TurnRow]) -> int:
    """Return how long at least one turn went on, milliseconds."""
    busy, until = 0, None
    for begin, end in sorted((turn.started_ms, turn.started_ms + turn.latency_ms) for turn in turns):
        busy += max(0, end - (begin if until is None else max(begin, until)))
        until = end if until is None else max(until, end)
    return busy


def context_of(turn: TurnRow) -> int | None:
    """Return how many tokens the model was given in a turn, as far as it was said."""
    found = (turn.attributes.get(name) for name in CONTEXT)
    return next((said for said in found if type(said) is int), None)


def peak_context(turns: Iterable[TurnRow], calls: Iterable[UsageRow] = ()) -> int | None:
    """Return the fullest context window: as it was said, else the most that a model call was given; None if unknown."""
    said = [one for one in map(context_of, turns) if one is not None]
    given = [call.input_tokens for call in calls if call.kind == "model" and call.input_tokens is not None]
    return max(said or given, default=None)


def quantile(values: Sequence[int], share: float) -> int | None:
    """Return the smallest value that at least *share* of them do not exceed; None of none."""
    ordered = sorted(values)
    return ordered[max(0, ceil(len(ordered) * share) - 1)] if ordered else None


def of(turns: Sequence[TurnRow]) -> dict[str, Any]:
    """Return what the page of metrics shows."""
    latencies = [turn.latency_ms for turn in turns]
    firsts = [turn.first_chunk_ms for turn in turns if turn.first_chunk_ms is not None]
    failed = sum(1 for turn in turns if turn.status == "error")
    rows = [
        ("Response time, median", dash(shown_ms(quantile(latencies, 0.5)))),
        ("Response time, 95 of 100 within", dash(shown_ms(quantile(latencies, 0.95)))),
        ("Response time, longest", dash(shown_ms(max(latencies, default=None)))),
        ("Time to first chunk, median", dash(shown_ms(quantile(firsts, 0.5)))),
        ("Busy in all", shown_ms(busy_ms(turns))),
        ("Turns that failed", f"{failed} of {len(turns)}" + (f" ({100 * failed / len(turns):.1f} %)" if turns else "")),
    ]
    some = list(turns[-MOST_BARS:])
    charts = [
        _chart("Response time a turn", some, [turn.latency_ms for turn in some], shown_ms),
        _chart("Tokens a turn", some, [tokens_of(turn) for turn in some], shown_number),
        _chart("Cost a turn", some, [turn.cost_microusd for turn in some], lambda value: shown_usd(usd(value))),
        _chart("Context window a turn, tokens", some, [context_of(turn) for turn in some], shown_number),
    ]
    return {
        "rows": rows,
        "charts": [chart for chart in charts if chart is not None],
        "bars_of": len(some),
        "all": len(turns),
    }


def of_calls(calls: Sequence[UsageRow]) -> dict[str, Any]:
    """Return what the calls of the turns add up to: tokens by kind, and a row for each model."""
    sums = [
        (name, sum(known) if (known := [one for one in map(attrgetter(column), calls) if one is not None]) else None)
        for name, column in TOKENS
    ]
    models: dict[str, list[UsageRow]] = {}
    for call in calls:
        if call.kind in ("model", "embedding") or call.model is not None:
            models.setdefault(call.model or "unknown model", []).append(call)
    return {
        "tokens": [(name, dash(shown_number(count))) for name, count in sums if count is not None],
        "models": sorted((_model(name, mine) for name, mine in models.items()), key=lambda one: -one.rank),
        "unpriced": many(without, "call") if (without := unpriced(calls)) else "",
        "tools": sorted(_tools(calls), key=lambda one: (-one[1], one[0])),
    }


@dataclass(frozen=True, slots=True)
class Model:
    """What was asked of one model. ``rank`` is its tokens."""

    name: str
    calls: int
    failed: int
    tokens_in: str
    tokens_out: str
    latency: str
    first_token: str
    cost: str
    unpriced: int
    rank: int


def _model(name: str, calls: Sequence[UsageRow]) -> Model:
    into = [call.input_tokens for call in calls if call.input_tokens is not None]
    out = [call.output_tokens for call in calls if call.output_tokens is not None]
    costs = [call.cost_microusd for call in calls if call.cost_microusd is not None]
    firsts = [call.first_token_ms for call in calls if call.first_token_ms is not None]
    return Model(
        name,
        len(calls),
        sum(call.status == "error" for call in calls),
        dash(shown_number(sum(into) if into else None)),
        dash(shown_number(sum(out) if out else None)),
        dash(shown_ms(quantile([call.latency_ms for call in calls], 0.5))),
        dash(shown_ms(quantile(firsts, 0.5))),
        dash(shown_usd(usd(sum(costs) if costs else None))),
        unpriced(calls),
        sum(into) + sum(out),
    )


def _tools(calls: Sequence[UsageRow]) -> Iterator[tuple[str, int, int, str]]:
    """Yield name, number of calls, how many failed and median latency of each tool."""
    tools: dict[str, list[UsageRow]] = {}
    for call in calls:
        if call.kind == "tool":
            tools.setdefault(call.name, []).append(call)
    for name, mine in tools.items():
        failed = sum(call.status == "error" for call in mine)
        yield name, len(mine), failed, dash(shown_ms(quantile([call.latency_ms for call in mine], 0.5)))


def _chart(title: str, turns: Sequence[TurnRow], values: Sequence[int | None], shown: Any) -> Chart | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    top = max(max(known), 1)
    bars = [
        (str(turn.number or NOTHING), dash(shown(value)), round(100 * (value or 0) / top, 1), turn.status == "error")
        for turn, value in zip(turns, values, strict=True)
    ]
    return Chart(title, bars, shown(max(known)))
