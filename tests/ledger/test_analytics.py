"""Questions about many sessions at once."""

from __future__ import annotations

from datetime import date, timedelta, timezone
from typing import Any

import pytest

from session_mw._core import names
from session_mw.ledger import Analyzing, Ledger, RingLedger, read_filter
from session_mw.ledger.analytics import Counted, Engagement, Spread
from session_mw.ledger.analytics.spreads import median_of, spread, spread_of
from tests.ledger.support import DAY, T0, end, turn

MIDNIGHT = T0 - T0 % DAY  # T0 is a Thursday


def say(ledger: Ledger, name: str, actions: str, outcome: str | None = None, at: int = 0, **facts: Any) -> None:
    """Tell of a session that began so many ms after midnight, with a turn for each letter, a minute apart."""
    started = MIDNIGHT + at
    said = {names.SESSION_TYPE: facts.pop("type", "chat")}
    if outcome:
        said[names.SESSION_OUTCOME] = outcome
    turns = [
        turn(
            name,
            number,
            started_ms=started + 60_000 * (number - 1),
            latency_ms=1_000 * number,
            attributes={names.TURN_ACTION: action} if action != "-" else {},
            user_id=facts.get("user_id"),
        )
        for number, action in enumerate(actions, 1)
    ]
    ledger.write_turns(turns)
    count, still = len(actions), facts.pop("active", False)
    numbers = {"turns": count, "completed": count, "failed": 0, "latency_ms": 500 * count * (count + 1)}
    if still:
        return
    shape = {"started_ms": started, "last_ms": started + 60_000 * count, "ended_ms": started + DAY, **numbers}
    ledger.emit([end(name, attributes=said, reason="user_exit", **{**shape, **facts})])


def counted(*rows: tuple[str, int, float]) -> tuple[Counted, ...]:
    """Return what is expected of some actions, each written as a letter."""
    return tuple(Counted(tuple(None if a == "-" else a for a in word), n, share) for word, n, share in rows)


def test_overview_sums_up_in_all_and_by_day(ledger: Ledger) -> None:
    """Users are counted once however many days they came on; a day without sessions is there as well."""
    say(ledger, "a", "xy", "resolved", user_id="u_1")
    say(ledger, "b", "x", "escalated", user_id="u_2", failed=1, completed=0)
    say(ledger, "c", "xyz", at=2 * DAY, user_id="u_1", cost_microusd=None)
    say(ledger, "d", "x", at=2 * DAY, user_id=None)
    say(ledger, "bot", "x", confirmed=False)
    found = ledger.overview(Analyzing())
    first, second, third = found.days

    assert (4, 2, 1, 7) == (found.sessions, found.totals.users, found.totals.anonymous, found.totals.turns)
    assert (3, 0.75, 3 * 1_234) == (found.totals.priced, found.totals.priced_share, found.totals.cost_microusd)
    assert (1, 2, 0.5, 2) == (
        found.totals.resolved, found.totals.settled, found.totals.resolution_rate, found.totals.unknown,
    )  # fmt: skip
    assert (1, 0.25) == (found.totals.with_errors, found.totals.error_share)
    assert (60_000, 1_000) == (found.totals.median_duration_ms, found.totals.median_active_ms)
    assert [date(2025, 10, day) for day in (9, 10, 11)] == [one.day for one in found.days]
    assert (2, 0, 2) == (first.totals.sessions, second.totals.sessions, third.totals.sessions)
    assert (2, 1, 120_000) == (first.totals.users, third.totals.users, found.days[0].totals.median_duration_ms * 2)
    assert None is second.totals.median_duration_ms
    assert not found.stopped


def test_days_are_those_of_the_zone(ledger: Ledger) -> None:
    """A session just before midnight in UTC is the next day's further east."""
    say(ledger, "a", "x", at=DAY - 1)
    say(ledger, "b", "x", at=DAY)
    east = timezone(timedelta(hours=2))

    assert [1, 1] == [day.totals.sessions for day in ledger.overview(Analyzing()).days]
    assert [2] == [day.totals.sessions for day in ledger.overview(Analyzing(tz=east)).days]


def test_window_and_filter_say_which_sessions(ledger: Ledger) -> None:
    """By their start: from the first moment on, the last one excluded."""
    for number in range(4):
        say(ledger, f"s{number}", "x", at=number * DAY, type="chat" if number else "review")
    window = Analyzing(since_ms=MIDNIGHT + DAY, until_ms=MIDNIGHT + 3 * DAY)
    where = read_filter("type:review", T0)

    assert (2, 1) == (ledger.overview(window).sessions, ledger.overview(Analyzing(where)).sessions)
    assert (2, 1) == (ledger.flows(window).sessions, ledger.paths(Analyzing(where)).sessions)
    assert 0 == ledger.overview(Analyzing(where, since_ms=MIDNIGHT + DAY)).sessions


