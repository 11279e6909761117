"""
Sums over sessions, all of them or a group each.

Rule 1: what is unknown is no zero: sums come with the number of sessions that know.
Rule 2: the rate of resolution is resolved / (resolved + escalated + abandoned), see ``_core.analysis``; sessions whose
    outcome is unknown stand beside it.
Rule 3: groups come in the order in which people count: v9 before v10.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..exceptions import FilterError
from . import values
from .filters import Filter, counted
from .filters.fields import FIELDS, find, near
from .filters.sql import Dialect, Part, where
from .filters.tree import Field, Node
from .rows import SessionRow

SETTLED = ("resolved", "escalated", "abandoned")


@dataclass(frozen=True, slots=True)
class Summing:
    """
    What is asked for.

    Attributes:
        where: Only sessions that fit it.
        by: Names of fields, or attributes; empty for one sum over all.
        include_unconfirmed: Also those that nobody confirmed: bots, webhooks.
        seconds: How long it may take: half a sum is none.

    Raises:
        FilterError: There is no such field.
    """

    where: Filter | None = None
    by: tuple[str, ...] = ()
    include_unconfirmed: bool = False
    seconds: float = 5.0

    def __post_init__(self) -> None:
        for name in self.by:
            field_named(name)

    @property
    def fields(self) -> list[Field]:
        """What makes a group."""
        return [field_named(name) for name in self.by]

    @property
    def tree(self) -> Node:
        """Which sessions are meant."""
        return counted(self.where, self.include_unconfirmed)


@dataclass(frozen=True, slots=True)
class Group:
    """
    Sums over sessions. Times are milliseconds, money is millionths of a US dollar.

    Attributes:
        key: What its sessions have in common, as text, for each name of ``Summing.by``; None: they have it not.
        sessions: How many.
        users: Different ones, as far as they are known.
        anonymous: Sessions without a user.
        turns: Sum.
        failed: Turns that ended with an error.
        with_errors: Sessions with such turns.
        duration_ms: Sum.
        tokens: Sum over the sessions that know.
        counted: Sessions that know their tokens.
        cost_microusd: Sum over the sessions that know.
        priced: Sessions that know their cost.
        latency_ms: Sum over finished turns.
        finished: Turns in that sum.
        resolved: Sessions.
        settled: Sessions whose outcome is known.
    """

    key: tuple[str | None, ...]
    sessions: int
    users: int
    anonymous: int
    turns: int
    failed: int
    with_errors: int
    duration_ms: int
    tokens: int
    counted: int
    cost_microusd: int
    priced: int
    latency_ms: int
    finished: int
    resolved: int
    settled: int

    @property
    def resolution_rate(self) -> float | None:
        """Share of the sessions whose outcome is known, None when none is."""
        return self.resolved / self.settled if self.settled else None

    @property
    def avg_turn_latency_ms(self) -> float | None:
        """Mean over finished turns, None when there is none."""
        return self.latency_ms / self.finished if self.finished else None


def field_named(name: str) -> Field:
    """
    Return the field, or attribute, that *name* means.

    Raises:
        FilterError: There is none.
    """
    found = find(values.text(name))
    if found is None or (not found.attribute and FIELDS[name.lower()].kind == "flag"):
        close = near(name)
        hint = f"Did you mean {close!r}?" if close else "Your own are written metadata.name."
        raise FilterError(f"there is no field {name!r} to group by", name, 0, len(name), hint)
    return found


def natural(text: str | None) -> tuple[bool, list[tuple[bool, int, str]]]:
    """Return a key that sorts v9 before v10, and what is missing last."""
    parts = re.findall(r"(\d{1,300})|(\D+)", text or "")
    return text is None, [(not digits, int(digits or 0), rest) for digits, rest in parts]


def in_order(groups: Iterable[Group]) -> list[Group]:
    """Return groups as people count."""
    return sorted(groups, key=lambda group: [natural(part) for part in group.key])


# -- in memory


def word(value: object) -> str | None:
    """Return a value as the text that groups are named by."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)


def value_of(row: SessionRow, field: Field) -> object:
    """Return what a session has of a field or attribute, None when nothing."""
    found: object = row.attributes.get(field.column) if field.attribute else getattr(row, field.column)
    return found


def groups_of(asked: Summing, rows: Iterable[SessionRow]) -> list[Group]:
    """Return the sums over *rows*, which are all sessions that are meant."""
    by_key: dict[tuple[str | None, ...], list[SessionRow]] = {}
    for row in rows:
        by_key.setdefault(tuple(word(value_of(row, field)) for field in asked.fields), []).append(row)
    if not asked.by:
        by_key.setdefault((), [])
    return in_order(_group(key, mine) for key, mine in by_key.items())


def _group(key: tuple[str | None, ...], rows: list[SessionRow]) -> Group:
    timed = [row for row in rows if row.latency_ms is not None]
    return Group(
        key,
        sessions=len(rows),
        users=len({row.user_id for row in rows} - {None}),
        anonymous=sum(row.user_id is None for row in rows),
        turns=sum(row.turns for row in rows),
        failed=sum(row.failed for row in rows),
        with_errors=sum(row.failed > 0 for row in rows),
        duration_ms=sum(row.duration_ms for row in rows),
        tokens=sum(row.total_tokens or 0 for row in rows),
        counted=sum(row.total_tokens is not None for row in rows),
        cost_microusd=sum(row.cost_microusd or 0 for row in rows),
        priced=sum(row.cost_microusd is not None for row in rows),
        latency_ms=sum(row.latency_ms or 0 for row in timed),
        finished=sum(row.completed + row.failed for row in timed),
        resolved=sum(row.outcome == "resolved" for row in rows),
        settled=sum(row.outcome in SETTLED for row in rows),
    )


# -- in SQL

_SUMS = """count(*), count(DISTINCT s.user_id), sum(CASE WHEN s.user_id IS NULL THEN 1 ELSE 0 END),
    sum(s.turns), sum(s.failed), sum(CASE WHEN s.failed > 0 THEN 1 ELSE 0 END), sum(s.duration_ms),
    sum(s.total_tokens), count(s.total_tokens), sum(s.cost_microusd), count(s.cost_microusd),
    sum(s.latency_ms), sum(CASE WHEN s.latency_ms IS NOT NULL THEN s.completed + s.failed ELSE 0 END),
    sum(CASE WHEN s.outcome = 'resolved' THEN 1 ELSE 0 END),
    sum(CASE WHEN s.outcome IN ('resolved', 'escalated', 'abandoned') THEN 1 ELSE 0 END)"""


def summing(asked: Summing, dialect: Dialect) -> Part:
    """Return the statement that sums, a row for each group."""
    keys = [dialect.word(field) for field in asked.fields]
    test, bound = where(asked.tree, dialect)
    columns = ", ".join([*(text for text, _ in keys), _SUMS])
    group = f" GROUP BY {', '.join(str(n + 1) for n in range(len(keys)))}" if keys else ""
    text = f"SELECT {columns} FROM {dialect.sessions} AS s WHERE {test}{group}"  # noqa: S608 names of our own columns
    return text, [*(value for _, values in keys for value in values), *bound]


def groups_from(asked: Summing, rows: Iterable[Sequence[Any]]) -> list[Group]:
    """Return the groups that the statement found."""
    width = len(asked.by)
    return in_order(Group(tuple(row[:width]), *(int(cell or 0) for cell in row[width:])) for row in rows)
