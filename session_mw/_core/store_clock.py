"""
The time by which sessions live and end, as one process knows it.

A wall clock is set: by hand, by NTP, by a hypervisor, to another hour in one step; and two machines' wall clocks may
differ by as much. No session may end by that. So here time is *moved* by a monotonic clock, and only *set* by a wall
clock once (stores on this machine) or by what a server answers (stores elsewhere: their clock decides).

Rule 1: a step of the wall clock changes nothing while a session lives.
Rule 2: between two settings time passes as the monotonic clock does; it never goes back.
Rule 3: no clock is read here but the two that were given.
"""

from __future__ import annotations

from collections.abc import Callable

SKEW_MS = 3_600_000  # how far a worker's wall clock may be off before its store has told it the time
DAY_MS = 86_400_000

_MS = 1_000_000  # nanoseconds
_SLACK_NS = 1_000 * _MS  # an answer may have been under way for as long; what differs by more was set anew


class StoreClock:
    """
    Tells the store's time: call it. Safe to share between threads: what changes is one integer.

    Args:
        wall_ms: The wall clock, milliseconds since the epoch.
        ticks_ns: A monotonic clock, nanoseconds. It should go on while the machine sleeps: then nobody is active.
        own: The store is on this machine: its time is ours, nobody has to tell it.
        boot: Returns a number of the run of the machine that *ticks_ns* counts in, so that its processes can agree
            about the time; None where that is not known.

    Attributes:
        own: As given.
        sure: Whether this is the store's time: a server has answered, a file was opened. Until then it is the wall
            clock's, which may be off.
    """

    __slots__ = ("_ahead_ns", "_ticks_ns", "_wall_ms", "boot", "own", "sure")

    def __init__(
        self,
        wall_ms: Callable[[], int],
        ticks_ns: Callable[[], int],
        *,
        own: bool = False,
        boot: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._wall_ms, self._ticks_ns, self.boot = wall_ms, ticks_ns, boot
        self._ahead_ns: int | None = None  # of the ticks; set at the first look, not where an application is built
        self.own = self.sure = own

    def __call__(self) -> int:
        """Return the time, milliseconds since the epoch."""
        ahead = self._ahead_ns
        if ahead is None:
            ahead = self._ahead_ns = self._by_wall()
        return (self._ticks_ns() + ahead) // _MS

    def heard(self, store_ms: int) -> int:
        """
        Learn from an answer of the store; return the time.

        Of answers that differ by less than a second the quickest is right: they were true when they were written.

        Args:
            store_ms: The store's clock, milliseconds since the epoch.
        """
        ticks, known = self._ticks_ns(), self._ahead_ns
        ahead = store_ms * _MS - ticks
        if known is None or not self.sure or ahead > known or known - ahead > _SLACK_NS:
            self._ahead_ns, self.sure, known = ahead, True, ahead
        return (ticks + known) // _MS

    def near(self, told_ms: int) -> int:
        """
        Return what the time may be, as near to *told_ms* as it may be.

        Args:
            told_ms: A time that another worker wrote down, perhaps in the store's time.
        """
        now_ms = self()
        return now_ms if self.sure else max(now_ms - SKEW_MS, min(told_ms, now_ms + SKEW_MS))

    # -- stores on this machine

    @property
    def ahead_ns(self) -> int:
        """How far the time is ahead of the ticks, nanoseconds."""
        ahead = self._ahead_ns
        if ahead is None:
            ahead = self._ahead_ns = self._by_wall()
        return ahead

    def agree(self, ahead_ns: int) -> bool:
        """
        Take the time that another process of this boot has set; False where that is more than a day off the wall.

        Then it was no time: ticks that do not count what ours do, or a clock that had not been set yet.
        """
        if abs(ahead_ns - self._by_wall()) > DAY_MS * _MS:
            return False
        self._ahead_ns = ahead_ns
        return True

    def strays(self) -> bool:
        """Return whether the wall clock has been set, by more than a second, since the time was."""
        return abs(self.ahead_ns - self._by_wall()) > _SLACK_NS

    def set(self) -> None:
        """Set the time by the wall clock if that has been set: only while no session lives."""
        if self.strays():
            self._ahead_ns = self._by_wall()

    def _by_wall(self) -> int:
        return self._wall_ms() * _MS - self._ticks_ns()
