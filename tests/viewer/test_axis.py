"""The marks of a timeline's axis."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_mw.ledger import TurnRow
from session_mw.ledger.timeline import stretches
from session_mw.viewer.axis import APART, DAY, HOUR, MINUTE, SECOND, STEPS, Mark, exact, marks, step_of


def row(started_ms: int, latency_ms: int = SECOND) -> TurnRow:
    """Return a turn."""
    return TurnRow(0, "s", 1, 1, started_ms, latency_ms, "ok")


def marked(*turns: TurnRow, since_ms: int = 0) -> list[Mark]:
    """Return the marks of an axis of a hundred cells."""
    return marks(stretches(turns, 100), since_ms, 100)


def said(found: list[Mark]) -> list[tuple[float, str]]:
    """Return where which words stand."""
    return [(mark.at, mark.text) for mark in found]


def test_round_times_stand_between_the_ends() -> None:
    """A minute and a half in steps of half a minute: the shortest for which there is room."""
    found = marked(row(0, 90 * SECOND))

    assert [(0.0, "+0 ms"), (33.33, "+30 s"), (66.67, "+1m"), (100.0, "+1m 30s")] == said(found)
    assert ["start", "middle", "middle", "end"] == [mark.anchor for mark in found]
    assert [False, True, True, False] == [mark.round for mark in found]


def test_axis_goes_on_behind_an_idle_spell() -> None:
    """Where it does is said, and round times are those since the session began."""
    found = marked(row(0, 40 * SECOND), row(HOUR, 60 * SECOND))

    assert [
        (0.0, "+0 ms"),
        (41.0, "+1h"),  # there is no room for half a minute before it
        (70.4, "+1h 00m 30s"),
        (100.0, "+1h 01m"),
    ] == said(found)


def test_times_are_those_since_the_session_began() -> None:
    """Also of a page that shows later turns only."""
    assert ["+2.5 s", "+4 s", "+5 s", "+6 s", "+7.5 s"] == [mark.text for mark in marked(row(2_500, 5_000))]


def test_no_turn_has_no_marks() -> None:
    """There is no axis."""
    assert [] == marked()


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 s"), (200, "200 ms"), (2_500, "2.5 s"), (10 * SECOND, "10 s"), (MINUTE, "1m"), (90 * SECOND, "1m 30s"),
        (65 * SECOND, "1m 05s"), (12 * MINUTE, "12m"), (HOUR, "1h"), (125 * MINUTE, "2h 05m"),
        (HOUR + 30 * SECOND, "1h 00m 30s"), (DAY, "1d"), (DAY + 6 * HOUR, "1d 6h"), (DAY + 30 * MINUTE, "1d 0h 30m"),
        (61_500, "1m 1.5s"),
    ],
)  # fmt: skip
def test_round_times_are_said_to_the_last_digit(ms: int, text: str) -> None:
    """No two marks say the same."""
    assert text == exact(ms)


@pytest.mark.parametrize("ms", [1, 40, 700, 9_000, 55_000, 10 * MINUTE, 7 * HOUR, 3 * DAY, 200 * DAY, 9_000 * DAY])
def test_steps_are_the_shortest_that_fit(ms: int) -> None:
    """Whatever the axis lasts; never more marks than there is room for."""
    step = step_of(100 / ms)
    shorter = [one for one in STEPS if one < step]

    assert step * 100 / ms >= APART
    assert not shorter or shorter[-1] * 100 / ms < APART


@given(
    turns=st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**7)), min_size=1, max_size=30),
    since=st.integers(0, 10**6),
)
def test_marks_keep_apart_and_stay_on_the_axis(turns: list[tuple[int, int]], since: int) -> None:
    """In order, whatever there was; where it begins and ends is always said."""
    found = marked(*(row(*one) for one in sorted(turns)), since_ms=since)
    places = [mark.at for mark in found]

    assert 0.0 == places[0] and 100.0 == places[-1]
    assert all(after - before >= APART for before, after in pairwise(places))
    assert len({mark.text for mark in found if mark.round}) == sum(mark.round for mark in found)
