"""Medians and pairs: known results, and a bootstrap that comes to what it stands for."""

from __future__ import annotations

import random
import statistics
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from session_mw.ledger.comparing.quantiles import (
    MOST_BINS,
    MOST_GROUPS,
    Values,
    _Grid,
    bootstrapped,
    chance,
    enough,
    quantile,
    quantile_interval,
)
from tests.ledger.comparing.support import compare, even, sample


def values(found: list[float], name: str = "u") -> Values:
    return Values.of({f"{name}{n}": [value] for n, value in enumerate(found)})


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 50).map(float), min_size=1, max_size=30))
def test_median_is_the_common_one(found: list[float]) -> None:
    """The middle one, or between the two."""
    assert statistics.median(found) == quantile(sorted(found))


def test_other_quantiles() -> None:
    """The smallest value that so many do not exceed, or between it and the next."""
    ordered = [float(n) for n in range(1, 101)]

    assert (95.5, 25.5, 1.0, 100.0) == tuple(quantile(ordered, share) for share in (0.95, 0.25, 0.005, 1.0))
    assert quantile([]) is None


def test_median_interval_is_of_ranks() -> None:
    """Of 100 independent ones: between the 40th and the 60th or 61st value, as the tables of the sign test have it."""
    low, high = quantile_interval(values([float(n) for n in range(1, 101)])) or (0, 0)

    assert 40 == pytest.approx(low, abs=1) and 61 == pytest.approx(high, abs=1)


@pytest.mark.parametrize(
    ("a", "b", "expected"), [([1, 2], [3, 4], 1.0), ([3, 4], [1, 2], 0.0), ([1, 2], [1, 2], 0.5), ([], [1], None)]
)
def test_chance_is_the_share_of_pairs(a: list[float], b: list[float], expected: float | None) -> None:
    """In which the second has the larger value, ties counted half."""
    assert expected == chance(values(a), values(b))


def test_chance_is_mann_whitneys() -> None:
    """scipy 1.17.1: ``mannwhitneyu(b, a).statistic / (40 * 30)`` is 0.4975."""
    a, b = [float(n * n % 17) for n in range(40)], [float(n * n % 23) for n in range(30)]

    assert 0.4975 == chance(values(a), values(b))


def test_bootstrap_comes_to_the_error_of_a_median() -> None:
    """Of normal values the median has the error 1.2533 / sqrt(n); of a difference it is sqrt(2) times that."""
    draw = random.Random(1)
    a, b = ([draw.gauss(0, 1) for _ in range(400)] for _ in "ab")
    low, high = bootstrapped(values(a, "a"), values(b, "b")) or (0, 0)

    assert 2 * 1.96 * 1.2533 * (2 / 400) ** 0.5 == pytest.approx(high - low, rel=0.2)


def test_bootstrap_is_the_same_each_time() -> None:
    """Whoever looks again sees the same."""
    draw = random.Random(2)
    a, b = (values([draw.random() for _ in range(50)], name) for name in "ab")

    assert bootstrapped(a, b) == bootstrapped(a, b)
    assert bootstrapped(a, b) != bootstrapped(a, b, seed=2)


def test_bootstrap_draws_users() -> None:
    """Twenty sessions that say the same are worth one."""
    draw = random.Random(3)
    once = [{f"{arm}{n}": [draw.random()] for n in range(40)} for arm in "ab"]
    often = [{user: mine * 20 for user, mine in arm.items()} for arm in once]
    narrow, wide = (bootstrapped(*(Values.of(arm) for arm in arms)) or (0, 0) for arms in (once, often))

    assert narrow == pytest.approx(wide, abs=0.05)


def test_bootstrap_draws_those_in_both_with_both() -> None:
    """The same users on both sides: what differs between them cancels out."""
    a = Values.of({f"u{n}": [100.0 * n] for n in range(40)})
    same = Values.of({f"u{n}": [100.0 * n + 1] for n in range(40)})
    others = Values.of({f"w{n}": [100.0 * n + 1] for n in range(40)})
    (low, high), (left, right) = (bootstrapped(a, b) or (0, 0) for b in (same, others))

    assert (1.0, 1.0) == (low, high) and right - left > 500


@pytest.mark.landing
def test_bootstrap_of_very_many_takes_no_longer() -> None:
    """40,000 users with as many values: grouped and binned, it comes to the same as it would of all of them."""
    draw = random.Random(4)
    a, b = ([draw.expovariate(1) + shift for _ in range(20_000)] for shift in (0.0, 0.1))
    began = time.process_time()
    low, high = bootstrapped(values(a, "a"), values(b, "b")) or (0, 0)
    took = time.process_time() - began
    error = (2 * 1.0 / 20_000) ** 0.5  # 0.5 / density at the median, which is 0.5, by sqrt(n)

    assert low < 0.1 < high
    assert 2 * 1.96 * error == pytest.approx(high - low, rel=0.25)
    assert took < 10, "some tenths of a second, a hundred times less than drawing every user"


def test_grid_is_exact_until_there_are_too_many_values() -> None:
    """Then it is quantiles, from the smallest to the largest."""
    few, many = _Grid.of([1.0, 1.0, 2.0, 5.0]), _Grid.of([float(n) for n in range(10 * MOST_BINS)])

    assert ([1.0, 2.0, 5.0], True) == (list(few.ends), few.exact)
    assert (0.0, 10.0 * MOST_BINS - 1, MOST_BINS, False) == (many.ends[0], many.ends[-1], many.size, many.exact)
    assert MOST_GROUPS > 100


@pytest.mark.parametrize(("users", "expected"), [(199, False), (200, True)])
def test_a_tail_takes_many_sessions(users: int, expected: bool) -> None:
    """Ten have to lie beyond it; before, both percentiles are shown without an interval."""
    samples = [sample(arm, f"{arm}{n}", float(n % 50)) for arm in "ab" for n in range(users)]
    found = compare(samples, tail=True).spread

    assert found is not None and found.tail is not None and found.tails is not None
    assert expected == (found.tail.interval is not None) == enough(values([0.0] * users), 0.95)
    assert found.tails[0] == pytest.approx(47, abs=1)


def test_no_tail_unless_asked_for() -> None:
    """And a median always."""
    found = compare([*even("a", 10), *even("b", 10)]).spread

    assert found is not None and (None, None) == (found.tails, found.tail)
    assert found.median.interval is not None
