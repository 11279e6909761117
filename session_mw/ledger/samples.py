"""
What single sessions say of some quantities, for a comparison of groups of them.

Every session is read, of all quantities at once, and none is summed up in the database: a median and a bootstrap need
each of them, and where users have few sessions, sums by user are no shorter. With a million sessions the sums alone
took longer than this, in both databases.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple, TypeAlias

from .._core import names
from ..exceptions import FilterError
from .filters import Filter, counted
from .filters.fields import FIELDS
from .filters.sql import Dialect, Part, where
from .filters.tree import Field, Node
from .rows import SessionRow
from .summary import SETTLED, field_named, value_of, word
from .uncollected import uncollected

Value: TypeAlias = "tuple[float, float]"  # numerator and denominator
Measure = Callable[..., "Value | None"]


@dataclass(frozen=True, slots=True)
class Metric:
    """
    A quantity that sessions are compared by: a sum of numerators over a sum of denominators.

    Attributes:
        title: For people.
        fields: What it is worked out from.
        measure: Takes their values; returns numerator and denominator, None when it is unknown.
        unit: ``usd``, ``ms``, ``share`` of sessions (the numerator is 0 or 1), or a plain ``number``.
        says: How a group is spoken of in a sentence, after its name: {} is the mean.
    """

    title: str
    fields: tuple[Field, ...]
    measure: Measure
    unit: str = "number"
    says: str = "scores {} on average"

    @property
    def share(self) -> bool:
        """Whether it is a share of sessions."""
        return self.unit == "share"


LARGEST = 1e100  # of a number that an application said: beyond, sums of squares are no numbers any more


def _number(value: object) -> Value | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < LARGEST:
        return None
    return float(value), 1.0


def _count(value: Any) -> Value | None:
    return None if value is None else (float(value), 1.0)


def _usd(microusd: Any) -> Value | None:
    return None if microusd is None else (microusd / 1e6, 1.0)


def _latency(total: Any, completed: int, failed: int) -> Value | None:
    finished = completed + failed
    return None if total is None or not finished else (float(total), float(finished))


def _resolved(outcome: Any) -> Value | None:
    return (float(outcome == "resolved"), 1.0) if outcome in SETTLED else None


def _columns(*columns: str) -> tuple[Field, ...]:
    return tuple(Field(column, "number", column) for column in columns)


def _said(key: str) -> tuple[Field, ...]:
    return (Field(key, "number", key, attribute=True),)


METRICS: Mapping[str, Metric] = {
    "cost": Metric(
        "cost per session", (FIELDS["cost"],), _usd, "usd", "costs {} a session on average"
    ),
    "tokens": Metric("tokens per session", (FIELDS["tokens"],), _count, says="uses {} tokens on average"),
    "latency": Metric(
        "latency per turn",
        _columns("latency_ms", "completed", "failed"),
        _latency,
        "ms",
        "takes {} a turn on average",
    ),
    "resolution": Metric(
        "resolved, of the settled sessions", (FIELDS["outcome"],), _resolved, "share", "resolves {} of its sessions"
    ),
    "errors": Metric(
        "sessions with an error",
        _columns("failed"),
        lambda failed: (float(failed > 0), 1.0),
        "share",
        "has errors in {} of its sessions",
    ),
    "satisfaction": Metric(
        "satisfaction, 0 to 1", _said(names.SESSION_USER_SATISFACTION), _number, says="has {} on average"
    ),
    "turns": Metric("turns per session", _columns("turns"), _count, says="takes {} turns on average"),
    "duration": Metric(
        "duration of a session", _columns("duration_ms"), _count, "ms", "lasts {} on average"
    ),
}  # fmt: skip


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
        metrics: See ``metric_named``.
        where: Only sessions that fit it.
        include_unconfirmed: Also those that nobody confirmed: bots, webhooks.
        seconds: How long it may take.
    """

    by: str
    arms: tuple[str, ...]
    metrics: tuple[str, ...] = ("cost",)
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

    @property
    def fields(self) -> list[Field]:
        """What the metrics are worked out from, each once."""
        return list(dict.fromkeys(field for name in self.metrics for field in metric_named(name).fields))


class Sample(NamedTuple):
    """
    What one session says.

    Attributes:
        arm: Its group.
        user: Its user; None when unknown.
        started_ms: When it started.
        kind: Its type; None when it has none.
        active: It goes on.
        mixed: Some of its turns belong to another group.
        values: Numerator and denominator for each metric; None where it is unknown.
    """

    arm: str
    user: str | None
    started_ms: int
    kind: str | None
    active: bool
    mixed: bool
    values: tuple[Value | None, ...]


def sampling(asked: Sampling, dialect: Dialect) -> Part:
    """Return the statement that reads samples, a row for each."""
    key, bound = dialect.word(field_named(asked.by))
    cells = [dialect.raw(field) for field in asked.fields]
    test, values = where(asked.tree, dialect)
    mixed = f"s.turns > 1 AND {dialect.mixed}" if asked.by_version else dialect.false
    facts = [key, "s.user_id", "s.started_ms", "s.type", "s.status = 'active'", mixed]
    columns = ", ".join([*facts, *(text for text, _ in cells)])
    arms = f"{key} IN ({', '.join([dialect.mark] * len(asked.arms))})"
    text = f"SELECT {columns} FROM {dialect.sessions} AS s WHERE {test} AND {arms}"  # noqa: S608
    return text, [*bound, *(value for _, more in cells for value in more), *values, *bound, *asked.arms]


_made = partial(tuple.__new__, Sample)  # a third of the time of a call, for a hundred thousand of them
FACTS = 6  # cells of a row before those that metrics are worked out from


def samples_from(asked: Sampling, rows: Sequence[Sequence[Any]]) -> list[Sample]:
    """Return the samples that the statement found; column by column, which is twice as fast as row by row."""
    with uncollected():
        return _samples(asked, rows)


def _samples(asked: Sampling, rows: Sequence[Sequence[Any]]) -> list[Sample]:
    columns = list(zip(*rows, strict=True)) or [()] * (FACTS + len(asked.fields))
    said = dict(zip(asked.fields, columns[FACTS:], strict=True))
    found = []
    for name in asked.metrics:
        metric = metric_named(name)
        found.append(map(metric.measure, *(said[field] for field in metric.fields)))
    arms, users, starts, kinds, active, mixed = columns[:FACTS]
    facts = (arms, users, map(int, starts), kinds, map(bool, active), map(bool, mixed))
    cells = zip(*facts, zip(*found, strict=True) if found else repeat(()))  # noqa: B905 one of them may have no end
    return list(map(_made, cells))


def samples_of(asked: Sampling, rows: Iterable[tuple[SessionRow, Collection[str]]]) -> list[Sample]:
    """Return the samples of sessions that are meant, each with the prompt versions that its turns name."""
    by, found = field_named(asked.by), []
    for row, versions in rows:
        arm = word(value_of(row, by))
        if arm is not None and arm in asked.arms:
            mixed = asked.by_version and row.turns > 1 and any(one != row.prompt_version for one in versions)
            facts = (arm, row.user_id, row.started_ms, row.type, row.status == "active", mixed)
            found.append((*facts, *(value_of(row, field) for field in asked.fields)))
    return samples_from(asked, found)
