"""The report as one JSON document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any

from ... import __version__
from ..._core import names
from ...ledger import SessionRow, TurnRow
from .checks import Check, session_of
from .evidence import Evidence, Sums
from .otlp import Record
from .outline import ConversationBranch, SessionBranch, SpanBranch, TurnBranch, UserBranch
from .place import Place

Document = dict[str, Any]


def document(
    place: Place, evidence: Evidence, users: Sequence[UserBranch], checks: Iterable[Check], seconds: float
) -> Document:
    """
    Return everything that was found, fit for ``json.dumps``.

    Args:
        place: Where the files are.
        evidence: What was read back.
        users: The same in order.
        checks: What was looked at.
        seconds: How long the demo took.
    """
    looked = list(checks)
    sessions = [_session(user, session) for user in users for session in user.sessions]
    return {
        "name": place.name,
        "version": __version__,
        "ok": all(check.ok for check in looked),
        "seconds": round(seconds, 1),
        "filter": filter_of(place),
        "sessions": sessions,
        "events": None if evidence.telemetry is None else [_event(one) for one in events_of(evidence)],
        "books": _sums(_books(evidence)),
        "checks": [_check(check) for check in looked],
        "paths": paths_of(place),
    }


def filter_of(place: Place) -> str:
    """Return what finds the demo's sessions in a back end."""
    return f'{names.SESSION_NAME} = "{place.name}"'


def paths_of(place: Place) -> dict[str, str]:
    """Return where everything lies."""
    return {
        "directory": str(place.directory),
        "database": str(place.database),
        "books": str(place.books),
        "report": str(place.report),
    }


def events_of(evidence: Evidence) -> list[Record]:
    """Return starts and ends in the order in which they happened."""
    telemetry = evidence.telemetry
    if telemetry is None:
        return []
    found = [*telemetry.events(names.EVENT_START), *telemetry.events(names.EVENT_END)]
    return sorted(found, key=lambda record: record.timestamp_ns)


def _session(user: UserBranch, branch: SessionBranch) -> Document:
    row = branch.row
    return {
        "session_id": row.session_id,
        "user_id": row.user_id,
        "login": user.login,
        "who": branch.who,
        "previous_id": row.previous_id,
        "status": row.status,
        "end_reason": row.end_reason,
        "started": at(row.started_ms),
        "ended": None if row.ended_ms is None else at(row.ended_ms),
        "duration_ms": row.duration_ms,
        "turns": row.turns,
        "usage": _sums(_kept(row)),
        "conversations": [_conversation(one) for one in branch.conversations],
        "other_requests": dict(branch.requests),
    }


def _conversation(branch: ConversationBranch) -> Document:
    turns = [_turn(turn) for turn in branch.turns]
    return {"conversation_id": branch.conversation_id, "usage": _sums(branch.sums), "turns": turns}


def _turn(branch: TurnBranch) -> Document:
    row: TurnRow = branch.row
    return {
        "number": row.number,
        "status": row.status,
        "intent": row.intent,
        "started": at(row.started_ms),
        "latency_ms": row.latency_ms,
        "first_chunk_ms": row.first_chunk_ms,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cost_microusd": row.cost_microusd,
        "trace_id": row.trace_id,
        "spans": [_span(span) for span in branch.spans],
    }


def _span(branch: SpanBranch) -> Document:
    span = branch.span
    return {
        "name": span.title,
        "service": span.service,
        "library": span.library,
        "span_id": span.span_id,
        "duration_ms": round((span.end_ns - span.start_ns) / 1_000_000, 3),
        "failed": span.failed,
        "attributes": dict(span.attributes),
        "spans": [_span(inner) for inner in branch.inside],
    }


def _event(record: Record) -> Document:
    return {
        "event": record.event_name,
        "timestamp": at(record.timestamp_ns // 1_000_000),
        "service": record.service,
        "session_id": session_of(record.attributes),
        "trace_id": record.trace_id,
        "attributes": dict(record.attributes),
    }


def _check(check: Check) -> Document:
    return {
        "name": check.name,
        "says": check.says,
        "ok": check.ok,
        "skipped": check.skipped or None,
        "problems": list(check.problems),
    }


def _books(evidence: Evidence) -> Sums:
    calls = evidence.books
    return (
        sum(call.input_tokens for call in calls),
        sum(call.output_tokens for call in calls),
        sum(call.cost_microusd for call in calls),
    )


def _kept(row: SessionRow) -> Sums:
    return row.input_tokens or 0, row.output_tokens or 0, row.cost_microusd or 0


def _sums(sums: Sums) -> Document:
    return {"input_tokens": sums[0], "output_tokens": sums[1], "cost_microusd": sums[2]}


def at(ms: int) -> str:
    """Return milliseconds since the epoch as ISO 8601 UTC."""
    return datetime.fromtimestamp(ms / 1000, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
