"""
Turns on an axis of time that leaves out where nothing happened.

A gap counts as idle when it is longer than a minute and longer than three times the usual one, or than ten minutes: on
an axis that is true to scale one idle hour would make every turn a dot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from .rows import TurnRow

IDLE_MS = 60_000
ALWAYS_IDLE_MS = 600_000  # where every gap is long the usual one says nothing
USUAL = 3  # times the median gap
BREAK = 2  # cells that a broken axis takes


@dataclass(frozen=True, slots=True)
class Lane:
    """
    A turn.

    Attributes:
        turn: The turn.
        begin: First cell of its bar.
        end: The cell behind it; at least one further.
    """

    turn: TurnRow
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Gap:
    """
    A time in which nothing happened.

    Attributes:
        ms: How long.
        at: The cell where the axis is broken.
    """

    ms: int
    at: int


def timeline(turns: Sequence[TurnRow], width: int) -> list[Lane | Gap]:
    """
    Lay turns out on an axis.

    Args:
        turns: In the order in which they began.
        width: Cells of the axis.
    """
    stretches = _stretches(turns)
    total = max(1, sum(_end(one) - one[0].started_ms for one in stretches))
    cells = max(1, width - BREAK * (len(stretches) - 1))
    parts: list[Lane | Gap] = []
    offset, before = 0, None
    for number, stretch in enumerate(stretches):
        begin = stretch[0].started_ms
        left = min(width - 1, round(offset * cells / total) + BREAK * number)
        if before is not None:
            parts.append(Gap(begin - before, left))
        for turn in stretch:
            start = min(width - 1, left + (turn.started_ms - begin) * cells // total)
            end = min(width, left + round((turn.started_ms - begin + turn.latency_ms) * cells / total))
            parts.append(Lane(turn, start, max(start + 1, end)))
        before = _end(stretch)
        offset += before - begin
    return parts


def _stretches(turns: Sequence[TurnRow]) -> list[list[TurnRow]]:
    """Return turns with no idle time between them, one list after the other."""
    gaps: list[int] = []
    until = turns[0].started_ms if turns else 0
    for turn in turns:
        gaps.append(max(0, turn.started_ms - until))
        until = max(until, turn.started_ms + turn.latency_ms)
    idle = max(IDLE_MS, min(ALWAYS_IDLE_MS, USUAL * median(gaps[1:] or [0])))
    found: list[list[TurnRow]] = []
    for turn, gap in zip(turns, gaps, strict=True):
        if not found or gap > idle:
            found.append([])
        found[-1].append(turn)
    return found


def _end(turns: Sequence[TurnRow]) -> int:
    return max(turn.started_ms + turn.latency_ms for turn in turns)
