"""Means and differences: known results, and what has to hold of any."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from session_mw.ledger.comparing import Comparison
from session_mw.ledger.comparing.estimates import Units, difference, pooled, relative, stratified
from session_mw.ledger.samples import Sample
from tests.ledger.comparing.support import compare, even, quickly, sample

A, B = [float(n * n % 17) for n in range(40)], [float(n * n % 23) for n in range(30)]


def units(values: list[float], name: str = "") -> Units:
    return Units({f"{name}{n}": (value, 1.0) for n, value in enumerate(values)})


def test_one_session_a_user_is_welchs_test() -> None:
    """scipy 1.17.1: ``ttest_ind(b, a, equal_var=False)`` has statistic -0.08344758247913442."""
    found = difference(units(A, "a"), units(B, "b"))

    assert found is not None
    assert math.isclose(-0.08344758247913442, found.value / found.error, rel_tol=1e-12)
    assert 29 == found.freedom


def test_the_same_users_are_the_test_of_pairs() -> None:
    """scipy 1.17.1: ``ttest_rel`` has statistic 2.2079402165819615, p 0.033196684865398694."""
    found = difference(units(A), units([x + n * 7 % 5 - 1.5 for n, x in enumerate(A)]))

    assert found is not None
    assert math.isclose(2.2079402165819615, found.value / found.error, rel_tol=1e-12)
    assert math.isclose(0.033196684865398694, found.p, rel_tol=1e-9)


def test_mean_of_a_group_is_the_common_one() -> None:
    """With the standard error of the books."""
    found = compare([sample("a", f"a{n}", x) for n, x in enumerate(A)] + even("b", 10))

    assert (40, 40, statistics.mean(A)) == (found.a.users, found.a.sessions, found.a.mean)
    assert found.a.mean_interval is not None
    assert math.isclose(
        found.a.mean_interval[1] - statistics.mean(A), 2.0226909200367604 * statistics.stdev(A) / math.sqrt(40)
    )


def test_repeated_sessions_of_users_make_nothing_surer() -> None:
    """A hundred sessions that say the same are worth one: the interval stays."""
    once = [sample("a", f"u{n}", float(n % 7)) for n in range(20)] + [
        sample("b", f"w{n}", float(n % 5)) for n in range(20)
    ]
    often, rarely = compare(once * 100), compare(once)

    assert often.difference is not None and rarely.difference is not None
    assert often.difference.interval == pytest.approx(rarely.difference.interval)
    assert (2000, 20) == (often.a.sessions, often.a.users)


def test_users_on_both_sides_are_compared_with_themselves() -> None:
    """What differs between users cancels out when the same users have both."""
    found = compare([sample(arm, f"u{n}", 100.0 * n + (arm == "b") + n % 2 / 10) for n in range(30) for arm in "ab"])

    assert found.difference is not None
    assert found.difference.value == pytest.approx(1.0)
    assert found.difference.interval == pytest.approx((1.0, 1.0))
    assert found.a.mean_interval is not None and found.a.mean_interval[1] - found.a.mean_interval[0] > 100


def test_ratio_is_of_sums() -> None:
    """The latency of a turn is not the mean of the sessions' means."""
    values = [(100.0, 1.0)] * 9 + [(9_100.0, 91.0), (1_000.0, 1.0)]
    samples = [sample("a", f"u{n}", None, values=(value,)) for n, value in enumerate(values)]
    found = compare([*samples, *even("b", 10)])

    assert (11_000 / 101, 100.0) == (found.a.mean, found.a.median)


def test_ratio_error_is_that_of_the_delta_method() -> None:
    """Var(X) / n / m^2 - 2 r Cov(X, Y) / n / m^2 + r^2 Var(Y) / n / m^2, m the mean of the denominators."""
    tops, bottoms = A, [1.0 + n % 4 for n in range(40)]
    found = Units({str(n): pair for n, pair in enumerate(zip(tops, bottoms, strict=True))})
    ratio, middle = sum(tops) / sum(bottoms), statistics.mean(bottoms)
    var = statistics.variance(tops) - 2 * ratio * statistics.covariance(tops, bottoms)
    var += ratio**2 * statistics.variance(bottoms)

    assert math.isclose(var / 40 / middle**2, found.variance, rel_tol=1e-12)


def test_no_difference_is_none_to_the_last_digit() -> None:
    """Rounding is no difference, however sure it looks."""
    found = difference(units([0.1] * 30, "a"), units([0.1] * 70, "b"))

    assert found is not None
    assert (0.0, 1.0) == (found.value, found.p)


def test_difference_without_any_spread_is_sure() -> None:
    """Every session of one costs one, every one of the other two."""
    found = difference(units([1.0] * 12, "a"), units([2.0] * 12, "b"))

    assert found is not None and ((1.0, 1.0), 0.0) == (found.interval(), found.p)


@pytest.mark.parametrize("values", [[-1.0, 1.0] * 10, [0.0] * 12, [5.0], []])
def test_no_part_of_what_may_be_nothing(values: list[float]) -> None:
    """A quarter more of zero says nothing."""
    assert relative(units(values, "a"), units(B, "b")) is None


# -- by type


def test_a_change_of_the_mix_is_no_difference() -> None:
    """Chats cost 1 and reviews 10 in both; the second has more reviews. Only the plain difference sees one."""
    mix = {"a": 10, "b": 30}
    samples = [
        sample(
            arm, f"{arm}{n}", (10.0 if n < mix[arm] else 1.0) + n % 3 / 10, kind="review" if n < mix[arm] else "chat"
        )
        for arm in "ab"
        for n in range(60)
    ]
    found = compare(samples)

    assert found.difference is not None and found.difference.value == pytest.approx(3.0, abs=0.1)
    assert found.adjusted is not None and found.adjusted.interval is not None
    assert found.adjusted.value == pytest.approx(0.0, abs=0.05)
    assert found.adjusted.interval[0] < 0 < found.adjusted.interval[1]


