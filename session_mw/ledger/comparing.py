"""
Two groups of sessions, compared honestly.

Rule 1: the unit is the user. Sessions of one user are alike; taken for independent they make differences out of nothing
    in a third of all comparisons of the same with the same. Means are ratios of sums, their intervals are those of the
    delta method over users; a user in both groups counts in the difference once. Sessions without a user stand for one
    each.
Rule 2: no interval where it would be a guess: below ``FEW_USERS`` in a group; for shares also below ``FEW_SHARES`` of
    either kind. Nothing is called a winner.
Rule 3: a session that carried two versions says nothing of either: it is left out, and counted.
Rule 4: what is unknown is left out, and counted; it is no zero.

Source:
    A. Deng, U. Knoblich, J. Lu, "Applying the Delta Method in Metric Analytics", KDD 2018 (ratios over users);
    R. S. Woodruff, "Confidence Intervals for Medians and Other Position Measures", JASA 1952 (the median's interval);
    G. W. Hill, "Algorithm 396: Student's t-quantiles", CACM 1970 (the expansion that ``student`` uses).
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, median

from .samples import Sample

CONFIDENCE = 0.95
FEW_USERS = 10  # below: no interval
CAUTION_USERS = 30  # below: intervals are rough
FEW_SHARES = 5  # np and n(1 - p), in sessions
ANONYMOUS = 0.2  # from this share of sessions without a user on, intervals are too narrow

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Arm:
    """
    One of the two groups.

    Attributes:
        name: Its value.
        users: Units; sessions without a user stand for one each.
        sessions: With a known value, and of one version.
        mean: Sum of numerators by sum of denominators; None when there is none.
        mean_interval: Of the mean, 95 %; None when there are too few users.
        median: Of the sessions.
        median_interval: Of the median, 95 %.
        mixed: Sessions left out because they carried two versions.
        unknown: Sessions left out because their value is unknown.
        first_ms: Start of the first session.
        last_ms: Start of the last one.
    """

    name: str
    users: int
    sessions: int
    mean: float | None
    mean_interval: Interval | None
    median: float | None
    median_interval: Interval | None
    mixed: int
    unknown: int
    first_ms: int | None
    last_ms: int | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    What two groups have to do with each other.

    Attributes:
        a: The first.
        b: The second.
        difference: Mean of *b* less mean of *a*.
        interval: Of the difference, 95 %.
        chance: Share of all pairs of sessions in which that of *b* has the larger value, ties counted half.
        notes: What a reader has to know, in sentences.
    """

    a: Arm
    b: Arm
    difference: float | None
    interval: Interval | None
    chance: float | None
    notes: tuple[str, ...]


PEEKING = (
    "This can be run any day. Looking every day until something differs finds a difference about one time in five "
    "even when there is none."
)


@dataclass(frozen=True, slots=True)
class _Unit:
    """Sums of one user within a group."""

    top: float
    bottom: float


@dataclass(frozen=True, slots=True)
class _Side:
    """The samples of a group that count, by user."""

    name: str
    samples: Sequence[Sample]
    used: list[Sample]
    units: dict[str, _Unit]

    @property
    def ratio(self) -> float | None:
        bottom = sum(unit.bottom for unit in self.units.values())
        return sum(unit.top for unit in self.units.values()) / bottom if bottom else None

    @property
    def values(self) -> list[float]:
        return sorted(sample.value[0] / sample.value[1] for sample in self.used if sample.value)

    def residuals(self) -> dict[str, float]:
        """Return what each user contributes to the error of the mean."""
        ratio, bottom = self.ratio or 0.0, sum(unit.bottom for unit in self.units.values())
        return {user: (unit.top - ratio * unit.bottom) / bottom for user, unit in self.units.items()}


def compare(samples: Sequence[Sample], a: str, b: str, share: bool = False) -> Comparison:
    """
    Compare two groups.

    Args:
        samples: Of both.
        a: Name of the first.
        b: Name of the second.
        share: The values are 0 or 1.
    """
    first, second = (_side([one for one in samples if one.arm == name], name) for name in (a, b))
    left, right = _arm(first, share), _arm(second, share)
    difference = None if left.mean is None or right.mean is None else right.mean - left.mean
    interval = None
    if difference is not None and left.mean_interval and right.mean_interval:
        interval = _interval(difference, _both(first, second), min(left.users, right.users))
    chance = _chance(first.values, second.values)
    return Comparison(left, right, difference, interval, chance, tuple(_notes(left, right, first, second, share)))


def _side(samples: Sequence[Sample], name: str) -> _Side:
    used = [one for one in samples if one.value is not None and not one.mixed]
    units: dict[str, _Unit] = {}
    for number, one in enumerate(used):
        assert one.value is not None
        user = f"user {one.user}" if one.user is not None else f"session {name} {number}"
        before = units.get(user, _Unit(0.0, 0.0))
        units[user] = _Unit(before.top + one.value[0], before.bottom + one.value[1])
    return _Side(name, samples, used, units)


