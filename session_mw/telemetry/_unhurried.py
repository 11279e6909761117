"""Long work in a background thread, so that the threads that serve requests hardly notice it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

EVERY = 15  # items: half a millisecond of making records
NAP = 0.00005  # seconds; to sleep for none does not let anybody in


def unhurried(items: Iterable[T]) -> Iterator[T]:
    """
    Yield *items*, and now and then let other threads have the interpreter.

    A thread that waits for an answer gives the interpreter away for each system call, and waits up to 5 ms to have it
    back from one that computes (``sys.setswitchinterval``): twice for a question to a store.
    """
    for number, item in enumerate(items, 1):
        yield item
        if number % EVERY == 0:
            time.sleep(NAP)
