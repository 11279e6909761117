"""Which questions the sums of days answer, for which days, and what is left to read session by session."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Protocol, runtime_checkable

from ..filters import UNCONFIRMED, fits
from ..filters.sql import Dialect
from ..filters.tree import And, Node, Not, Range, leaves
from ..rows import SessionRow
from .bundles import Bundle
from .calendar import DAY_MS, is_utc
from .dailies import Key, bundles_between, days_between, dirty_between, edges_between, flows_between
from .stretches import Fetch

KEYS = frozenset({"type", "prompt_version", "channel", "confirmed"})
TIMES = frozenset({"started_ms", "last_ms"})
Edges = tuple[tuple[int, int], tuple[int, int]]  # of starts, and of ends of activity
Spans = list[tuple[int, int]]


@runtime_checkable
class TakesBundles(Protocol):
    """
    A question that sums of days answer.

    Attributes:
        lists: The lists that it needs.
        merges: Sums of whole days will do, with each user once: it does not tell types, versions and channels apart.
    """

    lists: Sequence[str]
    merges: bool

    def add(self, some: Iterable[Bundle]) -> None:
        """Take sums into account."""


@runtime_checkable
class TakesFlows(Protocol):
    """A question that counts of what follows what answer."""

    def add_flow(self, step: int, before: str | None, action: str | None, sessions: int) -> None:
        """Take a count into account."""


def answered(question: object, tree: Node, tz: tzinfo) -> bool:
    """Return whether sums of days can answer a question: it asks for nothing beyond what they are kept by."""
    named = Meaning(tree).names()
    if any(leaf.field.attribute for leaf in leaves(tree)):
        return False
    if isinstance(question, TakesBundles):
        return named <= KEYS and is_utc(tz)
    return isinstance(question, TakesFlows) and Meaning(tree).rest in (And(()), And((Not(UNCONFIRMED),)))


class Meaning:
    """
    A filter taken apart.

    Attributes:
        times: Ranges of times that all have to hold.
        rest: What has to hold beside them.
    """

    def __init__(self, tree: Node) -> None:
        self.times: list[Range] = []
        self._keys: dict[Key, bool] = {}
        self.rest = And(tuple(self._others(tree)))

    def names(self) -> set[str]:
        """Return what has to be known of sessions, beside their times."""
        return {leaf.field.column for leaf in leaves(self.rest)}

    def _others(self, tree: Node) -> Iterator[Node]:
        for node in _flat(tree):
            if isinstance(node, Range) and node.field.column in TIMES and not node.field.attribute:
                self.times.append(node)
            else:
                yield node

    def of_times(self, edges: Edges) -> bool | None:
        """Return whether all sessions between some edges are meant; None: some may be."""
        starts, ends = edges
        whole = True
        for one in self.times:
            low, high = starts if one.field.column == "started_ms" else ends
            if (one.low is not None and high < one.low) or (one.high is not None and low >= one.high):
                return False
            whole &= (one.low is None or one.low <= low) and (one.high is None or high < one.high)
        return True if whole else None

    def of_key(self, key: Key) -> bool:
        """Return whether sessions are meant that have this in common."""
        found = self._keys.get(key)
        if found is None:
            kind, version, channel, unconfirmed = key
            confirmed = False if unconfirmed else None
            row = SessionRow(0, "", 1, 0, 0, None, kind, None, version, channel, confirmed=confirmed)
            found = self._keys[key] = fits(self.rest, row)
        return found


def _flat(tree: Node) -> Iterator[Node]:
    if isinstance(tree, And):
        for part in tree.parts:
            yield from _flat(part)
    else:
        yield tree


@dataclass
class Days:
    """
    Days of a question.

    Attributes:
        whole: Those of which sums tell all.
        raw: Those that have to be read.
        none: Those of which nothing is meant.
    """

    whole: set[int] = field(default_factory=set)
    raw: set[int] = field(default_factory=set)
    none: set[int] = field(default_factory=set)


def days_of(tree: Node, low: int, high: int, fetch: Fetch, dialect: Dialect) -> Days:
    """
    Return the days of a question, as days of UTC since the epoch.

    Args:
        tree: Which sessions.
        low: No session that is meant has started before.
        high: Nor then or later.
        fetch: Returns the rows of a statement.
        dialect: Of the database.
    """
    if low >= high:
        return Days()
    first, last = low // DAY_MS, (high - 1) // DAY_MS
    meaning, found = Meaning(tree), Days(raw=dirty_between(first, last, fetch, dialect))
    for day, *edges in edges_between(first, last, fetch, dialect):
        held = meaning.of_times(((edges[0], edges[1]), (edges[2], edges[3])))
        if day not in found.raw:
            (found.none if held is False else found.whole if held else found.raw).add(day)
    return found


def add_sums(question: object, tree: Node, days: Days, fetch: Fetch, dialect: Dialect) -> None:
    """Have a question take in the sums of whole days."""
    for first, last in spans(days.whole, days.raw | days.none):
        if isinstance(question, TakesBundles):
            meaning = Meaning(tree)
            whole = dialect.merged and question.merges and meaning.names() <= {"confirmed"}
            read = days_between if whole else bundles_between
            question.add(read(first, last, question.lists, meaning.of_key, fetch, dialect))
        elif isinstance(question, TakesFlows):
            all_ = Meaning(tree).rest == And(())
            for row in flows_between(first, last, all_, fetch, dialect):
                question.add_flow(*row)


def spans(days: set[int], between: set[int]) -> Spans:
    """Return days as spans, first and last, in order; none of the days *between* is in one."""
    found: Spans = []
    goes_on = False
    for day in sorted(days | between):
        if day not in days:
            goes_on = False
        elif goes_on:
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
            goes_on = True
    return found
