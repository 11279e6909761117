"""What is compared with what, what is left out, and what is said of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from session_mw.exceptions import FilterError
from session_mw.ledger import read_filter
from session_mw.ledger.comparing import FEW_USERS, Question
from session_mw.ledger.comparing.documents import report_document
from session_mw.ledger.comparing.periods import Day, drift_of, ratio_of
from session_mw.ledger.comparing.words import PEEKING, notes, sentence
from session_mw.ledger.samples import METRICS, Sample, metric_named
from tests.ledger.comparing.support import compare, even, pair, report, sample, told

DAY = 86_400_000


@pytest.mark.parametrize("users", [1, FEW_USERS - 1])
def test_too_few_users_get_no_interval(users: int) -> None:
    """It says how many there are; numbers that need no interval are shown, and the values themselves."""
    samples = [*even("a", users), *even("b", 40)]
    found = compare(samples)

    assert (None, None) == (found.a.mean_interval, found.a.median_interval)
    assert found.difference is not None and (None, None) == (found.difference.interval, found.difference.p)
    assert found.spread is not None and found.spread.median.interval is None
    assert found.b.mean_interval is not None and found.refused
    assert [f"a: too few users for an interval: {users}, it takes 10."] == told(samples, "too few")
    assert (2 * users, ()) == (len(found.a.dots), found.b.dots)


def test_some_users_get_a_word_of_caution() -> None:
    """From 10 to 29."""
    samples = [*even("a", 10), *even("b", 30)]
    found = compare(samples)

    assert found.difference is not None and found.difference.interval is not None
    assert ["a: 10 users only, the intervals are rough."] == told(samples, "rough")


@pytest.mark.parametrize(("ones", "allowed"), [(4, False), (5, True), (45, True), (46, False)])
def test_shares_need_five_of_each_kind(ones: int, allowed: bool) -> None:
    """np and n(1 - p); no median of noughts and ones."""
    samples = [sample("a", f"u{n}", float(n < ones)) for n in range(50)]
    samples += [sample("b", f"w{n}", float(n < 20)) for n in range(50)]
    found = compare(samples, share=True)

    assert found.difference is not None
    assert allowed == (found.a.mean_interval is not None) == (found.difference.interval is not None)
    assert allowed != bool(told(samples, "of one kind", share=True))
    assert (None, None) == (found.a.median, found.spread)


def test_share_of_one_session_a_user_has_wilsons_interval() -> None:
    """statsmodels and scipy say 0.403831..0.596168 for 50 of 100; with several sessions a user it is wider."""
    once = [sample(arm, f"{arm}{n}", float(n % 2)) for arm in "ab" for n in range(100)]
    often = [sample(arm, f"{arm}{n // 5}", float(n // 5 % 2)) for arm in "ab" for n in range(100)]
    apart = [sample(arm, f"{arm}{n // 5}", float(n % 2)) for arm in "ab" for n in range(100)]

    assert pytest.approx((0.4038315303659956, 0.5961684696340044)) == compare(once, share=True).a.mean_interval
    low, high = compare(often, share=True).a.mean_interval or (0, 0)
    assert 0 < low < 0.32 and 0.68 < high < 1
    low, high = compare(apart, share=True).a.mean_interval or (0, 0)
    assert 0.38 < low < 0.403832, "never surer than as many independent ones"


def test_what_is_left_out_is_counted() -> None:
    """Sessions of two versions, and those that do not know; those that go on are in, and told of."""
    more = [sample("a", "x", 1e9, mixed=True), sample("a", "y", None), sample("a", "z", None, mixed=True)]
    samples = [*even("a", 20), *even("b", 20)]
    found, without = pair([*samples, *more]), pair(samples)

    assert (2, 0) == (found.a.mixed, found.b.mixed)
    (one,), (other,) = found.comparisons.values(), without.comparisons.values()
    assert (1, one.a.mean, one.difference) == (one.a.unknown, other.a.mean, other.difference)
    assert [
        "Sessions that carried several versions, left out: 2 of a.",
        "Sessions that do not know it (turns), left out: 1 of a.",
    ] == told([*samples, *more], "left out:")
    assert ["Sessions that still go on, counted as far as they are: 1 of b."] == told(
        [*samples, sample("b", "x", 1.0, active=True)], "go on"
    )


def test_sessions_without_users_are_told() -> None:
    """Beyond a fifth of either group: each stands for itself."""
    nobody = [sample("a", None, float(n)) for n in range(11)]
    many = [*even("a", 20), *nobody, *even("b", 60)]

    assert 1 == len(told(many, "too narrow"))
    assert [] == told([*even("a", 20), *nobody[:10], *even("b", 20)], "too narrow")
    assert 31 == compare(many).a.users


def test_anonymous_sessions_are_nobody_elses() -> None:
    """Not those of the other group, nor of a user who is called so."""
    samples = [sample(arm, None, float(n)) for arm in "ab" for n in range(20)]
    named = [sample("a", f"a {n}", float(n)) for n in range(20)]

    assert 0 == pair(samples).both
    assert 40 == compare([*samples, *named]).a.users


# -- when they ran


def ran(arm: str, first: int, last: int) -> list[Sample]:
    """A user with a session on each day from *first* to *last*, and one more of hers."""
    return [
        sample(arm, f"{arm}{day}", float(day % 3), at=day * DAY + n) for day in range(first, last + 1) for n in (0, 1)
    ]


def test_only_when_both_ran_is_compared() -> None:
    """From the later one's first session to the earlier one's last; what is outside is counted."""
    found = pair([*ran("a", 1, 20), *ran("b", 8, 30)])

    assert ("overlap", 8 * DAY, 20 * DAY + 1) == (found.window.kind, found.window.since_ms, found.window.until_ms)
    assert (14, 20, 26, 26) == (found.a.outside, found.b.outside, found.a.sessions, found.b.sessions)
    assert [
        "Compared from 1970-01-09 to 1970-01-21, when both ran; sessions outside of it, left out: 14 of a, 20 of b."
    ] == told([*ran("a", 1, 20), *ran("b", 8, 30)], "when both ran")


def test_the_whole_period_is_compared_on_demand() -> None:
    """And that is said."""
    samples = [*ran("a", 1, 20), *ran("b", 8, 30)]
    found = pair(samples, whole_period=True)

    assert ("whole", 0, 0, 40, 46) == (
        found.window.kind, found.a.outside, found.b.outside, found.a.sessions, found.b.sessions
    )  # fmt: skip
    (note,) = told(samples, "whole period", whole_period=True)
    assert "a from 1970-01-02 to 1970-01-21 and b from 1970-01-09 to 1970-01-31" in note


def test_before_and_after_is_told() -> None:
    """Two groups that never ran at the same time are no experiment; they are compared all the same."""
    samples = [*ran("a", 1, 14), *ran("b", 15, 30)]
    found = pair(samples)

    assert ("apart", 28, 32) == (found.window.kind, found.a.sessions, found.b.sessions)
    (note,) = told(samples, "before and after")
    assert "never ran at the same time (a from 1970-01-02 to 1970-01-15 and b from 1970-01-16" in note
    assert [] == told([*samples, *ran("a", 16, 16)], "before and after")


def shared_out(shares: list[float], sessions: int = 100) -> list[Sample]:
    """So many sessions a day, of which b has a share."""
    return [
        sample("b" if n * 7 % sessions < share * sessions else "a", f"{day} {n}", float(n % 7), at=day * DAY)
        for day, share in enumerate(shares)
        for n in range(sessions)
    ]


def test_a_share_that_moves_is_no_random_assignment() -> None:
    """It rose, or fell; a share that only wavers is none."""
    rising = shared_out([0.1, 0.3, 0.5, 0.8])

    assert ["Not a random assignment: b rose from 10 % of the sessions on 1970-01-01 to 80 % on 1970-01-04."] == told(
        rising, "random"
    )
    assert "fell from 80 % of the sessions on 1970-01-01 to 10 %" in told(shared_out([0.8, 0.1]), "random")[0]
    assert [] == told(shared_out([0.5, 0.45, 0.55, 0.5]), "random")
    assert [] == told(shared_out([0.2, 0.8], sessions=10), "random"), "too few a day to say"


def test_days_are_the_readers() -> None:
    """An hour before midnight in UTC is the next day in Berlin."""
    late = [sample(arm, f"{arm}{n}", 1.0, at=23 * DAY // 24 + n) for arm in "ab" for n in range(12)]

    assert [0] == [day.at_ms for day in pair(late).days]
    (day,) = pair(late, offset_ms=2 * 3_600_000).days
    assert (DAY - 2 * 3_600_000, (12, 12)) == (day.at_ms, day.counts)


def test_drift_takes_more_than_chance() -> None:
    """Days of twenty sessions swing by twenty points; two of thousands that do are no chance."""
    assert drift_of([Day(0, (12, 8)), Day(1, (8, 12))]) is None
    assert drift_of([Day(0, (1250, 750)), Day(1, (750, 1250))]) is not None
    assert drift_of([]) is None and drift_of([Day(0, (10, 90))]) is None


@pytest.mark.parametrize(
    ("users", "split", "p", "broken"),
    [
        ((412, 398), (50, 50), 0.6227830688803555, False),
        ((5000, 4700), (1, 1), 0.002318781454334581, False),
        ((880, 120, 500), (900, 100, 500), 0.10836802322189587, False),
        ((5000, 4500), (0.5, 0.5), 2.9e-7, True),
    ],
)
def test_sample_ratio(users: tuple[int, ...], split: tuple[float, ...], p: float, broken: bool) -> None:
    """scipy 1.17.1: ``chisquare``. Below 0.001 the split is not the intended one."""
    found = ratio_of(users, split)

    assert (pytest.approx(p, rel=0.02), broken) == (found.p, found.broken)


def test_split_is_checked_only_where_one_was_intended() -> None:
    """With as many users as there should be all is well; else nothing else is worth reading."""
    samples = [*even("a", 160), *even("b", 100)]

    assert pair(samples).ratio is None and [] == told(samples, "shared out")
    (good,), (bad,) = told(samples, "hared out", split=(8, 5)), told(samples, "hared out", split=(50, 50))
    assert good == "Shared out as intended: 160 to 100 users where 61.5 to 38.5 % were meant (p = 1)."
    assert bad.startswith("Not shared out as intended: 160 to 100 users where 50 to 50 % were meant (p < 0.001).")


# -- several


def test_each_is_compared_with_the_first() -> None:
    """And both comparisons share one risk: the second interval is wider than alone."""
    middle = {"v1": 0, "v2": 0.2, "v10": 3}
    samples = [sample(arm, f"{arm}{n}", middle[arm] + n % 7) for arm in middle for n in range(40)]
    found, alone = report(samples, "v1", "v2", "v10"), report([one for one in samples if one.arm != "v2"], "v1", "v10")

    assert [("v1", "v2"), ("v1", "v10")] == [(one.a.name, one.b.name) for one in found.pairs]
    assert (2, 1) == (found.first, alone.first)
    widths = []
    for one in (*found.pairs, *alone.pairs):
        difference = one.comparisons["turns"].difference
        assert difference is not None and difference.interval is not None
        widths.append(difference.interval[1] - difference.interval[0])
    assert widths[1] > widths[2] * 1.1, "the surer of two takes the whole correction"
    assert "2 of turns" in next(note.text for note in notes(found, found.pairs[0]) if "Holm" in note.text)


def test_other_metrics_share_their_risk_and_not_that_of_the_first() -> None:
    """The one that was asked about keeps its 95 %; shares that are all the same are no comparison."""
    everything = tuple(METRICS)
    known = (1.0, 1.0)
    samples = [
        sample(arm, f"{arm}{n}", None, values=((float(n % 7), 1.0), *[known] * 6, None))
        for arm in "ab"
        for n in range(30)
    ]
    found = report(samples, metric="cost", others=everything)
    (one,) = found.pairs

    assert everything[:7] == tuple(one.comparisons), "what nobody knows is no comparison"
    assert 0.95 == one.comparisons["cost"].difference.confidence  # type: ignore[union-attr]
    assert ["4 of other metrics" in note.text for note in notes(found, one) if "Holm" in note.text] == [True]


def test_a_value_that_nobody_has_is_missing() -> None:
    """The others are compared; without the first there is nothing to compare with."""
    samples = [*even("v1", 20), *even("v2", 20)]

    assert (("v3",), 1) == ((found := report(samples, "v1", "v3", "v2")).missing, len(found.pairs))
    assert (("v0",), ()) == ((none := report(samples, "v0", "v1", "v2")).missing, none.pairs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": ("v1",)}, "2 to 12 different values"),
        ({"arms": ("v1", "v1")}, "2 to 12 different values"),
        ({"arms": tuple(map(str, range(13)))}, "2 to 12 different values"),
        ({"by": "promt_version"}, "no field 'promt_version'"),
        ({"metric": "price"}, "no metric 'price'"),
        ({"others": ("price",)}, "no metric 'price'"),
        ({"split": (1.0,)}, "intended split"),
        ({"split": (1.0, 0.0)}, "intended split"),
        ({"split": (1.0, float("nan"))}, "intended split"),
    ],
)
def test_what_cannot_be_asked_is_refused(changes: dict[str, Any], message: str) -> None:
    """Before anything is looked up."""
    with pytest.raises(FilterError, match=message):
        Question(**{"by": "prompt_version", "arms": ("v1", "v2"), **changes})


# -- words


def test_seed_001_sentence_comes_with_an_interval() -> None:
    """Seed 001: "code-review v1 uses 2000 tokens on average, v2 uses 1500 tokens (25% reduction)"."""
    samples = [
        sample(arm, f"{arm}{n}", float(middle + 20 * (n % 11 - 5)), kind="code-review")
        for arm, middle in (("v1", 2000), ("v2", 1500))
        for n in range(44)
    ]
    asked = {"metric": "tokens", "where": read_filter("type:code-review", 0)}
    found = report(samples, "v1", "v2", **asked)
    (one,) = found.pairs

    assert (
        "code-review v1 uses 2,000 tokens on average, v2 1,500: 25 % less (95 % interval 24 % to 26 % less)."
        == sentence(found, one.comparisons["tokens"], one)
    )


@pytest.mark.parametrize(
    ("metric", "a", "b", "expected"),
    [
        ("cost", 0.41, 0.41, "a costs $0.4100 a session on average, b $0.4100: no change (95 % interval no change"),
        ("latency", 2000.0, 3000.0, "a takes 2.0 s a turn on average, b 3.0 s: 50 % more (95 % interval "),
        ("satisfaction", 0.5, 0.6, "a has 0.500 on average, b 0.600: 20 % more (95 % interval "),
        ("score:helpful", 0.5, 0.4, "a scores 0.500 on average, b 0.400: 20 % less (95 % interval "),
        ("turns", 4.0, 8.0, "a takes 4.00 turns on average, b 8.00: 100 % more (95 % interval "),
    ],
)
def test_sentence_of_every_metric(metric: str, a: float, b: float, expected: str) -> None:
    """In its unit."""
    samples = [sample(arm, f"{arm}{n}", middle) for arm, middle in (("a", a), ("b", b)) for n in range(12)]
    found = report(samples, metric=metric)

    assert sentence(found, found.pairs[0].comparisons[metric], found.pairs[0]).startswith(expected)


def test_sentence_of_a_share_is_in_points() -> None:
    """A fifth more of a third is easily misread."""
    samples = [sample(arm, f"{arm}{n}", float(n % 5 < ones)) for arm, ones in (("a", 2), ("b", 3)) for n in range(100)]
    found = report(samples, share=True)
    text = sentence(found, found.pairs[0].comparisons["resolution"], found.pairs[0])

    assert text.startswith("a resolves 40.0 % of its sessions, b 60.0 %: +20.0 points (95 % interval +6.")


def test_sentence_where_nothing_is_sure() -> None:
    """Only what was seen."""
    found = report([*even("a", 5, 3.0), *even("b", 40, 2.0)])

    assert "a takes 3.00 turns on average, b 2.00." == sentence(
        found, found.pairs[0].comparisons["turns"], found.pairs[0]
    )
    nothing = report([sample("a", "u", None), sample("b", "u", None)])
    assert "" == sentence(nothing, nothing.pairs[0].comparisons["turns"], nothing.pairs[0])


def test_every_comparison_warns_of_peeking() -> None:
    """At the end, whatever else there is to say; what limits most comes first."""
    found = report([*even("a", 10), *even("b", 30)])
    said = notes(found, found.pairs[0])

    assert (PEEKING, False) == (said[-1].text, said[-1].warns)
    assert said[0].warns and sorted(said, key=lambda one: not one.warns) == said
    assert not any(word in note.text.lower() for note in said for word in ("winner", "better", "significant"))


def test_document_is_json_with_all_of_it() -> None:
    """Numbers that are none do not come up; what is unknown is null."""
    samples = [*even("a", 20), *even("b", 20), sample("a", "x", None)]
    document = report_document(report(samples, split=(1, 1), tail=True))
    (one,) = json.loads(json.dumps(document, allow_nan=False))["pairs"]
    (metric,) = one["metrics"]

    assert ("a", 20, 40, 1) == (one["a"]["name"], metric["a"]["users"], metric["a"]["sessions"], metric["a"]["unknown"])
    assert metric["primary"] and metric["difference"]["interval"] and metric["p95_difference"]["interval"] is None
    assert "1970-01-01T00:00:00.000Z" == one["window"]["from"] == one["traffic"][0]["day"]
    assert one["split"]["users"] == [21, 20] and PEEKING == one["notes"][-1]
    assert json.dumps(report_document(report([], "a", "b")))


def test_numbers_of_applications_that_are_none() -> None:
    """What is no number, or larger than can be reckoned with, is not known."""
    measure = metric_named("score:helpful").measure

    assert [None] * 4 == [measure(said) for said in ("x", True, float("nan"), 1e300)]
    assert (-3.0, 1.0) == measure(-3)
