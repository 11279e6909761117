"""
Intervals, and single values, as places on an axis: what a template needs to draw them without a style in it.

Places from the left are hundredths of the picture, those from the top pixels, as in ``charts``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

ROW = 44  # pixels of a row: its name, and below it the line
LINE = 29  # pixels from the top of a row to its line
AXIS = 22  # pixels of the axis below
MARGIN = 8.0  # hundredths on both sides
STEPS = (1, 2, 2.5, 5, 10)
MOST_TICKS = 5


@dataclass(frozen=True, slots=True)
class Mark:
    """
    What is drawn of one thing.

    Attributes:
        name: What it is.
        shown: Its value and interval for people.
        mood: A class.
        at: Its value; None when there is none.
        low: Begin of its interval; None when there is none.
        high: End of it.
        dots: Single values.
    """

    name: str
    shown: str
    mood: str
    at: float | None
    low: float | None = None
    high: float | None = None
    dots: Sequence[float] = ()

    @property
    def places(self) -> Iterable[float]:
        """Everything that has to be on the axis."""
        return [place for place in (self.at, self.low, self.high, *self.dots) if place is not None]


@dataclass(frozen=True, slots=True)
class Row:
    """
    A mark in the picture: its values are places from the left.

    Attributes:
        mark: What it is.
        top: Of its name, pixels.
        line: Of its line, pixels.
        at: Place of the value.
        low: Place of the interval's begin.
        high: Place of its end.
        dots: Places of single values.
    """

    mark: Mark
    top: int
    line: int
    at: float | None
    low: float | None
    high: float | None
    dots: list[float]


@dataclass(frozen=True, slots=True)
class Picture:
    """
    A drawing.

    Attributes:
        key: Its name within the page.
        title: What it shows.
        rows: From the top.
        ticks: Places and what they stand for.
        zero: Place of zero, where that means that there is no difference; None otherwise.
        height: Pixels without the axis.
        axis: Pixels from the top to the words of the axis.
        whole: Pixels of all.
    """

    key: str
    title: str
    rows: list[Row]
    ticks: list[tuple[float, str]]
    zero: float | None

    @property
    def height(self) -> int:
        """Pixels of the rows."""
        return ROW * len(self.rows)

    @property
    def whole(self) -> int:
        """Pixels of all."""
        return self.height + AXIS

    @property
    def told(self) -> str:
        """All of it in words."""
        return f"{self.title}. {'; '.join(f'{row.mark.name} {row.mark.shown}' for row in self.rows)}."


def picture(
    key: str, title: str, marks: Sequence[Mark], shown: Callable[[float], str], zero: bool = False
) -> Picture | None:
    """
    Return a drawing, None of nothing.

    Args:
        key: Its name within the page.
        title: What it shows.
        marks: From the top.
        shown: Makes a value of the axis readable.
        zero: Zero is on it, and means that there is no difference.
    """
    places = [place for mark in marks for place in mark.places] + ([0.0] if zero else [])
    if not places or not any(mark.places for mark in marks):
        return None
    ticks = _ticks(min(places), max(places))
    low, high = min(*places, *ticks), max(*places, *ticks)
    room = (high - low) or 1.0

    def left(value: float | None) -> float | None:
        return None if value is None else round(MARGIN + (100 - 2 * MARGIN) * (value - low) / room, 3)

    rows = [
        Row(
            mark,
            ROW * number,
            ROW * number + LINE,
            left(mark.at),
            left(mark.low),
            left(mark.high),
            [left(dot) or 0.0 for dot in mark.dots],
        )
        for number, mark in enumerate(marks)
    ]
    return Picture(key, title, rows, [(left(tick) or 0.0, shown(tick)) for tick in ticks], left(0.0) if zero else None)


def _ticks(low: float, high: float) -> list[float]:
    """Return a few round numbers within."""
    room = high - low
    if room <= 0 or room < 1e-12 * max(abs(low), abs(high)):
        return [low]
    size = 10.0 ** floor(log10(room / MOST_TICKS))
    step = next((one * size for one in STEPS if room / (one * size) <= MOST_TICKS), 10 * size)
    return [step * number for number in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]
