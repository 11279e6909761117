"""
``session.start`` and ``session.end`` as spans of zero length, for back ends that take no logs.

A span from start to end of a session would become the trace's latency; and a session has no trace, its turns have.
``session.end`` stands in the last turn's trace, so that nobody counts a turn more, and no later than that turn's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from opentelemetry.trace import SpanKind

from .._core import names
from .._core.dialects import Dressing
from .._core.events import EventRecord
from ..exceptions import SettingsError
from ._library import LIBRARY_NAME, SCHEMA_URL, library_version
from ._providers import logger_provider_of, tracer_provider_of
from ._traces import context_of, sampled, span_context_of
from .context import Outside
from .suppress import suppressed

Mode = Literal["auto", "always", "never"]


def _would_be_a_turn(record: EventRecord) -> bool:
    """
    Return whether *record* would begin a trace of its own: back ends take each trace of a session for a turn.

    ``session.usage_late`` belongs to no turn's trace. Who reads spans has counted what it tells of: it is from them.
    """
    return record.event_name == names.EVENT_USAGE_LATE and not record.trace


class LifecycleSpans:
    """
    A sink that writes events as spans. Best effort: a tracer provider queues and says nothing.

    Args:
        tracer_provider: None takes the global one, whenever it is set.
        mode: ``auto`` writes them while no logger provider is configured; ``always``; ``never``.
        logger_provider: What ``auto`` looks at; None means the global one.
        dressing: Back ends whose own names are written too.

    Raises:
        SettingsError: If *mode* is another word.
    """

    name = "LifecycleSpans"

    def __init__(
        self,
        tracer_provider: Any = None,
        mode: str = "auto",
        logger_provider: Any = None,
        dressing: Dressing | None = None,
    ) -> None:
        if mode not in ("auto", "always", "never"):
            hint = "use 'auto', 'always' or 'never'"
            text = f"cannot use lifecycle_spans: found {mode!r}. {hint.capitalize()}."
            raise SettingsError(text, name="lifecycle_spans", found=mode, hint=hint)
        self._tracer_provider = tracer_provider
        self._mode = mode
        self._logger_provider = logger_provider
        self._dressing = dressing

    def emit(self, records: Sequence[EventRecord]) -> bool:
        """Write *records* as spans where they are wanted; always True."""
        provider = tracer_provider_of(self._tracer_provider) if self._wanted() else None
        if provider is None:
            return True
        tracer = provider.get_tracer(LIBRARY_NAME, library_version(), SCHEMA_URL)
        with Outside(), suppressed():
            for record in records:
                if sampled(record.trace) and not _would_be_a_turn(record):
                    self._write(tracer, record)
        return True

    def _wanted(self) -> bool:
        if self._mode == "auto":
            return logger_provider_of(self._logger_provider) is None
        return self._mode == "always"

    def _write(self, tracer: Any, record: EventRecord) -> None:
        at = record.span_ms * 1_000_000
        context = context_of(span_context_of(record.trace))
        attributes = dict(record.attributes)
        if self._dressing is not None:
            self._dressing.stamp(attributes)
        tracer.start_span(record.event_name, context, SpanKind.INTERNAL, attributes=attributes, start_time=at).end(
            end_time=at
        )
