"""
Medians, other quantiles, and pairs: what has no formula over users, or another question than the mean.

A quantile is that of sessions. Its interval within a group is that of the share of sessions below it, over users
(Woodruff). That of a difference is a bootstrap over users: it is drawn from them with replacement, and how far the
difference then lies from itself is how far it may lie from the truth.

Every bootstrap takes the same few tenths of a second, however many sessions there are: beyond ``MOST_GROUPS`` users
are put together at random, and beyond ``MOST_BINS`` different values these are counted between quantiles. A histogram
is one large integer, so that a draw is a sum of some hundred integers.

Source:
    R. S. Woodruff, "Confidence Intervals for Medians and Other Position Measures", JASA 1952;
    B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, 8.5 (draws of whole clusters);
    T. Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician 2015 (the expanded
    percentile interval, which makes up for what few users lack).
"""

from __future__ import annotations

import math
import random
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import NormalDist

from .distributions import CONFIDENCE, Interval, student
from .estimates import squares

MEDIAN = 0.5
DRAWS = 1_000
MOST_GROUPS = 200
MOST_BINS = 256
FEW_BEYOND = 10  # sessions that have to lie beyond a quantile: the last ones say nothing of it

Owned = Mapping[str, Sequence[float]]  # what the sessions of each user say


@dataclass(frozen=True, slots=True)
class Values:
    """
    What the sessions of a group say.

    Attributes:
        by_user: In any order.
        ordered: All of them, from the smallest.
    """

    by_user: Owned
    ordered: Sequence[float]

    @classmethod
    def of(cls, by_user: Owned) -> Values:
        """Return them in order."""
        return cls(by_user, sorted(value for mine in by_user.values() for value in mine))


def quantile(ordered: Sequence[float], share: float = MEDIAN) -> float | None:
    """Return a quantile; where it lies between two values, their middle. None of nothing."""
    if not ordered:
        return None
    low, high = _places(len(ordered), share)
    return (ordered[low] + ordered[high]) / 2


def _places(count: int, share: float) -> tuple[int, int]:
    """Return the places of the values that a quantile lies between."""
    place = count * share
    low = math.ceil(place) - 1
    return max(0, low), min(count - 1, max(0, low + (place == math.ceil(place))))


def enough(values: Values, share: float) -> bool:
    """Return whether there are enough sessions on both sides of a quantile to speak of it."""
    return len(values.ordered) * min(share, 1 - share) >= FEW_BEYOND or share == MEDIAN


def quantile_interval(values: Values, share: float = MEDIAN, confidence: float = CONFIDENCE) -> Interval | None:
    """Return between which values a quantile lies, from the error over users of the share of sessions below it."""
    middle, total, users = quantile(values.ordered, share), len(values.ordered), len(values.by_user)
    if middle is None or users < 2:
        return None
    below = bisect_right(values.ordered, middle) / total
    parts = (sum(one <= middle for one in mine) - below * len(mine) for mine in values.by_user.values())
    away = student(users - 1, confidence) * math.sqrt(squares(parts) * users / (users - 1)) / total
    low, high = math.floor((share - away) * total), math.ceil((share + away) * total) - 1
    return values.ordered[max(0, low)], values.ordered[min(total - 1, high)]


def chance(a: Values, b: Values) -> float | None:
    """Return the share of pairs of sessions in which that of *b* has the larger value, ties counted half."""
    if not a.ordered or not b.ordered:
        return None
    wins = sum(bisect_left(a.ordered, value) + bisect_right(a.ordered, value) for value in b.ordered)
    return wins / (2 * len(a.ordered) * len(b.ordered))


