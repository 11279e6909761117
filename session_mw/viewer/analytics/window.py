"""
Which sessions the questions of a page are about: those that started within its window.

The list has sessions that were active within it. Here a session belongs to the day on which it started, and the first
day is whole: half a day would look like a bad one.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from ...ledger import Analyzing, Filter
from ..visits import WINDOW_DAYS
from .sight import SECONDS, Asking

LEAST_S = 0.2


class Patience:
    """The time that a page's questions may take together."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._until = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds for the next question."""
        return max(LEAST_S, self._until - time.monotonic())


def analyzing(
    asking: Asking, seconds: float = SECONDS, days: int = WINDOW_DAYS, where: Filter | None = None
) -> Analyzing:
    """
    Return which sessions are meant, for a question.

    Args:
        asking: What was asked.
        seconds: How long it may take.
        days: Of the window, today included.
        where: Instead of the filter that was asked for.
    """
    asked, zone = asking.asked, asking.visit.zone
    since = None if asked.unbounded is None else first_ms(asking, days)
    meant = where or asked.unbounded or asked.where
    return Analyzing(meant, asking.query.unconfirmed, zone, since, None, seconds)


def first_ms(asking: Asking, days: int) -> int:
    """Return the begin of the first of so many days, today the last, milliseconds since the epoch."""
    today = datetime.fromtimestamp(asking.visit.now_ms / 1000, asking.visit.zone)
    begin = today.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days - 1)
    return int(begin.timestamp() * 1000)
