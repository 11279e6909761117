"""
What LiteLLM's log says of a call, counted into the turn that it belongs to. Nothing here imports LiteLLM.

LiteLLM logs a call when it has time: mostly after the last byte of its answer, sometimes before.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ..._core.scope import TurnState
from ..._core.usage import Reading, TokenUsage, count_of, microusd
from ...telemetry.rollup import count

_entries: Final = itertools.count(-1, -1)  # no span has such an id


@dataclass(frozen=True, slots=True)
class Logged:
    """
    A call as LiteLLM logs it, in the place of the ended span that counting looks at.

    Attributes:
        name: The model, as LiteLLM names it.
        start_time: Nanoseconds since the epoch; 0 when unknown.
        end_time: The same.
        attributes: None: what there is to count is in the ``Reading``.
        events: None.
    """

    name: str
    start_time: int
    end_time: int
    attributes: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[Any, ...] = ()


def count_logged(turn: TurnState, payload: Mapping[str, Any]) -> None:
    """
    Count tokens and cost into *turn*, once: LiteLLM's spans about the same answer have its id, too.

    Args:
        turn: In which the model was called; it may have ended.
        payload: LiteLLM's ``standard_logging_object``.
    """
    reading = reading_of(payload)
    span = Logged(reading.model or "", _ns(payload.get("startTime")), _ns(payload.get("endTime")))
    count((turn, None, next(_entries)), reading, False, span)


def reading_of(payload: Mapping[str, Any]) -> Reading:
    """Return what LiteLLM's standard logging payload says of a call."""
    tokens = TokenUsage(count_of(payload.get("prompt_tokens")) or None, count_of(payload.get("completion_tokens")))
    kind = "embedding" if "embedding" in str(payload.get("call_type")) else "model"
    provider, model, response_id = (_text(payload.get(key)) for key in ("custom_llm_provider", "model", "id"))
    return Reading(kind, tokens, microusd(payload.get("response_cost")), provider, model, response_id)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _ns(seconds: object) -> int:
    """Return nanoseconds of *seconds* since the epoch; 0 where there are none."""
    known = isinstance(seconds, (int, float)) and 0 < seconds < 1e10  # false for NaN and infinity
    return round(seconds * 1e6) * 1000 if known else 0  # type: ignore[operator]  # a float holds no more
