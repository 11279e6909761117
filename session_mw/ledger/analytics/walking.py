# ruff: noqa: S608  the statements are put together from names of our own columns, never from data
"""
A history in a database, stretch by stretch of time: so that an answer can be given whenever the time is up.

A stretch is as long as it takes to have some thousand rows in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from ..filters.sql import Dialect, Part
from ..filters.tree import And, Node, Range
from ..listing import Found
from .calendar import DAY_MS, QUARTER_MS
from .questions import Question
from .stretches import Fetch, Stretch

T = TypeVar("T")
FEW, MANY = 2_000, 50_000  # rows of a stretch
LONGEST_MS = 8 * DAY_MS  # of one that has any
Read = Callable[[Part], Found]


class TimeIsUpError(Exception):
    """A statement did not come to its end."""


def fetching(read: Read) -> Fetch:
    """Return what reads all rows of a statement, or raises when there is no time for them."""

    def fetch(statement: Part) -> Sequence[Any]:
        found = read(statement)
        if found.stopped:
            raise TimeIsUpError
        return found.rows

    return fetch


def walk(question: Question[T], read: Read, dialect: Dialect) -> bool:
    """
    Have a question take in all of a history that it is about.

    Args:
        question: Has not taken anything.
        read: Gives the rows of a statement, or says that it was stopped.
        dialect: Of the database.

    Returns:
        Whether it was stopped by its time.
    """
    fetch = fetching(read)
    try:
        low, high = extent(question.tree, fetch, dialect)
        for source in _stretches(question, low, high, fetch, dialect):
            question.take(source)
    except TimeIsUpError:
        return True
    return False


def _stretches(question: Question[T], low: int, high: int, fetch: Fetch, dialect: Dialect) -> Iterator[Stretch]:
    length = DAY_MS
    while low < high:
        begin, end = (low, min(high, low + length)) if question.oldest_first else (max(low, high - length), high)
        source = Stretch(fetch, dialect, question.tree, begin, end)
        yield source
        low, high = (end, high) if question.oldest_first else (low, begin)
        length = _next_length(length, source.seen)


def _next_length(length: int, seen: int) -> int:
    if seen == 0:
        return length * 2
    if seen < FEW:
        return min(LONGEST_MS, length * 2)
    return max(QUARTER_MS, length // 2) if seen > MANY else min(LONGEST_MS, length)


def extent(tree: Node, fetch: Fetch, dialect: Dialect) -> tuple[int, int]:
    """Return from which start on and before which one all sessions are that may fit."""
    ends = ", ".join(f"(SELECT {end}(started_ms) FROM {dialect.sessions})" for end in ("min", "max"))
    ((first, last),) = fetch((f"SELECT {ends}", []))
    if first is None:
        return 0, 0
    low, high = bounds(tree)
    return max(first, low) if low is not None else first, min(last + 1, high) if high is not None else last + 1


def bounds(tree: Node) -> tuple[int | None, int | None]:
    """Return from which start on and before which one a session has to be to fit; None: any."""
    lows, highs = [], []
    for leaf in necessary(tree):
        if isinstance(leaf, Range) and leaf.field.column in ("started_ms", "last_ms") and not leaf.field.attribute:
            if leaf.low is not None and math.isfinite(leaf.low) and leaf.field.column == "started_ms":
                lows.append(math.ceil(leaf.low))
            if leaf.high is not None and math.isfinite(leaf.high):  # who was last active before has started before
                highs.append(math.ceil(leaf.high))
    return max(lows, default=None), min(highs, default=None)


def necessary(tree: Node) -> Iterator[Node]:
    """Yield the conditions that all have to hold."""
    if isinstance(tree, And):
        for part in tree.parts:
            yield from necessary(part)
    else:
        yield tree
