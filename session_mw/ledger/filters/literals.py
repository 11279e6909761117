"""
Values as people write them, read into what columns hold.

Each function returns a half-open range ``(low, high)`` in the column's unit: all that the words may mean. ``5`` is
5 to 6, ``2024-01-15`` is that day from midnight to midnight.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from decimal import Decimal

from ..values import LARGEST

Span = tuple[int, int]

_NUMBER = re.compile(r"(-?\d{1,15}(?:\.\d{1,9})?)([kmb]?)", re.IGNORECASE)
_MONEY = re.compile(r"-?\$?(\d{1,9}(?:\.\d{1,9})?)([km]?)", re.IGNORECASE)
_DURATION = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)([a-z]*)", re.IGNORECASE)
_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?)?)?)?(Z|[+-]\d\d:?\d\d)?",
    re.IGNORECASE,
)
_AGO = re.compile(r"(?:now)?-(\d{1,6})([a-z]+)", re.IGNORECASE)
_SCALE = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}

MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
UNITS = {
    **MS,
    "sec": 1_000, "second": 1_000, "seconds": 1_000,
    "min": 60_000, "mins": 60_000, "minute": 60_000, "minutes": 60_000,
    "hr": 3_600_000, "hrs": 3_600_000, "hour": 3_600_000, "hours": 3_600_000,
    "day": 86_400_000, "days": 86_400_000,
    "week": 604_800_000, "weeks": 604_800_000,
    "month": 30 * 86_400_000, "months": 30 * 86_400_000,
}  # fmt: skip


class NotSuch(ValueError):
    """The words are no value of that kind. Its text ends the sentence "... needs"."""


@dataclass(frozen=True, slots=True)
class Now:
    """
    When and where a filter is read.

    Attributes:
        ms: Milliseconds since the epoch.
        zone: Of the days and hours that it names.
    """

    ms: int
    zone: tzinfo = timezone.utc


def number(text: str) -> Span:
    """Read a count: ``5``, ``1.5k``, ``2m``."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise NotSuch("a number")
    return _one(Decimal(found[1]) * _SCALE[found[2].lower()])


def money(text: str) -> Span:
    """Read US dollars into millionths: ``1.00``, ``$0.05``."""
    found = _MONEY.fullmatch(text)
    if found is None:
        raise NotSuch("an amount in US dollars, such as 1.50")
    sign = -1 if text.startswith("-") else 1
    return _one(sign * Decimal(found[1]) * _SCALE[found[2].lower()] * 1_000_000)


def duration(text: str) -> Span:
    """Read a length of time into milliseconds, which it is without a unit: ``300000``, ``5m``, ``1.5h``."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise NotSuch("a length of time, such as 300000 (milliseconds) or 5m")
    unit = found[2].lower() or "ms"
    if unit not in UNITS:
        raise NotSuch(f"a unit of time after the number ({', '.join(MS)})")
    return _one(Decimal(found[1]) * UNITS[unit])


def moment(text: str, now: Now) -> Span:
    """Read a year, month, day or time of day, or how long ago (``-24h``), into milliseconds since the epoch."""
    word = text.lower()
    if word in DAYS:
        return day(now, DAYS[word])
    if ago := _AGO.fullmatch(text):
        if ago[2].lower() not in UNITS:
            raise NotSuch(f"a unit of time after the number ({', '.join(MS)})")
        at = now.ms - int(ago[1]) * UNITS[ago[2].lower()]
        return at, at + 1
    found = _DATE.fullmatch(text)
    if found is None:
        raise NotSuch("a date, such as 2024-01-15, 2024-01-15T10:30 or -24h")
    try:
        return _dated(found, now.zone)
    except (ValueError, OverflowError):
        raise NotSuch("a date that exists") from None


DAYS = {"today": 0, "yesterday": 1}


def day(now: Now, back: int) -> Span:
    """Return the day *back* days before today, in the reader's zone."""
    today = datetime.fromtimestamp(now.ms / 1000, now.zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    # Wall clock: a day of 23 or 25 hours ends at midnight too.
    begin, end = (today.replace(tzinfo=None) + timedelta(days=n) for n in (-back, 1 - back))
    return _ms(begin, now.zone), _ms(end, now.zone)


def _dated(found: re.Match[str], zone: tzinfo) -> Span:
    year, month, date, hour, minute, second, fraction, _ = found.groups()
    written = f"{year}-{month or '01'}-{date or '01'}T{hour or '00'}:{minute or '00'}:{second or '00'}"
    begin = datetime.fromisoformat(written)
    where = _offset(found[8]) if found[8] else zone
    if fraction is not None:
        at = _ms(begin, where) + int(fraction.ljust(3, "0")[:3])
        return at, at + 1
    return _ms(begin, where), _ms(_after(begin, month, date, hour, second), where)


def _after(begin: datetime, month: str | None, date: str | None, hour: str | None, second: str | None) -> datetime:
    """Return where the smallest unit that was named ends."""
    if month is None:
        return begin.replace(year=begin.year + 1)
    if date is None:
        return (begin + timedelta(days=31)).replace(day=1)
    if hour is None:
        return begin + timedelta(days=1)
    return begin + (timedelta(minutes=1) if second is None else timedelta(seconds=1))


def _offset(text: str) -> tzinfo:
    if text in "Zz":
        return timezone.utc
    away = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return timezone(-away if text[0] == "-" else away)


def _ms(wall: datetime, zone: tzinfo) -> int:
    return round(wall.replace(tzinfo=zone).timestamp() * 1000)


def _one(value: Decimal) -> Span:
    """Return the whole numbers that equal *value*: one, or none."""
    low = max(-LARGEST, min(LARGEST, math.ceil(value)))
    return low, max(-LARGEST, min(LARGEST, math.floor(value))) + 1
