"""
When a store is not asked any more, and when it is tried again: a circuit breaker.

Closed, everything is asked. Five failures within ten seconds, and no more successes between them than failures, open
it: a store that is away fails always, one that is only crowded (SQLite at the limit of what it can write) now and then,
and is worth asking. Open, nothing is asked, at first for five seconds. Then one call is let through, the probe: its
success closes the breaker, its failure opens it for twice as long, up to about a minute. A store may be full, locked or
a replica, and answer questions all the same: a probe that wrote nothing leaves it to the next.

It knows no clock: time is an argument, seconds of any clock that does not step back.

Source:
    Michael Nygard, "Release It!", "Circuit Breaker"; figures: promise G7, which wants recovery seen within 60 seconds.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

State = Literal["closed", "half_open", "open"]

FAILURES = 5
WINDOW_S = 10.0  # within which they count together
FIRST_S = 5.0
LONGEST_S = 57.0  # what is left of the promised minute is for GRACE_S, and for whoever asks next to come along
SHORTER = 0.25  # so much of a pause jitter takes away at most: workers do not try again in step
GRACE_S = 2.0  # for so long the probe is left to the background: a request that is one may wait in vain
PROBE_S = 15.0  # whoever has not said by then what came of its probe never will: longer than any call may take

REFUSED = 0


class Breaker:
    """
    Decides who may ask a store. Not for several threads at once: callers have a lock where it matters.

    Whoever may ask gets a permit, a number that belongs to the present state. What comes of calls that were let through
    in an earlier state says nothing about this one, and is not heard.

    Attributes:
        state: ``closed``, ``half_open`` (a probe is under way) or ``open``.
        permit: What everybody gets while it is closed.
        successes: Calls that went well; whoever has no lock may raise it.
        opened_at: Since when the store has been away, seconds; None while it is there.
    """

    def __init__(self) -> None:
        self.state: State = "closed"
        self.permit = 1
        self.successes = 0
        self.opened_at: float | None = None
        self._failures: deque[tuple[float, int]] = deque(maxlen=FAILURES)
        self._pause = FIRST_S
        self._retry_at = 0.0

    def enter(self, now: float, behind: bool = False) -> int:
        """
        Return a permit to ask the store now, ``REFUSED`` if there is none.

        Args:
            now: Seconds.
            behind: Nobody waits for the call, so it is the first that may be the probe.
        """
        if self.refuses(now, behind):
            return REFUSED
        if self.state == "closed":
            return self.permit
        self._change("half_open")
        self._retry_at = now + PROBE_S  # of the next probe, should this one never be heard of
        return self.permit

    def refuses(self, now: float, behind: bool = False) -> bool:
        """Return whether there is no permit now; changes nothing. Arguments as ``enter``'s."""
        if self.state == "closed":
            return False
        return now < self._retry_at + (0.0 if behind or self.state == "half_open" else GRACE_S)

    def succeeded(self, permit: int) -> bool:
        """Hear that a call went well; returns whether that closed the breaker."""
        if self.state == "closed":
            self.successes += 1
            return False
        if not self._is_probe(permit):
            return False
        self._change("closed")
        self._failures.clear()
        self._pause, self.opened_at = FIRST_S, None
        return True

    def failed(self, permit: int, now: float, jitter: float) -> bool:
        """
        Hear that a call failed.

        Args:
            permit: Of the call.
            now: Seconds.
            jitter: 0 to 1: how much of ``SHORTER`` the pause is cut by, if it begins here.

        Returns:
            Whether that opened the breaker (again).
        """
        if self._is_probe(permit):
            self._pause = min(self._pause * 2, LONGEST_S)
        elif self.state != "closed" or permit != self.permit or not self._too_many(now):
            return False
        else:
            self.opened_at = now
        self._open(now + self._pause * (1 - SHORTER * jitter))
        return True

    def left(self, permit: int, now: float) -> None:
        """Hear that a call was given up by whoever made it: that says nothing, but the next may be the probe."""
        if self._is_probe(permit):
            self._open(now)

    def unsure(self, permit: int, now: float) -> None:
        """Hear that a call went well that wrote nothing: a request may look at once what the store takes."""
        if self._is_probe(permit):
            self._open(now - GRACE_S)

    def _is_probe(self, permit: int) -> bool:
        return self.state == "half_open" and permit == self.permit

    def _too_many(self, now: float) -> bool:
        """Note a failure; returns whether it is one too many."""
        self._failures.append((now, self.successes))
        first, before = self._failures[0]
        full = len(self._failures) == FAILURES
        return full and now - first <= WINDOW_S and self.successes - before <= FAILURES

    def _open(self, retry_at: float) -> None:
        self._change("open")
        self._retry_at = retry_at

    def _change(self, state: State) -> None:
        self.state = state
        self.permit += 1
