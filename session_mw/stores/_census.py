"""
About how many sessions live in a shared database, known in a request without asking.

Counting a million rows takes tens of milliseconds, so it is done behind requests: about once a second, and less often
where it takes long, so that a hundredth of the time goes into it at most. In between a process knows what itself has
begun and ended, and of other workers what they had by its last count. A count that nobody renewed for long says nothing
any more: then sessions begin again, and what is written behind them counts anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ..exceptions import StoreError

EVERY_SECONDS = 1.0
SHARE = 100  # a count that took so long is not repeated before a hundred times as long
OLD = 10  # intervals


class Census:
    """
    What a process knows of how many live.

    Without a lock, which a fork could leave locked: two threads that meet may lose a session, until the next count.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wanted = False
        self._counted: int | None = None
        self._since = 0
        self._at = 0.0
        self._interval = EVERY_SECONDS

    def full(self, max_live: int | None) -> bool:
        """Return whether so many live, or more, as far as this process knows."""
        if max_live is None:
            return False
        self._wanted = True
        if self._counted is not None and self._clock() >= self._at + OLD * self._interval:
            return False
        return (self._counted or 0) + self._since >= max_live

    def changed(self, by: int) -> None:
        """Note how many more, or fewer, live by what this process did."""
        self._since += by

    def renew(self, count: Callable[[], int]) -> None:
        """
        Count, if somebody wants to know and it is time to.

        Args:
            count: Asks the database.
        """
        began = self._clock()
        if not self._wanted or (self._counted is not None and began < self._at + self._interval):
            return
        since = self._since
        try:
            counted = count()
        except StoreError:
            return  # whoever claims has its answer all the same; the next one counts
        # What was begun or ended meanwhile may be in the count already: one more or less, until the next.
        self._counted, self._since, self._at = counted, self._since - since, began
        self._interval = max(EVERY_SECONDS, SHARE * (self._clock() - began))
