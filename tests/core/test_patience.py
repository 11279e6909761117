"""Patience: what is waited is counted, what nobody looked at is not, and there is an end in any case."""

from __future__ import annotations

from session_mw._core.patience import STRETCH, Patience


def waited(patience: Patience, steps: list[float]) -> float:
    """Return after how many seconds it was over, with looks after the given pauses, the last one again and again."""
    now, number = 0.0, 0
    while True:
        now += steps[min(number, len(steps) - 1)]
        number += 1
        if patience.over(now):
            return round(now, 6)


def test_patience_is_over_in_time_where_everybody_looks() -> None:
    """Looks every 5 ms, and some that are a little late: 50 ms are 50 ms."""
    for pause in (0.005, 0.008):
        assert 0.049 < waited(Patience(0.05, 0.0), [pause]) < 0.051 + pause


def test_spells_in_which_nobody_looked_count_as_one_look() -> None:
    """Two stalls of 100 ms leave what there was, less two looks."""
    assert 0.235 < waited(Patience(0.05, 0.0), [0.1, 0.1, 0.005]) < 0.25


def test_patience_ends_whatever_the_machine_does() -> None:
    """Stalls without end: ten times as long, and no longer."""
    assert STRETCH * 0.05 <= waited(Patience(0.05, 0.0), [0.06]) < STRETCH * 0.05 + 0.06


def test_short_patience_is_looked_at_often() -> None:
    """1 ms is ten looks, not none."""
    assert 0.0001 == Patience(0.001, 0.0).pause
    assert 0.005 == Patience(60.0, 0.0).pause
