"""
How long an event loop's task waits for a store: time in which the loop was not run does not count.

A handler that computes for 100 ms, an import, a machine with more to do than it can: the store has answered meanwhile,
and nobody has looked. A deadline would say then that the store is slow, five times in a worker's first moments, and the
breaker would lose the turns of the next seconds.
"""

from __future__ import annotations

LOOKS = 10  # so often is looked, at least, before patience is over
LONGEST_S = 0.005  # between two looks: what is noticed of a spell in which the loop was not run
STRETCH = 10  # but nothing waits longer than so many times its patience


class Patience:
    """
    Patience with one answer.

    Args:
        seconds: Of waiting; at most ``STRETCH`` times as much with spells in which nobody looked.
        now: Seconds of any clock that does not step back.
    """

    __slots__ = ("_before", "_end", "_left", "pause", "seconds")

    def __init__(self, seconds: float, now: float) -> None:
        self.seconds = seconds
        self.pause = min(LONGEST_S, seconds / LOOKS)  # from one look to the next
        self._left, self._before = seconds, now
        self._end = now + STRETCH * seconds

    def over(self, now: float) -> bool:
        """Return whether it is used up; to be asked every ``pause`` seconds: a look that comes late counts as one."""
        spent, self._before = now - self._before, now
        self._left -= spent if spent < 2 * self.pause else self.pause
        return self._left <= 0 or now >= self._end