def test_adjusted_is_the_weighted_mean_within_types() -> None:
    """Weighted by both groups' sessions; each user is one unit, in however many types."""
    a = {"chat": units([1.0, 3.0] * 10), "review": units([10.0, 14.0] * 5)}
    b = {"chat": units([2.0, 4.0] * 10, "b"), "review": units([13.0, 17.0] * 15, "b")}
    found = stratified(a, b, 10)

    assert found is not None
    assert found.estimate.value == pytest.approx((40 * 1 + 40 * 3) / 80)
    both = {name: pooled({"x": a[name], "y": b[name]}) for name in a}
    assert 0.0 == found.left_out and 9 < found.estimate.freedom == 19 and both


def test_rare_types_are_put_together_and_what_one_lacks_is_left_out() -> None:
    """Five types of four users each make one; a type that only one group has says nothing of the difference."""
    a = {f"t{n}": units([1.0, 2.0, 3.0, 4.0], f"a{n}") for n in range(5)} | {"chat": units(A, "a")}
    b = {f"t{n}": units([3.0, 4.0, 5.0, 6.0], f"b{n}") for n in range(5)} | {"chat": units(A, "b")}
    found, alone = stratified(a, b, 10), stratified({"chat": units(A)}, {"review": units(A)}, 10)

    assert found is not None and 2 == len(found.strata)
    assert found.estimate.value == pytest.approx(2 * 40 / 120)
    assert alone is not None and 1 == len(alone.strata), "different types only: put together, and said"
    partly = stratified({"chat": units(A, "a"), "x": units([1.0] * 10, "a")}, {"chat": units(B, "b")}, 10)
    assert partly is not None and partly.left_out == pytest.approx(10 / 80)


# -- what holds of any two groups


def groups(*more: Any) -> Any:
    number = st.integers(-1000, 1000).map(float)
    one = st.tuples(st.integers(0, 14).map(str), number, st.sampled_from(["chat", "review"]))
    return st.lists(one, min_size=1, max_size=40)


def made(arm: str, described: list[tuple[str, float, str]], scale: float = 1, shift: float = 0) -> list[Sample]:
    """Twelve users with one session each, and what was described besides."""
    base = [(str(n), float(n % 5), "chat") for n in range(12)]
    return [sample(arm, user, scale * value + shift, kind=kind) for user, value, kind in [*base, *described]]


def numbers(found: Comparison) -> list[tuple[float, float, float]]:
    """Return value, and bounds, of all differences."""
    some = [found.difference, found.adjusted, found.spread.median if found.spread else None]
    return [(one.value, *one.interval) for one in some if one is not None and one.interval is not None]


def approximately(expected: list[tuple[float, ...]], scale: float = 1.0) -> list[Any]:
    return [pytest.approx(one, abs=1e-6 * scale) for one in expected]


@settings(deadline=None, max_examples=30)
@given(groups(), groups())
def test_swapping_both_negates(a: Any, b: Any) -> None:
    """What b has more than a, a has less than b."""
    there, back = quickly([*made("a", a), *made("b", b)]), quickly([*made("a", b), *made("b", a)])

    assert there.difference is not None and back.difference is not None
    assert approximately([(-value, -high, -low) for value, low, high in numbers(back)]) == numbers(there)
    assert there.difference.p == pytest.approx(back.difference.p)


@settings(deadline=None, max_examples=30)
@given(groups(), groups(), st.integers(-500, 500), st.sampled_from([0.5, 2.0, 1024.0]))
def test_what_is_added_shifts_and_what_is_multiplied_scales(a: Any, b: Any, shift: int, scale: float) -> None:
    """To both groups alike: differences are scaled, and shifted by nothing; means follow."""
    plain = quickly([*made("a", a), *made("b", b)])
    moved = quickly([*made("a", a, scale, shift), *made("b", b, scale, shift)])

    assert approximately([tuple(scale * one for one in each) for each in numbers(plain)], scale) == numbers(moved)
    assert plain.a.mean is not None and moved.a.mean == pytest.approx(scale * plain.a.mean + shift, abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(groups(), groups(), st.floats(0.1, 100))
def test_what_one_group_has_more_is_the_difference(a: Any, b: Any, more: float) -> None:
    """Added to the second group only, it moves every difference by itself and no width."""
    plain = numbers(quickly([*made("a", a), *made("b", b)]))
    moved = numbers(quickly([*made("a", a), *made("b", b, shift=more)]))

    assert approximately([tuple(one + more for one in before) for before in plain]) == moved


@settings(deadline=None, max_examples=3)
@given(groups(), groups(), st.integers(-500, 500), st.sampled_from([0.5, 1024.0]))
def test_medians_and_pairs_do_likewise(a: Any, b: Any, shift: int, scale: float) -> None:
    """Swapped they negate, shifted they stay, scaled they scale: the draws are the same."""
    plain = compare([*made("a", a), *made("b", b)])
    moved = compare([*made("a", a, scale, shift), *made("b", b, scale, shift)])
    back = compare([*made("a", b), *made("b", a)])

    assert approximately([tuple(scale * one for one in each) for each in numbers(plain)], scale) == numbers(moved)
    assert plain.spread is not None and moved.spread is not None and back.spread is not None
    assert plain.spread.chance == moved.spread.chance == pytest.approx(1 - back.spread.chance)
    assert plain.spread.median.value == pytest.approx(-back.spread.median.value)
    assert plain.a.median is not None and moved.a.median == pytest.approx(scale * plain.a.median + shift)
