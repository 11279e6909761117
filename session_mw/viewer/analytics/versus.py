"""
A comparison as the viewer's page shows it: numbers with their intervals, drawings, and what has to be known.

Rule: nothing is called a winner, and nothing is starred. What limits the difference stands above it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from ...ledger.comparing import Comparison, Difference, Figures, Pair, Report
from ...ledger.comparing.words import (
    PEEKING,
    Note,
    confidence_shown,
    dates,
    difference_shown,
    interval_shown,
    notes,
    p_shown,
    sentence,
    shown,
)
from ...ledger.samples import Metric
from ...ledger.shown import many
from ..intervals import Mark, Picture, picture
from ..list import NOTHING as DASH
from ..list import middle


@dataclass(frozen=True, slots=True)
class Cell:
    """
    A number and what is said of it.

    Attributes:
        text: The number.
        remark: Its interval, or another word.
    """

    text: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """
    A line of the table of a pair.

    Attributes:
        name: What it says.
        remark: What that is.
        cells: Of the first, of the second, and the difference.
    """

    name: str
    remark: str
    cells: tuple[Cell, Cell, Cell]


@dataclass(frozen=True, slots=True)
class Bar:
    """
    A day in the picture of sessions a day.

    Attributes:
        label: The day.
        counts: Sessions of both groups.
        share: Of the second, for people.
        x: Its left side, hundredths.
        width: Hundredths.
        heights: Of both parts, pixels.
        inside: It is compared.
    """

    label: str
    counts: tuple[int, int]
    share: str
    x: float
    width: float
    heights: tuple[float, float]
    inside: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """
    A pair, as the page shows it.

    Attributes:
        key: Its name within the page.
        title: Names of both.
        a: Name of the first, as short as a column needs it.
        b: Name of the second.
        told: The sentence.
        warnings: What limits the difference.
        facts: What else has to be known.
        lines: Of the table.
        pictures: Of intervals.
        others: Lines of all quantities, the one that was asked about first.
        days: Sessions a day.
    """

    key: str
    title: str
    a: str
    b: str
    told: str
    warnings: list[Note]
    facts: list[Note]
    lines: list[Line]
    pictures: list[Picture]
    others: list[dict[str, Any]]
    days: list[Bar]


DAY_MS = 86_400_000
LONGEST = 24  # characters of a name in a table or drawing
NOTHING, EMPTY = Cell(DASH), Cell("")
TALL = 64  # pixels of the busiest day
MINUS = "\N{MINUS SIGN}"


def minus(text: str) -> str:
    """Return numbers with a minus sign instead of a hyphen."""
    return text.replace("-", MINUS)


def shown_pair(found: Report, number: int, zone: tzinfo) -> Shown:
    """Return a pair of a report."""
    pair = found.pairs[number]
    main = pair.comparisons[found.asked.metric]
    said = notes(found, pair, zone)
    return Shown(
        str(number),
        f"{pair.a.name} and {pair.b.name}",
        middle(pair.a.name, LONGEST),
        middle(pair.b.name, LONGEST),
        sentence(found, main, pair, MINUS),
        [note for note in said if note.warns],
        [note for note in said if not note.warns and note.text != PEEKING],
        list(_lines(pair, main)),
        [one for one in _pictures(number, pair, main) if one is not None],
        [_other(one, one is main) for one in pair.comparisons.values()],
        _days(pair, zone),
    )


def _lines(pair: Pair, main: Comparison) -> Iterator[Line]:
    about, spread = main.about, main.spread
    both = f"{many(pair.both, 'user')} in both" if pair.both else ""
    yield Line("Users", "", (Cell(f"{main.a.users:,}"), Cell(f"{main.b.users:,}"), Cell("", both)))
    yield Line("Sessions", "", (_sessions(pair.a.sessions, main.a), _sessions(pair.b.sessions, main.b), Cell("")))
    if spread is not None:
        cells = (_middle(about, main.a), _middle(about, main.b), _difference(about, spread.median))
        yield Line("Median", "of sessions", cells)
    name, remark = ("Share", _of_known(main)) if about.share else ("Mean", "over users")
    yield Line(name, remark, (_mean(about, main.a), _mean(about, main.b), _difference(about, main.difference)))
    if main.adjusted is not None:
        yield Line(name, "with the same mix of types", (EMPTY, EMPTY, _difference(about, main.adjusted)))
    if spread is not None:
        yield from _rest(pair, about, main)
    if (resolved := pair.comparisons.get("resolution")) is not None and resolved is not main:
        yield _resolution(resolved)


def _rest(pair: Pair, about: Metric, main: Comparison) -> Iterator[Line]:
    spread = main.spread
    assert spread is not None
    if spread.tail is not None and spread.tails is not None:
        first, second = (Cell(minus(shown(about, one))) for one in spread.tails)
        yield Line("95th percentile", "of sessions", (first, second, _difference(about, spread.tail)))
    pairs = Cell(f"{100 * spread.chance:.1f} %", "of pairs")
    yield Line(f"{middle(pair.b.name, LONGEST)} larger", "one session of each, by chance", (EMPTY, EMPTY, pairs))


def _resolution(found: Comparison) -> Line:
    about = found.about
    cells = (_mean(about, found.a), _mean(about, found.b), _difference(about, found.difference))
    return Line("Resolved", _of_known(found), cells)


def _of_known(found: Comparison) -> str:
    if found.metric != "resolution":
        return "of sessions"
    return f"of those settled; unknown outcome: {_unknown(found.a)} and {_unknown(found.b)}"


def _unknown(found: Figures) -> str:
    whole = found.sessions + found.unknown
    return f"{100 * found.unknown / whole:.0f} %" if whole else DASH


def _sessions(whole: int, found: Figures) -> Cell:
    return Cell(f"{found.sessions:,}", f"of {whole:,}" if found.unknown else "")


def _mean(about: Metric, found: Figures) -> Cell:
    within = "" if found.mean_interval is None else minus(interval_shown(about, found.mean_interval))
    return NOTHING if found.mean is None else Cell(minus(shown(about, found.mean)), within)


def _middle(about: Metric, found: Figures) -> Cell:
    within = "" if found.median_interval is None else minus(interval_shown(about, found.median_interval))
    return NOTHING if found.median is None else Cell(minus(shown(about, found.median)), within)


def _difference(about: Metric, found: Difference | None) -> Cell:
    if found is None:
        return NOTHING
    if found.interval is None:
        return Cell(minus(difference_shown(about, found.value)), "no interval")
    within = minus(interval_shown(about, found.interval, of_difference=True))
    return Cell(minus(difference_shown(about, found.value)), f"{confidence_shown(found)} interval {within}")


def _other(found: Comparison, first: bool) -> dict[str, Any]:
    """Return a quantity's line."""
    about, difference = found.about, found.difference
    p = "" if difference is None or difference.p is None or first else p_shown(difference.p)
    return {
        "title": about.title,
        "first": first,
        "a": _mean(about, found.a).text,
        "b": _mean(about, found.b).text,
        "difference": _difference(about, difference),
        "p": p,
        "strip": _strip(found.relative),
    }


