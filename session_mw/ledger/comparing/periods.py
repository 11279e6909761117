"""
When two groups ran, and how sessions were shared out between them.

Source:
    R. Fabijan and others, "Diagnosing Sample Ratio Mismatch in Online Controlled Experiments", KDD 2019 (the check, and
    its threshold).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..samples import Sample
from .distributions import chi_square_p

DAY_MS = 86_400_000
BUSY_DAY = 20  # sessions of both groups, from which on a day's share says something
SWING = 0.2  # between the days with the lowest and the highest share
SURE = 0.001  # p, of days that differ by chance, and of a split as intended


@dataclass(frozen=True, slots=True)
class Window:
    """
    Which sessions are compared.

    Attributes:
        kind: ``overlap``: those from when both ran; ``whole``: all, as was asked for; ``apart``: all, since the two
            never ran at the same time.
        since_ms: Of the first start.
        until_ms: Of the last one.
    """

    kind: Literal["overlap", "whole", "apart"]
    since_ms: int
    until_ms: int

    def within(self, samples: Iterable[Sample]) -> list[Sample]:
        """Return the sessions that started in it."""
        return [one for one in samples if self.since_ms <= one.started_ms <= self.until_ms]


def window_of(a: Sequence[Sample], b: Sequence[Sample], whole: bool) -> Window:
    """Return which sessions are compared; there has to be one in each group."""
    (a_first, a_last), (b_first, b_last) = period(a), period(b)
    since, until = max(a_first, b_first), min(a_last, b_last)
    if whole or since > until:
        return Window("whole" if whole else "apart", min(a_first, b_first), max(a_last, b_last))
    return Window("overlap", since, until)


def period(samples: Sequence[Sample]) -> tuple[int, int]:
    """Return the first and the last start of some sessions."""
    starts = [one.started_ms for one in samples]
    return min(starts), max(starts)


@dataclass(frozen=True, slots=True)
class Day:
    """
    A day's sessions.

    Attributes:
        at_ms: Its begin.
        counts: Of each group.
    """

    at_ms: int
    counts: tuple[int, int]

    @property
    def sessions(self) -> int:
        """Of both groups."""
        return sum(self.counts)

    @property
    def share(self) -> float:
        """Of the second group."""
        return self.counts[1] / self.sessions


def days_of(a: Iterable[Sample], b: Iterable[Sample], offset_ms: int) -> list[Day]:
    """
    Return the days on which there was any session.

    Args:
        a: Of the first group.
        b: Of the second.
        offset_ms: How far the reader's clock is ahead of UTC.
    """
    counts: dict[int, list[int]] = {}
    for arm, samples in enumerate((a, b)):
        for one in samples:
            counts.setdefault((one.started_ms + offset_ms) // DAY_MS, [0, 0])[arm] += 1
    return [Day(day * DAY_MS - offset_ms, (counts[day][0], counts[day][1])) for day in sorted(counts)]


@dataclass(frozen=True, slots=True)
class Drift:
    """
    The share of the second group was not the same on all days.

    Attributes:
        before: The earlier one of the days with the lowest and the highest share.
        after: The later one.
    """

    before: Day
    after: Day


def drift_of(days: Sequence[Day]) -> Drift | None:
    """Return how the shares moved; None where they move no further than by chance."""
    busy = [day for day in days if day.sessions >= BUSY_DAY]
    if len(busy) < 2:
        return None
    whole = sum(day.counts[1] for day in busy) / sum(day.sessions for day in busy)
    lowest, highest = min(busy, key=lambda day: day.share), max(busy, key=lambda day: day.share)
    if highest.share - lowest.share < SWING or not 0 < whole < 1:
        return None
    far = math.fsum((day.share - whole) ** 2 * day.sessions / (whole * (1 - whole)) for day in busy)
    if chi_square_p(far, len(busy) - 1) >= SURE:
        return None
    return Drift(*sorted((lowest, highest), key=lambda day: day.at_ms))


@dataclass(frozen=True, slots=True)
class Ratio:
    """
    Whether users were shared out as intended.

    Attributes:
        users: Of each group.
        intended: Shares, together 1.
        p: How likely a split at least as far from the intended one is by chance.
    """

    users: tuple[int, ...]
    intended: tuple[float, ...]
    p: float

    @property
    def broken(self) -> bool:
        """Whether it is not to be believed: the assignment or the recording has a fault."""
        return self.p < SURE


def ratio_of(users: Sequence[int], split: Sequence[float]) -> Ratio:
    """
    Check a split.

    Args:
        users: Of each group.
        split: What was intended, in any unit: 50 and 50, or 9 and 1.
    """
    whole, all_users = math.fsum(split), sum(users)
    intended = tuple(part / whole for part in split)
    far = math.fsum(
        (count - all_users * part) ** 2 / (all_users * part) for count, part in zip(users, intended, strict=True)
    )
    return Ratio(tuple(users), intended, chi_square_p(far, len(users) - 1))
