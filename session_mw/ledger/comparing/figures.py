"""
What one group says of one quantity, and how two of them differ.

Rule: no interval where it would be a guess: below ``FEW_USERS`` in a group; for shares also below ``FEW_SHARES`` of
    either kind. Then the values themselves are there instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from ..samples import Metric, Sample, Value
from .distributions import CONFIDENCE, Interval, student, wilson, z_of
from .estimates import Estimate, Strata, Units, difference, mean, pooled, relative, stratified
from .families import Adjustment
from .quantiles import MEDIAN, Owned, Values, bootstrapped, chance, enough, quantile, quantile_interval

FEW_USERS = 10  # below: no interval
CAUTION_USERS = 30  # below: intervals are rough
FEW_SHARES = 5  # np and n(1 - p), in sessions
MOST_DOTS = 200  # of a group that has no interval

Member: TypeAlias = tuple[str, str, "tuple[Value | None, ...]"]  # user, or session without one; type; values


@dataclass(frozen=True, slots=True)
class Figures:
    """
    What a group says of one quantity.

    Attributes:
        users: Units whose value is known; a session without a user is one.
        sessions: Whose value is known.
        unknown: Sessions that do not know it; they count nowhere else.
        mean: Sum of numerators by sum of denominators; for a share of sessions this share. None when there is none.
        mean_interval: 95 %; Wilson's for a share. None when there are too few.
        median: Of the sessions; None for shares, and unless it was asked for.
        median_interval: 95 %.
        dots: The sessions' values where there is no interval, a few hundred at most.
    """

    users: int
    sessions: int
    unknown: int
    mean: float | None
    mean_interval: Interval | None
    median: float | None = None
    median_interval: Interval | None = None
    dots: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """
    By how much the second group lies above the first.

    Attributes:
        value: The difference.
        interval: None where it would be a guess.
        confidence: Of the interval; above 95 % where several comparisons share the risk.
        p: How likely one as large is where there is none, adjusted likewise; None for what a bootstrap says.
    """

    value: float
    interval: Interval | None
    confidence: float = CONFIDENCE
    p: float | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """
    The sessions of a group that count for one quantity.

    Attributes:
        strata: Sums of each user, by type of session.
        owned: Values of each user's sessions; empty unless they were asked for.
        units: Sums of each user.
        sessions: How many know it.
        unknown: Those that do not.
        share: The values are 0 or 1.
    """

    strata: Strata
    owned: Owned
    units: Units
    sessions: int
    unknown: int
    share: bool

    @property
    def few(self) -> bool:
        """Whether there are too few of one kind."""
        return self.share and min(self.units.top, self.sessions - self.units.top) < FEW_SHARES

    @property
    def allowed(self) -> bool:
        """Whether there may be an interval."""
        return len(self.units) >= FEW_USERS and not self.few


NO_KIND = "(no type)"


def members(name: str, samples: Iterable[Sample]) -> list[Member]:
    """Return who said what in the sessions of a group that belong to no other; without a user each stands for one."""
    return [
        (f"session {name} {number}" if one.user is None else f"user {one.user}", one.kind or NO_KIND, one.values)
        for number, one in enumerate(samples)
        if not one.mixed
    ]


def side(group: Sequence[Member], place: int, share: bool, deep: bool) -> Side:
    """
    Return what counts for the quantity at a *place* among the values.

    Args:
        group: Its members.
        place: Of the quantity.
        share: It is a share of sessions.
        deep: Also what each session says.
    """
    strata: dict[str, dict[str, Value]] = {}
    owned: dict[str, list[float]] = {}
    sessions = 0
    for user, kind, values in group:
        value = values[place]
        if value is None:
            continue
        sessions += 1
        sums = strata.setdefault(kind, {})
        before = sums.get(user)
        sums[user] = value if before is None else (before[0] + value[0], before[1] + value[1])
        if deep:
            owned.setdefault(user, []).append(value[0] / value[1])
    units = {kind: Units(sums) for kind, sums in strata.items()}
    return Side(units, owned, pooled(units), sessions, len(group) - sessions, share)


def figures(this: Side) -> Figures:
    """Return what a group says, without what takes every single session: see ``with_medians``."""
    found, within = mean(this.units) if this.allowed else None, None
    if found is not None:
        within = _share_interval(this) if this.share else found.interval()
    return Figures(len(this.units), this.sessions, this.unknown, this.units.ratio, within)


def with_medians(this: Side, values: Values, found: Figures) -> Figures:
    """Return the same with medians, and with the values themselves where there are no intervals."""
    return replace(
        found,
        median=None if this.share else quantile(values.ordered),
        median_interval=quantile_interval(values) if this.allowed and not this.share else None,
        dots=() if this.allowed else _thinned(values.ordered),
    )


def _thinned(ordered: Sequence[float]) -> tuple[float, ...]:
    step = max(1, math.ceil(len(ordered) / MOST_DOTS))
    return tuple(ordered[::step])


def _share_interval(this: Side) -> Interval:
    """
    Return Wilson's interval for as many independent sessions as these are worth.

    With one session a user it is Wilson's own. Otherwise their number is divided by how much more a share over users
    varies than one of independent sessions, and it takes Student's quantile, as E. L. Korn and B. I. Graubard have it
    (Survey Methodology 1998).
    """
    middle, count, users = this.units.ratio or 0.0, this.sessions, len(this.units)
    varies = this.units.variance * (users - 1) / users
    worth = min(float(count), middle * (1 - middle) / varies) if varies else float(count)
    return wilson(middle, worth, z_of(CONFIDENCE) if count == users else student(users - 1))


@dataclass(frozen=True, slots=True)
class Draft:
    """
    How two groups differ, before it is known with how many other comparisons the risk is shared.

    Attributes:
        a: Of the first group.
        b: Of the second.
        plain: The difference of the means; None where there may be no interval.
        relative: It as a part of the first mean.
        adjusted: It within types of sessions; None where there is one type only.
        left_out: Share of the sessions in types that only one of both has, or hardly.
    """

    a: Side
    b: Side
    plain: Estimate | None
    relative: Estimate | None
    adjusted: Estimate | None
    left_out: float


def draft(a: Side, b: Side) -> Draft:
    """Compare two groups."""
    if not (a.allowed and b.allowed):
        return Draft(a, b, None, None, None, 0.0)
    several = len(a.strata.keys() | b.strata.keys()) > 1
    within = stratified(a.strata, b.strata, FEW_USERS) if several else None
    return Draft(
        a,
        b,
        difference(a.units, b.units),
        relative(a.units, b.units),
        within.estimate if within else None,
        within.left_out if within else 0.0,
    )


@dataclass(frozen=True, slots=True)
class Spread:
    """
    How two groups differ in what single sessions say.

    Attributes:
        median: Difference of the medians.
        chance: Share of all pairs of sessions in which that of the second has the larger value, ties counted half.
        tails: The 95th percentiles of both; None unless they were asked for.
        tail: Their difference.
    """

    median: Difference
    chance: float
    tails: tuple[float, float] | None = None
    tail: Difference | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    How two groups differ in one quantity.

    Attributes:
        metric: Its name.
        about: The quantity.
        a: The first group.
        b: The second.
        difference: Mean of *b* less mean of *a*; None when one of them is not known.
        relative: The difference as a part of the mean of *a*.
        adjusted: The difference with the same mix of session types in both; None where there is one type only.
        left_out: Share of the sessions that *adjusted* leaves out: types that only one of both has, or hardly.
        spread: What single sessions say; None for shares, and unless it was asked for.
        few: Groups for which there are too few of one kind.
    """

    metric: str
    about: Metric
    a: Figures
    b: Figures
    difference: Difference | None
    relative: Difference | None
    adjusted: Difference | None
    left_out: float
    spread: Spread | None = None
    few: tuple[bool, bool] = (False, False)

    @property
    def refused(self) -> bool:
        """Whether there may be no interval."""
        return self.a.mean_interval is None or self.b.mean_interval is None


