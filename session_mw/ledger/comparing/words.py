"""What is said of a comparison, in numbers and sentences for people: the same on the command line and in the viewer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone, tzinfo

from ..filters.tree import And, Equals, Node
from ..samples import Metric
from ..shown import many, shown_ms
from .distributions import Interval
from .figures import CAUTION_USERS, FEW_SHARES, FEW_USERS, Comparison, Difference
from .report import Arm, Pair, Report

PEEKING = (
    "This can be looked at any day. Looking every day until something differs finds a difference about one time in "
    "five even when there is none."
)
SAME = 1e-9  # below, a number is shown as zero


@dataclass(frozen=True, slots=True)
class Note:
    """
    Something a reader has to know.

    Attributes:
        text: A sentence.
        warns: It limits what the difference means.
    """

    text: str
    warns: bool = False


# -- numbers


def shown(about: Metric, value: float | None) -> str:
    """Return a value of a quantity."""
    if value is None:
        return "-"
    sign, size = "-" if value < 0 else "", abs(value)
    if about.unit == "usd":
        return f"{sign}${_digits(size, 4 if size < 1 else 2)}"
    if about.unit == "ms":
        return f"{sign}{shown_ms(size)}"
    if about.unit == "share":
        return f"{sign}{100 * size:.1f} %"
    return f"{sign}{_number(size)}"


def _number(size: float) -> str:
    if size < 1:
        return _digits(size, 3) if size else "0"
    places = 2 if size < 10 else 1 if size < 100 else 0
    return f"{size:,.{places}f}"


def _digits(size: float, places: int) -> str:
    """Return a number with so many decimals, or with more where it would look like nothing."""
    if 0 < size < 10 ** (1 - places):
        places = min(12, 1 - math.floor(math.log10(size)))
    return f"{size:,.{places}f}"


def difference_shown(about: Metric, value: float) -> str:
    """Return a difference with its sign; of shares it is points."""
    if abs(value) < SAME:
        return "0"
    text = f"{abs(100 * value):.1f} points" if about.unit == "share" else shown(about, abs(value))
    return f"{'+' if value > 0 else '-'}{text}"


def interval_shown(about: Metric, interval: Interval, of_difference: bool = False) -> str:
    """Return an interval."""
    low, high = interval
    if not of_difference:
        return f"{shown(about, low)} to {shown(about, high)}"
    left, right = difference_shown(about, low), difference_shown(about, high)
    return f"{left.removesuffix(' points') if right.endswith(' points') else left} to {right}"


def confidence_shown(found: Difference) -> str:
    """Return how sure an interval is: 95 %, or more where several share the risk."""
    return f"{100 * found.confidence:.3g} %"


def p_shown(p: float) -> str:
    """Return a probability."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def percent(part: float, width: float = 1.0) -> str:
    """Return a change as a part of what it began with; with decimals where an interval is so narrow."""
    places = 0 if (width >= 0.02 and abs(part) >= 0.095) or width < SAME else 1 if width >= 0.002 else 2
    return "no change" if abs(part) < SAME else f"{abs(100 * part):,.{places}f} % {'more' if part > 0 else 'less'}"


# -- sentences


def sentence(report: Report, found: Comparison, pair: Pair, minus: str = "-") -> str:
    """
    Return a comparison as one sentence: "code-review v1 uses 2,000 tokens on average, v2 1,500: 25 % less ...".

    Args:
        report: Which sessions were asked about.
        found: In which quantity.
        pair: Of which groups.
        minus: The sign of numbers below zero.
    """
    if found.a.mean is None or found.b.mean is None:
        return ""
    kind = "" if report.asked.where is None else _kind(report.asked.where.tree)
    a, b = (shown(found.about, one.mean).replace("-", minus) for one in (found.a, found.b))
    told = f"{kind}{pair.a.name} {found.about.says.format(a)}, {pair.b.name} {b}"
    return f"{told}{_change(found).replace('-', minus)}."


def _change(found: Comparison) -> str:
    if found.about.share and found.difference is not None and found.difference.interval is not None:
        within = interval_shown(found.about, found.difference.interval, of_difference=True)
        value = difference_shown(found.about, found.difference.value)
        return f": {value} ({confidence_shown(found.difference)} interval {within})"
    if found.about.share or found.relative is None or found.relative.interval is None:
        return ""
    low, high = found.relative.interval
    width = high - low
    if low < 0 < high or max(abs(low), abs(high)) < SAME:
        within = f"{percent(low, width)} to {percent(high, width)}"
    else:
        near, far = sorted((low, high), key=abs)
        begin = percent(near, width).rpartition(" ")[0] if abs(near) >= SAME else "0"
        within = f"{begin} to {percent(far, width)}"
    value = percent(found.relative.value, width)
    return f": {value} ({confidence_shown(found.relative)} interval {within})"


def _kind(tree: Node) -> str:
    """Return the type of session that a filter asks for, with a space; nothing when it asks for several."""
    found = {leaf.value for leaf in _all(tree) if isinstance(leaf, Equals) and leaf.field.column == "type"}
    return f"{found.pop()} " if len(found) == 1 else ""


def _all(tree: Node) -> Iterator[Node]:
    if isinstance(tree, And):
        for part in tree.parts:
            yield from _all(part)
    else:
        yield tree


