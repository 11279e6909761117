"""What single sessions say of one quantity, for a comparison of two groups of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._core import names
from ..exceptions import FilterError
from .filters import Filter, counted
from .filters.fields import FIELDS
from .filters.sql import Dialect, Part, where
from .filters.tree import Field, Node
from .rows import SessionRow
from .summary import SETTLED, field_named, value_of, word

Measure = Callable[..., "tuple[float, float] | None"]


@dataclass(frozen=True, slots=True)
class Metric:
    """
    A quantity that sessions are compared by: a sum of numerators over a sum of denominators.

    Attributes:
        title: For people, with its unit.
        fields: What it is worked out from.
        measure: Takes their values; returns numerator and denominator, None when it is unknown.
        share: It is a share of sessions.
    """

    title: str
    fields: tuple[Field, ...]
    measure: Measure
    share: bool = False


def _number(value: object, scale: float = 1.0) -> tuple[float, float] | None:
    return None if isinstance(value, bool) or not isinstance(value, (int, float)) else (value / scale, 1.0)


def _latency(total: Any, completed: int, failed: int) -> tuple[float, float] | None:
    finished = completed + failed
    return None if total is None or not finished else (float(total), float(finished))


def _resolved(outcome: Any) -> tuple[float, float] | None:
    return (float(outcome == "resolved"), 1.0) if outcome in SETTLED else None


def _columns(*columns: str) -> tuple[Field, ...]:
    return tuple(Field(column, "number", column) for column in columns)


def _said(key: str) -> tuple[Field, ...]:
    return (Field(key, "number", key, attribute=True),)


METRICS: Mapping[str, Metric] = {
    "cost": Metric("cost per session, US dollars", (FIELDS["cost"],), lambda cost: _number(cost, 1e6)),
    "tokens": Metric("tokens per session", (FIELDS["tokens"],), _number),
    "latency": Metric("latency per turn, milliseconds", _columns("latency_ms", "completed", "failed"), _latency),
    "satisfaction": Metric("satisfaction, 0 to 1", _said(names.SESSION_USER_SATISFACTION), _number),
    "resolution": Metric("resolved of the settled sessions", (FIELDS["outcome"],), _resolved, share=True),
}


def metric_named(name: str) -> Metric:
    """
    Return the quantity that *name* means: one of ``METRICS``, or ``score:`` and the name of a score.

    Raises:
        FilterError: There is none.
    """
    if name.startswith("score:") and name != "score:":
        score = name.removeprefix("score:")
        return Metric(f"score {score!r}", _said(f"{names.SESSION_SCORE}.{score}"), _number)
    if name not in METRICS:
        hint = f"Compare by one of {', '.join(METRICS)} or score:NAME."
        raise FilterError(f"there is no metric {name!r}", name, 0, len(name), hint)
    return METRICS[name]


@dataclass(frozen=True, slots=True)
class Sampling:
    """
    What is asked for.

    Attributes:
        by: Name of the field, or attribute, that tells the groups apart.
        arms: Its values that are compared.
        metric: See ``metric_named``.
        where: Only sessions that fit it.
        include_unconfirmed: Also those that nobody confirmed: bots, webhooks.
        seconds: How long it may take.
    """

    by: str
    arms: tuple[str, ...]
    metric: str = "cost"
    where: Filter | None = None
    include_unconfirmed: bool = False
    seconds: float = 5.0

    @property
    def tree(self) -> Node:
        """Which sessions are meant, of all groups."""
        return counted(self.where, self.include_unconfirmed)

    @property
    def by_version(self) -> bool:
        """Whether turns say themselves which group they belong to."""
        return field_named(self.by).column == "prompt_version"


@dataclass(frozen=True, slots=True)
class Sample:
    """
    What one session says.

    Attributes:
        arm: Its group.
        user: Its user; None when unknown.
        started_ms: When it started.
        mixed: Its turns belong to several groups.
        value: Numerator and denominator; None when unknown.
    """

    arm: str
    user: str | None
    started_ms: int
    mixed: bool
    value: tuple[float, float] | None


def sampling(asked: Sampling, dialect: Dialect) -> Part:
    """Return the statement that reads samples, a row for each."""
    key, bound = dialect.word(field_named(asked.by))
    cells = [dialect.raw(field) for field in metric_named(asked.metric).fields]
    test, values = where(asked.tree, dialect)
    mixed = "0"
    if asked.by_version:
        mixed = f"(SELECT count(DISTINCT t.prompt_version) FROM {dialect.turns} AS t WHERE t.session_pk = s.pk)"  # noqa: S608
    columns = ", ".join([key, "s.user_id", "s.started_ms", mixed, *(text for text, _ in cells)])
    arms = f"{key} IN ({', '.join([dialect.mark] * len(asked.arms))})"
    text = f"SELECT {columns} FROM {dialect.sessions} AS s WHERE {test} AND {arms}"  # noqa: S608
    return text, [*bound, *(value for _, more in cells for value in more), *values, *bound, *asked.arms]


def samples_from(asked: Sampling, rows: Iterable[Sequence[Any]]) -> list[Sample]:
    """Return the samples that the statement found."""
    measure = metric_named(asked.metric).measure
    return [Sample(arm, user, int(at), mixed > 1, measure(*cells)) for arm, user, at, mixed, *cells in rows]


def samples_of(asked: Sampling, rows: Iterable[tuple[SessionRow, int]]) -> list[Sample]:
    """Return the samples of sessions that are meant, each with the number of prompt versions of its turns."""
    by, metric = field_named(asked.by), metric_named(asked.metric)
    found = []
    for row, versions in rows:
        arm = word(value_of(row, by))
        if arm is not None and arm in asked.arms:
            value = metric.measure(*(value_of(row, field) for field in metric.fields))
            found.append(Sample(arm, row.user_id, row.started_ms, asked.by_version and versions > 1, value))
    return found
