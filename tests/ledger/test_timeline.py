"""Turns on an axis of time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_mw.ledger import TurnRow
from session_mw.ledger.timeline import Gap, Lane, timeline

MINUTE = 60_000


def row(started_ms: int, latency_ms: int = 1_000) -> TurnRow:
    return TurnRow(0, "s", 1, 1, started_ms, latency_ms, "ok")


def gaps(turns: list[TurnRow]) -> list[int]:
    return [part.ms for part in timeline(turns, 40) if isinstance(part, Gap)]


@pytest.mark.parametrize(
    ("starts", "expected"),
    [
        ([0], []),
        ([0, 61_000], []),
        ([0, 30_000, 60_000, 9 * MINUTE], [8 * MINUTE - 1_000]),
        ([0, 2 * MINUTE, 4 * MINUTE, 6 * MINUTE], []),  # this one thinks before each question
        ([0, 60 * MINUTE], [60 * MINUTE - 1_000]),
        ([0, 60 * MINUTE, 120 * MINUTE], [60 * MINUTE - 1_000] * 2),
    ],
)
def test_idle_time_is_what_is_long_for_this_session(starts: list[int], expected: list[int]) -> None:
    """More than a minute, and more than three times the usual gap or ten minutes."""
    assert expected == gaps([row(start) for start in starts])


def test_bars_are_true_to_scale_between_gaps() -> None:
    """A turn that takes twice as long has a bar twice as long, wherever it stands."""
    first, gap, second = timeline([row(0, 10_000), row(3_600_000, 20_000)], 32)

    assert isinstance(first, Lane) and isinstance(gap, Gap) and isinstance(second, Lane)
    assert (0, 10, 12, 32) == (first.begin, first.end, second.begin, second.end)
    assert (3_590_000, 12) == (gap.ms, gap.at)


def test_turns_at_the_same_time_stand_above_each_other() -> None:
    """Two windows of one session; the longer one hides no idle time of the other."""
    parts = timeline([row(0, 10 * MINUTE), row(MINUTE, 1_000), row(9 * MINUTE, MINUTE)], 20)

    assert [(0, 20), (2, 3), (18, 20)] == [(part.begin, part.end) for part in parts if isinstance(part, Lane)]
    assert 3 == len(parts)


@given(
    turns=st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**7)), max_size=30),
    width=st.integers(4, 80),
)
def test_nothing_leaves_the_axis(turns: list[tuple[int, int]], width: int) -> None:
    """Every turn has a bar of at least one cell, whatever there was; no turn gets lost."""
    rows = [row(*one) for one in sorted(turns)]
    parts = timeline(rows, width)
    lanes = [part for part in parts if isinstance(part, Lane)]

    assert rows == [lane.turn for lane in lanes]
    assert all(0 <= lane.begin < lane.end <= width for lane in lanes)
    assert all(0 <= part.at < width and part.ms > MINUTE for part in parts if isinstance(part, Gap))