def bootstrapped(
    a: Values, b: Values, share: float = MEDIAN, confidence: float = CONFIDENCE, draws: int = DRAWS, seed: int = 1
) -> Interval | None:
    """
    Return the interval of the difference of a quantile, that of *b* less that of *a*.

    Args:
        a: The first group.
        b: The second; users may be in both, and are drawn with both then.
        share: Which quantile.
        confidence: How sure.
        draws: How many.
        seed: The same gives the same interval.

    Returns:
        None below two users on either side.
    """
    fewest = min(len(a.by_user), len(b.by_user))
    if fewest < 2:
        return None
    picker = random.Random(seed)  # noqa: S311 no secret: the same numbers give the same interval
    left, right = _Grid.of(a.ordered), _Grid.of(b.ordered)
    both = a.by_user.keys() & b.by_user.keys()
    sources = [_packed(part, left, right, picker) for part in (_apart(a, b) if not both else [_together(a, b)])]
    found = []
    for _ in range(draws):
        drawn = sum(sum(picker.choices(groups, k=len(groups))) for groups in sources)
        counts = _unpacked(drawn, left.size + right.size)
        first, second = left.quantile(counts[: left.size], share), right.quantile(counts[left.size :], share)
        if first is not None and second is not None:
            found.append(second - first)
    found.sort()
    return _between(found, min(fewest, MOST_GROUPS), confidence)


def _between(found: Sequence[float], units: int, confidence: float) -> Interval | None:
    """Return the expanded percentile interval of what was drawn."""
    if not found:
        return None
    z = student(units - 1, confidence) * math.sqrt(units / (units - 1))
    place = NormalDist().cdf(-z) * len(found)
    low = max(0, math.floor(place) - 1) if place >= 1 else 0
    return found[low], found[len(found) - 1 - low]


@dataclass(frozen=True, slots=True)
class _Grid:
    """Values, or where there are too many of them quantiles: each bin ends at one."""

    ends: Sequence[float]
    exact: bool

    @classmethod
    def of(cls, ordered: Sequence[float]) -> _Grid:
        distinct = sorted(set(ordered))
        if len(distinct) <= MOST_BINS:
            return cls(distinct, exact=True)
        last = len(ordered) - 1
        return cls(sorted({ordered[n * last // (MOST_BINS - 1)] for n in range(MOST_BINS)}), exact=False)

    @property
    def size(self) -> int:
        return len(self.ends)

    def quantile(self, counts: Sequence[int], share: float) -> float | None:
        sums = list(accumulate(counts))
        if not sums[-1]:
            return None
        low, high = _places(sums[-1], share)
        first = self._value(sums, counts, low)
        return first if high == low else (first + self._value(sums, counts, high)) / 2

    def _value(self, sums: Sequence[int], counts: Sequence[int], place: int) -> float:
        index = bisect_right(sums, place)
        if self.exact or index == 0:
            return self.ends[index]
        begin, within = self.ends[index - 1], place + 0.5 - (sums[index] - counts[index])
        return begin + (self.ends[index] - begin) * within / counts[index]


_Sides = tuple[Sequence[float], Sequence[float]]  # what a user's sessions of both groups say


def _apart(a: Values, b: Values) -> list[list[_Sides]]:
    return [[(mine, ()) for mine in a.by_user.values()], [((), mine) for mine in b.by_user.values()]]


def _together(a: Values, b: Values) -> list[_Sides]:
    users = [*a.by_user, *(user for user in b.by_user if user not in a.by_user)]
    return [(a.by_user.get(user, ()), b.by_user.get(user, ())) for user in users]


def _packed(users: list[_Sides], left: _Grid, right: _Grid, picker: random.Random) -> list[int]:
    """Return the histogram of each user, or of each group of them, as one integer of 32 bits a bin."""
    if len(users) > MOST_GROUPS:
        picker.shuffle(users)
    groups = []
    for start in range(min(len(users), MOST_GROUPS)):
        counts = [0] * (left.size + right.size)
        for mine, theirs in users[start::MOST_GROUPS]:
            for value in mine:
                counts[bisect_left(left.ends, value)] += 1
            for value in theirs:
                counts[left.size + bisect_left(right.ends, value)] += 1
        groups.append(int.from_bytes(array("I", counts).tobytes(), sys.byteorder))
    return groups


def _unpacked(total: int, bins: int) -> Sequence[int]:
    counts = array("I")
    counts.frombytes(total.to_bytes(counts.itemsize * bins, sys.byteorder))
    return counts
