"""The timeline: a row a turn on one axis of time, which leaves out where nothing happened for long."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any

from ..ledger import SessionRow, TurnRow, UsageRow
from ..ledger.documents import moment, usd
from ..ledger.shown import shown_ms, shown_number, shown_usd
from ..ledger.timeline import Gap, stretches, timeline
from . import axis, waterfall
from .list import NOTHING, dash
from .waterfall import Step
from .zones import day_time

CELLS = 100

Links = Callable[[TurnRow], list[tuple[str, str]]]
Calls = Mapping[int, Sequence[UsageRow]]  # by the ``pk`` of their turn


@dataclass(frozen=True, slots=True)
class Bar:
    """A turn: where its bar lies, in hundredths of the axis, and what is said about it."""

    turn: TurnRow
    number: str
    what: str
    at: str
    when: str
    iso: str
    begin: float
    first: float
    width: float
    latency: str
    tokens: str
    cost: str
    trouble: str
    sentence: str
    links: list[tuple[str, str]]
    facts: list[tuple[str, str]]
    bars: list[tuple[str, float, float]]
    steps: list[Step]
    rest: int
    calls: str
    whole: str


@dataclass(frozen=True, slots=True)
class Break:
    """Time that is left out, and where the axis is broken."""

    text: str
    at: float


def parts(
    row: SessionRow, turns: Sequence[TurnRow], calls: Calls, zone: tzinfo, links: Links, whole: Callable[[TurnRow], str]
) -> list[Bar | Break]:
    """Return the rows of a timeline, from top to bottom."""
    found: list[Bar | Break] = []
    idle = ""
    for part in timeline(turns, CELLS):
        if isinstance(part, Gap):
            idle = f"{shown_ms(part.ms)} idle"
            found.append(Break(idle, min(part.at, CELLS - 1)))
        else:
            bar = _bar(row, part.turn, part.begin, part.end, zone)
            bar = replace(bar, links=links(part.turn), whole=whole(part.turn))
            found.append(_told(_with_calls(bar, calls.get(part.turn.pk, ())), idle))
            idle = ""
    return found


def ticks(row: SessionRow, turns: Sequence[TurnRow]) -> list[axis.Mark]:
    """Return the marks of a timeline's axis."""
    return axis.marks(stretches(turns, CELLS), row.started_ms, CELLS)


def _with_calls(bar: Bar, calls: Sequence[UsageRow]) -> Bar:
    return replace(
        bar,
        bars=waterfall.bars(bar.turn, calls, bar.begin, bar.width),
        steps=waterfall.steps(bar.turn, calls),
        rest=max(0, len(calls) - waterfall.SHOWN),
        calls=waterfall.counted(calls),
    )


def _bar(row: SessionRow, turn: TurnRow, begin: int, end: int, zone: tzinfo) -> Bar:
    width = float(end - begin)
    wait = turn.first_chunk_ms
    share = min(1.0, wait / turn.latency_ms) if wait is not None and turn.latency_ms > 0 else 0.0
    trouble = {"error": "error", "cancelled": "left"}.get(turn.status, "")
    return Bar(
        turn,
        number=str(turn.number or NOTHING),
        what=turn.action or turn.intent or "turn",
        at="+" + shown_ms(max(0, turn.started_ms - row.started_ms)),
        when=day_time(turn.started_ms, zone),
        iso=moment(turn.started_ms) or "",
        begin=float(begin),
        first=round(width * share, 2),
        width=width,
        latency=shown_ms(turn.latency_ms),
        tokens=dash(shown_number(tokens_of(turn))),
        cost=dash(shown_usd(usd(turn.cost_microusd))),
        trouble=trouble,
        sentence="",
        links=[],
        facts=facts_of(turn, zone),
        bars=[],
        steps=[],
        rest=0,
        calls="",
        whole="",
    )


def _told(bar: Bar, idle: str) -> Bar:
    turn = bar.turn
    said = [f"Turn {bar.number}", bar.what]
    said += [f"error {turn.error_type or ''}".strip()] if turn.status == "error" else []
    said += ["the client left"] if turn.status == "cancelled" else []
    said += [bar.latency]
    said += [f"{bar.tokens} tokens"] if tokens_of(turn) is not None else []
    said += [bar.cost] if turn.cost_microusd is not None else []
    said += [bar.calls] if bar.calls else []
    said += [f"after {idle}"] if idle else []
    return replace(bar, sentence=", ".join(said) + ".")


def tokens_of(turn: TurnRow) -> int | None:
    """Return the tokens of a turn, None when they are not known."""
    if turn.input_tokens is None and turn.output_tokens is None:
        return None
    return (turn.input_tokens or 0) + (turn.output_tokens or 0)


def facts_of(turn: TurnRow, zone: tzinfo) -> list[tuple[str, str]]:
    """Return what else is known of a turn, by name; never what was said in it."""
    known: list[tuple[str, Any]] = [
        ("started", day_time(turn.started_ms, zone)),
        ("status", turn.status),
        ("error", turn.error_type),
        ("intent", turn.intent),
        ("action", turn.action),
        ("time to first chunk", None if turn.first_chunk_ms is None else shown_ms(turn.first_chunk_ms)),
        ("input tokens", turn.input_tokens),
        ("output tokens", turn.output_tokens),
        ("prompt version", turn.prompt_version),
        ("conversation", turn.conversation_id),
        ("trace", turn.trace_id),
        ("span", turn.span_id),
    ]
    known += [(name, said) for name, said in sorted(turn.attributes.items())]
    return [(name, str(said)) for name, said in known if said is not None]