def test_engagement_shows_how_lengths_are_spread(ledger: Ledger) -> None:
    """Median, mean, nine in ten; gaps lie between the end of a turn and the begin of the next."""
    say(ledger, "a", "x", "resolved", user_id="u_1")
    say(ledger, "b", "xy", "abandoned", user_id="u_1")
    say(ledger, "c", "xyz", user_id="u_2")
    found = ledger.engagement(Analyzing())

    assert (
        Engagement(
            sessions=3,
            turns=Spread(3, 2, 2.0, 3),
            lengths={1: 1, 2: 1, 3: 1},
            duration_ms=Spread(3, 120_000, 120_000.0, 180_000),
            active_ms=Spread(3, 3_000, 10_000 / 3, 6_000),
            gap_ms=Spread(3, 59_000, (59 + 59 + 58) * 1_000 / 3, 59_000),
            sessions_per_user=Spread(2, 1, 1.5, 2),
            users=2,
            resolved=1,
            settled=2,
        )
        == found
    )
    assert (0.5, 1, found.turns) == (found.resolution_rate, found.unknown, found.messages)


def test_nothing_is_answered_with_nothing(ledger: Ledger) -> None:
    """No division, no zero where nothing is known."""
    asked = Analyzing()

    assert ((), None, None) == (ledger.overview(asked).days, *[ledger.engagement(asked).turns.median] * 2)
    assert ((), ()) == (ledger.first_actions(asked).top, ledger.flows(asked).steps)
    assert ((), None) == (ledger.paths(asked).top, ledger.resolution(asked).rate)
    assert ((), None) == (ledger.dropoff(asked).shares, ledger.dropoff(asked).biggest_drop)
    assert (None, 0) == (ledger.funnel(asked, ("x", "y")).conversion, len(ledger.retention(asked).cohorts))


def test_first_actions_and_flows(ledger: Ledger) -> None:
    """What follows what at which place; a turn that names no action is one of its own kind."""
    say(ledger, "a", "xyx")
    say(ledger, "b", "xy")
    say(ledger, "c", "y-")
    say(ledger, "long", "xxxxxxxxx")
    found = ledger.flows(Analyzing())
    by_step = {step.step: step for step in found.steps}

    assert counted(("x", 3, 0.75), ("y", 1, 0.25)) == ledger.first_actions(Analyzing()).top
    assert (4, [1, 2, 3, 4, 5, 6, 7]) == (found.sessions, sorted(by_step))
    assert counted(("xy", 2, 0.5), ("xx", 1, 0.25), ("y-", 1, 0.25)) == by_step[1].top
    assert counted(("xx", 1, 0.5), ("yx", 1, 0.5)) == by_step[2].top
    assert (1, 2) == (by_step[6].total, by_step[7].total)


def test_rare_ones_are_together(ledger: Ledger) -> None:
    """The 20 most frequent have names, the rest is one number."""
    ledger.write_turns(
        [turn(f"s{n}", 1, attributes={names.TURN_ACTION: f"a{min(n, 22):02}"}) for n in range(24)]
    )  # fmt: skip
    found = ledger.first_actions(Analyzing())

    assert (24, 20, 3) == (found.sessions, len(found.top), found.other)
    assert Counted(("a22",), 2, 2 / 24) == found.top[0]
    assert 24 == sum(one.sessions for one in found.top) + found.other


def test_paths_and_resolution(ledger: Ledger) -> None:
    """Three actions; what is unknown stands on neither side."""
    say(ledger, "a", "xyzx", "resolved")
    say(ledger, "b", "xyz", "resolved")
    say(ledger, "c", "xy", "escalated")
    say(ledger, "d", "xy", "abandoned")
    say(ledger, "e", "x")
    say(ledger, "f", "x", "none")
    paths, found = ledger.paths(Analyzing()), ledger.resolution(Analyzing())

    assert counted(("x", 2, 1 / 3), ("xy", 2, 1 / 3), ("xyz", 2, 1 / 3)) == paths.top
    assert (6, 2, 0.5) == (found.sessions, found.unknown, found.rate)
    assert (2, counted(("xyz", 2, 1.0))) == (found.resolved.sessions, found.resolved.paths)
    assert counted(("x", 1, 0.5), ("z", 1, 0.5)) == found.resolved.last
    assert (2, counted(("y", 2, 1.0))) == (found.unresolved.sessions, found.unresolved.last)


