"""
How a session is judged at its end: every rule and its definition, and nowhere else.

status
    ``abnormal`` when a turn was still open, else ``errored`` when a turn failed, else ``ok``.
dropped off
    Ended by idle or absolute timeout, or because the client went (``disconnected``: the same, known sooner), at least
    one turn, no conversion, and not said to be resolved or escalated.
    Sessions that no later request confirmed (bots, webhooks) say nothing about users who leave.
outcome
    What the application said, with its source: ``confirmed`` (somebody said so) or ``implied``. Where nobody said
    anything, what happened may imply it; the first line that fits decides:

    1. ended as ``escalated``: ``escalated``
    2. converted, or ended as ``completed``: ``resolved``
    3. no turn at all: ``none``, nobody was engaged
    4. dropped off: ``abandoned``

    and otherwise (the user left, was replaced, or the process stopped) it is unknown, so absent. A back end's rate of
    resolution is resolved / (resolved + escalated + abandoned); by the source it can tell what is certain.
bounce
    A session of one turn; ``session.total_turns`` says so, and it has no attribute of its own.

Source:
    Microsoft Copilot Studio, "session outcome" (unengaged, or engaged and then resolved, escalated or abandoned;
    resolved confirmed or implied); Intercom, confirmed and assumed resolutions; Sentry's release health, where
    "errored" is a session with errors and "abnormal" one whose fate is unknown.
"""

from __future__ import annotations

from typing import Literal, get_args

from . import names
from .records import AttributeValue, EndReason, SessionRecord

Outcome = Literal["resolved", "escalated", "abandoned", "none"]
OutcomeSource = Literal["confirmed", "implied"]
OUTCOMES: tuple[str, ...] = get_args(Outcome)
SOURCES: tuple[str, ...] = get_args(OutcomeSource)

TIMED_OUT: tuple[EndReason, ...] = ("idle_timeout", "max_lifetime")
ABANDONING: tuple[EndReason, ...] = (*TIMED_OUT, "disconnected")
SETTLED: tuple[Outcome, ...] = ("resolved", "escalated")


def status(record: SessionRecord) -> str:
    """Return ``abnormal``, ``errored`` or ``ok``."""
    if record.open_turns:
        return "abnormal"
    return "errored" if record.failed else "ok"


def converted(record: SessionRecord) -> bool:
    """Return whether the user reached what the application calls a conversion."""
    return bool(record.attributes.get(names.JOURNEY_CONVERTED))


def dropped_off(record: SessionRecord) -> bool:
    """Return whether the user left without an end, a conversion, or an outcome that settles it."""
    return (
        record.reason in ABANDONING
        and record.turns > 0
        and not converted(record)
        and record.attributes.get(names.SESSION_OUTCOME) not in SETTLED
    )


def implied_outcome(record: SessionRecord) -> Outcome | None:
    """Return the outcome that follows from what happened, None when nothing speaks for any."""
    if record.reason == "escalated":
        return "escalated"
    if converted(record) or record.reason == "completed":
        return "resolved"
    if not record.turns:
        return "none"
    return "abandoned" if record.confirmed and dropped_off(record) else None


def outcome(record: SessionRecord) -> dict[str, AttributeValue]:
    """Return the outcome that nobody said and its source by wire name; empty when it was said, or is unknown."""
    implied = None if names.SESSION_OUTCOME in record.attributes else implied_outcome(record)
    if implied is None:
        return {}
    return {names.SESSION_OUTCOME: implied, names.SESSION_OUTCOME_SOURCE: "implied"}


def dropoff(record: SessionRecord) -> dict[str, AttributeValue]:
    """Return whether the user dropped off, and where, by wire name; nothing of a session that nobody confirmed."""
    if not record.confirmed:
        return {}
    if not dropped_off(record):
        return {names.DROPOFF_DETECTED: False}
    found: dict[str, AttributeValue] = {
        names.DROPOFF_DETECTED: True,
        names.DROPOFF_LAST_TURN: record.turns,
        names.DROPOFF_TIME_SINCE_LAST_TURN_MS: max(0, (record.ended_ms or record.last_ms) - record.last_ms),
    }
    last = ((names.DROPOFF_LAST_INTENT, names.LAST_INTENT), (names.DROPOFF_AGENT_LAST_ACTION, names.LAST_ACTION))
    for shown, kept in last:
        if kept in record.attributes:
            found[shown] = record.attributes[kept]
    return found
