"""
Spans that were started outside of any session and are still open: a session that is set late claims them.

Only they are remembered, weakly and in bounded number; spans inside a session cost nothing here.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

from opentelemetry import trace

from .._core.scope import SessionScope

MAX_OPEN = 10_000

_open: dict[int, weakref.ref[Any]] = {}
_lock = threading.Lock()


def opened(span: Any) -> None:
    """Remember a span without a session."""
    with _lock:
        if len(_open) >= MAX_OPEN:
            _open.pop(next(iter(_open)))
        _open[span.context.span_id] = weakref.ref(span)


def ended(span_id: int) -> None:
    """Forget a span."""
    _open.pop(span_id, None)


def claim_open_spans(scope: SessionScope) -> int:
    """
    Stamp the current span and those around it, as far as they have no session; returns how many.

    Spans of other threads and tasks are not touched: what is around is found by parents.
    """
    span: Any = trace.get_current_span()
    claimed = 0
    while span is not None and span.is_recording():
        reference = _open.pop(span.get_span_context().span_id, None)
        if reference is None:
            break
        span.set_attributes(scope.stamp)
        scope.spans.append(span)
        claimed += 1
        parent = getattr(span, "parent", None)
        reference = None if parent is None else _open.get(parent.span_id)
        span = None if reference is None else reference()
    return claimed
