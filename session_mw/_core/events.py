"""
What the core reports: the records of ``session.start`` and ``session.end``, with every number in them.

Definitions of the numbers stand here; the rules by which a session is judged (drop-off, outcome, status) in
``analysis``. Times are ISO 8601 UTC text, ``*_ms`` and counts int, ``*_usd`` float, satisfaction 0..1, flags bool. What
is not known is absent: never 0, never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import lru_cache

from . import analysis, journeys, names
from .ops import Add
from .records import AttributeValue, SessionRecord

_LAST_TURN = re.compile(r"([0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})-([0-9a-f]{1,15})")  # see names.LAST_TRACE


@dataclass(frozen=True)
class EventRecord:
    """
    One event as sinks receive it.

    Attributes:
        event_name: ``session.start``, ``session.end`` or ``session.usage_late``.
        timestamp_ms: When it happened, milliseconds since the epoch.
        attributes: Its attributes.
        trace: ``<trace id>-<span id>-<flags>`` of the turn it belongs to; empty when there is none.
        key: Session id and generation, for acknowledgement.
        shown_ms: When it happened as far as the turn's trace goes, for a span in it: one that stands later would become
            the trace's latency. None means ``timestamp_ms``.
    """

    event_name: str
    timestamp_ms: int
    attributes: Mapping[str, AttributeValue]
    trace: str = ""
    key: tuple[str, int] = ("", 1)
    shown_ms: int | None = None

    @property
    def span_ms(self) -> int:
        """When its span stands, where it is written as one."""
        return self.timestamp_ms if self.shown_ms is None else self.shown_ms

    def within(self, trace: str) -> EventRecord:
        """Return the event as part of a turn's trace."""
        return replace(self, trace=trace)


@dataclass(frozen=True)
class TokenRejected:
    """A client presented something that is not a token of ours. ``source`` is cookie, header, baggage or peer."""

    reason: str
    source: str


@lru_cache(maxsize=4096)
def iso(at_ms: int) -> str:
    """Format milliseconds since the epoch as ISO 8601 UTC with milliseconds."""
    seconds, ms = divmod(at_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, timezone.utc).isoformat()[:19]}.{ms:03d}Z"


def uid(record: SessionRecord, event_name: str) -> str:
    """Return the ``log.record.uid``: records with the same one are duplicates (OTel semantic conventions, logs)."""
    return f"{record.session_id}/{record.generation}/{event_name}"


def start_event(record: SessionRecord) -> EventRecord:
    """Return the ``session.start`` of *record*."""
    return EventRecord(
        names.EVENT_START,
        record.started_ms,
        {**identity(record), names.LOG_RECORD_UID: uid(record, names.EVENT_START)},
        key=(record.session_id, record.generation),
    )


def end_event(record: SessionRecord) -> EventRecord:
    """
    Return the ``session.end`` of a frozen record.

    Args:
        record: Frozen: the same record always gives the same attributes, but for ``session.emit_attempt``.

    Returns:
        The event; its time is that of the last activity, not the moment somebody noticed.
    """
    attributes = identity(record)
    attributes |= _times(record) | _totals(record) | _user_totals(record)
    attributes |= analysis.dropoff(record) | analysis.outcome(record)
    attributes |= journeys.time_in_stage(record.attributes, record.last_ms)
    attributes[names.LOG_RECORD_UID] = uid(record, names.EVENT_END)
    attributes[names.SESSION_EMIT_ATTEMPT] = record.attempts
    trace, turn_ms = _last_turn(record)
    key = (record.session_id, record.generation)
    return EventRecord(names.EVENT_END, record.last_ms, attributes, trace, key, min(record.last_ms, turn_ms))


def _last_turn(record: SessionRecord) -> tuple[str, int]:
    """Return the trace of the last turn whose spans are kept, and when it ended, or was last active for all we know."""
    text = str(record.attributes.get(names.LAST_TRACE, ""))
    match = _LAST_TURN.fullmatch(text)
    return (text, record.last_ms) if match is None else (match[1], int(match[2], 16))


