"""Work under a lock in pieces, so that whoever waits for the lock gets it in between."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

PIECE = 100  # sessions: a fifth of a millisecond each way


def let_in() -> None:
    """
    Let the thread that waits for a lock have it, once it is free.

    To let go of the lock is not enough: the waiting thread needs the interpreter too, and whoever has that takes the
    lock again first.
    """
    time.sleep(0)


def pieces(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield *items* piece by piece; others are let in after each."""
    for first in range(0, len(items), PIECE):
        yield items[first : first + PIECE]
        let_in()
