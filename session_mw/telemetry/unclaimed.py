"""
Spans that were started outside of any session and are still open: a session that is set late claims them.

Only they are remembered, weakly and in bounded number; spans inside a session cost nothing here.
"""

from __future__ import annotations

import weakref
from typing import Any

from opentelemetry import trace

from .._core.scope import SessionScope

MAX_OPEN = 10_000

waiting: dict[int, weakref.ref[Any]] = {}


def opened(span: Any) -> None:
    """Remember a span without a session."""
    if len(waiting) >= MAX_OPEN:
        for span_id in list(waiting)[: MAX_OPEN // 4]:
            waiting.pop(span_id, None)
    waiting[span.context.span_id] = weakref.ref(span)


def ended(span_id: int) -> None:
    """Forget a span."""
    waiting.pop(span_id, None)


def claim_open_spans(scope: SessionScope) -> int:
    """
    Stamp the current span and those around it, as far as they have no session; returns how many.

    Spans of other threads and tasks are not touched: what is around is found by parents.
    """
    span: Any = trace.get_current_span()
    claimed = 0
    while span is not None and span.is_recording():
        reference = waiting.pop(span.get_span_context().span_id, None)
        if reference is None:
            break
        span.set_attributes(scope.span_stamp)
        scope.spans.append(span)
        claimed += 1
        parent = getattr(span, "parent", None)
        reference = None if parent is None else waiting.get(parent.span_id)
        span = None if reference is None else reference()
    return claimed
