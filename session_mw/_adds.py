"""What turns brought, until the store has it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from ._core.ops import Add, SessionStore

T = TypeVar("T")

MOST = 10_000  # then the oldest is dropped
UNSURE = 1_000  # batches; there are as many as calls that failed in one moment


class Adds:
    """
    A queue of what turns brought. For any thread.

    A batch of which nobody knows whether the store has it is asked for again as it was, under its mark: nothing joins
    it, nothing is taken out of it.

    Args:
        dropped: Told why, of each that is dropped.
    """

    def __init__(self, dropped: Callable[[str], None]) -> None:
        self._queue: deque[Add] = deque()
        self._unsure: deque[list[Add]] = deque()
        self._dropped = dropped
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._queue) + len(self._unsure)

    def put(self, item: Add) -> None:
        """Queue *item*; the oldest is dropped, and counted, when the store cannot keep up."""
        if item.mark is not None:
            self._put_back([item])
            return
        if len(self._queue) >= MOST:
            with suppress(IndexError):
                self._queue.popleft()
            self._dropped("queue_full")
        self._queue.append(item)

    def take(self, session_id: str) -> list[Add]:
        """Take what is queued for one session out of the queue: it has to be written before the session is ended."""
        with self._lock:
            # In place, from a copy: other threads add to this very queue meanwhile, without the lock.
            mine = [item for item in self._queue.copy() if item.session_id == session_id]
            for item in mine:
                with suppress(ValueError):  # dropped as the oldest since
                    self._queue.remove(item)
        return mine

    def write(self, store: SessionStore, most: int, late: Callable[[Sequence[Add]], None]) -> int:
        """
        Write what nobody knows of, and a batch of what is queued; returns how many items.

        Args:
            store: Stamps what it is asked for with marks.
            most: At most so many items.
            late: Takes what came after its session's end was reported.
        """
        written = 0
        while batch := first(self._unsure, 1):
            written += self._write(batch[0], store, late)
        with self._lock:
            items = first(self._queue, most)
        return written + self._write(items, store, late)

    def _write(self, items: list[Add], store: SessionStore, late: Callable[[Sequence[Add]], None]) -> int:
        if not items:
            return 0
        try:
            missed = [item for item, kept in zip(items, store.add(items), strict=True) if not kept]
        except Exception:
            self._put_back(items)
            raise
        if missed:
            late(missed)
        return len(items)

    def _put_back(self, items: list[Add]) -> None:
        with self._lock:
            if items[0].mark is None:  # it was not asked for, or the store cannot lose its answer
                self._queue.extendleft(reversed(items))
            elif len(self._unsure) < UNSURE:
                self._unsure.appendleft(items)
            else:
                self._dropped("queue_full")


def first(queue: deque[T], count: int) -> list[T]:
    """Take up to *count* items; another thread may take some meanwhile."""
    items: list[T] = []
    with suppress(IndexError):
        while len(items) < count:
            items.append(queue.popleft())
    return items
