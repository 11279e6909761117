"""
Many small objects made without the garbage collector, which would look at all of them again and again.

A hundred thousand tuples of which none is part of a cycle: three quarters of the time that it took to make them was the
collector's. It stands still for the whole process meanwhile, some hundredths of a second: other threads' garbage waits.

Source:
    mercurial/util.py, ``nogc``, for the same reason; https://docs.python.org/3/library/gc.html.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0
_was_on = False


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect no garbage meanwhile; behind the last who asks for it the collector is as it was before the first."""
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _inside, _was_on
    with _lock:
        if _inside == 0:
            _was_on = gc.isenabled()
            gc.disable()
        _inside += 1


def _leave() -> None:
    global _inside
    with _lock:
        _inside -= 1
        if _inside == 0 and _was_on:
            gc.enable()