def late_event(item: Add, now_ms: int, number: str) -> EventRecord | None:
    """
    Return the ``session.usage_late`` of what its session's end does not count: it came after the report, or in a
    service whose store is another (``usage.partial``). None when it brings no usage.

    Args:
        item: What was refused.
        now_ms: When it came.
        number: Tells it from others of the same session.
    """
    found: dict[str, AttributeValue] = {}
    for name, value in (
        (names.SESSION_TOTAL_INPUT_TOKENS, item.input_tokens),
        (names.SESSION_TOTAL_OUTPUT_TOKENS, item.output_tokens),
    ):
        if value is not None:
            found[name] = value
    if item.cost_microusd is not None:
        found[names.SESSION_TOTAL_COST_USD] = item.cost_microusd / 1_000_000
    if not found:
        return None
    if len(found.keys() - {names.SESSION_TOTAL_COST_USD}):
        found[names.SESSION_TOTAL_TOKENS] = (item.input_tokens or 0) + (item.output_tokens or 0)
    found[names.SESSION_ID] = item.session_id
    found[names.SESSION_GENERATION] = item.generation
    if item.remote:
        found[names.USAGE_PARTIAL] = True
    found[names.LOG_RECORD_UID] = f"{item.session_id}/{item.generation}/{names.EVENT_USAGE_LATE}/{number}"
    return EventRecord(names.EVENT_USAGE_LATE, now_ms, found, key=(item.session_id, item.generation))


def identity(record: SessionRecord) -> dict[str, AttributeValue]:
    """Return what says which session this is, with everything the application said about it."""
    shown: dict[str, AttributeValue] = {k: v for k, v in record.attributes.items() if not k.startswith("_")}
    shown[names.SESSION_ID] = record.session_id
    shown[names.SESSION_START_TIME] = iso(record.started_ms)
    shown[names.SESSION_GENERATION] = record.generation
    if record.user_id is not None:
        shown[names.USER_ID] = shown[names.USER_HASH] = record.user_id
    if record.previous_id is not None:
        shown[names.SESSION_PREVIOUS_ID] = record.previous_id
    if record.recovered:
        shown[names.SESSION_RECOVERED] = True
    if record.partial:
        shown[names.SESSION_PARTIAL] = True
    return shown


def _times(record: SessionRecord) -> dict[str, AttributeValue]:
    ended_ms = record.last_ms if record.ended_ms is None else record.ended_ms
    times: dict[str, AttributeValue] = {
        names.SESSION_END_REASON: record.reason or "store_lost",
        names.SESSION_END_TIME: iso(record.last_ms),
        names.SESSION_DURATION_MS: max(0, record.last_ms - record.started_ms),
        names.SESSION_IDLE_TIME_MS: max(0, ended_ms - record.last_ms),
        names.SESSION_INACTIVE_TIMEOUT: record.reason == "idle_timeout",
    }
    if record.next_id is not None:
        times[names.SESSION_NEXT_ID] = record.next_id
    return times


def _totals(record: SessionRecord) -> dict[str, AttributeValue]:
    finished = record.completed + record.failed
    totals: dict[str, AttributeValue] = {
        names.SESSION_TOTAL_TURNS: record.turns,
        names.SESSION_COMPLETED_TURNS: record.completed,
        names.SESSION_FAILED_TURNS: record.failed,
        names.SESSION_STATUS: analysis.status(record),
        names.SESSION_CONFIRMED: record.confirmed,
    }
    if finished:
        totals[names.SESSION_AVG_TURN_LATENCY_MS] = round(record.latency_ms / finished)
    if record.cost_microusd is not None:
        totals[names.SESSION_TOTAL_COST_USD] = record.cost_microusd / 1_000_000
    return totals | _tokens(record)


def _tokens(record: SessionRecord) -> dict[str, AttributeValue]:
    totals: dict[str, AttributeValue] = {}
    if record.input_tokens is not None:
        totals[names.SESSION_TOTAL_INPUT_TOKENS] = record.input_tokens
    if record.output_tokens is not None:
        totals[names.SESSION_TOTAL_OUTPUT_TOKENS] = record.output_tokens
    if totals:
        tokens = (record.input_tokens or 0) + (record.output_tokens or 0)
        totals[names.SESSION_TOTAL_TOKENS] = tokens
        if record.turns:
            totals[names.SESSION_AVG_TURN_TOKENS] = round(tokens / record.turns)
    return totals


def _user_totals(record: SessionRecord) -> dict[str, AttributeValue]:
    """Return the aggregates over the user's sessions, where they were worked out and kept with the record."""
    known = record.attributes
    return {shown: known[kept] for kept, shown in names.USER_TOTALS.items() if kept in known}
