"""Which days of a history a transaction writes of: what is kept of them in sums has to be made anew."""

from __future__ import annotations

from .rows import SessionRow

DAY_MS = 86_400_000


def day_of(ms: int) -> int:
    """Return a moment's day: days of UTC since the epoch."""
    return ms // DAY_MS


class Touched:
    """
    The days on which those sessions started that are written of.

    Attributes:
        days: See ``day_of``.
    """

    def __init__(self) -> None:
        self.days: set[int] = set()
        self._started: dict[int, int] = {}

    def know(self, row: SessionRow) -> None:
        """Remember when a session started: its turns may be written without itself."""
        self._started[row.pk] = day_of(row.started_ms)

    def kept(self, row: SessionRow, before: SessionRow | None) -> None:
        """Take down that *row* was written in the place of *before*."""
        if before is not None:
            self.days.add(day_of(before.started_ms))
        self.days.add(day_of(row.started_ms))
        self.know(row)

    def added_to(self, session_pk: int) -> None:
        """Take down that a session got a turn."""
        self.days.add(self._started[session_pk])
