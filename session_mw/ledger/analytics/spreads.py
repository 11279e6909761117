"""Medians and the like of integers, without sampling: by nearest rank, so that each is a value that occurred."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import repeat

from .answers import Spread


def spread(values: Sequence[int]) -> Spread:
    """Return how *values* are spread, which are in rising order."""
    count = len(values)
    if not count:
        return Spread()
    return Spread(count, values[rank(count, 50)], sum(values) / count, values[rank(count, 90)])


def spread_of(counts: Mapping[int, int]) -> Spread:
    """Return how values are spread that occur so many times each."""
    total = sum(counts.values())
    if not total:
        return Spread()
    mean = sum(value * times for value, times in counts.items()) / total
    median, p90 = (_at(counts, rank(total, percent)) for percent in (50, 90))
    return Spread(total, median, mean, p90)


def median_of(runs: Sequence[Sequence[int]], medians: Sequence[int] = ()) -> int | None:
    """
    Return the median of all values of some lists together.

    Args:
        runs: Each in rising order.
        medians: Of parts that are the whole together, if they are known: that of the whole lies between them.
    """
    runs = [run for run in runs if run]
    count = sum(map(len, runs))
    if not count:
        return None
    wanted = rank(count, 50) + 1
    low = min(medians) if medians else min(run[0] for run in runs)
    high = max(medians) if medians else max(run[-1] for run in runs)
    while low < high:  # the smallest value that has enough values up to itself
        middle = (low + high) // 2
        if sum(map(bisect_right, runs, repeat(middle))) >= wanted:
            high = middle
        else:
            low = middle + 1
    return low


def rank(count: int, percent: int) -> int:
    """Return the place of a percentile in a sorted list, from 0."""
    return max(0, -(-count * percent // 100) - 1)


def _at(counts: Mapping[int, int], place: int) -> int:
    passed = 0
    for value in sorted(counts):
        passed += counts[value]
        if passed > place:
            break
    return value