def test_dropoff_is_of_sessions_that_ended(ledger: Ledger) -> None:
    """Who is still there has not left; the last action is told of the unresolved."""
    for name, actions in (("a", "x"), ("b", "x"), ("c", "xy"), ("d", "xyz")):
        say(ledger, name, actions, "abandoned" if name in "ac" else None)
    say(ledger, "e", "xyzzz", active=True)
    found = ledger.dropoff(Analyzing())

    assert (4, (4, 2, 1), (1.0, 0.5, 0.25)) == (found.sessions, found.reaching, found.shares)
    assert (1, 0.5) == found.biggest_drop
    assert (2, counted(("x", 1, 0.5), ("y", 1, 0.5))) == (found.unresolved, found.last)


def test_funnel_takes_steps_in_order(ledger: Ledger) -> None:
    """Others may occur between; the wrong way round it is no conversion."""
    say(ledger, "a", "x-y-z")
    say(ledger, "b", "xyy")
    say(ledger, "c", "zyx")
    say(ledger, "d", "q")
    found = ledger.funnel(Analyzing(), ("x", "y", "z"))
    first, second, third = found.steps

    assert (4, [3, 2, 1], 1 / 3) == (found.sessions, [step.sessions for step in found.steps], found.conversion)
    assert (None, 2 / 3, 0.5) == (first.of_previous, second.of_previous, third.of_previous)
    assert (1.0, 2 / 3, 1 / 3) == (first.of_first, second.of_first, third.of_first)
    assert (None, 0.5) == (first.drop_off, third.drop_off)
    assert Spread(2, 60_000, 90_000.0, 120_000) == second.convert_ms
    assert (Spread(), Spread(1, 240_000, 240_000.0, 240_000)) == (first.convert_ms, found.convert_ms)


def test_funnel_may_repeat_an_action(ledger: Ledger) -> None:
    """The second time it has to happen twice."""
    say(ledger, "a", "xx")
    say(ledger, "b", "x")

    assert [2, 1] == [step.sessions for step in ledger.funnel(Analyzing(), ("x", "x")).steps]


@pytest.mark.parametrize("steps", [(), ("x",) * 21])
def test_funnel_needs_steps(steps: tuple[str, ...]) -> None:
    """And not any number of them."""
    with pytest.raises(ValueError, match=f"a funnel of {len(steps)} steps"):
        RingLedger().funnel(Analyzing(), steps)


def test_retention_follows_users_from_their_first_week(ledger: Ledger) -> None:
    """Weeks begin on Monday; a week that has not been seen yet is unknown, not empty."""
    weeks = {"u_1": (0, 1, 3), "u_2": (0, 0), "u_3": (1, 3)}
    for user, when in weeks.items():
        for place, week in enumerate(when):
            say(ledger, f"{user}-{place}", "x", at=7 * week * DAY, user_id=user)
    say(ledger, "nobody", "x", user_id=None)
    found = ledger.retention(Analyzing(), weeks=4)
    first, second = found.cohorts

    assert 7 == found.sessions
    assert (date(2025, 10, 6), 2, (2, 1, 0, 1, None)) == (first.week, first.users, first.active)
    assert (date(2025, 10, 13), 1, (1, 0, 1, None, None)) == (second.week, second.users, second.active)
    assert (1.0, 0.5, 0.0, 0.5, None) == first.shares


def test_retention_knows_who_came_before_the_window(ledger: Ledger) -> None:
    """Who came earlier is not new; only the cohorts shown are fewer."""
    for week in (0, 1, 2):
        say(ledger, f"s{week}", "x", at=7 * week * DAY, user_id="u_1")
    say(ledger, "new", "x", at=8 * DAY, user_id="u_2")
    found = ledger.retention(Analyzing(since_ms=MIDNIGHT + 7 * DAY), weeks=1)

    assert [(date(2025, 10, 13), 1, (1, 0))] == [(one.week, one.users, one.active) for one in found.cohorts]


@pytest.mark.parametrize("values", [[], [5], [1, 2], [1, 2, 3, 4, 100], [0, 0, 7, 7, 7, 9, 9, 9, 9, 30]])
def test_ranks_are_the_same_however_they_are_found(values: list[int]) -> None:
    """From a sorted list, from counts, from several lists."""
    found = spread(values)

    assert found == spread_of({value: values.count(value) for value in values})
    assert found.median == median_of([values[::2], [], values[1::2]])
