"""
By what a store knows a batch again that it has done already: what turns brought is counted once.

An answer that gets lost, or comes too late, says nothing: the batch may have been done or not. It is asked for again
then, the same items under the same mark, and a store that several processes share keeps the last mark of each lane.
A lane is used by one batch at a time, so one number is all that has to be kept.
"""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import NamedTuple

KEPT_MS = (
    6 * 3_600_000
)  # how long stores keep marks: longer than anything is tried again, shorter than workers are many


class Mark(NamedTuple):
    """
    The mark of one batch.

    Attributes:
        lane: Whose it is.
        number: Higher than that of all before it in this lane: an older one was done, or given up.
    """

    lane: str
    number: int


class Lanes:
    """
    The lanes of one process: as many as there ever were batches at once. For any thread.

    Args:
        writer: Name of the process, unlike any other's.
    """

    def __init__(self, writer: str) -> None:
        self._writer = writer
        self._free: deque[Mark] = deque()
        self._made = count(1)

    def take(self) -> Mark:
        """Return the mark of a new batch."""
        try:
            last = self._free.pop()
        except IndexError:
            return Mark(f"{self._writer}.{next(self._made)}", 1)
        return Mark(last.lane, last.number + 1)

    def give(self, mark: Mark) -> None:
        """Take back the lane of a batch about which everything is known."""
        self._free.append(mark)
