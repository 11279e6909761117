"""
Means, differences and their errors, with users as units.

Each user has the sum of the numerators and of the denominators of their sessions. A mean is the ratio of both sums; its
error is that of the delta method over users. A user who is in several sums at once (both groups, several types of
session) is one unit in the error of what is made of them.

Source:
    A. Deng, U. Knoblich, J. Lu, "Applying the Delta Method in Metric Analytics", KDD 2018. With one session a user this
    is B. L. Welch's standard error (Biometrika 1947); with the same users on both sides that of pairs.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from .distributions import CONFIDENCE, Interval, student, student_p

NOTHING = 1e-12  # of what a difference is taken of: below, it is rounding

Sums = Mapping[str, tuple[float, float]]


class Units:
    """
    Users with their sums, and what follows from them, each worked out once.

    Args:
        sums: Of the numerators and of the denominators, by user.
    """

    def __init__(self, sums: Sums) -> None:
        self.sums = sums

    def __len__(self) -> int:
        return len(self.sums)

    @cached_property
    def top(self) -> float:
        """Sum of the numerators."""
        return math.fsum([top for top, _ in self.sums.values()])

    @cached_property
    def below(self) -> float:
        """Sum of the denominators."""
        return math.fsum([bottom for _, bottom in self.sums.values()])

    @property
    def ratio(self) -> float | None:
        """The mean, None of nothing."""
        return self.top / self.below if self.below else None

    @cached_property
    def shares(self) -> dict[str, float]:
        """What each user contributes to the error of the mean: the sum of their squares is its square."""
        middle, count = self.ratio or 0.0, len(self.sums)
        scale = math.sqrt(count / (count - 1)) / self.below if count > 1 and self.below else 0.0
        return {user: (top - middle * bottom) * scale for user, (top, bottom) in self.sums.items()}

    @cached_property
    def variance(self) -> float:
        """Square of the error of the mean."""
        return squares(self.shares.values())


def squares(parts: Iterable[float]) -> float:
    """Return the sum of squares."""
    return math.fsum([part * part for part in parts])


@dataclass(frozen=True, slots=True)
class Estimate:
    """
    A number with its error.

    Attributes:
        value: The number.
        error: Its standard error.
        freedom: Degrees of freedom of Student's t: one less than the users of the smaller group. Welch's would be more;
            users bring different numbers of sessions, so it errs on the safe side.
    """

    value: float
    error: float
    freedom: int

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """Return between which bounds it is."""
        away = student(self.freedom, confidence) * self.error
        return self.value - away, self.value + away

    @property
    def p(self) -> float:
        """How likely a value at least so far from zero is when there is nothing."""
        if self.value == 0:
            return 1.0
        return student_p(self.value / self.error, self.freedom) if self.error else 0.0


def mean(units: Units) -> Estimate | None:
    """Return the mean of a group, None below two users."""
    middle = units.ratio
    if middle is None or len(units) < 2:
        return None
    return Estimate(middle, math.sqrt(units.variance), len(units) - 1)


def difference(a: Units, b: Units) -> Estimate | None:
    """Return the mean of *b* less that of *a*."""
    return None if a.ratio is None or b.ratio is None else _combined(_less(b.ratio, a.ratio), a, b, 1.0, 1.0)


def relative(a: Units, b: Units) -> Estimate | None:
    """Return the difference as a part of the mean of *a*; None unless that is surely above zero."""
    base, right = mean(a), b.ratio
    if base is None or right is None or base.interval()[0] <= 0:
        return None
    return _combined(_less(right, base.value) / base.value, a, b, right / base.value / base.value, 1 / base.value)


def _combined(value: float, a: Units, b: Units, left: float, right: float) -> Estimate | None:
    """Return an estimate with the error of *right* times the mean of *b* less *left* times that of *a*."""
    fewest = min(len(a), len(b))
    if fewest < 2:
        return None
    if a.sums.keys().isdisjoint(b.sums):
        variance = left * left * a.variance + right * right * b.variance
    else:
        variance = squares(_joined([(a.shares, -left), (b.shares, right)]).values())
    return Estimate(value, math.sqrt(variance), fewest - 1)


Strata = Mapping[str, Units]


@dataclass(frozen=True, slots=True)
class Adjusted:
    """
    A difference with the mix of both groups made the same.

    Attributes:
        estimate: Weighted mean of the differences within each stratum.
        strata: Names of those that were compared.
        left_out: Share of the weight that lies in strata which only one of both has, or hardly.
    """

    estimate: Estimate
    strata: tuple[str, ...]
    left_out: float


REST = "(the rest)"


def stratified(a: Strata, b: Strata, fewest: int) -> Adjusted | None:
    """
    Return the difference within strata, each weighted by how much of both groups together lies in it.

    Args:
        a: Units of the first group by stratum. A user may be in several.
        b: Of the second.
        fewest: Strata with fewer users in either group are put together.

    Returns:
        None where nothing is left to compare.
    """
    a, b = _merged(a, b, fewest)
    names = [name for name in a if min(len(a[name]), len(b.get(name, ()))) >= fewest]
    weights = {name: sum(side[name].below for side in (a, b) if name in side) for name in a.keys() | b.keys()}
    used, everything = math.fsum(weights[name] for name in names), math.fsum(weights.values())
    if not used:
        return None
    parts, value = [], 0.0
    for name in names:
        weight = weights[name] / used
        value += weight * _less(b[name].ratio or 0.0, a[name].ratio or 0.0)
        parts += [(a[name].shares, -weight), (b[name].shares, weight)]
    freedom = min(len(_users(side, names)) for side in (a, b)) - 1
    estimate = Estimate(value, math.sqrt(squares(_joined(parts).values())), freedom)
    return Adjusted(estimate, tuple(sorted(names)), max(0.0, 1 - used / everything))


def _merged(a: Strata, b: Strata, fewest: int) -> tuple[Strata, Strata]:
    names = a.keys() | b.keys()
    kept = {name for name in names if min(len(a.get(name, ())), len(b.get(name, ()))) >= fewest}
    return _kept(a, kept), _kept(b, kept)


def _kept(side: Strata, kept: Collection[str]) -> Strata:
    found: dict[str, Units] = {name: units for name, units in side.items() if name in kept}
    rest = pooled({name: units for name, units in side.items() if name not in kept})
    return {**found, REST: rest} if rest else found


def _joined(weighted: Iterable[tuple[Mapping[str, float], float]]) -> dict[str, float]:
    """Return the weighted sum of what each user contributes: who is in several counts once."""
    total: dict[str, float] = {}
    for mine, weight in weighted:
        for user, part in mine.items():
            total[user] = total.get(user, 0.0) + weight * part
    return total


def pooled(side: Strata) -> Units:
    """Return the units of all strata together."""
    if len(side) == 1:
        return next(iter(side.values()))
    total: dict[str, tuple[float, float]] = {}
    for units in side.values():
        for user, (top, bottom) in units.sums.items():
            before = total.get(user, (0.0, 0.0))
            total[user] = before[0] + top, before[1] + bottom
    return Units(total)


def _users(side: Strata, names: Iterable[str]) -> set[str]:
    return {user for name in names for user in side[name].sums}


def _less(right: float, left: float) -> float:
    """Return the difference; what is only rounding is none."""
    return 0.0 if abs(right - left) <= NOTHING * (abs(right) + abs(left)) else right - left
