"""session.start and session.end as spans, where a back end takes no logs."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace import sampling

from session_mw._core.events import EventRecord, end_event
from session_mw._core.records import SessionRecord
from session_mw._core.scope import current_scope
from session_mw.exceptions import SettingsError
from session_mw.telemetry.install import instrument
from session_mw.telemetry.lifecycle_spans import LifecycleSpans
from session_mw.telemetry.sinks import Sink
from session_mw.telemetry.suppress import suppressed
from tests.telemetry.support import Spans, make_logger_provider, make_scope

AT_MS = 1_700_000_000_123


def _event(trace: str = "", name: str = "session.end") -> EventRecord:
    return EventRecord(name, AT_MS, {"session.id": "s-1", "session.total_turns": 5}, trace, ("s-1", 1))


@pytest.mark.parametrize(
    ("mode", "logs", "written"),
    [
        ("auto", False, True),
        ("auto", True, False),
        ("always", False, True),
        ("always", True, True),
        ("never", False, False),
        ("never", True, False),
    ],
)
def test_emit_in_every_mode(mode: str, logs: bool, written: bool) -> None:
    """auto: only while no logger provider is configured; always; never. It always answers True."""
    spans = Spans()
    sink = LifecycleSpans(spans.provider, mode, make_logger_provider() if logs else None)

    assert sink.emit([_event()]) is True
    assert written == (["session.end"] == [span.name for span in spans.finished()])


def test_emit_writes_zero_length_spans_at_their_moment() -> None:
    """A long span would become the trace's latency; the attributes are the event's."""
    spans = Spans()
    LifecycleSpans(spans.provider, "always").emit([_event(name="session.start"), _event()])

    assert ["session.start", "session.end"] == [span.name for span in spans.finished()]
    assert [AT_MS * 1_000_000] * 4 == [t for span in spans.finished() for t in (span.start_time, span.end_time)]
    assert {"session.id": "s-1", "session.total_turns": 5} == spans.attributes("session.end")


def test_emit_in_the_trace_of_the_last_turn() -> None:
    """Nobody counts another turn: the span stands below the turn, even if a request runs meanwhile."""
    spans = Spans()
    with spans.tracer.start_as_current_span("other request"):
        LifecycleSpans(spans.provider, "always").emit([_event(f"{0xABC:032x}-{0xDEF:016x}-01")])

    (span, _) = spans.finished()
    assert (0xABC, 0xDEF) == (span.context.trace_id, span.parent.span_id if span.parent else None)


def test_emit_without_trace_is_a_root() -> None:
    """A session without turns, or whose turn nobody traced, has a trace of its own."""
    spans = Spans()
    with spans.tracer.start_as_current_span("other request") as other:
        LifecycleSpans(spans.provider, "always").emit([_event("")])

    (span, _) = spans.finished()
    assert span.parent is None
    assert span.context.trace_id != other.get_span_context().trace_id


@pytest.mark.parametrize("sampler", [sampling.ALWAYS_ON, sampling.DEFAULT_ON], ids=["always", "parent-based"])
def test_emit_not_when_the_turn_was_unsampled(sampler: Any) -> None:
    """A span alone in a trace that nobody kept helps nobody."""
    spans = Spans(sampler=sampler)

    assert LifecycleSpans(spans.provider, "always").emit([_event(f"{0xABC:032x}-{0xDEF:016x}-00")]) is True
    assert () == spans.finished()


def test_emit_works_where_instrumentation_is_suppressed() -> None:
    """The background suppresses spans of our own I/O; these are not I/O."""
    spans = Spans()
    with suppressed():
        LifecycleSpans(spans.provider, "always").emit([_event()])

    assert 1 == len(spans.finished())


def test_emit_inside_a_request_stamps_nothing_foreign() -> None:
    """A sweep inside A's request reports B's end, with nothing of A in it."""
    spans = Spans()
    instrument(tracer_provider=spans.provider, propagator=False)
    current_scope.set(make_scope("A", "u_a", **{"session.name": "a's"}))
    anonymous = SessionRecord("B", 1_000, 2_000, reason="idle_timeout", ended_ms=3_000)
    LifecycleSpans(spans.provider, "always").emit([end_event(anonymous)])

    assert dict(end_event(anonymous).attributes) == spans.attributes("session.end")


def test_emit_without_sdk_does_nothing() -> None:
    """No tracer provider, no spans, no error."""
    assert LifecycleSpans(None, "always").emit([_event()]) is True


def test_unknown_mode_is_refused() -> None:
    """Bad configuration raises at construction."""
    with pytest.raises(SettingsError, match="cannot use lifecycle_spans: found 'sometimes'"):
        LifecycleSpans(None, "sometimes")


def test_is_a_sink() -> None:
    """The background hands it events like any other."""
    assert isinstance(LifecycleSpans(), Sink)
