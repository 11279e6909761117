"""
A queue of things to look at later, made for a million of them and for deadlines that only move away.

Items are filed under the quarter of a second at which somebody has to look at them; a bucket whose time has come is
spread over exact milliseconds. Nothing is moved when a deadline is postponed: whoever looks asks for the time anew
and files again. So a touch costs the queue nothing, an entry costs nine bytes, and each item is looked at once an
idle time. (Heaps, sorted lists and ordered dictionaries were measured: they pay on every touch, or 100 bytes more.)
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T")

COARSE_BITS = 8  # 256 ms a bucket


class Buckets(Generic[T]):
    """Lists of items by an integer key, with the smallest key at hand."""

    __slots__ = ("_lists", "_order")

    def __init__(self) -> None:
        self._lists: dict[int, list[T]] = {}
        self._order: list[int] = []

    def file(self, items: list[T], key: int) -> None:
        """Put *items* under *key*."""
        found = self._lists.get(key)
        if found is not None:
            found += items
        elif items:
            self._lists[key] = items
            heappush(self._order, key)

    def first(self) -> int | None:
        """Return the smallest key, None when there is nothing."""
        return self._order[0] if self._order else None

    def pop(self, limit: int) -> list[T]:
        """Take up to *limit* items of the smallest key."""
        key = self._order[0]
        found = self._lists[key]
        taken = found[-limit:]
        del found[-limit:]
        if not found:
            del self._lists[key]
            heappop(self._order)
        return taken


class Wheel(Generic[T]):
    """Items by the time at which somebody has to look at them. Not thread-safe."""

    __slots__ = ("_coarse", "_fine", "_opened")

    def __init__(self) -> None:
        self._coarse: Buckets[T] = Buckets()
        self._fine: Buckets[T] = Buckets()
        self._opened = -1  # coarse keys up to this one were spread

    def file(self, items: list[T], at_ms: int) -> None:
        """Ask for a look at each of *items* at *at_ms*. The list belongs to the wheel from now on."""
        if at_ms >> COARSE_BITS <= self._opened:
            self._fine.file(items, at_ms)
        else:
            self._coarse.file(items, at_ms >> COARSE_BITS)

    def take(self, now_ms: int, limit: int, look: Callable[[T], int | None]) -> list[T]:
        """
        Take items out whose time has come.

        Args:
            now_ms: The time.
            limit: At most so many are examined.
            look: Tells when an item really is due; None: it is of no interest any more.

        Returns:
            Items that are due. The others that were examined are filed again, or dropped.
        """
        due: list[T] = []
        while limit > 0:
            source = self.ready(now_ms)
            if source is None:
                break
            examined = source.pop(limit)
            limit -= len(examined)
            for item in examined:
                at_ms = look(item)
                if at_ms is None:
                    continue
                if at_ms <= now_ms:
                    due.append(item)
                else:
                    self.file([item], at_ms)
        return due

    def ready(self, now_ms: int) -> Buckets[T] | None:
        """Return the level that holds something to be looked at now, None when nothing has to be."""
        first = self._coarse.first()
        if first is not None and first <= now_ms >> COARSE_BITS:
            self._opened = max(self._opened, now_ms >> COARSE_BITS)
            return self._coarse
        first = self._fine.first()
        return self._fine if first is not None and first <= now_ms else None

    def next_ms(self) -> int | None:
        """Return when the next look is due, at most a bucket too early; None when nothing is filed."""
        fine, coarse = self._fine.first(), self._coarse.first()
        if coarse is None:
            return fine
        start = coarse << COARSE_BITS
        return start if fine is None else min(fine, start)

    def earliest(self, limit: int) -> list[T]:
        """Take up to *limit* items out that would be looked at first, whenever that is."""
        source = self._fine if self._fine.first() is not None else self._coarse
        return [] if source.first() is None else source.pop(limit)


def least(one: int | None, other: int | None) -> int | None:
    """Return the earlier of two times; None is never."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
