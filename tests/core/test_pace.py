"""How much is swept in passing: at most 20 sessions, about 20 ms, and a tenth of the time."""

from __future__ import annotations

from session_mw._core.pace import MOST, SHARE, STEP_SECONDS, Pace


def test_step_is_followed_by_a_pause_ten_times_as_long() -> None:
    """Whatever a look costs, no more than a tenth of the time goes into looking."""
    pace = Pace()
    assert pace.due(0.0)
    pace.took(5.0, 5.002, full=False)

    assert (False, True) == (pace.due(5.002 + 0.9 * SHARE * 0.002), pace.due(5.002 + 1.1 * SHARE * 0.002))


def test_what_is_known_to_be_due_does_not_wait() -> None:
    """A session that was just ended is reported after this very response."""
    pace = Pace()
    pace.took(0.0, 3.0, full=False)
    pace.hurry()

    assert pace.due(3.0)


def test_steps_that_take_long_become_small_and_grow_again() -> None:
    """Halved down to one session where a step takes longer than it may, doubled where half the time is left."""
    pace, limits = Pace(), []
    for seconds in (0.0, *[2 * STEP_SECONDS] * 6, *[STEP_SECONDS / 2] * 6):
        pace.took(0.0, seconds, full=True)
        limits.append(pace.limit)

    assert [MOST, 10, 5, 2, 1, 1, 1, 2, 4, 8, 16, MOST, MOST] == limits


def test_steps_with_little_to_do_say_nothing_of_size() -> None:
    """Only a full step shows how long so many take."""
    pace = Pace()
    pace.took(0.0, 1.0, full=True)
    pace.took(0.0, 0.0, full=False)

    assert MOST // 2 == pace.limit