MOST_RELATIVE = 0.5  # on both sides of zero; beyond, an arrow


def _strip(found: Difference | None) -> dict[str, Any] | None:
    """Return a relative difference as places on an axis from half less to half more."""
    if found is None or found.interval is None:
        return None

    def left(value: float) -> float:
        return round(50 + 50 * max(-1.0, min(1.0, value / MOST_RELATIVE)), 2)

    low, high = found.interval
    return {
        "at": left(found.value),
        "low": left(low),
        "high": left(high),
        "beyond": (low < -MOST_RELATIVE, high > MOST_RELATIVE),
        "inside": abs(found.value) <= MOST_RELATIVE,
    }


def _drawn(name: str, mood: str, about: Metric, found: Figures) -> Mark:
    low, high = found.mean_interval or (None, None)
    cell = _mean(about, found)
    return Mark(middle(name, LONGEST), f"{cell.text} {cell.remark}".strip(), mood, found.mean, low, high, found.dots)


def _apart(name: str, about: Metric, found: Difference | None) -> Iterator[Mark]:
    if found is not None and found.interval is not None:
        cell = _difference(about, found)
        yield Mark(name, f"{cell.text} ({cell.remark})", "apart", found.value, *found.interval)


def _pictures(number: int, pair: Pair, main: Comparison) -> list[Picture | None]:
    about, name = main.about, "share" if main.about.share else "mean"
    arms = [_drawn(pair.a.name, "first", about, main.a), _drawn(pair.b.name, "second", about, main.b)]
    some = [(name, main.difference), (f"{name}, same mix of types", main.adjusted)]
    some += [("median", main.spread.median)] if main.spread else []
    differences = [mark for name, one in some for mark in _apart(name, about, one)]
    title = about.title[0].upper() + about.title[1:]
    return [
        picture(f"arms-{number}", title, arms, lambda value: minus(shown(about, value))),
        picture(
            f"difference-{number}",
            f"Difference {middle(pair.b.name, LONGEST)} {MINUS} {middle(pair.a.name, LONGEST)}",
            differences,
            lambda value: minus(difference_shown(about, value)),
            zero=True,
        ),
    ]


def _days(pair: Pair, zone: tzinfo) -> list[Bar]:
    """Return sessions a day, days without any left out."""
    if len(pair.days) < 2:
        return []
    most = max(day.sessions for day in pair.days)
    room = 100 / len(pair.days)
    first, last = pair.window.since_ms, pair.window.until_ms
    return [
        Bar(
            dates(day.at_ms, day.at_ms, zone),
            day.counts,
            f"{100 * day.share:.0f} %",
            round(room * number + room * 0.15, 3),
            round(room * 0.7, 3),
            (round(TALL * day.counts[0] / most, 2), round(TALL * day.counts[1] / most, 2)),
            first - DAY_MS < day.at_ms <= last,
        )
        for number, day in enumerate(pair.days)
    ]
