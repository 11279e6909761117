"""Shares, and what answers with outcomes have in common."""

from __future__ import annotations


def share(part: int, whole: int) -> float | None:
    """Return a fraction, None of nothing."""
    return part / whole if whole else None


class Settling:
    """How many of some sessions were resolved."""

    __slots__ = ()

    sessions: int
    resolved: int
    settled: int

    @property
    def resolution_rate(self) -> float | None:
        """Resolved / (resolved + escalated + abandoned)."""
        return share(self.resolved, self.settled)

    @property
    def unknown(self) -> int:
        """Sessions whose outcome is not known: shown apart, never counted as failure."""
        return self.sessions - self.settled
