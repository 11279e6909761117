"""Comparisons: intervals that hold what they promise, and none where nothing can be promised."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from session_mw.ledger.comparing import FEW_USERS, PEEKING, Comparison, compare, student
from session_mw.ledger.samples import Sample


def sample(arm: str, user: str | None, value: float | None, at: int = 0, mixed: bool = False) -> Sample:
    return Sample(arm, user, at, mixed, None if value is None else (value, 1.0))


def even(arm: str, users: int, value: float = 1.0) -> list[Sample]:
    """Two sessions of each user, one above and one below *value*."""
    return [sample(arm, f"{arm}{n}", value + sign * (n % 3)) for n in range(users) for sign in (1, -1)]


@pytest.mark.parametrize(
    ("freedom", "expected"),  # tables of the t distribution, 97.5 %
    [(9, 2.2622), (10, 2.2281), (15, 2.1314), (20, 2.0860), (30, 2.0423), (60, 2.0003), (120, 1.9799), (10**6, 1.9600)],
)
def test_student_is_that_of_the_tables(freedom: int, expected: float) -> None:
    """To four digits, from nine degrees of freedom on."""
    assert math.isclose(expected, student(freedom), abs_tol=0.0001)


def test_one_session_a_user_is_the_common_interval() -> None:
    """Then the delta method is the standard error of a mean, and of a difference of two."""
    a, b = [float(n * n % 17) for n in range(40)], [float(n * n % 23) for n in range(30)]
    samples = [sample("a", f"a{n}", x) for n, x in enumerate(a)] + [sample("b", f"b{n}", x) for n, x in enumerate(b)]
    found = compare(samples, "a", "b")
    error = statistics.stdev(a) / math.sqrt(40)

    assert found.a.mean_interval is not None
    assert (40, 40, statistics.mean(a), statistics.median(a)) == (
        found.a.users, found.a.sessions, found.a.mean, found.a.median
    )  # fmt: skip
    assert math.isclose(found.a.mean_interval[1] - statistics.mean(a), student(39) * error)
    assert found.difference == pytest.approx(statistics.mean(b) - statistics.mean(a))
    assert found.interval is not None
    both = math.sqrt(statistics.variance(a) / 40 * 39 / 40 * 70 / 69 + statistics.variance(b) / 30 * 29 / 30 * 70 / 69)
    assert math.isclose((found.interval[1] - found.interval[0]) / 2, student(29) * both)


def test_repeated_sessions_of_users_make_nothing_surer() -> None:
    """A hundred sessions that say the same are worth one: the interval stays."""
    once = [sample("a", f"u{n}", float(n % 7)) for n in range(20)] + [
        sample("b", f"w{n}", float(n % 5)) for n in range(20)
    ]
    often = compare(once * 100, "a", "b")
    rarely = compare(once, "a", "b")

    assert often.interval == pytest.approx(rarely.interval)
    assert (2000, 20) == (often.a.sessions, often.a.users)


def test_users_on_both_sides_are_compared_with_themselves() -> None:
    """What differs between users cancels out when the same users have both."""
    paired = [sample(arm, f"u{n}", 100.0 * n + (arm == "b") + n % 2 / 10) for n in range(30) for arm in "ab"]
    found = compare(paired, "a", "b")

    assert found.difference == pytest.approx(1.0)
    assert found.interval is not None and found.interval == pytest.approx((1.0, 1.0))
    assert found.a.mean_interval is not None and found.a.mean_interval[1] - found.a.mean_interval[0] > 100


def test_ratio_is_of_sums() -> None:
    """The latency of a turn is not the mean of the sessions' means."""
    samples = [Sample("a", f"u{n}", 0, False, (100.0, 1.0)) for n in range(9)]
    samples.append(Sample("a", "long", 0, False, (9_100.0, 91.0)))
    samples.append(Sample("a", "slow", 0, False, (1_000.0, 1.0)))
    found = compare(samples, "a", "b")

    assert (11_000 / 101, 100.0) == (found.a.mean, found.a.median)


def notes(found: Comparison, word: str) -> list[str]:
    return [note for note in found.notes if word in note]


@pytest.mark.parametrize("users", [0, 1, FEW_USERS - 1])
def test_too_few_users_get_no_interval(users: int) -> None:
    """It says how many there are; numbers that need no interval are shown."""
    found = compare([*even("a", users), *even("b", 40)], "a", "b")

    assert (None, None, None) == (found.a.mean_interval, found.a.median_interval, found.interval)
    assert found.b.mean_interval is not None
    assert [f"a: too few users for an interval: {users}, it takes 10."] == notes(found, "too few")
    assert (found.a.mean is None) == (users == 0) == (found.difference is None)


