"""Times of day in the reader's time zone, which every page names."""

from __future__ import annotations

from datetime import datetime, timezone, tzinfo
from zoneinfo import ZoneInfo

UTC = "UTC"


def zone_named(name: str) -> tzinfo | None:
    """Return a time zone by its IANA name, None when this machine does not know it."""
    if name == UTC:
        return timezone.utc  # also where there is no database of zones
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # unknown; no such name can be; a folder of the database
        return None


MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def short_time(ms: int, now_ms: int, zone: tzinfo) -> str:
    """Return a time of day for a row of many: without the year, when it is this one."""
    try:
        at, now = (datetime.fromtimestamp(one / 1000, zone) for one in (ms, now_ms))
    except (ValueError, OverflowError, OSError):
        return day_time(ms, zone)
    day = f"{at.day} {MONTHS[at.month - 1]}"
    return f"{day} {at:%H:%M:%S}" if at.year == now.year else f"{day} {at.year} {at:%H:%M}"


def day_time(ms: int, zone: tzinfo) -> str:
    """Return a time of day; what no calendar has as a number."""
    try:
        return datetime.fromtimestamp(ms / 1000, zone).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"
