"""A call that LiteLLM has logged counts into its turn, whenever it is told of."""

from __future__ import annotations

from typing import Any

import pytest

from session_mw.integrations.litellm.logged import count_logged
from session_mw.telemetry.calls import records_of
from tests.telemetry.inside import Inside, used

PAYLOAD: dict[str, Any] = {
    "id": "chatcmpl-7",
    "call_type": "acompletion",
    "model": "claude-sonnet-4-5",
    "custom_llm_provider": "anthropic",
    "prompt_tokens": 12,
    "completion_tokens": 5,
    "response_cost": 0.000111,
    "startTime": 1_700_000_000.25,
    "endTime": 1_700_000_000.75,
}
USED = (12, 5, 111)


def test_a_call_that_is_logged_while_its_turn_runs_counts() -> None:
    """LiteLLM may log an answer before its last byte is sent: the turn has its tokens, and the call itself."""
    inside = Inside()
    count_logged(inside.turn, PAYLOAD)
    (call,) = records_of(inside.turn, 0)

    assert USED == inside.turn.usage
    assert ("claude-sonnet-4-5", "anthropic", *USED) == (
        call.model,
        call.provider,
        call.input_tokens,
        call.output_tokens,
        call.cost_microusd,
    )
    assert (1_700_000_000_250, 500, None) == (call.started_ms, call.latency_ms, call.span_id)


def test_a_call_that_is_logged_after_its_turn_is_told_late() -> None:
    """The session gets it, through whoever takes what comes after a turn."""
    inside = Inside()
    inside.turn.ended = True
    count_logged(inside.turn, PAYLOAD)

    assert [("s-1", 1, USED)] == inside.taker.taken


def test_a_span_about_the_same_answer_counts_no_second_time() -> None:
    """LiteLLM's spans have the answer's id, too."""
    inside = Inside()
    count_logged(inside.turn, PAYLOAD)
    inside.call(None, used(12, 5, **{"gen_ai.response.id": "chatcmpl-7"}))

    assert USED == inside.turn.usage


@pytest.mark.parametrize("broken", [None, "yesterday", float("nan"), float("inf"), -1, True])
def test_times_that_are_none_are_passed_over(broken: Any) -> None:
    """What LiteLLM says of a call may be anything; its tokens count all the same."""
    inside = Inside()
    count_logged(inside.turn, {**PAYLOAD, "startTime": broken, "endTime": broken})

    assert USED == inside.turn.usage