def test_some_users_get_a_word_of_caution() -> None:
    """From 10 to 29."""
    found = compare([*even("a", 10), *even("b", 30)], "a", "b")

    assert found.interval is not None
    assert ["a: 10 users only, the interval is rough."] == notes(found, "rough")


@pytest.mark.parametrize(("ones", "shown"), [(4, False), (5, True), (45, True), (46, False)])
def test_shares_need_five_of_each_kind(ones: int, shown: bool) -> None:
    """np and n(1 - p); no median of noughts and ones."""
    a = [sample("a", f"u{n}", float(n < ones)) for n in range(50)]
    found = compare([*a, *(sample("b", f"w{n}", float(n < 20)) for n in range(50))], "a", "b", share=True)

    assert shown == (found.a.mean_interval is not None) == (found.interval is not None)
    assert shown != bool(notes(found, "of one kind"))
    assert found.a.median is None


def test_what_is_left_out_is_counted() -> None:
    """Sessions of two versions, and those that do not know."""
    more = [sample("a", "x", 1e9, mixed=True), sample("a", "y", None), sample("a", "z", None, mixed=True)]
    found, without = (compare([*even("a", 20), *some, *even("b", 20)], "a", "b") for some in (more, []))

    assert (2, 1) == (found.a.mixed, found.a.unknown)
    assert (found.a.mean, found.interval) == (without.a.mean, without.interval)
    assert 2 == len(notes(found, "left out"))


def test_sessions_without_users_are_told() -> None:
    """Beyond a fifth: each stands for itself."""
    nobody = [sample("a", None, float(n)) for n in range(21)]
    many = compare([*even("a", 20), *nobody, *even("b", 20)], "a", "b")
    few = compare([*even("a", 20), *nobody[:20], *even("b", 20)], "a", "b")

    assert [1, 0] == [len(notes(found, "too narrow")) for found in (many, few)]
    assert 41 == many.a.users


def test_before_and_after_is_told() -> None:
    """Two groups that did not run at the same time are no experiment."""
    apart = [sample("a", "u", 1, at=5), sample("b", "u", 1, at=6)]

    assert 1 == len(notes(compare(apart, "a", "b"), "same time"))
    assert [] == notes(compare([*apart, sample("a", "u", 1, at=7)], "a", "b"), "same time")


def test_every_comparison_warns_of_peeking() -> None:
    """At the end, whatever else there is to say."""
    assert PEEKING == compare([], "a", "b").notes[-1]


@pytest.mark.parametrize(
    ("a", "b", "expected"), [([1, 2], [3, 4], 1.0), ([3, 4], [1, 2], 0.0), ([1, 2], [1, 2], 0.5), ([], [1], None)]
)
def test_chance_is_the_share_of_pairs(a: list[float], b: list[float], expected: float | None) -> None:
    """In which the second has the larger value."""
    samples = [sample(arm, "u", x) for arm, xs in (("a", a), ("b", b)) for x in xs]

    assert expected == compare(samples, "a", "b").chance


# -- the same against the same


def same(chance: random.Random, users: int, correlation: float, share: bool) -> list[Sample]:
    """Draw two groups that do not differ: skewed values, one to nine sessions a user, alike within a user."""
    found = []
    for arm in "ab":
        for user in range(users):
            own = chance.gauss(0, math.sqrt(correlation))
            for _ in range(chance.randint(1, 9)):
                drawn = own + chance.gauss(0, math.sqrt(1 - correlation))
                found.append(sample(arm, f"{arm}{user}", float(drawn > 0) if share else math.exp(drawn)))
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("share", [False, True], ids=["mean", "share"])
@pytest.mark.parametrize("correlation", [0.2, 0.5])
@pytest.mark.parametrize("users", [10, 30, 100])
def test_same_against_the_same_differs_rarely(users: int, correlation: float, share: bool) -> None:
    """In 1,000 comparisons of nothing at most 8 % find a difference, where 5 % are meant; the medians hold as well."""
    chance = random.Random(f"{users} {correlation} {share}")  # the same each time
    wrong = shown = missed = 0
    for _ in range(1_000):
        found = compare(same(chance, users, correlation, share), "a", "b", share)
        if found.interval is not None:
            shown += 1
            wrong += not found.interval[0] <= 0 <= found.interval[1]
        if found.a.median_interval is not None:
            missed += not found.a.median_interval[0] <= 1.0 <= found.a.median_interval[1]
    print(
        f"{users} users, correlation {correlation}: {wrong / shown:.1%} wrong of {shown}, medians {missed / 1000:.1%}"
    )

    assert shown > 900
    assert wrong / shown <= 0.08
    assert missed / 1_000 <= 0.08
