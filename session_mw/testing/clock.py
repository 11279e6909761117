"""Time that is turned by hand."""

from __future__ import annotations


class FakeClock:
    """
    A clock for ``clock=`` arguments: it stands still until it is told otherwise.

    Args:
        start_ms: Where it begins, milliseconds since the epoch; 2025-01-01 by default.

    Example::

        clock = FakeClock()
        app = SessionTrackingMiddleware(app, settings, clock=clock)
        ...
        clock.advance(seconds=1800)  # everybody has been idle for half an hour
    """

    def __init__(self, start_ms: int = 1_735_689_600_000) -> None:
        self.now_ms = start_ms

    def __call__(self) -> int:
        """Return the time, milliseconds since the epoch."""
        return self.now_ms

    def advance(self, *, seconds: float = 0, ms: int = 0) -> int:
        """Turn the clock on (or back, when negative); returns the new time in milliseconds."""
        self.now_ms += round(seconds * 1000) + ms
        return self.now_ms

    def set(self, now_ms: int) -> None:
        """Turn the clock to *now_ms*, milliseconds since the epoch."""
        self.now_ms = now_ms

    def __repr__(self) -> str:
        return f"FakeClock({self.now_ms})"
