"""Sinks: True means delivered, and whatever an exporter does, the background goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExportResult

from session_mw._core.events import EventRecord, end_event, start_event
from session_mw._core.records import SessionRecord
from session_mw._core.scope import current_scope
from session_mw.exceptions import SettingsError
from session_mw.telemetry import sinks as sinks_module
from session_mw.telemetry.sinks import CallableSink, ExporterSink, LoggerSink, Sink, as_sinks
from tests.telemetry.support import LOG_SUCCESS, LogKeeper, SpanExporterStub, make_logger_provider, make_scope

pytestmark = [
    pytest.mark.filterwarnings("ignore:LogRecord will be removed"),  # SDK 1.38 about itself
    pytest.mark.filterwarnings("ignore:LogData will be removed"),
]

TRACE = f"{0xABC:032x}-{0xDEF:016x}-01"
UNSAMPLED = f"{0xABC:032x}-{0xDEF:016x}-00"


def event(name: str = "session.end", trace: str = TRACE, uid: str = "s-1/1/session.end") -> EventRecord:
    return EventRecord(name, 1_700_000_000_123, {"session.id": "s-1", "log.record.uid": uid}, trace, ("s-1", 1))


def spans_of(exporter: SpanExporterStub) -> list[Any]:
    return list(exporter.get_finished_spans())


# ExporterSink


def test_exporter_sink_success_is_true() -> None:
    """Only SUCCESS acknowledges."""
    exporter = LogKeeper()

    assert ExporterSink(exporter).emit([event(), event("session.start")]) is True
    assert ["session.end", "session.start"] == [record.event_name for record in exporter.records]


def test_exporter_sink_fills_the_record() -> None:
    """When it happened, observed now, INFO, no body, in the turn's trace, with resource and scope."""
    exporter, resource = LogKeeper(), Resource({"service.name": "shop"})
    ExporterSink(exporter, resource).emit([event()])

    (data,), record = exporter.batches[0], exporter.records[0]
    assert 1_700_000_000_123_000_000 == record.timestamp
    assert record.observed_timestamp > record.timestamp
    assert (9, None, None) == (record.severity_number.value, record.severity_text, record.body)
    assert (0xABC, 0xDEF, 1) == (record.trace_id, record.span_id, record.trace_flags)
    assert {"session.id": "s-1", "log.record.uid": "s-1/1/session.end"} == exporter.attributes[0]
    assert resource == getattr(data, "resource", None) or record.resource
    scope = data.instrumentation_scope
    assert ("session_mw", "https://opentelemetry.io/schemas/1.44.0") == (scope.name, scope.schema_url)


def test_exporter_sink_without_trace_belongs_to_no_span(request: pytest.FixtureRequest) -> None:
    """A record without a trace does not get that of whoever runs the sweep."""
    exporter = LogKeeper()
    other = trace.NonRecordingSpan(trace.SpanContext(7, 8, False, trace.TraceFlags(1)))
    with trace.use_span(other):
        ExporterSink(exporter, timeout=None).emit([event(trace=""), event(trace="garbage")])

    assert [(0, 0), (0, 0)] == [(record.trace_id, record.span_id) for record in exporter.records]


