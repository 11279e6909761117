"""
Where a user is on the way to something: a journey of named stages, and the conversion at its end.

Rule 1: a session is on one journey at a time. Another name starts over: stage, numbers and conversion are the new
    journey's. What the session as a whole came to is its outcome.
Rule 2: the time in a stage counts from when it was entered. Saying the same stage again does not enter it again; what
    is not said again of it stays.
Rule 3: a conversion happens once: the first stays.
Rule 4: earlier stages are not kept with the session. Each turn keeps the stage that was said in it last, and the turns
    of a session are its funnel.
"""

from __future__ import annotations

from collections.abc import Mapping

from . import names
from .records import AttributeValue

Known = Mapping[str, AttributeValue]
Changes = dict[str, "AttributeValue | None"]  # None removes

# What a turn shows of the journey that was told in it.
SHOWN = (
    names.JOURNEY_NAME,
    names.JOURNEY_STAGE,
    names.JOURNEY_STAGE_NUMBER,
    names.JOURNEY_TOTAL_STAGES,
    names.JOURNEY_CONVERTED,
    names.JOURNEY_CONVERSION_TURN,
    names.JOURNEY_CONVERSION_TIME_MS,
)


def enter(
    known: Known, name: str, stage: str, stage_number: int | None, total_stages: int | None, now_ms: int
) -> Changes:
    """
    Return what changes when a user is in a stage.

    Args:
        known: The session's attributes.
        name: Of the journey.
        stage: Of the stage.
        stage_number: Its place; None: not known, or as it was said of the same stage before.
        total_stages: Stages of the journey; None: not known, or as it was said of the same journey before.
        now_ms: The store's clock, milliseconds since the epoch.
    """
    same_journey = known.get(names.JOURNEY_NAME) == name
    same_stage = same_journey and known.get(names.JOURNEY_STAGE) == stage
    changes: Changes = {names.JOURNEY_NAME: name, names.JOURNEY_STAGE: stage}
    if stage_number is not None or not same_stage:
        changes[names.JOURNEY_STAGE_NUMBER] = stage_number
    if total_stages is not None or not same_journey:
        changes[names.JOURNEY_TOTAL_STAGES] = total_stages
    if not same_stage:
        changes[names.STAGE_ENTERED] = now_ms
    if not same_journey and names.JOURNEY_NAME in known:
        converted = (names.JOURNEY_CONVERTED, names.JOURNEY_CONVERSION_TURN, names.JOURNEY_CONVERSION_TIME_MS)
        changes.update(dict.fromkeys(converted))
    return changes


def convert(known: Known, turn_number: int | None, started_ms: int | None, now_ms: int) -> Changes:
    """
    Return what changes when a user converts; nothing the second time.

    Args:
        known: The session's attributes.
        turn_number: Of the turn in which it happens; None when it happens in none, or is not known.
        started_ms: The session's start, milliseconds since the epoch; None when another service knows it.
        now_ms: The store's clock, milliseconds since the epoch.
    """
    if known.get(names.JOURNEY_CONVERTED):
        return {}
    return {
        names.JOURNEY_CONVERTED: True,
        names.JOURNEY_CONVERSION_TURN: turn_number,
        names.JOURNEY_CONVERSION_TIME_MS: None if started_ms is None else max(0, now_ms - started_ms),
    }


def time_in_stage(known: Known, now_ms: int) -> dict[str, AttributeValue]:
    """Return how long the user has been in the stage at *now_ms*, by wire name; empty where there is none."""
    entered_ms = known.get(names.STAGE_ENTERED)
    if not isinstance(entered_ms, int):
        return {}
    return {names.JOURNEY_TIME_IN_STAGE_MS: max(0, now_ms - entered_ms)}


def shown(known: Known, now_ms: int) -> dict[str, AttributeValue]:
    """Return what a turn shows of the journey it is part of, at *now_ms*."""
    return {key: known[key] for key in SHOWN if key in known} | time_in_stage(known, now_ms)
