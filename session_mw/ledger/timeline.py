"""
Turns on an axis of time that leaves out where nothing happened.

A gap counts as idle when it is longer than a minute and longer than three times the usual one, or than ten minutes: on
an axis that is true to scale one idle hour would make every turn a dot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
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


@dataclass(frozen=True, slots=True)
class Stretch:
    """
    A part of the axis that is true to scale.

    Attributes:
        turns: That lie on it, in the order in which they began.
        begin_ms: Of the first of them.
        end_ms: Of the one that ended last.
        left: The cell where it begins.
        scale: Cells for a millisecond, the same on the whole axis.
    """

    turns: Sequence[TurnRow]
    begin_ms: int
    end_ms: int
    left: int
    scale: Fraction

    def place(self, ms: int) -> Fraction:
        """Return where a moment of it lies, in cells."""
        return self.left + (ms - self.begin_ms) * self.scale


def stretches(turns: Sequence[TurnRow], width: int) -> list[Stretch]:
    """
    Return the parts of an axis, between which nothing happened.

    Args:
        turns: In the order in which they began.
        width: Cells of the axis.
    """
    busy = _busy(turns)
    total = max(1, sum(_end(one) - one[0].started_ms for one in busy))
    scale = Fraction(max(1, width - BREAK * (len(busy) - 1)), total)
    found: list[Stretch] = []
    offset = 0
    for number, some in enumerate(busy):
        begin, end = some[0].started_ms, _end(some)
        left = min(width - 1, round(offset * scale) + BREAK * number)
        found.append(Stretch(some, begin, end, left, scale))
        offset += end - begin
    return found


def timeline(turns: Sequence[TurnRow], width: int) -> list[Lane | Gap]:
    """
    Lay turns out on an axis.

    Args:
        turns: In the order in which they began.
        width: Cells of the axis.
    """
    parts: list[Lane | Gap] = []
    before = None
    for stretch in stretches(turns, width):
        if before is not None:
            parts.append(Gap(stretch.begin_ms - before, stretch.left))
        for turn in stretch.turns:
            start = min(width - 1, floor(stretch.place(turn.started_ms)))
            end = min(width, round(stretch.place(turn.started_ms + turn.latency_ms)))
            parts.append(Lane(turn, start, max(start + 1, end)))
        before = stretch.end_ms
    return parts


def _busy(turns: Sequence[TurnRow]) -> list[list[TurnRow]]:
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
