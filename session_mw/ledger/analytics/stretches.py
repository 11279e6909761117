# ruff: noqa: S608  the statements are put together from names of our own columns, never from data
"""A part of a history in a database: the sessions that started in a stretch of time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from ..filters.fields import FIELDS
from ..filters.sql import Dialect, Part, Postgres, where
from ..filters.tree import And, Node, Range
from .bundles import ROW
from .sources import Mark, Trail, gaps_of

Fetch = Callable[[Part], Sequence[Any]]

# As ``book.in_order`` has it.
_ORDER = "t.started_ms, t.number IS NOT NULL, COALESCE(t.number, 0), t.pk"


class Stretch:
    """
    The sessions that started from *low* on and before *high*, as far as they fit.

    Args:
        fetch: Returns the rows of a statement; raises when the time is up.
        dialect: Of the database.
        tree: Only those that fit it.
        low: Milliseconds since the epoch.
        high: Milliseconds since the epoch.
    """

    def __init__(self, fetch: Fetch, dialect: Dialect, tree: Node, low: int, high: int) -> None:
        self._read, self._dialect = fetch, dialect
        self.seen = 0  # rows
        self._test, self._asked = where(And((Range(FIELDS["started"], low, high), tree)), dialect)

    def _fetch(self, statement: Part) -> Sequence[Any]:
        rows = self._read(statement)
        self.seen += len(rows)
        return rows

    def _select(self, what: str, more: str = "", asked: Sequence[object] = (), end: str = "") -> Sequence[Any]:
        text = f"SELECT {what} FROM {self._dialect.sessions} AS s WHERE {self._test}{more}{end}"
        return self._fetch((text, [*self._asked, *asked]))

    def _turns(self, what: str, more: str = "", asked: Sequence[object] = ()) -> str:
        """Return a statement over their turns: the sessions come first, in each database."""
        source = f"{self._dialect.sessions} AS s CROSS JOIN {self._dialect.turns} AS t"
        return f"SELECT {what} FROM {source} WHERE {self._test} AND t.session_pk = s.pk{more}"

    def rows(self) -> Sequence[Sequence[Any]]:
        return self._select(", ".join(f"s.{column}" for column in ROW))

    def size(self) -> int:
        return int(self._select("count(*)")[0][0])

    def lengths(self) -> Mapping[int, int]:
        ended = f" AND s.status <> {self._dialect.mark}"
        return dict(self._select("s.turns, count(*)", ended, ["active"], " GROUP BY s.turns"))

    def trails(self, outcomes: Sequence[str] | None = None) -> Sequence[Trail]:
        more = "" if outcomes is None else f" AND s.outcome IN ({self._marks(outcomes)})"
        asked = [*self._asked, *(outcomes or ())]
        if isinstance(self._dialect, Postgres):  # a row for each trail, not for each turn: those have to travel
            each = self._turns(f"s.outcome, s.status, json_agg(t.action ORDER BY {_ORDER})::text AS actions", more)
            text = f"SELECT actions, outcome, status, count(*) FROM ({each} GROUP BY s.pk) AS e GROUP BY 1, 2, 3"
            return [Trail(_actions(actions), *facts) for actions, *facts in self._fetch((text, asked))]
        text = self._turns("s.pk, s.outcome, s.status, t.action", more) + f" ORDER BY s.pk, {_ORDER}"
        return list(_trails(self._fetch((text, asked))))

    def gaps(self) -> Mapping[int, Sequence[int]]:
        if isinstance(self._dialect, Postgres):
            before = f"lag(t.started_ms + t.latency_ms) OVER (PARTITION BY s.pk ORDER BY {_ORDER})"
            each = self._turns(f"s.pk, greatest(0, t.started_ms - {before}) AS gap, {before} AS before")
            text = f"SELECT pk, string_agg(gap::text, ',') FROM ({each}) AS e WHERE before IS NOT NULL GROUP BY pk"
            return {pk: list(map(int, said.split(","))) for pk, said in self._fetch((text, self._asked))}
        text = self._turns("s.pk, t.started_ms, t.latency_ms") + f" ORDER BY s.pk, {_ORDER}"
        mine = groupby(self._fetch((text, self._asked)), itemgetter(0))
        return {pk: gaps_of([(at, latency) for _, at, latency in turns]) for pk, turns in mine}

    def marks(self, actions: Sequence[str]) -> Iterable[Sequence[Mark]]:
        text = self._turns("s.pk, t.action, t.started_ms", f" AND t.action IN ({self._marks(actions)})")
        found = self._fetch((f"{text} ORDER BY s.pk, {_ORDER}", [*self._asked, *actions]))
        return [[(action, at) for _, action, at in turns] for _, turns in groupby(found, itemgetter(0))]

    def _marks(self, values: Sequence[object]) -> str:
        return ", ".join([self._dialect.mark] * len(values))


def _trails(rows: Iterable[Sequence[Any]]) -> Iterable[Trail]:
    for (_, outcome, status), turns in groupby(rows, itemgetter(0, 1, 2)):
        yield Trail(tuple(turn[3] for turn in turns), outcome, status, 1)


@lru_cache(maxsize=4_096)
def _actions(said: str) -> tuple[str | None, ...]:
    return tuple(json.loads(said))
