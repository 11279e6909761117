"""
Which sessions the questions of a page are about: those that started within its window.

The list has sessions that were active within it. Here a session belongs to the day on which it started, and the first
day is whole: half a day would look like a bad one.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from ...ledger import Analyzing
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
    asking: Asking, seconds: float = SECONDS, days: int = WINDOW_DAYS, from_monday: bool = False
) -> Analyzing:
    """
    Return which sessions are meant, for a question.

    Args:
        asking: What was asked.
        seconds: How long it may take.
        days: Of the window, today included.
        from_monday: The window begins with a week: half of one would look like a bad one, too.
    """
    asked, zone = asking.asked, asking.visit.zone
    since = None if asked.unbounded is None else _first_ms(asking, days, from_monday)
    return Analyzing(asked.unbounded or asked.where, asking.query.unconfirmed, zone, since, None, seconds)


def _first_ms(asking: Asking, days: int, from_monday: bool) -> int:
    """Return the begin of the first of so many days, today the last, milliseconds since the epoch."""
    today = datetime.fromtimestamp(asking.visit.now_ms / 1000, asking.visit.zone)
    first = today - timedelta(days=days - 1)
    first -= timedelta(days=first.weekday() if from_monday else 0)
    return int(first.replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000)
