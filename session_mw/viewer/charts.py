"""
Charts as numbers: where columns and lines stand. Templates make SVG of them, without a style in it.

Places from the left and widths are hundredths of the picture, those from the top pixels: so it is as wide as the screen
and no letter is stretched. Each chart has its figures in a table beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, log10

HEIGHT = 120  # pixels of the plot
BELOW = 18  # pixels for the names of columns
THICKEST = 8.0  # hundredths that a column is wide at most
FILLED = 0.56  # of the room that a column has


@dataclass(frozen=True, slots=True)
class Column:
    """
    One column.

    Attributes:
        label: What it is for.
        shown: Its value for people.
        x: Its left side.
        y: Its top.
        width: Hundredths.
        height: Pixels.
        link: To what it counts; empty when there is none.
    """

    label: str
    shown: str
    x: float
    y: float
    width: float
    height: float
    link: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """
    A row of columns.

    Attributes:
        key: Its name within the page.
        title: What it shows.
        headline: The figure to remember.
        told: The whole in a sentence, for those who do not see it.
        definition: What is counted, and how.
        columns: From left to right.
        levels: Places from the top of lines, and what they stand for; empty where nothing is said.
        marks: Places from the left, how a name is set there (start, middle, end), and the name.
        first: What the columns are for: the first head of the table.
        mood: Class of the columns.
        height: Pixels of the plot.
    """

    key: str
    title: str
    headline: str
    told: str
    definition: str
    columns: list[Column]
    levels: list[tuple[float, str]]
    marks: list[tuple[float, str, str]]
    first: str
    mood: str = "busy"
    height: int = HEIGHT

    @property
    def whole(self) -> int:
        """Pixels of the picture."""
        return self.height + BELOW


_TENTHS = (10, 12, 16, 20, 24, 30, 40, 50, 60, 80, 100)
_SECONDS = (1, 2, 4, 6, 8, 10, 20, 30, 40, 60, 120, 180, 240, 360, 480, 600, 1_200, 1_800, 2_400, 3_600)


def round_top(largest: float) -> float:
    """Return the nearest number not below *largest* that reads well at the end of an axis, and so does its half."""
    if largest <= 0:
        return 1.0
    size = 10.0 ** (floor(log10(largest)) - 1)
    return next(step * size for step in _TENTHS if step * size >= largest * (1 - 1e-9))


def round_count(largest: float) -> float:
    """Return the same for what is counted: there is no half of one."""
    return max(2.0, round_top(largest))


def round_ms(largest: float) -> float:
    """Return the same for a length of time, in milliseconds."""
    if largest <= 1_000:
        return round_top(largest)
    hours = largest / 3_600_000
    return next((step * 1_000.0 for step in _SECONDS if step * 1_000 >= largest), 3_600_000 * 2.0 * ceil(hours / 2))


def columns(
    key: str,
    title: str,
    points: Sequence[tuple[str, float | None]],
    shown: Callable[[float | None], str],
    *,
    headline: str = "",
    definition: str = "",
    first: str = "Day",
    mood: str = "busy",
    top: Callable[[float], float] = round_top,
    every: int = 0,
    height: int = HEIGHT,
    axis: Callable[[float | None], str] | None = None,
    link: Callable[[str], str] = lambda label: "",
) -> Chart:
    """
    Return a chart.

    Args:
        key: Its name within the page.
        title: What it shows.
        points: Names and values, from left to right; None is not known, and has no column.
        shown: Makes a value readable.
        headline: The figure to remember.
        definition: What is counted, and how.
        first: What the names are.
        mood: Class of the columns.
        top: Where the axis ends.
        every: The first name stands below, and every so-many-th; 0 is the first, the middle one and the last.
        height: Pixels of the plot.
        axis: Makes a value of the axis readable, where that is shorter than *shown*.
        link: Gives where the table leads from the name of a column with a value other than zero.
    """
    largest = max((value for _, value in points if value is not None), default=0.0)
    end = top(largest)
    room = 100 / max(1, len(points))

    def linked(label: str, value: float | None) -> str:
        return link(label) if value else ""

    width = min(room * FILLED, THICKEST)
    return Chart(
        key,
        title,
        headline,
        _told(title, points, shown),
        definition,
        [
            replace(
                _column(label, value, shown, room * (at + 0.5) - width / 2, width, height, end),
                link=linked(label, value),
            )
            for at, (label, value) in enumerate(points)
        ],
        _levels(end, axis or shown, height),
        _marks([label for label, _ in points], room, every),
        first,
        mood,
        height,
    )


def stride(count: int) -> int:
    """Return after how many of so many numbered columns a number stands below."""
    return 1 if count <= 12 else 5


def _column(
    label: str,
    value: float | None,
    shown: Callable[[float | None], str],
    x: float,
    width: float,
    height: int,
    end: float,
) -> Column:
    tall = 0.0 if not value else max(1.0, height * value / end)
    return Column(label, shown(value), round(x, 3), round(height - tall, 2), round(width, 3), round(tall, 2))


def _levels(end: float, shown: Callable[[float | None], str], height: int) -> list[tuple[float, str]]:
    if height < HEIGHT:
        return [(float(height), "")]
    return [(0.0, shown(end)), (height / 2, shown(end / 2)), (float(height), "0")]


def _marks(labels: Sequence[str], room: float, every: int) -> list[tuple[float, str, str]]:
    last = len(labels) - 1
    if every:
        places = [at for at in range(last + 1) if at == 0 or (at + 1) % every == 0]
        return [(round(room * (at + 0.5), 2), "middle", labels[at]) for at in places]
    if last < 1:
        return [(50.0, "middle", label) for label in labels]
    return [(*_placed(at, last, room), labels[at]) for at in sorted({0, round(last / 2), last})]


def _placed(at: int, last: int, room: float) -> tuple[float, str]:
    """Return where the name of a column stands, and how it is set: those at the ends stay within the picture."""
    if at in (0, last):
        return (0.0, "start") if at == 0 else (100.0, "end")
    return round(room * (at + 0.5), 2), "middle"


def _told(title: str, points: Sequence[tuple[str, float | None]], shown: Callable[[float | None], str]) -> str:
    known = [(label, value) for label, value in points if value is not None]
    if not known:
        return f"{title}: nothing known."
    label, value = max(known, key=lambda point: point[1])
    return f"{title}: {known[0][0]} to {known[-1][0]}; highest {shown(value)} ({label}). The figures are in the table."


@dataclass(frozen=True, slots=True)
class Bar:
    """
    One line of a list with bars: the list is its own table.

    Attributes:
        label: What it is for.
        shown: Its value for people.
        width: Hundredths of the longest.
        remark: What else is to be said.
        kind: A class.
    """

    label: str
    shown: str
    width: float
    remark: str = ""
    kind: str = ""
