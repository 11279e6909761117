"""What LiteLLM's log of a call counts into a turn: as a span would, and without one."""

from __future__ import annotations

from typing import Any

import pytest

from session_mw._core.turn_state import TurnState
from session_mw.integrations.litellm.payloads import reading_of, span_of
from session_mw.telemetry.calls import records_of
from session_mw.telemetry.rollup import count

T0 = 1_760_000_000.0


def payload(**more: Any) -> dict[str, Any]:
    """Return a payload as LiteLLM 1.108 writes it."""
    base = {"id": "msg_1", "call_type": "anthropic_messages", "custom_llm_provider": "anthropic", "stream": True}
    base |= {"model": "claude-sonnet-4-5", "prompt_tokens": 1000, "completion_tokens": 100, "response_cost": 0.0045}
    return {**base, "startTime": T0, "endTime": T0 + 2.0, "completionStartTime": T0 + 0.5, **more}


def counted(*payloads: dict[str, Any], ended: bool = False) -> TurnState:
    """Return a turn into which *payloads* were counted."""
    turn = TurnState(lambda: "t", 1, 0)
    turn.ended = ended
    for at, one in enumerate(payloads):
        count((turn, None, -1 - at), reading_of(one), False, span_of(one))
    return turn


def test_a_log_counts_where_no_span_has_told_of_the_answer() -> None:
    """Also before the last byte of a stream, as with no telemetry callback at all."""
    turn = counted(payload())
    (call,) = records_of(turn, 0)

    assert (1000, 100, 4_500) == turn.usage
    assert ("model", "claude-sonnet-4-5", 2_000, 500) == (call.kind, call.model, call.latency_ms, call.first_token_ms)


def test_the_same_answer_counts_once_and_two_answers_twice() -> None:
    """By the provider's id of it."""
    assert (1000, 100, 4_500) == counted(payload(), payload()).usage
    assert (2000, 200, 9_000) == counted(payload(), payload(id="msg_2")).usage


def test_what_is_told_after_the_end_counts_too() -> None:
    """As usage of the turn that has ended."""
    assert (1000, 100, 4_500) == counted(payload(), ended=True).usage


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, 4_500),
        ({"response_cost": 0.0}, 0),
        ({"response_cost": 0.0, "response_cost_failure_debug_info": {"error_str": "not mapped"}}, None),
        ({"response_cost": None}, None),
    ],
)
def test_a_price_that_litellm_does_not_know_is_unknown(more: dict[str, Any], expected: int | None) -> None:
    """Never 0."""
    assert expected == reading_of(payload(**more)).cost_microusd


@pytest.mark.parametrize("more", [{"startTime": None}, {"endTime": "soon"}, {"completionStartTime": float("nan")}])
def test_times_that_are_none_break_nothing(more: dict[str, Any]) -> None:
    """LiteLLM calls back from inside a request."""
    assert (1000, 100, 4_500) == counted(payload(**more)).usage


def test_without_a_stream_nothing_is_said_of_a_first_token() -> None:
    """LiteLLM writes the end there."""
    assert {} == span_of(payload(stream=False)).attributes
