"""
When a model's answer began, as instrumentations tell it: an attribute of the call's span, or an event on it.

Sources: OpenTelemetry's conventions for generative AI (``gen_ai.response.time_to_first_chunk``, seconds) and Sentry's
older name for it; Vercel's AI SDK (milliseconds); Langfuse (a time as JSON); the events of OpenInference, OpenLLMetry
(one for each chunk: the first counts) and Vercel. ``gen_ai.server.time_to_first_token`` is left out: some write
seconds there, some milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

SECONDS: Final = ("gen_ai.response.time_to_first_chunk", "gen_ai.response.time_to_first_token")
MILLISECONDS: Final = ("ai.response.msToFirstChunk", "ai.stream.msToFirstChunk")
MOMENT: Final = "langfuse.observation.completion_start_time"
EVENTS: Final = frozenset({"First Token Stream Event", "llm.content.completion.chunk", "ai.stream.firstChunk"})
_NAMES: Final = frozenset({*SECONDS, *MILLISECONDS, MOMENT})


def first_token_ms(attributes: Mapping[str, Any], events: Iterable[Any], started_ns: int, ended_ns: int) -> int | None:
    """
    Return how long a call took until its answer began, milliseconds; None when nothing tells.

    Args:
        attributes: Of the span.
        events: Of the span: ``name`` and ``timestamp``, nanoseconds.
        started_ns: Begin of the span, nanoseconds since the epoch.
        ended_ns: Its end. What would lie outside is passed over.
    """
    found = None if _NAMES.isdisjoint(attributes) else _said(attributes, started_ns)
    if found is None:
        at = next((event.timestamp for event in events if event.name in EVENTS), None)
        found = None if at is None else (at - started_ns) / 1_000_000
    return round(found) if found is not None and 0 <= found <= (ended_ns - started_ns) / 1_000_000 else None


def _said(attributes: Mapping[str, Any], started_ns: int) -> float | None:
    for names, factor in ((SECONDS, 1_000.0), (MILLISECONDS, 1.0)):
        for name in names:
            value = attributes.get(name)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return value * factor
    moment = attributes.get(MOMENT)
    if not isinstance(moment, str):
        return None
    try:
        at = datetime.fromisoformat(moment.strip('"').replace("Z", "+00:00"))
        return at.timestamp() * 1_000 - started_ns / 1_000_000 if at.tzinfo is not None else None
    except (ValueError, OverflowError, OSError):
        return None
