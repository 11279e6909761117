"""Sums over groups of sessions: of the sums of days where these tell, else by one statement over all sessions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timezone

from ..filters.sql import Dialect
from ..filters.tree import Node
from ..listing import Found, whole
from ..summary import Group, Summing, groups_from, in_order, summing
from . import rolled
from .bundles import SUMS, Bundle, bundles
from .calendar import Days
from .sources import Source
from .sums import users_of
from .walking import Read, TimeIsUpError, extent, fetching, raw_spans, stretches

KEYS = frozenset({"type", "prompt_version", "channel"})
FEW_DAYS = 3  # without sums: to read more of them costs as much as the one statement


class Grouping:
    """Adds sums up, group by group."""

    lists: Sequence[str] = ("users",)
    oldest_first = False

    def __init__(self, asked: Summing) -> None:
        self.merges = not asked.by
        self.tree: Node = asked.tree
        self._columns = [field.column for field in asked.fields]
        self._groups: dict[tuple[str | None, ...], list[Bundle]] = {} if asked.by else {(): []}

    def take(self, source: Source) -> None:
        self.add(bundles(source.rows(), Days(timezone.utc)))

    def add(self, some: Iterable[Bundle]) -> None:
        for bundle in some:
            key = tuple(getattr(bundle, column) for column in self._columns)
            self._groups.setdefault(key, []).append(bundle)

    def answer(self) -> list[Group]:
        return in_order(_group(key, mine) for key, mine in self._groups.items())


def _group(key: tuple[str | None, ...], some: Sequence[Bundle]) -> Group:
    sums = dict.fromkeys(SUMS, 0) | dict(
        zip(SUMS, map(sum, zip(*(one.sums for one in some), strict=True)), strict=False)
    )
    return Group(key, users=users_of(some), **sums)


def summary(asked: Summing, read: Read, dialect: Dialect) -> list[Group]:
    """
    Return sums over sessions.

    Args:
        asked: What is asked for.
        read: Gives the rows of a statement, or says that it was stopped.
        dialect: Of the database.

    Raises:
        StoreUnavailable: It takes too long.
    """
    try:
        found = _from_sums(asked, read, dialect)
    except TimeIsUpError:
        return groups_from(asked, whole(Found([], stopped=True), asked.seconds))
    return groups_from(asked, whole(read(summing(asked, dialect)), asked.seconds)) if found is None else found


def _from_sums(asked: Summing, read: Read, dialect: Dialect) -> list[Group] | None:
    grouping, fetch = Grouping(asked), fetching(read)
    keys = {field.column for field in asked.fields if not field.attribute}
    if len(keys) < len(set(asked.by)) or not keys <= KEYS or not rolled.answered(grouping, asked.tree, timezone.utc):
        return None
    days = rolled.days_of(asked.tree, *extent(asked.tree, fetch, dialect), fetch, dialect)
    if len(days.raw) > FEW_DAYS:
        return None
    rolled.add_sums(grouping, asked.tree, days, fetch, dialect)
    for low, high in raw_spans(days):
        for source in stretches(asked.tree, low, high, False, fetch, dialect):
            grouping.take(source)
    return grouping.answer()