@pytest.mark.parametrize("answer", [LOG_SUCCESS.FAILURE, None, True, "SUCCESS"], ids=repr)
def test_exporter_sink_anything_but_success_is_false(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A failure is no delivery, and neither is an answer that nobody defined; one log line says what to do."""
    exporter = LogKeeper()
    exporter.answer = answer
    sink = ExporterSink(exporter)

    assert [False, False] == [sink.emit([event()]), sink.emit([event()])]
    assert 1 == len(caplog.records)
    assert "endpoint" in caplog.records[0].message


@pytest.mark.parametrize("timeout", [10.0, None])
def test_exporter_sink_raising_exporter_raises_to_the_caller(timeout: float | None) -> None:
    """The background logs the cause; it comes through the exporter's thread unchanged."""

    class Broken(LogKeeper):
        def export(self, batch: Sequence[Any]) -> Any:
            raise ConnectionError("refused")

    with pytest.raises(ConnectionError, match="refused"):
        ExporterSink(Broken(), timeout=timeout).emit([event()])


def test_exporter_sink_hanging_exporter_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """It costs one thread and one timeout; while it hangs nothing waits again, and afterwards it works again."""
    release = threading.Event()
    calls: list[int] = []

    class Hanging(LogKeeper):
        def export(self, batch: Sequence[Any]) -> Any:
            calls.append(len(batch))
            release.wait(30)
            return super().export(batch)

    sink = ExporterSink(Hanging(), timeout=0.05)
    assert [False, False, False] == [sink.emit([event()]) for _ in range(3)]
    assert [1] == calls
    hanging = sink._hanging
    assert hanging is not None
    release.set()
    hanging.join()

    assert sink.emit([event()]) is True
    assert "within 0.05 seconds" in caplog.records[0].message


def test_exporter_sink_makes_no_spans_and_shows_no_request() -> None:
    """The export itself is not traced, and belongs to no session, in its own thread too."""
    seen: list[Any] = []

    class Looking(LogKeeper):
        def export(self, batch: Sequence[Any]) -> Any:
            seen.append((is_instrumentation_enabled(), current_scope.get()))
            return super().export(batch)

    current_scope.set(make_scope())
    for timeout in (None, 10.0):
        ExporterSink(Looking(), timeout=timeout).emit([event()])

    assert [(False, None), (False, None)] == seen
    assert is_instrumentation_enabled()


def test_exporter_sink_span_exporter_gets_spans_of_zero_length() -> None:
    """For back ends that take spans only: at the moment, in the turn's trace, below the turn."""
    exporter = SpanExporterStub()

    assert ExporterSink(exporter).emit([event()]) is True
    (span,) = spans_of(exporter)
    assert "session.end" == span.name
    assert 1_700_000_000_123_000_000 == span.start_time == span.end_time
    assert (0xABC, 0xDEF) == (span.context.trace_id, span.parent.span_id)
    assert span.context.is_valid
    assert span.context.trace_flags.sampled
    assert "s-1" == span.attributes["session.id"]


def test_exporter_sink_same_duplicate_is_the_same_span() -> None:
    """A span sent again after a lost acknowledgement has the same ids, another event has others."""
    exporter = SpanExporterStub()
    sink = ExporterSink(exporter)
    for uid in ("s-1/1/session.end", "s-1/1/session.end", "s-1/2/session.end"):
        sink.emit([event(trace="", uid=uid)])

    ids = [(span.context.trace_id, span.context.span_id) for span in spans_of(exporter)]
    assert ids[0] == ids[1] != ids[2]
    assert [None, None, None] == [span.parent for span in spans_of(exporter)]


def test_exporter_sink_unsampled_turn_gets_no_span() -> None:
    """A span alone in a trace that nobody kept helps nobody; there is nothing to deliver, so True."""
    exporter = SpanExporterStub(SpanExportResult.FAILURE)

    assert ExporterSink(exporter).emit([event(trace=UNSAMPLED)]) is True
    assert [] == spans_of(exporter)


def test_exporter_sink_span_exporter_failure_is_false() -> None:
    """The same rule for spans."""
    assert ExporterSink(SpanExporterStub(SpanExportResult.FAILURE)).emit([event()]) is False


def test_exporter_sink_unsampled_turn_keeps_its_log_record() -> None:
    """Logs are not sampled with traces."""
    exporter = LogKeeper()

    assert ExporterSink(exporter).emit([event(trace=UNSAMPLED)]) is True
    assert (0xABC, 0) == (exporter.records[0].trace_id, exporter.records[0].trace_flags)


def test_exporter_sink_resource_of_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events name the same service as the application's spans."""
    provider = make_logger_provider()
    monkeypatch.setattr("session_mw.telemetry._sdk_export.logger_provider_of", lambda: provider)
    exporter = LogKeeper()
    ExporterSink(exporter).emit([event()])

    found = getattr(exporter.batches[0][0], "resource", None) or exporter.records[0].resource
    assert provider.resource is found


def test_exporter_sink_without_threads_exports_inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """At interpreter shutdown no thread can be started; the last batch leaves all the same."""

    def no_more(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(sinks_module.threading.Thread, "start", no_more)

    assert ExporterSink(LogKeeper()).emit([event()]) is True


@pytest.mark.parametrize("exporter", [None, object(), print], ids=["none", "object", "function"])
def test_exporter_sink_of_something_else_is_refused(exporter: Any) -> None:
    """Bad configuration raises at construction, with the setting's name."""
    with pytest.raises(SettingsError, match="event_sink") as caught:
        ExporterSink(exporter)

    assert "event_sink" == caught.value.name


# CallableSink


@pytest.mark.parametrize(("answer", "expected"), [(None, True), (True, True), (0, True), (False, False)], ids=repr)
def test_callable_sink_is_true_unless_false(answer: object, expected: bool) -> None:
    """A function that returns nothing has delivered."""
    got: list[EventRecord] = []

    def fn(records: list[EventRecord]) -> object:
        got.extend(records)
        return answer

    assert CallableSink(fn).emit((event(),)) is expected
    assert [("session.end", "s-1")] == [(record.event_name, record.attributes["session.id"]) for record in got]


def test_callable_sink_raising_raises_to_the_caller() -> None:
    """The background logs what went wrong and reports the events again."""

    def fn(records: list[EventRecord]) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        CallableSink(fn).emit([event()])


def test_callable_sink_shows_no_request_and_makes_no_spans() -> None:
    """In a sweep inside a request, what the function logs is not that request's."""
    current_scope.set(make_scope())
    seen: list[Any] = []
    CallableSink(lambda records: seen.append((current_scope.get(), is_instrumentation_enabled()))).emit([event()])

    assert [(None, False)] == seen
    assert current_scope.get() is not None


class _AsyncCall:
    async def __call__(self, records: list[EventRecord]) -> None: ...


async def _coroutine(records: list[EventRecord]) -> None: ...


@pytest.mark.parametrize("fn", [_coroutine, _AsyncCall(), 5, None], ids=["coroutine", "async-call", "number", "none"])
def test_callable_sink_of_something_else_is_refused(fn: Any) -> None:
    """A coroutine function would never be awaited: said at construction, not found out by missing events."""
    with pytest.raises(SettingsError, match="event_sink"):
        CallableSink(fn)


# LoggerSink


def test_logger_sink_emits_events() -> None:
    """Through the application's provider: event_name, the time it happened, the turn's trace."""
    keeper = LogKeeper()
    sink = LoggerSink(make_logger_provider(SimpleLogRecordProcessor(keeper)))

    assert sink.emit([event()]) is True
    record = keeper.records[0]
    assert ("session.end", 1_700_000_000_123_000_000) == (record.event_name, record.timestamp)
    assert (0xABC, 0xDEF) == (record.trace_id, record.span_id)
    assert 9 == record.severity_number.value
    assert "session_mw" == keeper.batches[0][0].instrumentation_scope.name


def test_logger_sink_inside_a_request_stamps_nothing_foreign() -> None:
    """A sweep inside A's request reports B's end, with nothing of A in it."""
    from session_mw.telemetry.install import instrument

    keeper = LogKeeper()
    provider = make_logger_provider(SimpleLogRecordProcessor(keeper))
    instrument(logger_provider=provider, propagator=False)
    current_scope.set(make_scope("A", "u_a", **{"session.name": "a's"}))
    anonymous = SessionRecord("B", 1_000, 2_000, reason="idle_timeout", ended_ms=3_000)
    LoggerSink(provider).emit([end_event(anonymous)])

    assert dict(end_event(anonymous).attributes) == keeper.attributes[0]


def test_logger_sink_without_provider_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    """First-run mistake: no logger provider. One line, and the ledger has the events."""
    with caplog.at_level(logging.WARNING, "session_mw"):
        assert [True, True] == [LoggerSink().emit([event()]) for _ in range(2)]

    assert 1 == len(caplog.records)
    text = caplog.records[0].message
    assert text.startswith("no logger provider: session.start and session.end go to the ledger only")
    assert "set_logger_provider" in text


# as_sinks


def test_as_sinks_takes_what_settings_may_hold() -> None:
    """A sink, an exporter, a function, or several; None is the logger."""
    sink = LoggerSink()

    def fn(records: list[EventRecord]) -> None: ...

    assert (sink,) == as_sinks(sink)
    kinds = [type(one) for one in as_sinks([sink, fn, LogKeeper(), SpanExporterStub(), (fn,)])]
    assert [LoggerSink, CallableSink, ExporterSink, ExporterSink, CallableSink] == kinds
    assert [LoggerSink] == [type(one) for one in as_sinks(None)]
    assert () == as_sinks([])


class _Nameless:
    def emit(self, records: Sequence[EventRecord]) -> bool:
        return True


@pytest.mark.parametrize(
    "value",
    ["otlp", 5, LoggerSink, _Nameless(), logging.StreamHandler(), [print, 5]],
    ids=["text", "number", "class", "nameless", "handler", "nested"],
)
def test_as_sinks_of_something_else_is_refused(value: Any) -> None:
    """Bad configuration raises at construction: the setting's name, what was found, what to do."""
    with pytest.raises(SettingsError, match="cannot use event_sink: found"):
        as_sinks(value)


@pytest.mark.parametrize("sink", [ExporterSink(LogKeeper()), CallableSink(print), LoggerSink()], ids=lambda s: s.name)
def test_every_sink_has_a_name_and_is_a_sink(sink: Sink) -> None:
    """Log lines say which one it was."""
    assert isinstance(sink, Sink)
    assert type(sink).__name__ in sink.name


def test_start_events_are_records_too() -> None:
    """What the core makes of a session is what sinks take."""
    exporter = LogKeeper()
    ExporterSink(exporter).emit([start_event(SessionRecord("s", 1_000, 1_000))])

    assert ("session.start", 1_000_000_000) == (exporter.records[0].event_name, exporter.records[0].timestamp)
    assert {} == dict(get_current())
