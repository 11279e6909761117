"""
Interleaved rounds: in each, every case runs for about twelve milliseconds, in a new random order.

What a case adds, and how it compares, is taken within each round: a phase in which the whole machine is slow moves both
sides. CPU time of the process is counted, not the clock: what other processes do is theirs. The median of the rounds is
the result, the quartiles are shown beside it.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .case import Case

CHUNK_NS = 12_000_000


@dataclass(frozen=True)
class Sample:
    """
    One chunk of one case, nanoseconds a run.

    Attributes:
        total: All CPU time.
        off_path: Of it, what was done after the responses (export, counters, history).
    """

    total: float
    off_path: float


@dataclass(frozen=True)
class Spread:
    """Median and quartiles over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of *values*."""
        if len(values) < 2:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


Samples = Mapping[str, Sequence[Sample]]


def measure(cases: Sequence[Case], rounds: int, chunk_ns: int = CHUNK_NS, seed: int = 1) -> Samples:
    """
    Time all *cases*.

    Args:
        cases: Checked before; accounted for afterwards by the caller.
        rounds: How many samples each gets.
        chunk_ns: CPU time of a sample, about.
        seed: Of the order within the rounds.
    """
    counts = {case.name: _runs_in(case, chunk_ns) for case in cases}
    order, shuffled = list(cases), random.Random(seed)
    found: dict[str, list[Sample]] = {case.name: [] for case in cases}
    # What the set-up left behind is nobody's garbage: collections during the rounds look at the rounds' own.
    gc.collect()
    gc.freeze()
    try:
        for _ in range(rounds):
            shuffled.shuffle(order)
            for case in order:
                found[case.name].append(_sample(case, counts[case.name]))
    finally:
        gc.unfreeze()
    return found


def _runs_in(case: Case, chunk_ns: int) -> int:
    """Warm *case* up; return how many runs fill a chunk."""
    costs = [_sample(case, 50).total for _ in range(5)]
    return max(5, min(100_000, round(chunk_ns / min(costs))))


def _sample(case: Case, count: int) -> Sample:
    on_path = case.run(count)
    case.ran += count
    began = time.process_time_ns()
    case.settle()
    off_path = time.process_time_ns() - began
    return Sample((on_path + off_path) / count, off_path / count)


def added(case: Case, samples: Samples, on_path: bool = False) -> list[float]:
    """
    Return what *case* adds to its base, nanoseconds a run, round by round.

    Args:
        case: Measured.
        samples: Of all cases.
        on_path: Leave out what was done after the responses.
    """
    own = [_cost(sample, on_path) for sample in samples[case.name]]
    if case.base is None:
        return own
    base = [_cost(sample, on_path) for sample in samples[case.base]]
    return [mine - other for mine, other in zip(own, base, strict=True)]


def _cost(sample: Sample, on_path: bool) -> float:
    return sample.total - sample.off_path if on_path else sample.total


def ratios(case: Case, against: Case, samples: Samples, on_path: bool = False) -> list[float]:
    """Return what *case* adds in terms of what *against* adds, round by round; arguments as for ``added``."""
    pairs = zip(added(case, samples, on_path), added(against, samples, on_path), strict=True)
    return [mine / other for mine, other in pairs]
