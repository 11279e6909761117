"""
The marks of a timeline's axis.

Three kinds, the former before the latter where there is no room for both: where it begins and ends; where it goes on
behind an idle spell; and round times between them, each a multiple of the shortest step that leaves room for words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from ..ledger.shown import shown_ms
from ..ledger.timeline import Stretch

APART = 15  # cells from one mark to the next, and more where it says much
WIDTH = 1.6  # cells of a character, on the narrowest screen that has round marks
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
STEPS = (
    *(100, 200, 500),
    *(unit * many for unit in (SECOND, MINUTE) for many in (1, 2, 5, 10, 30)),
    *(HOUR, 2 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 30 * DAY),
)


@dataclass(frozen=True, slots=True)
class Mark:
    """
    A mark.

    Attributes:
        at: Where, in cells.
        text: Time since the session began.
        anchor: How the text stands there (``text-anchor``).
        round: It is there for its round time only.
    """

    at: float
    text: str
    anchor: str = "middle"
    round: bool = False


def marks(parts: Sequence[Stretch], since_ms: int, width: int) -> list[Mark]:
    """
    Return the marks of an axis from left to right.

    Args:
        parts: Of the axis.
        since_ms: When the session began.
        width: Cells of the axis.
    """
    if not parts:
        return []
    step, last = step_of(float(parts[0].scale)), max(one.end_ms for one in parts)

    def mark(at: float, ms: int, anchor: str = "middle") -> Mark:
        return Mark(float(at), "+" + _shown(max(0, ms - since_ms), step), anchor)

    found = [mark(parts[0].left, parts[0].begin_ms, "start"), mark(width, last, "end")]
    for one in parts[1:]:
        _add(found, mark(one.left, one.begin_ms))
    for more in _round(parts, since_ms, step):
        _add(found, more)
    return sorted(found, key=lambda mark: mark.at)


def _shown(ms: int, step: int) -> str:
    """Return a length of time: beyond an hour with its seconds, where marks are seconds apart."""
    return exact(ms - ms % SECOND) if HOUR <= ms < DAY and step < MINUTE else shown_ms(ms)


def _add(found: list[Mark], mark: Mark) -> None:
    room = max(APART, WIDTH * len(mark.text))
    if all(abs(mark.at - one.at) >= room for one in found):
        found.append(mark)


def step_of(cells_per_ms: float) -> int:
    """Return the milliseconds between two round marks that are far enough from each other."""
    fitting = (step for step in STEPS if step * cells_per_ms >= APART)
    longer = (STEPS[-1] << doubled for doubled in count(1))
    return next(fitting, 0) or next(step for step in longer if step * cells_per_ms >= APART)


def _round(parts: Sequence[Stretch], since_ms: int, step: int) -> Iterator[Mark]:
    for one in parts:
        first = -(-(one.begin_ms - since_ms) // step) * step
        for ms in range(first, one.end_ms - since_ms, step):
            yield Mark(round(float(one.place(since_ms + ms)), 2), "+" + exact(ms), round=True)


def exact(ms: int) -> str:
    """Return a round length of time to its last digit: 200 ms, 2.5 s, 10 s, 1m 30s, 2h 05m, 1h 00m 30s, 1d 6h."""
    if ms < MINUTE:
        return f"{ms} ms" if 0 < ms < SECOND else f"{ms / SECOND:g} s"
    days, rest = divmod(ms, DAY)
    hours, rest = divmod(rest, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    said = [(days, f"{days}d"), (hours, f"{hours}h"), (minutes, f"{minutes:02d}m"), (rest, f"{rest / SECOND:02g}s")]
    while not said[0][0]:
        said.pop(0)
    while not said[-1][0]:
        said.pop()
    return " ".join(text for _, text in said).lstrip("0")
