"""
How events and turns become history. No database here: each function takes a row and returns the next one.

Rule 1: the end has the last word. While a session is active its numbers are counted from its turns; the numbers of
    ``session.end`` replace them, so that history says what every other sink was told.
Rule 2: order does not matter, nor does repetition. Turns may be written before the start or after the end; once the
    end is in, any order of the same records has led to the same row.
Rule 3: usage reported late is kept apart by its ``log.record.uid``, and added to what the end said.
Rule 4: an end that an import made (``session.imported``) has not the last word: it says when and why, the numbers stay
    those of the turns, and whatever comes later goes on from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .._core import names
from .._core.analysis import TIMED_OUT
from .._core.dialects import INPUT_VALUE, OUTPUT_VALUE
from .._core.events import EventRecord
from .._core.records import AttributeValue, TurnRecord
from .._core.user_totals import Sitting
from . import values
from .calls import calls_of
from .rows import SessionRow, Status, TurnRow, UsageRow
from .values import optional_text, plus, whole

Key = tuple[str, int]

# Attributes that have a column of their own, and the column.
TEXTS: Mapping[str, str] = {
    names.USER_ID: "user_id",
    names.SESSION_TYPE: "type",
    names.SESSION_NAME: "name",
    names.SESSION_PROMPT_VERSION: "prompt_version",
    names.SESSION_CHANNEL: "channel",
    names.SESSION_END_REASON: "end_reason",
    names.SESSION_OUTCOME: "outcome",
    names.SESSION_PREVIOUS_ID: "previous_id",
    names.SESSION_NEXT_ID: "next_id",
}
# Attributes that the columns say already, in another form.
IMPLIED = frozenset(
    {
        names.SESSION_ID,
        names.SESSION_GENERATION,
        names.USER_HASH,
        names.SESSION_START_TIME,
        names.SESSION_END_TIME,
        names.SESSION_DURATION_MS,
        names.SESSION_IDLE_TIME_MS,
        names.SESSION_INACTIVE_TIMEOUT,
        names.SESSION_CONFIRMED,
        names.SESSION_TOTAL_TURNS,
        names.SESSION_COMPLETED_TURNS,
        names.SESSION_FAILED_TURNS,
        names.SESSION_AVG_TURN_LATENCY_MS,
        names.SESSION_AVG_TURN_TOKENS,
        names.SESSION_TOTAL_TOKENS,
        names.SESSION_TOTAL_INPUT_TOKENS,
        names.SESSION_TOTAL_OUTPUT_TOKENS,
        names.SESSION_TOTAL_COST_USD,
        names.SESSION_EMIT_ATTEMPT,
        names.LOG_RECORD_UID,
    }
)
IN_COLUMNS = IMPLIED | TEXTS.keys()
# What was said in a turn, and the columns it is kept in, apart from what was said about it.
CONTENT: Mapping[str, str] = {names.TURN_MESSAGES: "messages", INPUT_VALUE: "input", OUTPUT_VALUE: "output"}
# Of these a turn says what held at its time.
OF_TURNS: Mapping[str, str] = {name: TEXTS[name] for name in names.EVERYWHERE}


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and cost, None when unknown."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_microusd: int | None = None

    def plus(self, more: Usage) -> Usage:
        """Return both together."""
        return Usage(
            plus(self.input_tokens, more.input_tokens),
            plus(self.output_tokens, more.output_tokens),
            plus(self.cost_microusd, more.cost_microusd),
        )


@dataclass(frozen=True, slots=True)
class Happening:
    """An event whose values were made storable, with the session it belongs to."""

    key: Key
    event_name: str
    at_ms: int
    uid: str
    attributes: Mapping[str, AttributeValue]


@dataclass(frozen=True, slots=True)
class Turned:
    """A turn whose values were made storable, with its user and its calls."""

    row: TurnRow
    user_id: str | None
    calls: tuple[UsageRow, ...] = ()


def happening(event: EventRecord) -> Happening | None:
    """Return *event* fit to be kept, None when it is not about a session."""
    kept = values.attributes(event.attributes)
    session_id = event.key[0] or kept.get(names.SESSION_ID)
    if not session_id:
        return None
    key = (values.text(session_id), whole(event.key[1]) or 1)
    uid = kept.get(names.LOG_RECORD_UID) or f"{key[0]}/{key[1]}/{event.event_name}"
    return Happening(key, event.event_name, whole(event.timestamp_ms) or 0, str(uid), kept)


def turned(turn: TurnRecord) -> Turned:
    """Return *turn* fit to be kept."""
    said = values.attributes(turn.attributes)
    content = {name: values.text(said.pop(name)) for name in CONTENT if name in said}
    trace_id, span_id, flags = [*turn.trace.split("-"), "", "", ""][:3]
    row = TurnRow(
        pk=0,
        session_id=values.text(turn.session_id),
        generation=whole(turn.generation) or 1,
        number=whole(turn.number),
        started_ms=whole(turn.started_ms) or 0,
        latency_ms=whole(turn.latency_ms) or 0,
        status=turn.status,
        conversation_id=optional_text(turn.conversation_id),
        trace_id=optional_text(trace_id),
        span_id=optional_text(span_id),
        sampled=flags[-1:] in tuple("13579bdf") if span_id else None,  # W3C Trace Context: the lowest bit
        error_type=optional_text(turn.error_type),
        first_chunk_ms=whole(turn.first_chunk_ms),
        action=optional_text(said.get(names.TURN_ACTION)),
        intent=optional_text(said.get(names.TURN_INTENT)),
        prompt_version=optional_text(said.get(names.SESSION_PROMPT_VERSION)),
        input_tokens=whole(turn.input_tokens),
        output_tokens=whole(turn.output_tokens),
        cost_microusd=whole(turn.cost_microusd),
        attributes=said,
        captured=bool(content),
        content=content,
    )
    return Turned(row, optional_text(turn.user_id), calls_of(turn))


def begin(key: Key, at_ms: int) -> SessionRow:
    """Return the row of a session that the ledger meets for the first time."""
    return SessionRow(0, key[0], key[1], started_ms=at_ms, last_ms=at_ms)


def after_start(row: SessionRow, event: Happening) -> SessionRow:
    """Return *row* with what ``session.start`` says, where turns have not said anything newer."""
    if _said_its_last(row):
        return row
    said = _texts(event.attributes)
    known = {column: getattr(row, column) or said[column] for column in TEXTS.values()}
    return _settled(
        row,
        started_ms=min(row.started_ms, event.at_ms),
        last_ms=max(row.last_ms, event.at_ms),
        attributes={**_others(event.attributes), **row.attributes},
        **known,
    )


def after_turn(row: SessionRow, turn: Turned, traces: int) -> SessionRow:
    """
    Return *row* with one more turn.

    Of a session that has ended only that is filled in which its end does not say: a missing user, and traces.

    Args:
        row: As last stored.
        turn: A turn that is not in it.
        traces: How many traces it brings: 1 or 0.
    """
    user, traces = row.user_id or turn.user_id, row.traces + traces
    if _said_its_last(row):
        return replace(row, user_id=user, traces=traces)
    one, failed = turn.row, turn.row.status == "error"
    done_ms = one.started_ms + one.latency_ms
    finished = row.completed + row.failed + 1
    return _settled(
        row,
        user_id=user,
        started_ms=min(row.started_ms, one.started_ms),
        last_ms=max(row.last_ms, done_ms),
        turns=max(row.turns, one.number or 0, finished),
        traces=traces,
        completed=row.completed + (not failed),
        failed=row.failed + failed,
        latency_ms=plus(row.latency_ms, one.latency_ms),
        input_tokens=plus(row.input_tokens, one.input_tokens),
        output_tokens=plus(row.output_tokens, one.output_tokens),
        cost_microusd=plus(row.cost_microusd, one.cost_microusd),
        **_said_by(one, row, newest=done_ms >= row.last_ms),
    )


def in_doubt(before: SessionRow, after: SessionRow, version: str | None = None) -> bool:
    """
    Return whether it has to be looked up if turns of a session name another prompt version than it does.

    Rarely: as long as all say the same, and with the first turn, it is plain that none does.

    Args:
        before: The session.
        after: What became of it.
        version: That the turn names which was added; None: none was, or it names none.
    """
    if after.prompt_version != before.prompt_version and before.completed + before.failed:  # it has turns
        return True
    return after.prompt_version is not None and version not in (None, after.prompt_version)


def usage_of(event: Happening) -> Usage:
    """Return the tokens and the cost that an event reports."""
    said = event.attributes
    return Usage(
        whole(said.get(names.SESSION_TOTAL_INPUT_TOKENS)),
        whole(said.get(names.SESSION_TOTAL_OUTPUT_TOKENS)),
        values.microusd(said.get(names.SESSION_TOTAL_COST_USD)),
    )


def after_late_usage(row: SessionRow, late: Usage) -> SessionRow:
    """Return *row* with usage that came after the session was frozen."""
    return _with_usage(row, Usage(row.input_tokens, row.output_tokens, row.cost_microusd).plus(late))


def after_end(row: SessionRow, event: Happening, late: Usage) -> SessionRow:
    """
    Return *row* as ``session.end`` leaves it.

    Args:
        row: As last stored.
        event: The end. A second one of the same session changes nothing.
        late: Sum of the usage that was reported late so far.
    """
    if _said_its_last(row):
        return row
    said = event.attributes
    if said.get(names.SESSION_IMPORTED) is True:
        return _after_imported_end(row, event)
    texts = _texts(said)
    duration = whole(said.get(names.SESSION_DURATION_MS))
    ended = replace(
        row,
        **{**texts, "user_id": texts["user_id"] or row.user_id},
        **_counts(said, row),
        status=_status(texts["end_reason"]),
        confirmed=_flag(said.get(names.SESSION_CONFIRMED)),
        started_ms=row.started_ms if duration is None else event.at_ms - duration,
        last_ms=event.at_ms,
        ended_ms=event.at_ms + (whole(said.get(names.SESSION_IDLE_TIME_MS)) or 0),
        attributes=_others(said),
    )
    return _with_usage(ended, usage_of(event).plus(late))


def _after_imported_end(row: SessionRow, event: Happening) -> SessionRow:
    if row.status != "active" and event.at_ms < row.last_ms:
        return row  # what came before is in it
    said, last_ms = event.attributes, max(row.last_ms, event.at_ms)
    known = {column: text for column, text in _texts(said).items() if text}
    ended = {
        **known,
        "status": _status(known.get("end_reason")),
        "end_reason": known.get("end_reason"),
        "ended_ms": last_ms + (whole(said.get(names.SESSION_IDLE_TIME_MS)) or 0),
        "attributes": {**row.attributes, **_others(said)},
    }
    return _settled(row, last_ms=last_ms, **ended)


def _said_its_last(row: SessionRow) -> bool:
    return row.status != "active" and row.attributes.get(names.SESSION_IMPORTED) is not True


def counts(row: SessionRow) -> bool:
    """Return whether a session counts for its user: not when nobody confirmed it, as bots and webhooks do not."""
    return row.confirmed is not False


def sitting_of(row: SessionRow) -> Sitting | None:
    """Return what a session brings to the totals of its user, None while it is active or when it does not count."""
    if row.status == "active" or row.ended_ms is None or not counts(row):
        return None
    return Sitting(row.ended_ms, row.session_id, row.generation, row.started_ms, row.turns)


def _status(end_reason: str | None) -> Status:
    return "timed_out" if end_reason in TIMED_OUT else "ended"


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _texts(said: Mapping[str, AttributeValue]) -> dict[str, Any]:
    return {column: optional_text(said.get(name)) for name, column in TEXTS.items()}


def _others(said: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    return {name: value for name, value in said.items() if name not in IN_COLUMNS}


def _said_by(turn: TurnRow, row: SessionRow, newest: bool) -> dict[str, Any]:
    """Return what a turn says of its session, where it is the newest to say it."""
    found = ((column, optional_text(turn.attributes.get(name))) for name, column in OF_TURNS.items())
    return {column: value for column, value in found if value and (newest or getattr(row, column) is None)}


def _counts(said: Mapping[str, AttributeValue], row: SessionRow) -> dict[str, Any]:
    """Return the end's counts; what it does not say stays as it was counted."""
    completed = whole(said.get(names.SESSION_COMPLETED_TURNS))
    failed = whole(said.get(names.SESSION_FAILED_TURNS))
    turns = whole(said.get(names.SESSION_TOTAL_TURNS))
    mean = whole(said.get(names.SESSION_AVG_TURN_LATENCY_MS))
    return {
        "turns": row.turns if turns is None else turns,
        "completed": row.completed if completed is None else completed,
        "failed": row.failed if failed is None else failed,
        "latency_ms": None if mean is None else min(mean * ((completed or 0) + (failed or 0)), values.LARGEST),
    }


def _with_usage(row: SessionRow, usage: Usage) -> SessionRow:
    return _settled(
        row,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cost_microusd=usage.cost_microusd,
    )


def _settled(row: SessionRow, **changes: Any) -> SessionRow:
    """Return *row* with *changes* and with the numbers that follow from others."""
    changed = replace(row, **changes)
    duration_ms = max(0, changed.last_ms - changed.started_ms)
    total = plus(changed.input_tokens, changed.output_tokens)
    if duration_ms == changed.duration_ms and total == changed.total_tokens:
        return changed
    return replace(changed, duration_ms=duration_ms, total_tokens=total)
