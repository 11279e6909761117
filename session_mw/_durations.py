"""
Durations and sizes as people write them.

Rule 1: A bare number is seconds (or bytes); a text with units says so itself: "30m", "1h30m", "500ms", "64KiB".
Rule 2: One text has one meaning. "30M" could be minutes, months or mebibytes, so it is refused, not guessed.
Rule 3: Nothing is lost: sums are decimal, and ``parse_duration(format_duration(x)) == x``.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR

# A century fits every column and every client library in milliseconds; anything longer is a slip of the unit.
MAX_DURATION = 36525 * DAY

_MS_PER_UNIT = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
# Digits are bounded, so no text is slow to match.
_NUMBER = r"[0-9]{1,20}(?:\.[0-9]{1,40})?"
_DURATION = re.compile(r"\s*".join(rf"(?:({_NUMBER})\s*{unit})?" for unit in _MS_PER_UNIT))
_BARE_NUMBER = re.compile(_NUMBER)

# IEC 80000-13: KiB is 1024 bytes, kB is 1000. "K" and "M" alone mean both to different people.
_BYTES_PER_UNIT = {"": 1, "B": 1, "kB": 1000, "KB": 1000, "KiB": 1024, "MB": 1_000_000, "MiB": 1_048_576}
_SIZE = re.compile(r"([0-9]{1,12})\s*([A-Za-z]*)")


def parse_duration(value: object) -> float:
    """
    Read a duration given as a number, a ``timedelta`` or a text.

    Args:
        value: Seconds, a ``timedelta``, or a text as "30m", "24h", "1h 30m", "500ms", "7d" or "1800"
            (units w, d, h, m, s, ms in this order).

    Returns:
        Seconds, 0 or more.

    Raises:
        ValueError: If it is negative, not finite, longer than a century, or not understood.
    """
    seconds = _seconds(value)
    # Written so that NaN, which compares False with everything, is refused too.
    if not 0 <= seconds <= MAX_DURATION:
        raise ValueError("a duration is between 0 seconds and 100 years")
    return float(seconds)


def _seconds(value: object) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str):
        return _seconds_of_text(value.strip())
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise ValueError("a duration is seconds, a timedelta or a text")


def _seconds_of_text(text: str) -> float:
    if _BARE_NUMBER.fullmatch(text):
        return float(text)
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        raise ValueError("a duration in text is numbers with the units w, d, h, m, s, ms")
    amounts = zip(match.groups(), _MS_PER_UNIT.values(), strict=True)
    return float(sum(Decimal(amount) * ms for amount, ms in amounts if amount) / 1000)


def format_duration(seconds: float) -> str:
    """
    Write a duration so that ``parse_duration`` reads the same value again.

    Args:
        seconds: Seconds, 0 or more.

    Returns:
        The shortest usual form: "30m", "1h30m", "24h", "30d", "500ms".
    """
    exact_ms = Decimal(repr(float(seconds))) * 1000
    if exact_ms != int(exact_ms):
        return f"{exact_ms / 1000:f}s"
    rest = int(exact_ms)
    # People say "24h" and "36h", but "30d".
    units = ["d", "h", "m", "s", "ms"] if rest >= 2 * _MS_PER_UNIT["d"] else ["h", "m", "s", "ms"]
    parts = []
    for unit in units:
        amount, rest = divmod(rest, _MS_PER_UNIT[unit])
        if amount:
            parts.append(f"{amount}{unit}")
    return "".join(parts) or "0s"


def parse_size(value: object) -> int:
    """
    Read a size given as a number of bytes or a text.

    Args:
        value: Bytes, or a text as "64KiB", "1 MiB", "500kB" or "65536".

    Returns:
        Bytes, 0 or more.

    Raises:
        ValueError: If it is negative, not whole, or not understood.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError("a size is 0 bytes or more")
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or match[2] not in _BYTES_PER_UNIT:
        raise ValueError("a size is whole bytes or a text with the units B, kB, KiB, MB, MiB")
    return int(match[1]) * _BYTES_PER_UNIT[match[2]]


def format_size(size: int) -> str:
    """
    Write a size so that ``parse_size`` reads the same value again.

    Args:
        size: Bytes, 0 or more.

    Returns:
        "64KiB", "1MiB", or plain bytes as "1000B" where no binary unit divides them.
    """
    for unit in ("MiB", "KiB"):
        amount, rest = divmod(size, _BYTES_PER_UNIT[unit])
        if amount and not rest:
            return f"{amount}{unit}"
    return f"{size}B"
