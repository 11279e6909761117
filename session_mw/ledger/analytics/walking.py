# ruff: noqa: S608  the statements are put together from names of our own columns, never from data
"""
A history in a database, stretch by stretch of time: so that an answer can be given whenever the time is up.

A stretch is as long as it takes to have some thousand rows in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from ..filters.sql import Dialect, Part
from ..filters.tree import Node
from ..listing import Found
from . import rolled
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
        for low, high in _left(question, fetch, dialect):
            for source in stretches(question.tree, low, high, question.oldest_first, fetch, dialect):
                question.take(source)
    except TimeIsUpError:
        return True
    return False


def _left(question: Question[T], fetch: Fetch, dialect: Dialect) -> Iterable[tuple[int, int]]:
    """Have a question take in what sums of days say; return what is left to read, from when until when."""
    tree = question.tree
    low, high = extent(tree, fetch, dialect)
    if not rolled.answered(question, tree, question.asked.tz):
        return [(low, high)]
    days = rolled.days_of(tree, low, high, fetch, dialect)
    rolled.add_sums(question, tree, days, fetch, dialect)
    found = raw_spans(days)
    return found if question.oldest_first else reversed(found)


def raw_spans(days: rolled.Days) -> list[tuple[int, int]]:
    """Return from when until when sessions have to be read."""
    return [(first * DAY_MS, (last + 1) * DAY_MS) for first, last in rolled.spans(days.raw, days.whole | days.none)]


def stretches(tree: Node, low: int, high: int, oldest_first: bool, fetch: Fetch, dialect: Dialect) -> Iterator[Stretch]:
    """Yield the stretches between two moments; how long one is goes by what was read of the one before."""
    length = DAY_MS
    while low < high:
        begin, end = (low, min(high, low + length)) if oldest_first else (max(low, high - length), high)
        source = Stretch(fetch, dialect, tree, begin, end)
        yield source
        low, high = (end, high) if oldest_first else (low, begin)
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
    for leaf in rolled.Meaning(tree).times:
        if leaf.low is not None and math.isfinite(leaf.low) and leaf.field.column == "started_ms":
            lows.append(math.ceil(leaf.low))
        if leaf.high is not None and math.isfinite(leaf.high):  # who was last active before has started before
            highs.append(math.ceil(leaf.high))
    return max(lows, default=None), min(highs, default=None)
