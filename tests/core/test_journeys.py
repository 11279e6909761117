"""Stages and conversions, on attributes alone: no session, no clock."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from session_mw._core import journeys
from session_mw._core.events import end_event
from session_mw._core.records import SessionRecord

T0 = 1_000_000


def after(known: dict[str, Any], changes: journeys.Changes) -> dict[str, Any]:
    """Return *known* with *changes*; None removes."""
    return {k: v for k, v in {**known, **changes}.items() if v is not None}


def enter(
    known: dict[str, Any], name: str, stage: str, number: int | None = None, total: int | None = None, at: int = T0
) -> dict[str, Any]:
    return after(known, journeys.enter(known, name, stage, number, total, at))


def test_first_stage() -> None:
    """Name, stage and numbers are known; nothing else is made up."""
    known = enter({}, "onboarding", "setup_complete", 3, 5)

    assert {
        "journey.name": "onboarding",
        "journey.stage": "setup_complete",
        "journey.stage_number": 3,
        "journey.total_stages": 5,
        "journey.time_in_stage_ms": 45_000,
    } == journeys.shown(known, T0 + 45_000)


def test_numbers_that_are_not_given_are_absent() -> None:
    """Unknown is absent, never 0."""
    known = enter({}, "onboarding", "welcome")

    assert {"journey.name", "journey.stage", "journey.time_in_stage_ms"} == set(journeys.shown(known, T0))


def test_same_stage_again_is_not_entered_again() -> None:
    """The clock goes on, and what was said of the stage stays."""
    known = enter(enter({}, "onboarding", "profile", 2, 5), "onboarding", "profile", at=T0 + 7_000)

    assert (2, 5, 9_000) == (
        known["journey.stage_number"],
        known["journey.total_stages"],
        journeys.shown(known, T0 + 9_000)["journey.time_in_stage_ms"],
    )


def test_next_stage_is_entered() -> None:
    """The clock starts again; the journey's total stays, the earlier stage's number does not."""
    known = enter(enter({}, "onboarding", "profile", 2, 5), "onboarding", "done", at=T0 + 7_000)

    assert {
        "journey.name": "onboarding",
        "journey.stage": "done",
        "journey.total_stages": 5,
        "journey.time_in_stage_ms": 1_000,
    } == journeys.shown(known, T0 + 8_000)


def test_stage_that_is_entered_twice_starts_anew() -> None:
    """Back to an earlier stage: the time in it counts from the return."""
    known = enter(enter(enter({}, "a", "one"), "a", "two", at=T0 + 10), "a", "one", at=T0 + 30)

    assert {"journey.time_in_stage_ms": 5} == journeys.time_in_stage(known, T0 + 35)


def test_another_journey_starts_over() -> None:
    """The same stage of another journey is another stage, and nobody has converted in it."""
    known = enter({}, "onboarding", "start", 1, 5)
    known = after(known, journeys.convert(known, 4, T0, T0 + 10))
    known = enter(known, "checkout", "start", at=T0 + 20)

    assert {
        "journey.name": "checkout",
        "journey.stage": "start",
        "journey.time_in_stage_ms": 0,
    } == journeys.shown(known, T0 + 20)


def test_conversion_before_any_journey_is_kept() -> None:
    """Who converts first and is on a journey then has converted."""
    known = after({}, journeys.convert({}, 1, T0, T0))

    assert enter(known, "onboarding", "start")["journey.converted"] is True


def test_first_conversion_stays() -> None:
    """Turn and time are those of the first; the time counts from the session's start."""
    known = after({}, journeys.convert({}, 8, T0, T0 + 180_000))

    assert {
        "journey.converted": True,
        "journey.conversion_turn": 8,
        "journey.conversion_time_ms": 180_000,
    } == known
    assert {} == journeys.convert(known, 9, T0, T0 + 200_000)


def test_conversion_outside_of_a_turn_has_no_turn() -> None:
    """Unknown is absent."""
    assert "journey.conversion_turn" not in after({}, journeys.convert({}, None, T0, T0))


@given(
    steps=st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 10**6)), min_size=1, max_size=8
    ),
    rest=st.integers(0, 10**6),
)
def test_time_in_stage_is_the_time_since_the_last_change(steps: list[tuple[str, str, int]], rest: int) -> None:
    """Whatever is said how often: the clock runs from when journey and stage last became what they are."""
    known: dict[str, Any] = {}
    now = entered = T0
    before: tuple[str, str] | None = None
    for name, stage, passed in steps:
        now += passed
        if (name, stage) != before:
            entered, before = now, (name, stage)
        known = enter(known, name, stage, at=now)
    record = SessionRecord("s", T0, now + rest, reason="user_exit", ended_ms=now + rest, attributes=known)

    assert now + rest - entered == end_event(record).attributes["journey.time_in_stage_ms"]
    assert before == (known["journey.name"], known["journey.stage"])


def test_end_of_a_session_on_no_journey_says_nothing_of_one() -> None:
    """Unknown is absent."""
    shown = end_event(SessionRecord("s", T0, T0, reason="user_exit", ended_ms=T0)).attributes

    assert [] == [name for name in shown if name.startswith("journey.")]
