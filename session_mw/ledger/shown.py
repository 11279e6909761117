"""Numbers, lengths of time and texts for people, the same on the command line and in the viewer."""

from __future__ import annotations

import time


def plain(text: str) -> str:
    """Return *text* with what would move the cursor or turn the direction of writing made visible."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shown_ms(ms: float | None) -> str:
    """Return a length of time for people: 340 ms, 4.2 s, 12m 04s, 3h 10m, 2d 4h."""
    if ms is None:
        return "-"
    if ms < 1_000:
        return f"{ms:.0f} ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f} s"
    minutes, seconds = divmod(int(ms) // 1000, 60)
    if minutes < 60:
        return f"{minutes}m {seconds:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m" if hours < 24 else f"{hours // 24}d {hours % 24}h"


def shown_usd(usd: float | None) -> str:
    """Return US dollars for people; what has no price is no zero."""
    if usd is None:
        return "-"
    return f"${usd:,.2f}" if usd >= 1 or usd == 0 else f"${usd:.4f}"


def many(count: int, thing: str) -> str:
    """Return how many there are of something."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def shown_number(number: float | None) -> str:
    """Return a number for people."""
    return "-" if number is None else f"{number:,.0f}"


def shown_time(ms: int) -> str:
    """Return a time for people, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ms / 1000))
