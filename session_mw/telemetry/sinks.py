"""
Where ``session.start`` and ``session.end`` go.

A session's end is acknowledged only when every sink said True. An exporter knows whether its back end took a batch,
and a callable knows what it did; a logger only queues, so ``LoggerSink`` can promise no more than that.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from contextvars import copy_context
from importlib.util import find_spec
from typing import Any, Protocol, runtime_checkable

from .._core.events import EventRecord
from ..exceptions import SettingsError
from ._library import LIBRARY_NAME, SCHEMA_URL, library_version
from ._providers import logger_provider_of
from ._traces import context_of, sampled, span_context_of
from ._unhurried import unhurried
from .context import Outside
from .notices import once
from .suppress import suppressed

logger = logging.getLogger("session_mw")


@runtime_checkable
class Sink(Protocol):
    """
    Takes events. Called from a background thread, one call at a time.

    Attributes:
        name: For log lines.
    """

    name: str

    def emit(self, records: Sequence[EventRecord], /) -> bool:
        """
        Take *records*.

        Returns:
            True only when they are delivered; otherwise all of them come again, with the same ``log.record.uid``.

        Raises:
            Exception: Whatever went wrong; it is logged, and counts as False.
        """
        ...


class ExporterSink:
    """
    Hands events to an exporter directly: the only way to know that a back end took them.

    Args:
        exporter: A log exporter (``OTLPLogExporter()``), or a span exporter: then events are spans of zero length, and
            those of unsampled turns are left out.
        resource: What the events say of the service; None takes the resource of the global providers.
        timeout: Seconds to wait for an exporter that has no timeout of its own. None waits as long as it takes.

    Raises:
        SettingsError: If *exporter* has no ``export``, or the SDK is not installed.
    """

    def __init__(self, exporter: Any, resource: Any = None, timeout: float | None = 10.0) -> None:
        if not callable(getattr(exporter, "export", None)):
            raise _bad(exporter, "ExporterSink takes an exporter of the OpenTelemetry SDK, such as OTLPLogExporter()")
        if find_spec("opentelemetry.sdk") is None:
            raise _bad(exporter, "an exporter takes what the SDK makes: pip install opentelemetry-sdk")
        self.name = f"ExporterSink({type(exporter).__name__})"
        self._exporter = exporter
        self._resource = resource
        self._timeout = timeout
        self._hanging: threading.Thread | None = None

    def emit(self, records: Sequence[EventRecord]) -> bool:
        """Export *records*; True only when the exporter said SUCCESS."""
        if self._hanging is not None and self._hanging.is_alive():
            return False
        self._hanging = None
        batch = self._batch(records)
        if not batch:
            return True
        with Outside(), suppressed():
            done = self._export(batch) if self._timeout is None else self._bounded(batch, self._timeout)
        if not done:
            self._complain()
        return done

    def _batch(self, records: Sequence[EventRecord]) -> list[Any]:
        from . import _sdk_export as sdk  # imports the SDK

        resource = self._resource if self._resource is not None else sdk.default_resource()
        if sdk.takes_spans(self._exporter):
            return [sdk.readable_span(record, resource) for record in unhurried(records) if sampled(record.trace)]
        return [sdk.log_data(record, resource) for record in unhurried(records)]

    def _export(self, batch: Sequence[Any]) -> bool:
        # Log and span exporters answer with enums of their own, older ones with others; the name is the same.
        return getattr(self._exporter.export(batch), "name", None) == "SUCCESS"

    def _bounded(self, batch: Sequence[Any], timeout: float) -> bool:
        """Export in a thread of its own: a hanging exporter costs that thread, and the sweeper goes on."""
        outcome: list[bool | BaseException] = []
        context = copy_context()

        def work() -> None:
            try:
                outcome.append(context.run(self._export, batch))
            except BaseException as error:
                outcome.append(error)

        thread = threading.Thread(target=work, name="session-mw-export", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # interpreter shutdown: no new threads
            return self._export(batch)
        thread.join(timeout)
        if not outcome:
            self._hanging = thread
            return False
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]

    def _complain(self) -> None:
        text = "%s did not deliver%s: the events are kept and sent again. Check its endpoint and that it is reachable."
        hangs = "" if self._hanging is None else f" within {self._timeout} seconds"
        once(f"sink-failed:{self.name}", logger.warning, text, self.name, hangs, every=60)


class CallableSink:
    """
    Hands events to a function.

    Args:
        fn: Gets a list of records with ``event_name``, ``timestamp_ms`` and ``attributes``. Events are delivered
            unless it raises or returns False.
        name: For log lines; None takes the function's own.

    Raises:
        SettingsError: If *fn* cannot be called, or is a coroutine function: nobody would await it.
    """

    def __init__(self, fn: Callable[[list[EventRecord]], object], name: str | None = None) -> None:
        if not callable(fn):
            raise _bad(fn, "CallableSink takes a function of one list")
        if inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None)):  # noqa: B004
            raise _bad(fn, "a sink runs in a background thread, where nothing awaits: give a plain function")
        self.name = name or f"CallableSink({getattr(fn, '__qualname__', type(fn).__name__)})"
        self._fn = fn

    def emit(self, records: Sequence[EventRecord]) -> bool:
        """Call the function; True unless it returns False. What it raises goes on to the caller."""
        with Outside(), suppressed():
            return self._fn(list(records)) is not False


class LoggerSink:
    """
    Emits events as log records with ``event_name``, through the application's own logger provider.

    Best effort: the provider queues them and says nothing, so True means "queued". What must not be lost goes
    through ``ExporterSink``.

    Args:
        logger_provider: None takes the global one, whenever it is set.
    """

    name = "LoggerSink"

    def __init__(self, logger_provider: Any = None) -> None:
        self._given = logger_provider

    def emit(self, records: Sequence[EventRecord]) -> bool:
        """Emit *records*; always True."""
        provider = logger_provider_of(self._given)
        if provider is None:
            self._hint()
            return True
        otel_logger = provider.get_logger(LIBRARY_NAME, library_version(), SCHEMA_URL)
        with Outside(), suppressed():
            for record in unhurried(records):
                otel_logger.emit(_log_record(record))
        return True

    def _hint(self) -> None:
        once(
            "no-logger-provider",
            logger.warning,
            "no logger provider: session.start and session.end go to the ledger only (and to the tracer provider as "
            "spans, unless lifecycle_spans is 'never'). Call opentelemetry._logs.set_logger_provider(...) at start, or "
            "set event_sink=ExporterSink(OTLPLogExporter()).",
        )


def _log_record(record: EventRecord) -> Any:
    from opentelemetry._logs import LogRecord, SeverityNumber  # the module is still private by name

    return LogRecord(
        timestamp=record.timestamp_ms * 1_000_000,
        context=context_of(span_context_of(record.trace)),
        severity_number=SeverityNumber.INFO,
        attributes=dict(record.attributes),
        event_name=record.event_name,
    )


def as_sinks(value: Any, logger_provider: Any = None) -> tuple[Sink, ...]:
    """
    Make sinks of the setting ``event_sink``.

    Args:
        value: A sink, an exporter, a function, or several of them; None is a ``LoggerSink``.
        logger_provider: For that one.

    Raises:
        SettingsError: If *value* is none of these.
    """
    if value is None:
        return (LoggerSink(logger_provider),)
    if isinstance(value, Sink) and not isinstance(value, (type, logging.Handler)):
        return (value,)
    if callable(getattr(value, "export", None)):
        return (ExporterSink(value),)
    if callable(value) and not isinstance(value, type):
        return (CallableSink(value),)
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return tuple(sink for one in value for sink in as_sinks(one))
    raise _bad(value, "give a sink (with emit() and a name), an exporter, a function of one list, or several of them")


def _bad(found: object, hint: str) -> SettingsError:
    shown = getattr(found, "__qualname__", None) or type(found).__name__
    return SettingsError(
        f"cannot use event_sink: found {shown!r}. {hint[0].upper()}{hint[1:]}.",
        name="event_sink",
        found=shown,
        hint=hint,
    )
