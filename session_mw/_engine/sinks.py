"""Where events go: the sinks that the settings name, the history, and spans for back ends without logs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._core.dialects import Dressing
from .._core.events import EventRecord
from ..ledger import Ledger, open_ledger
from ..settings import SessionSettings
from ..telemetry.lifecycle_spans import LifecycleSpans
from ..telemetry.sinks import LoggerSink, Sink, as_sinks

History = Ledger


def open_history(settings: SessionSettings) -> Ledger:
    """Return the ledger: named, or the store's own database, or a ring in memory. Opens nothing yet."""
    url = settings.ledger
    if url is None:
        url = settings.store if settings.store.startswith(("sqlite:", "postgresql:")) else "memory://"
    return open_ledger(url)


class LedgerSink:
    """The ledger as a sink; it is the authority, so what it refuses is reported again."""

    name = "ledger"

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def emit(self, records: Sequence[EventRecord]) -> bool:
        """Write *records* down; True once they are committed."""
        return self._ledger.emit(records)


def sinks_of(
    settings: SessionSettings, history: Ledger, logger_provider: Any, tracer_provider: Any
) -> tuple[Sink, ...]:
    """Return the sinks, the application's first: each has to say SUCCESS before an end is acknowledged."""
    given = settings.event_sink
    sinks: list[Sink] = list(as_sinks(given)) if given is not None else [LoggerSink(logger_provider)]
    dressing = Dressing(settings.dialects)
    sinks.append(LifecycleSpans(tracer_provider, settings.lifecycle_spans, logger_provider, dressing))
    sinks.append(LedgerSink(history))
    return tuple(sinks)
