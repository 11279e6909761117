"""
How much is swept in passing, where nothing but requests ever runs (``sweep="request"``): little, and not too often.

A function that is frozen between requests has no background. So a response is followed by a look at what is due: at
most 20 sessions and about 20 milliseconds, and a tenth of the time altogether. What is left is left to later requests,
and to ``session-mw sweep``.
"""

from __future__ import annotations

MOST = 20  # sessions
STEP_SECONDS = 0.02
SHARE = 10  # of the time: after what took a millisecond, nothing for ten


class Pace:
    """
    Decides when the next step may be done, and how large it is.

    Attributes:
        limit: At most so many sessions.
    """

    def __init__(self) -> None:
        self.limit = MOST
        self._next = 0.0

    def due(self, now: float) -> bool:
        """Return whether there may be a step at *now*, monotonic seconds."""
        return now >= self._next

    def hurry(self) -> None:
        """Let the next step be done at once: something is known to be due."""
        self._next = 0.0

    def took(self, began: float, ended: float, full: bool) -> None:
        """
        Note how long a step took.

        Args:
            began: Monotonic seconds.
            ended: The same.
            full: As many sessions as allowed were reported: more may be due.
        """
        seconds = ended - began
        self._next = ended + SHARE * seconds
        if seconds > STEP_SECONDS:
            self.limit = max(1, self.limit // 2)
        elif full and 2 * seconds <= STEP_SECONDS:
            self.limit = min(MOST, self.limit * 2)