def notes(report: Report, pair: Pair, zone: tzinfo = timezone.utc) -> list[Note]:
    """Return what has to be known of a pair, what limits it most first."""
    main = pair.comparisons[report.asked.metric]
    found = [*_time(pair, zone), *_assignment(pair), *_size(pair, main), *_left_out(report, pair, main)]
    found += [*_mix(main), *_several(report), Note(PEEKING)]
    return sorted(found, key=lambda note: not note.warns)


def _time(pair: Pair, zone: tzinfo) -> Iterator[Note]:
    ran = " and ".join(f"{arm.name} from {dates(arm.first_ms, arm.last_ms, zone)}" for arm in (pair.a, pair.b))
    if pair.window.kind == "apart":
        text = f"They never ran at the same time ({ran}): a comparison of before and after, with all else that changed."
        yield Note(text, warns=True)
    elif pair.window.kind == "whole":
        yield Note(f"Compared over the whole period: {ran}. Whatever changed in between is in the difference.")
    else:
        text = f"Compared from {dates(pair.window.since_ms, pair.window.until_ms, zone)}, when both ran"
        yield Note(f"{text}{_outside(pair)}.")
    if pair.drift is not None:
        before, after = pair.drift.before, pair.drift.after
        way = "rose" if after.share > before.share else "fell"
        days = [(f"{100 * day.share:.0f} %", dates(day.at_ms, day.at_ms, zone)) for day in (before, after)]
        shares = f"{days[0][0]} of the sessions on {days[0][1]} to {days[1][0]} on {days[1][1]}"
        yield Note(f"Not a random assignment: {pair.b.name} {way} from {shares}.", warns=True)


def _outside(pair: Pair) -> str:
    outside = [f"{arm.outside:,} of {arm.name}" for arm in (pair.a, pair.b) if arm.outside]
    return f"; sessions outside of it, left out: {', '.join(outside)}" if outside else ""


def dates(first_ms: int, last_ms: int, zone: tzinfo = timezone.utc) -> str:
    """Return a day, or from which to which; the time of day where it is one day and not one moment."""
    try:
        first, last = (datetime.fromtimestamp(ms / 1000, zone) for ms in (first_ms, last_ms))
    except (ValueError, OverflowError, OSError):  # no calendar has it
        return f"{first_ms} ms to {last_ms} ms"
    if first.date() != last.date():
        return f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
    return f"{first:%Y-%m-%d}" if first == last else f"{first:%Y-%m-%d %H:%M} to {last:%H:%M}"


def _assignment(pair: Pair) -> Iterator[Note]:
    if pair.ratio is None:
        return
    users = " to ".join(f"{count:,}" for count in pair.ratio.users)
    meant = " to ".join(f"{100 * part:.3g}" for part in pair.ratio.intended)
    told = f"{users} users where {meant} % were meant ({p_shown(pair.ratio.p)})"
    if pair.ratio.broken:
        text = f"Not shared out as intended: {told}. The assignment or the recording has a fault: find it first."
        yield Note(text, warns=True)
    else:
        yield Note(f"Shared out as intended: {told}.")


def _size(pair: Pair, main: Comparison) -> Iterator[Note]:
    for arm, found, few in ((pair.a, main.a, main.few[0]), (pair.b, main.b, main.few[1])):
        if found.users < FEW_USERS:
            text = f"{arm.name}: too few users for an interval: {found.users}, it takes {FEW_USERS}."
            yield Note(text, warns=True)
        elif few:
            yield Note(f"{arm.name}: no interval, fewer than {FEW_SHARES} sessions of one kind.", warns=True)
        elif found.users < CAUTION_USERS:
            yield Note(f"{arm.name}: {found.users} users only, the intervals are rough.", warns=True)
    if pair.anonymous:
        text = (
            "More than a fifth of the sessions has no user: sessions are the units there, so intervals are too narrow."
        )
        yield Note(text, warns=True)


def _left_out(report: Report, pair: Pair, main: Comparison) -> Iterator[Note]:
    arms = (pair.a, pair.b)
    if text := _counts(arms, [arm.mixed for arm in arms]):
        yield Note(f"Sessions that carried several versions, left out: {text}.")
    if text := _counts(arms, [main.a.unknown, main.b.unknown]):
        yield Note(f"Sessions that do not know it ({report.asked.metric}), left out: {text}.")
    if text := _counts(arms, [arm.active for arm in arms]):
        yield Note(f"Sessions that still go on, counted as far as they are: {text}.")
    if pair.both:
        yield Note(f"{many(pair.both, 'user')} had both; each counts once in the error of the difference.")


def _counts(arms: tuple[Arm, Arm], counts: list[int]) -> str:
    return ", ".join(f"{count:,} of {arm.name}" for arm, count in zip(arms, counts, strict=True) if count)


def _mix(main: Comparison) -> Iterator[Note]:
    if main.adjusted is None or main.difference is None:
        return
    text = "Adjusted for types: the difference within each type of session, weighted alike in both."
    if main.left_out >= 0.005:
        text += f" Left out of that: {100 * main.left_out:.0f} %, of types that only one of both has, or hardly."
    yield Note(text)


def _several(report: Report) -> Iterator[Note]:
    parts = [f"{report.compared} of other metrics"] if report.compared > 1 else []
    parts += [f"{report.first} of {report.asked.metric}"] if report.first > 1 else []
    if parts:
        text = "the more are made, the more differ by chance, so their intervals are wider (Holm)"
        yield Note(f"Comparisons made beside each other: {' and '.join(parts)}; {text}.")