TAIL = 0.95


def finished(metric: str, about: Metric, found: Draft, adjustment: Adjustment | None) -> Comparison:
    """
    Return a comparison.

    Args:
        metric: Name of the quantity.
        about: The quantity.
        found: How both differ.
        adjustment: Where it is one of several.
    """
    a, b = figures(found.a), figures(found.b)
    plain = None
    if found.plain is not None:
        after = adjustment or Adjustment(found.plain.p, CONFIDENCE)
        plain = _difference(found.plain, after.confidence, after.p)
    elif a.mean is not None and b.mean is not None:
        plain = Difference(b.mean - a.mean, None)
    confidence = plain.confidence if plain else CONFIDENCE
    part, within = _difference(found.relative, confidence), _difference(found.adjusted, confidence)
    return Comparison(metric, about, a, b, plain, part, within, found.left_out, few=(found.a.few, found.b.few))


def _difference(found: Estimate | None, confidence: float, p: float | None = None) -> Difference | None:
    return None if found is None else Difference(found.value, found.interval(confidence), confidence, p)


def looked_into(found: Comparison, drafted: Draft, tail: bool) -> Comparison:
    """
    Return a comparison with what single sessions say.

    Args:
        found: Without it.
        drafted: What it was made of.
        tail: Also of the 95th percentiles.
    """
    left, right = Values.of(drafted.a.owned), Values.of(drafted.b.owned)
    figures = with_medians(drafted.a, left, found.a), with_medians(drafted.b, right, found.b)
    confidence = found.difference.confidence if found.difference else CONFIDENCE
    said = None if found.about.share else _spread(left, right, confidence, drafted.plain is not None, tail)
    return replace(found, a=figures[0], b=figures[1], spread=said)


def _spread(left: Values, right: Values, confidence: float, allowed: bool, tail: bool) -> Spread | None:
    pairs = chance(left, right)
    if pairs is None:
        return None
    middle = _between(left, right, MEDIAN, confidence, allowed)
    if not tail:
        return Spread(middle, pairs)
    tails = (quantile(left.ordered, TAIL) or 0.0, quantile(right.ordered, TAIL) or 0.0)
    sure = allowed and enough(left, TAIL) and enough(right, TAIL)
    return Spread(middle, pairs, tails, _between(left, right, TAIL, confidence, sure))


def _between(left: Values, right: Values, share: float, confidence: float, sure: bool) -> Difference:
    first, second = quantile(left.ordered, share) or 0.0, quantile(right.ordered, share) or 0.0
    return Difference(second - first, bootstrapped(left, right, share, confidence) if sure else None, confidence)
