"""
What LiteLLM's standard logging payload says of a call, in the terms in which spans are counted. Pure.

Source: ``StandardLoggingPayload`` in ``types/utils.py`` of LiteLLM 1.100 to 1.110.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..._core.usage import Reading, TokenUsage, count_of, microusd


def reading_of(payload: Mapping[str, Any]) -> Reading:
    """Return what LiteLLM's standard logging payload says of a call."""
    tokens = TokenUsage(count_of(payload.get("prompt_tokens")) or None, count_of(payload.get("completion_tokens")))
    kind = "embedding" if "embedding" in str(payload.get("call_type")) else "model"
    provider, model, response_id = (_text(payload.get(key)) for key in ("custom_llm_provider", "model", "id"))
    unknown = payload.get("response_cost_failure_debug_info") and not payload.get("response_cost")
    cost = None if unknown else microusd(payload.get("response_cost"))
    return Reading(kind, tokens, cost, provider, model, response_id)


class Told(NamedTuple):
    """A call as LiteLLM's log tells of it, with the names of a span that has ended; nanoseconds since the epoch."""

    name: str
    start_time: int
    end_time: int
    attributes: Mapping[str, Any]
    events: tuple[Any, ...] = ()


def span_of(payload: Mapping[str, Any]) -> Told:
    """Return when a call was, and when its answer began, as the standard logging payload has it (seconds)."""
    start, end, first = (_ns(payload.get(key)) for key in ("startTime", "endTime", "completionStartTime"))
    streamed = payload.get("stream") and start <= first <= end
    said = {"gen_ai.response.time_to_first_chunk": (first - start) / 1e9} if streamed else {}
    return Told(str(payload.get("call_type") or ""), start, max(start, end), said)


def _ns(value: object) -> int:
    return round(value * 1e6) * 1000 if isinstance(value, float) and 0 < value < 1e11 else 0


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
