"""The calls of a turn on the turn's own axis of time: to the first token, model, tool, error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from ..ledger import TurnRow, UsageRow
from ..ledger.calls import depths
from ..ledger.documents import usd
from ..ledger.shown import many, shown_ms, shown_number, shown_usd
from .list import dash

SHOWN = 20  # calls below a turn of a timeline; the turn's own page has all
WORDS = {"model": "model call", "embedding": "embedding", "agent": "agent run", "tool": "tool call", "other": "call"}
CLASSES = {"model": "model", "embedding": "model", "tool": "tool"}


@dataclass(frozen=True, slots=True)
class Step:
    """
    A call, as it is shown.

    Attributes:
        kind: In words.
        name: Of the tool, agent or model.
        about: What else tells it apart: provider, or the model where the name is another.
        depth: How many calls it was made in, 0 at the top.
        begin: Where its bar begins, in hundredths of the turn.
        first: Of its width: until the first token.
        width: Of its bar.
        cls: How it is drawn.
        when: Since the turn began.
        latency: How long it took.
        first_token: Until its answer began.
        tokens_in: What went in.
        tokens_out: What came out.
        parts_in: Of what went in: from and to a cache.
        parts_out: Of what came out: reasoning.
        cost: US dollars.
        trouble: What failed, empty when nothing did.
    """

    kind: str
    name: str
    about: str
    depth: int
    begin: float
    first: float
    width: float
    cls: str
    when: str
    latency: str
    first_token: str
    tokens_in: str
    tokens_out: str
    parts_in: str
    parts_out: str
    cost: str
    trouble: str


def steps(turn: TurnRow, calls: Sequence[UsageRow], most: int = SHOWN) -> list[Step]:
    """Return the calls of a turn in the order in which they began, *most* of them at most."""
    found = zip(calls, depths(calls), strict=True)
    return [_step(turn, call, depth) for call, depth in islice(found, most)]


def _step(turn: TurnRow, call: UsageRow, depth: int) -> Step:
    begin, width = _place(turn, call)
    share = 0.0
    if call.first_token_ms is not None and call.latency_ms > 0:
        share = min(1.0, max(0.0, call.first_token_ms / call.latency_ms))
    model = call.kind in ("model", "embedding", "other")
    name = (call.model or call.name or WORDS[call.kind]) if model else (call.name or WORDS[call.kind])
    return Step(
        kind=call.kind,
        name=name,
        about=call.provider or "" if model else call.model or "",
        depth=depth,
        begin=begin,
        first=round(width * share, 2),
        width=width,
        cls="bad" if call.status == "error" else CLASSES.get(call.kind, "around"),
        when="+" + shown_ms(max(0, call.started_ms - turn.started_ms)),
        latency=shown_ms(call.latency_ms),
        first_token=dash(shown_ms(call.first_token_ms)),
        tokens_in=dash(shown_number(call.input_tokens)),
        tokens_out=dash(shown_number(call.output_tokens)),
        parts_in=_parts((call.cache_read_tokens, "from cache"), (call.cache_write_tokens, "to cache")),
        parts_out=_parts((call.reasoning_tokens, "reasoning")),
        cost=dash(shown_usd(usd(call.cost_microusd))),
        trouble="" if call.status == "ok" else call.error_type or "error",
    )


def _place(turn: TurnRow, call: UsageRow) -> tuple[float, float]:
    """Return begin and width in hundredths of the turn; what lies outside of it is cut at its ends."""
    whole = max(1, turn.latency_ms)
    begin = min(max(0.0, 100 * (call.started_ms - turn.started_ms) / whole), 100.0)
    end = min(max(begin, 100 * (call.started_ms + call.latency_ms - turn.started_ms) / whole), 100.0)
    return round(begin, 2), round(end - begin, 2)


def _parts(*said: tuple[int | None, str]) -> str:
    return " · ".join(f"{shown_number(count)} {word}" for count, word in said if count)


def bars(turn: TurnRow, calls: Sequence[UsageRow], begin: float, width: float) -> list[tuple[str, float, float]]:
    """
    Return what is drawn of a turn's calls within its bar: class, where, and how wide; the nearest to the eye last.

    Args:
        turn: The turn.
        calls: Its calls. Agents are not drawn: they hold the others.
        begin: Of its bar, in hundredths of the page's axis.
        width: Of its bar.
    """
    found = []
    for step in steps(turn, calls, len(calls)):
        if step.cls == "around":
            continue
        at, wide = begin + step.begin * width / 100, step.width * width / 100
        wait = step.first * width / 100
        found += [("wait", round(at, 2), round(wait, 2))] if wait and step.cls == "model" else []
        at, wide = (at + wait, wide - wait) if step.cls == "model" else (at, wide)
        found.append((step.cls, round(at, 2), round(max(wide, 0.3), 2)))
    return found


def counted(calls: Iterable[UsageRow]) -> str:
    """Return how many calls there are of each kind, in words: 2 model calls, 1 tool call."""
    found: dict[str, int] = {}
    for call in calls:
        found[call.kind] = found.get(call.kind, 0) + 1
    return ", ".join(many(found[kind], word) for kind, word in WORDS.items() if kind in found)


def unpriced(calls: Iterable[UsageRow]) -> int:
    """Return how many calls used tokens that nobody knows a price of."""
    return sum(
        call.cost_microusd is None and (call.input_tokens is not None or call.output_tokens is not None)
        for call in calls
    )
