"""How a session is judged at its end: one table for all definitions, every cell of it."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from session_mw._core import analysis
from session_mw._core.analysis import OUTCOMES
from session_mw._core.events import end_event
from session_mw._core.records import END_REASONS, EndReason, SessionRecord

IDLE_MS = 1_800_000


def ended(reason: EndReason, **more: Any) -> SessionRecord:
    """A session of three turns that all ended well."""
    given: dict[str, Any] = {"turns": 3, "completed": 3, "confirmed": True, "ended_ms": 60_000 + IDLE_MS}
    return SessionRecord("s", 0, 60_000, reason=reason, **{**given, **more})


def said(outcome: str | None = None, source: str = "confirmed", converted: bool = False) -> dict[str, Any]:
    """What the application said of a session."""
    attributes: dict[str, Any] = {"journey.converted": True} if converted else {}
    if outcome is not None:
        attributes |= {"session.outcome": outcome, "session.outcome_source": source}
    return attributes


# Nobody said an outcome: end reason, converted, confirmed -> outcome (always implied), dropped off (None: not told).
UNSAID: dict[tuple[str, bool, bool], tuple[str | None, bool | None]] = {
    ("idle_timeout", False, True): ("abandoned", True),
    ("idle_timeout", False, False): (None, None),
    ("idle_timeout", True, True): ("resolved", False),
    ("idle_timeout", True, False): ("resolved", None),
    ("max_lifetime", False, True): ("abandoned", True),
    ("max_lifetime", False, False): (None, None),
    ("max_lifetime", True, True): ("resolved", False),
    ("max_lifetime", True, False): ("resolved", None),
    ("disconnected", False, True): ("abandoned", True),
    ("disconnected", False, False): (None, None),
    ("disconnected", True, True): ("resolved", False),
    ("disconnected", True, False): ("resolved", None),
    ("user_exit", False, True): (None, False),
    ("user_exit", False, False): (None, None),
    ("user_exit", True, True): ("resolved", False),
    ("user_exit", True, False): ("resolved", None),
    ("replaced", False, True): (None, False),
    ("replaced", False, False): (None, None),
    ("replaced", True, True): ("resolved", False),
    ("replaced", True, False): ("resolved", None),
    ("completed", False, True): ("resolved", False),
    ("completed", False, False): ("resolved", None),
    ("completed", True, True): ("resolved", False),
    ("completed", True, False): ("resolved", None),
    ("escalated", False, True): ("escalated", False),
    ("escalated", False, False): ("escalated", None),
    ("escalated", True, True): ("escalated", False),
    ("escalated", True, False): ("escalated", None),
    ("shutdown", False, True): (None, False),
    ("shutdown", False, False): (None, None),
    ("shutdown", True, True): ("resolved", False),
    ("shutdown", True, False): ("resolved", None),
    ("store_lost", False, True): (None, False),
    ("store_lost", False, False): (None, None),
    ("store_lost", True, True): ("resolved", False),
    ("store_lost", True, False): ("resolved", None),
}
# Somebody said an outcome, which stays: those for which a confirmed session that timed out has been dropped.
DROPPED_THOUGH_SAID = {"abandoned", "none"}


def test_table_has_every_cell() -> None:
    """Every end reason, with and without conversion, confirmed or not."""
    assert set(UNSAID) == set(product(END_REASONS, (False, True), (False, True)))


@pytest.mark.parametrize(("reason", "converted", "confirmed"), UNSAID)
def test_outcome_that_nobody_said(reason: EndReason, converted: bool, confirmed: bool) -> None:
    """What happened implies the outcome, where anything speaks for one; unknown is absent."""
    outcome, dropped = UNSAID[reason, converted, confirmed]
    shown = end_event(ended(reason, confirmed=confirmed, attributes=said(converted=converted))).attributes

    assert outcome == shown.get("session.outcome")
    assert (None if outcome is None else "implied") == shown.get("session.outcome_source")
    assert dropped is shown.get("dropoff.detected")


@pytest.mark.parametrize("reason", END_REASONS)
@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("source", analysis.SOURCES)
@pytest.mark.parametrize("converted", [False, True])
@pytest.mark.parametrize("confirmed", [False, True])
def test_outcome_that_was_said(reason: EndReason, outcome: str, source: str, converted: bool, confirmed: bool) -> None:
    """What the application said stays, with its source, whatever happened; drop-off goes by it."""
    record = ended(reason, confirmed=confirmed, attributes=said(outcome, source, converted))
    shown = end_event(record).attributes
    left = reason in ("idle_timeout", "max_lifetime", "disconnected")
    dropped = left and not converted and outcome in DROPPED_THOUGH_SAID

    assert (outcome, source) == (shown["session.outcome"], shown["session.outcome_source"])
    assert (dropped if confirmed else None) is shown.get("dropoff.detected")


@pytest.mark.parametrize("reason", END_REASONS)
def test_session_without_a_turn(reason: EndReason) -> None:
    """Nobody was engaged: no drop-off, and outcome none, unless the application ended it for what it came to."""
    shown = end_event(ended(reason, turns=0, completed=0)).attributes
    ended_for = {"completed": "resolved", "escalated": "escalated"}

    assert ended_for.get(reason, "none") == shown["session.outcome"]
    assert shown["dropoff.detected"] is False


@pytest.mark.parametrize(
    ("turns", "completed", "failed", "status"),
    [(3, 3, 0, "ok"), (3, 2, 1, "errored"), (3, 2, 0, "abnormal"), (3, 1, 1, "abnormal"), (0, 0, 0, "ok")],
)
def test_status(turns: int, completed: int, failed: int, status: str) -> None:
    """A turn that was still open: abnormal; else a failed one: errored; else ok."""
    record = ended("user_exit", turns=turns, completed=completed, failed=failed)

    assert status == end_event(record).attributes["session.status"]


def test_dropoff_says_where() -> None:
    """The last turn, what the user wanted and the agent did in it, and the time since."""
    record = ended("idle_timeout", attributes={"_intent": "clarification_needed", "_action": "asked_question"})

    assert {
        "dropoff.detected": True,
        "dropoff.last_turn": 3,
        "dropoff.last_intent": "clarification_needed",
        "dropoff.agent_last_action": "asked_question",
        "dropoff.time_since_last_turn_ms": IDLE_MS,
    } == analysis.dropoff(record)


def test_dropoff_of_a_session_that_was_not_left_says_no_more() -> None:
    """Where nobody dropped off there is no last intent to look at."""
    record = ended("user_exit", attributes={"_intent": "thanks"})

    assert {"dropoff.detected": False} == analysis.dropoff(record)


def test_bounce_is_a_session_of_one_turn() -> None:
    """It is told by the number of turns, and judged like any other."""
    shown = end_event(ended("idle_timeout", turns=1, completed=1)).attributes

    assert (1, True, "abandoned") == (
        shown["session.total_turns"],
        shown["dropoff.detected"],
        shown["session.outcome"],
    )
