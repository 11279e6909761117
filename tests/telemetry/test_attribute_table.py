"""Every attribute of session.start and session.end: its name, type and unit, from the record to the OTLP bytes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from session_mw._core.events import EventRecord, end_event, start_event
from session_mw._core.records import SessionRecord
from session_mw.telemetry._sdk_export import default_resource, log_data, readable_span

pytestmark = [
    pytest.mark.filterwarnings("ignore:LogRecord will be removed"),  # SDK 1.38 about itself
    pytest.mark.filterwarnings("ignore:LogData will be removed"),
]

START_MS, LAST_MS, ENDED_MS = 1_700_000_000_000, 1_700_000_090_500, 1_700_001_890_500
TRACE = f"{0xABC:032x}-{0xDEF:016x}-01"

# What the application and the request said; the core keeps it with the session.
SAID: dict[str, Any] = {
    "session.type": "chat",
    "session.name": "Booking",
    "session.prompt_version": "v2",
    "session.channel": "web",
    "session.client_version": "1.4.2",
    "session.locale": "pt-BR",
    "session.user_satisfaction": 0.8,
    "session.outcome": "abandoned",
    "session.outcome_source": "user",
    "user.tier": "pro",
    "user.org_id": "org-7",
    "metadata": '{"a": 1}',
    "journey.name": "booking",
    "journey.stage": "payment",
    "journey.stage_number": 3,
    "journey.total_stages": 4,
    "session.score.helpfulness": 4,
}
INTERNAL = {
    "_intent": "pay",
    "_action": "charge_card",
    "_trace": TRACE,
    "_stage_ms": LAST_MS - 41_000,
    "_user_sessions": 4,
    "_user_length": 3.5,
    "_user_days": 12,
    "_frozen": True,
}
AGGREGATES: dict[str, Any] = {
    "user.sessions_total": 4,
    "user.avg_session_length": 3.5,
    "user.retention_days": 12,
}

RECORD = SessionRecord(
    "chat-1",
    START_MS,
    LAST_MS,
    generation=2,
    turns=5,
    completed=4,
    failed=1,
    latency_ms=6_001,
    input_tokens=900,
    output_tokens=100,
    cost_microusd=1_234_567,
    user_id="u_1",
    previous_id="chat-0",
    next_id="chat-2",
    reason="idle_timeout",
    ended_ms=ENDED_MS,
    attempts=1,
    confirmed=True,
    recovered=True,
    partial=True,
    attributes={**SAID, **INTERNAL},
)

IDENTITY: dict[str, Any] = {
    **SAID,
    "session.id": "chat-1",
    "session.previous_id": "chat-0",
    "session.start_time": "2023-11-14T22:13:20.000Z",
    "session.generation": 2,
    "session.recovered": True,
    "session.partial": True,
    "user.id": "u_1",
    "user.hash": "u_1",
}
END: dict[str, Any] = {
    **IDENTITY,
    **AGGREGATES,
    "journey.time_in_stage_ms": 41_000,
    "session.next_id": "chat-2",
    "session.end_reason": "idle_timeout",
    "session.end_time": "2023-11-14T22:14:50.500Z",
    "session.duration_ms": 90_500,
    "session.idle_time_ms": 1_800_000,
    "session.inactive_timeout": True,
    "session.total_turns": 5,
    "session.completed_turns": 4,
    "session.failed_turns": 1,
    "session.total_tokens": 1_000,
    "session.total_input_tokens": 900,
    "session.total_output_tokens": 100,
    "session.total_cost_usd": 1.234567,
    "session.avg_turn_latency_ms": 1_200,
    "session.avg_turn_tokens": 200,
    "session.status": "errored",
    "session.confirmed": True,
    "session.emit_attempt": 1,
    "dropoff.detected": True,
    "dropoff.last_turn": 5,
    "dropoff.last_intent": "pay",
    "dropoff.agent_last_action": "charge_card",
    "dropoff.time_since_last_turn_ms": 1_800_000,
    "log.record.uid": "chat-1/2/session.end",
}
START: dict[str, Any] = {**IDENTITY, "log.record.uid": "chat-1/2/session.start"}

RULES: list[tuple[str, type, str]] = [
    (r".*_time", str, r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"),
    (r".*_ms", int, r"\d+"),
    (r".*_usd", float, r"\d+\.\d+"),
    (r"session\.(total|completed|failed)_\w*(turns|tokens)", int, r"\d+"),
    (r"session\.avg_turn_tokens|session\.generation|session\.emit_attempt", int, r"\d+"),
    (r"user\.(sessions_total|retention_days)|journey\.\w*stage(_number|s)", int, r"\d+"),
    (r"session\.score\.\w+", int, r"\d+"),
    (r"session\.user_satisfaction", float, r"0(\.\d+)?|1(\.0)?"),
    (r"user\.avg_session_length", float, r"\d+(\.\d+)?"),
    (r".*\.(recovered|partial|confirmed|detected|converted|inactive_timeout)", bool, r"True|False"),
    (r"dropoff\.last_turn", int, r"\d+"),
    (r"session\.status", str, r"ok|errored|abnormal"),
    (r"session\.end_reason", str, r"\w+"),
]


def _events() -> dict[str, tuple[EventRecord, dict[str, Any]]]:
    return {"start": (start_event(RECORD), START), "end": (end_event(RECORD), END)}


@pytest.mark.parametrize("which", ["start", "end"])
def test_event_has_exactly_these_attributes(which: str) -> None:
    """Names are an interface: people filter by them. None more, none less, none of another type."""
    event, expected = _events()[which]

    assert expected == dict(event.attributes)
    assert {key: type(value) for key, value in expected.items()} == {
        key: type(value) for key, value in event.attributes.items()
    }


@pytest.mark.parametrize("which", ["start", "end"])
def test_event_types_and_units_follow_the_names(which: str) -> None:
    """``*_ms`` is an int, ``*_usd`` a float, ``*_time`` ISO 8601 UTC, flags are bools, anything else is text."""
    event, _ = _events()[which]
    for name, value in event.attributes.items():
        rule = next((rule for rule in RULES if re.fullmatch(rule[0], name)), (name, str, r".+"))

        assert (name, rule[1]) == (name, type(value))
        assert re.fullmatch(rule[2], str(value)), (name, value)


def test_event_names_are_no_traps_for_back_ends() -> None:
    """Totals under these prefixes would be counted again; "input" and "output" would be taken for content."""
    forbidden = ("gen_ai.usage.", "llm.token_count.", "llm.cost.", "input", "output")

    assert [] == [name for name in (*START, *END) if name.startswith(forbidden)]


def test_unknown_is_absent_never_zero() -> None:
    """A session that nobody told anything about has no tokens, cost, user or outcome."""
    bare = end_event(SessionRecord("s", START_MS, START_MS, turns=1, reason="user_exit", ended_ms=START_MS))

    absent = {"user.id", "user.hash", "session.previous_id", "session.next_id", "session.total_tokens"}
    absent |= {"session.total_cost_usd", "session.avg_turn_latency_ms", "session.avg_turn_tokens", "session.outcome"}
    absent |= {"session.outcome_source", "journey.name", "journey.time_in_stage_ms", "journey.converted"}
    absent |= {"user.sessions_total", "session.user_satisfaction", "session.recovered", "session.partial"}
    assert set() == absent & set(bare.attributes)
    assert 0 == bare.attributes["session.completed_turns"]


def _plain(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


@pytest.mark.parametrize("which", ["start", "end"])
def test_log_record_on_the_wire(which: str) -> None:
    """OTLP: event_name, the time it happened, INFO, the turn's trace, every attribute with its type."""
    event, expected = _events()[which]
    request = encode_logs([log_data(event, default_resource())])
    parsed = type(request).FromString(request.SerializeToString())
    scope_logs = parsed.resource_logs[0].scope_logs[0]
    (record,) = scope_logs.log_records

    assert event.event_name == record.event_name == f"session.{which}"
    assert event.timestamp_ms * 1_000_000 == record.time_unix_nano
    assert record.observed_time_unix_nano > record.time_unix_nano
    assert (9, "") == (record.severity_number, record.severity_text)
    assert record.body.WhichOneof("value") is None
    assert expected == {pair.key: _plain(pair.value) for pair in record.attributes}
    assert "session_mw" == scope_logs.scope.name
    assert "https://opentelemetry.io/schemas/1.44.0" == scope_logs.schema_url
    if which == "end":
        assert (f"{0xABC:032x}", f"{0xDEF:016x}") == (record.trace_id.hex(), record.span_id.hex())
        assert 1 == record.flags
    else:
        assert (b"", b"") == (record.trace_id, record.span_id)


@pytest.mark.parametrize("which", ["start", "end"])
def test_span_on_the_wire(which: str) -> None:
    """The same as a span of zero length, for back ends without logs."""
    event, expected = _events()[which]
    request = encode_spans([readable_span(event, default_resource())])
    parsed = type(request).FromString(request.SerializeToString())
    (span,) = parsed.resource_spans[0].scope_spans[0].spans

    assert f"session.{which}" == span.name
    assert event.timestamp_ms * 1_000_000 == span.start_time_unix_nano == span.end_time_unix_nano
    assert expected == {pair.key: _plain(pair.value) for pair in span.attributes}
    assert (8, 16) == (len(span.span_id), len(span.trace_id))
    assert (f"{0xDEF:016x}" if which == "end" else "") == span.parent_span_id.hex()
