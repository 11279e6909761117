"""Ends that the store did not take when applications asked for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress

from ._core.ops import End, SessionStore

MOST = 10_000  # then the oldest is dropped


class LateEnds:
    """
    Ends to be carried out when the store is back: a logout holds, however late.

    To end a session twice changes nothing, so one of which nobody knows whether it was carried out is asked for again.

    Args:
        dropped: Told why, of each that is dropped.
    """

    def __init__(self, dropped: Callable[[str], None]) -> None:
        self._asks: deque[End] = deque()
        self._dropped = dropped

    def __len__(self) -> int:
        return len(self._asks)

    def add(self, ask: End) -> None:
        """Keep *ask*. For any thread."""
        while len(self._asks) >= MOST:
            with suppress(IndexError):
                self._asks.popleft()
            self._dropped("queue_full")
        self._asks.append(ask)

    def write(self, store: SessionStore) -> int:
        """Carry out what is kept; returns how many sessions that ended. What the store does not take is kept."""
        ended = 0
        for _ in range(len(self._asks)):
            ask = self._asks.popleft()
            try:
                ended += store.end(ask)
            except Exception:
                self._asks.appendleft(ask)
                raise
        return ended
