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


def day_time(ms: int, zone: tzinfo) -> str:
    """Return a time of day; what no calendar has as a number."""
    try:
        return datetime.fromtimestamp(ms / 1000, zone).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"