def _arm(side: _Side, share: bool) -> Arm:
    values, users = side.values, len(side.units)
    enough = users >= FEW_USERS and not (share and _few_shares(side))
    starts = [one.started_ms for one in side.samples]
    return Arm(
        side.name,
        users,
        sessions=len(side.used),
        mean=side.ratio,
        mean_interval=_interval(side.ratio, list(side.residuals().values()), users) if enough else None,
        median=None if share or not values else median(values),
        median_interval=_median_interval(side, values) if enough and not share else None,
        mixed=sum(one.mixed for one in side.samples),
        unknown=sum(one.value is None and not one.mixed for one in side.samples),
        first_ms=min(starts, default=None),
        last_ms=max(starts, default=None),
    )


def _few_shares(side: _Side) -> bool:
    ones = sum(one.value[0] for one in side.used if one.value)
    return min(ones, len(side.used) - ones) < FEW_SHARES


def _interval(middle: float | None, residuals: Sequence[float], users: int) -> Interval | None:
    """Return the interval around an estimate with the error that *residuals* make, one of a user."""
    if middle is None or users < 2:
        return None
    away = student(users - 1) * _error(residuals)
    return middle - away, middle + away


def _error(residuals: Sequence[float]) -> float:
    count = len(residuals)
    return math.sqrt(sum(one * one for one in residuals) * count / (count - 1))


def _both(first: _Side, second: _Side) -> list[float]:
    """Return what each user contributes to the error of the difference; users may be on both sides."""
    here, there = first.residuals(), second.residuals()
    return [there.get(user, 0.0) - here.get(user, 0.0) for user in here.keys() | there.keys()]


def _median_interval(side: _Side, values: list[float]) -> Interval | None:
    """Return between which values the median lies, from the error of the share of sessions below it."""
    middle, total = median(values), len(values)
    below: dict[str, float] = dict.fromkeys(side.units, 0.0)
    count: dict[str, int] = dict.fromkeys(side.units, 0)
    for number, one in enumerate(side.used):
        assert one.value is not None
        user = f"user {one.user}" if one.user is not None else f"session {side.name} {number}"
        below[user] += one.value[0] / one.value[1] <= middle
        count[user] += 1
    share = sum(below.values()) / total
    away = student(len(below) - 1) * _error([(below[user] - share * count[user]) / total for user in below])
    low, high = math.floor((0.5 - away) * total), math.ceil((0.5 + away) * total) - 1
    return values[max(0, low)], values[min(total - 1, high)]


def student(freedom: int, confidence: float = CONFIDENCE) -> float:
    """
    Return the two-sided quantile of Student's t distribution.

    Args:
        freedom: Degrees, at least 1; from 9 on it is right to four digits.
        confidence: Between 0 and 1.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + first / freedom + second / freedom**2 + third / freedom**3 + fourth / freedom**4


def _chance(a: list[float], b: list[float]) -> float | None:
    """Return the share of pairs in which *b* has the larger value; both sorted."""
    if not a or not b:
        return None
    wins = sum(bisect_left(a, value) + bisect_right(a, value) for value in b)
    return wins / (2 * len(a) * len(b))


def _notes(left: Arm, right: Arm, first: _Side, second: _Side, share: bool) -> list[str]:
    notes = [note for arm, side in ((left, first), (right, second)) for note in _notes_of(arm, side, share)]
    everything = [*first.used, *second.used]
    if everything and sum(one.user is None for one in everything) > ANONYMOUS * len(everything):
        notes.append(
            "More than a fifth of the sessions has no user: sessions are the units there, so intervals are too narrow."
        )
    if _apart(left, right):
        notes.append(
            "The two did not run at the same time: this compares before and after, with all else that changed."
        )
    return [*notes, PEEKING]


def _notes_of(arm: Arm, side: _Side, share: bool) -> list[str]:
    notes = []
    if arm.users < FEW_USERS:
        notes.append(f"{arm.name}: too few users for an interval: {arm.users}, it takes {FEW_USERS}.")
    elif arm.users < CAUTION_USERS:
        notes.append(f"{arm.name}: {arm.users} users only, the interval is rough.")
    if share and arm.users >= FEW_USERS and _few_shares(side):
        notes.append(f"{arm.name}: no interval, fewer than {FEW_SHARES} sessions of one kind.")
    if arm.mixed:
        notes.append(f"{arm.name}: sessions that carried several versions, left out: {arm.mixed:,}.")
    if arm.unknown:
        notes.append(f"{arm.name}: sessions that do not know it, left out: {arm.unknown:,}.")
    return notes


def _apart(left: Arm, right: Arm) -> bool:
    if left.first_ms is None or left.last_ms is None or right.first_ms is None or right.last_ms is None:
        return False
    return left.last_ms < right.first_ms or right.last_ms < left.first_ms
