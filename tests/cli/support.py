"""Evidence as a demo without faults leaves it: made from the script, so that a test can falsify one thing of it."""

from __future__ import annotations

from typing import Any

from session_mw._core import names
from session_mw.cli.demo.evidence import CHAT, ORDERS, Call, Evidence, Telemetry
from session_mw.cli.demo.otlp import Record, Span
from session_mw.cli.demo.script import VISITORS, sittings_of
from session_mw.cli.demo.talk import Seen
from session_mw.ledger import SessionRow, TurnRow

STARTED_MS = 1_700_000_000_000


def good_evidence() -> Evidence:
    """Return evidence against which nothing can be said."""
    seen = [one for visitor in VISITORS for one in _told(visitor.name)]
    turns = [turn for one in seen for turn in _turns(one)]
    calls = tuple(_call(turn) for turn in turns)
    sessions, before = [], None
    for one in seen:
        sessions.append(_session(one, turns, before))
        before = one
    spans = tuple(span for turn, call in zip(turns, calls, strict=True) for span in _trace(turn, call, seen))
    records = tuple(record for row in sessions for record in _events(row))
    telemetry = Telemetry(spans, records, (b"spans", b"records"))
    return Evidence(VISITORS, tuple(seen), tuple(sessions), tuple(turns), calls, telemetry, (b"database",))


def _told(visitor: str) -> list[Seen]:
    script = next(one for one in VISITORS if one.name == visitor)
    told = []
    for sitting in sittings_of(script):
        user = None if sitting.login is None else f"u_{sitting.login.partition('@')[0]}"
        told.append(Seen(sitting, f"conversation-{sitting.key}", f"session-{sitting.key}", user))
    return told


def _turns(seen: Seen) -> list[TurnRow]:
    return [_turn(seen, number) for number in range(1, seen.sitting.turns + 1)]


def _turn(seen: Seen, number: int) -> TurnRow:
    key = f"{seen.sitting.key}-{number}"
    return TurnRow(
        pk=1,
        session_id=str(seen.session_id),
        generation=1,
        number=number,
        started_ms=STARTED_MS + number,
        latency_ms=10,
        status="ok",
        conversation_id=seen.conversation,
        trace_id=f"trace-{key}",
        span_id=f"turn-{key}",
        input_tokens=30 + number,
        output_tokens=10,
        cost_microusd=70 + number,
    )


def _call(turn: TurnRow) -> Call:
    tokens_in, tokens_out, cost = turn.input_tokens or 0, turn.output_tokens or 0, turn.cost_microusd or 0
    return Call(f"call-{turn.span_id}", turn.conversation_id or "", tokens_in, tokens_out, cost)


def _session(seen: Seen, turns: list[TurnRow], before: Seen | None) -> SessionRow:
    mine = [turn for turn in turns if turn.session_id == seen.session_id]
    tokens_in = sum(turn.input_tokens or 0 for turn in mine)
    tokens_out = sum(turn.output_tokens or 0 for turn in mine)
    return SessionRow(
        pk=1,
        session_id=str(seen.session_id),
        generation=1,
        started_ms=STARTED_MS,
        last_ms=STARTED_MS + 100,
        duration_ms=100,
        user_id=seen.user_id,
        name="demo-1",
        status="timed_out" if seen.sitting.reason == "idle_timeout" else "ended",
        end_reason=seen.sitting.reason,
        turns=len(mine),
        completed=len(mine),
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        total_tokens=tokens_in + tokens_out,
        cost_microusd=sum(turn.cost_microusd or 0 for turn in mine),
        previous_id=before.session_id if before is not None and seen.sitting.continues else None,
    )


def _trace(turn: TurnRow, call: Call, told: list[Seen]) -> list[Span]:
    seen = next(one for one in told if one.session_id == turn.session_id)
    known = seen.sitting.known_from is not None and (turn.number or 0) >= seen.sitting.known_from
    identity: dict[str, Any] = {names.SESSION_ID: turn.session_id, names.TURN_NUMBER: turn.number}
    identity |= {names.CONVERSATION_ID: turn.conversation_id, names.GEN_AI_CONVERSATION_ID: turn.conversation_id}
    identity |= {names.USER_ID: seen.user_id} if known else {}
    tokens = {"gen_ai.usage.input_tokens": call.input_tokens, "gen_ai.usage.output_tokens": call.output_tokens}
    model = {**identity, **tokens, "gen_ai.response.id": call.call_id}
    spans = [
        _span(turn, CHAT, "POST", f"server-{turn.span_id}", "", identity),
        _span(turn, CHAT, "session", f"session-{turn.span_id}", f"server-{turn.span_id}", identity),
        _span(turn, CHAT, "turn", str(turn.span_id), f"session-{turn.span_id}", identity),
        _span(turn, CHAT, "chat", f"chat-{turn.span_id}", str(turn.span_id), model),
    ]
    if (turn.number or 0) <= seen.sitting.orders:
        spans.append(_span(turn, ORDERS, "GET", f"order-{turn.span_id}", str(turn.span_id), identity))
    return spans


def _span(turn: TurnRow, service: str, name: str, span_id: str, parent_id: str, attributes: dict[str, Any]) -> Span:
    start = turn.started_ms * 1_000_000
    return Span(
        service, "tests", name, str(turn.trace_id), span_id, parent_id, start, start + 5, False, dict(attributes)
    )


def _events(row: SessionRow) -> list[Record]:
    end = {
        names.SESSION_ID: row.session_id,
        names.SESSION_NAME: row.name,
        names.SESSION_END_REASON: row.end_reason,
        names.SESSION_TOTAL_TURNS: row.turns,
        names.SESSION_TOTAL_INPUT_TOKENS: row.input_tokens,
        names.SESSION_TOTAL_OUTPUT_TOKENS: row.output_tokens,
        names.SESSION_TOTAL_TOKENS: row.total_tokens,
        names.SESSION_TOTAL_COST_USD: (row.cost_microusd or 0) / 1_000_000,
        names.SESSION_DURATION_MS: row.duration_ms,
        names.DROPOFF_DETECTED: row.end_reason == "idle_timeout",
    }
    end |= {names.USER_ID: row.user_id} if row.user_id else {}
    end |= {names.SESSION_PREVIOUS_ID: row.previous_id} if row.previous_id else {}
    start = {names.SESSION_ID: row.session_id}
    at = row.started_ms * 1_000_000
    return [Record(CHAT, "session.start", at, "", None, start), Record(CHAT, "session.end", at + 100, "", None, end)]
