"""A session's totals: of one that lives as the store has them, of one that ended as ``session.end`` said."""

from __future__ import annotations

from typing import TypedDict

from .._core.counting import write
from .._core.ops import Flow, Read, ask
from .._core.records import SessionRecord
from .._core.scope import SessionScope
from .._core.turn_state import TurnState, plus
from ..exceptions import SessionNotFound
from ..ledger import SessionRow
from .engine import Engine


class SessionMetrics(TypedDict):
    """
    Totals of one session.

    Attributes:
        duration_ms: From its start to its last activity.
        turns: Turns begun.
        tokens: Input and output together; None while nobody reported any.
        cost: US dollars; None while no price is known.
        input_tokens: None while nobody reported any.
        output_tokens: The same.
        completed_turns: Turns that ended well.
        failed_turns: Turns that ended with an error.
        avg_turn_latency_ms: Over the turns that ended; None while none has.
        status: ``active`` or ``ended``.
    """

    duration_ms: int
    turns: int
    tokens: int | None
    cost: float | None
    input_tokens: int | None
    output_tokens: int | None
    completed_turns: int
    failed_turns: int
    avg_turn_latency_ms: int | None
    status: str


def read_totals(engine: Engine, session_id: str, scope: SessionScope | None) -> Flow[SessionMetrics]:
    """
    Return a session's totals, everything that is queued for it written first.

    Args:
        engine: Whose store and history are asked.
        session_id: The session.
        scope: The session that is current: what its open turn has reported so far is counted in.

    Raises:
        SessionNotFound: Neither store nor history knows it.
        StoreError: They could not be asked.
    """
    yield from write(engine.background.take(session_id), engine.background.add)
    record = yield from ask(Read(session_id))
    if record is not None:
        turn = scope.turn if scope is not None and scope.session_id == session_id else None
        return of_record(record, turn)
    row = engine.history.session(session_id)
    if row is None:
        text = "cannot tell the totals of that session: neither the store nor the history knows it"
        raise SessionNotFound(f"{text}. Was it started with the same store setting?")
    return of_row(row)


def of_record(record: SessionRecord, turn: TurnState | None) -> SessionMetrics:
    """Return the totals of a record, with what the turn that runs here has reported so far."""
    sent, received, cost = record.input_tokens, record.output_tokens, record.cost_microusd
    if turn is not None:
        more = turn.usage
        sent, received, cost = plus(sent, more[0]), plus(received, more[1]), plus(cost, more[2])
    finished = record.completed + record.failed
    return {
        "duration_ms": max(0, record.last_ms - record.started_ms),
        "turns": record.turns,
        "tokens": plus(sent, received),
        "cost": dollars(cost),
        "input_tokens": sent,
        "output_tokens": received,
        "completed_turns": record.completed,
        "failed_turns": record.failed,
        "avg_turn_latency_ms": round(record.latency_ms / finished) if finished else None,
        "status": "active" if record.reason is None else "ended",
    }


def of_row(row: SessionRow) -> SessionMetrics:
    """Return the totals of a row of the history."""
    finished = row.completed + row.failed
    return {
        "duration_ms": max(0, row.last_ms - row.started_ms),
        "turns": row.turns,
        "tokens": plus(row.input_tokens, row.output_tokens),
        "cost": dollars(row.cost_microusd),
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "completed_turns": row.completed,
        "failed_turns": row.failed,
        "avg_turn_latency_ms": round(row.latency_ms / finished) if finished and row.latency_ms is not None else None,
        "status": "active" if row.status == "active" else "ended",
    }


def dollars(microusd: int | None) -> float | None:
    """Return US dollars of a sum in millionths."""
    return None if microusd is None else microusd / 1_000_000
