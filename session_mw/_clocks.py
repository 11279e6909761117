"""This machine's clocks."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from uuid import UUID

from ._core.store_clock import StoreClock

BOOT_ID = "/proc/sys/kernel/random/boot_id"  # Linux, proc(5)

# A monotonic clock that goes on while the machine is suspended: Linux has one of its own, macOS's POSIX one does
# (clock_gettime(3) there; Python's ``time.monotonic`` does not), Windows' counter does.
_SLEEPLESS: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
ticks_ns: Callable[[], int] = time.monotonic_ns if _SLEEPLESS is None else partial(time.clock_gettime_ns, _SLEEPLESS)


def wall_ms() -> int:
    """Return the wall clock, milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@cache
def boot() -> int | None:
    """Return a number that this run of the machine has and no other; None where the system has none."""
    try:
        return UUID(Path(BOOT_ID).read_text(encoding="ascii").strip()).int & (2**63 - 1)
    except (OSError, ValueError):
        return None


def store_clock(clock: Callable[[], int] | None = None, *, own: bool = False) -> StoreClock:
    """
    Return a clock for a store, or for a worker of one.

    Args:
        clock: Milliseconds since the epoch, for tests: it moves the time and sets it. One that is a ``StoreClock``
            already is taken as it is. None takes the machine's.
        own: The store is on this machine.
    """
    if isinstance(clock, StoreClock):
        clock.own = clock.own or own
        clock.sure = clock.sure or own
        return clock
    if clock is None:
        return StoreClock(wall_ms, ticks_ns, own=own, boot=boot)
    return StoreClock(clock, lambda: clock() * 1_000_000, own=own)
