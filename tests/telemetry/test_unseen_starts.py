"""Our spans are stamped after their start only where nobody could have looked before; what comes out is the same."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, TraceFlags

from session_mw._core.scope import SessionScope
from session_mw._engine.visit import new_turn_id
from session_mw.telemetry._samplers import samples_unseen
from session_mw.telemetry._sdk_spans import processors_of, put, start_unseen
from session_mw.telemetry._traces import span_context_of, written
from session_mw.telemetry.processors import SessionSpanProcessor
from session_mw.telemetry.spans import SpanMaker

from .support import Spans, make_scope


class Looking(SpanProcessor):
    """Keeps what each span had at its start."""

    def __init__(self) -> None:
        self.saw: dict[str, dict[str, Any]] = {}

    def on_start(self, span: Any, parent_context: Context | None = None) -> None:
        self.saw[span.name] = dict(span.attributes or {})


class LookingSampler(sampling.Sampler):
    """Keeps everything, and what it was asked about."""

    def __init__(self) -> None:
        self.saw: dict[str, dict[str, Any]] = {}

    def should_sample(
        self,
        parent_context: Any,
        trace_id: int,
        name: str,
        kind: Any = None,
        attributes: Any = None,
        *more: Any,
        **_: Any,
    ) -> sampling.SamplingResult:
        self.saw[name] = dict(attributes or {})
        return sampling.SamplingResult(sampling.Decision.RECORD_AND_SAMPLE, attributes)

    def get_description(self) -> str:
        return "looking"


def scope_of_turn() -> SessionScope:
    scope = make_scope(**{"session.type": "chat", "session.channel": "web"})
    assert scope.turn is not None
    scope.turn._make_id = lambda: "t-1"
    return scope


def run(provider: TracerProvider) -> SessionScope:
    """Open and end the spans of one turn."""
    maker = SpanMaker(provider)
    maker.refresh()
    scope = scope_of_turn()
    turn = scope.turn
    assert turn is not None
    maker.open(scope, Context())
    maker.end_turn(scope, turn, 7, None)
    maker.end_session(scope, None)
    return scope


def test_nobody_looks_and_nothing_is_missing() -> None:
    """What is exported is the same whether a processor looks at the start or none does."""
    plain, watched = Spans(SessionSpanProcessor()), Spans(Looking(), SessionSpanProcessor())
    run(plain.provider)
    run(watched.provider)

    for name in ("session", "turn"):
        assert plain.attributes(name) == watched.attributes(name)
        assert plain.attributes(name)["session.id"] == "s-1"
    assert plain.attributes("turn")["turn.latency_ms"] == 7
    assert plain.attributes("session")["session.channel"] == "web"


@pytest.mark.parametrize("wrap", [lambda own: own, sampling.ParentBased], ids=["itself", "behind ParentBased"])
def test_a_sampler_that_may_look_sees_the_stamp(wrap: Callable[[Any], Any]) -> None:
    """Samplers that are not the SDK's decide by what the span was created with."""
    own = LookingSampler()
    sampler = wrap(own) if wrap is not sampling.ParentBased else sampling.ParentBased(own, local_parent_sampled=own)
    run(Spans(SessionSpanProcessor(), sampler=sampler).provider)

    assert {name: saw["session.id"] for name, saw in own.saw.items()} == {"session": "s-1", "turn": "s-1"}


@pytest.mark.parametrize("late", [False, True], ids=["from the beginning", "added later"])
def test_a_processor_that_may_look_sees_the_stamp(late: bool) -> None:
    """Whatever somebody adds sees our spans stamped at their start, also when it is added after the first request."""
    looking = Looking()
    spans = Spans(*(() if late else (looking,)))
    maker = SpanMaker(spans.provider)
    maker.refresh()
    maker.open(scope_of_turn(), Context())
    if late:
        spans.provider.add_span_processor(looking)
        maker.open(scope_of_turn(), Context())

    for name in ("session", "turn"):
        assert dict(make_scope().stamp).items() <= looking.saw[name].items()


@pytest.mark.parametrize(
    "limits",
    [SpanLimits(max_span_attributes=8), SpanLimits(max_span_attribute_length=3), SpanLimits(max_attributes=0)],
    ids=["few", "short", "none"],
)
def test_limits_hold(limits: SpanLimits) -> None:
    """The SDK's limits cut what we set as they cut everybody's."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(span_limits=limits, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    run(provider)

    assert len(exporter.get_finished_spans()) == 2
    for span in exporter.get_finished_spans():
        assert limits.max_span_attributes is None or len(span.attributes or {}) <= limits.max_span_attributes
        length = limits.max_span_attribute_length
        values = [value for value in (span.attributes or {}).values() if isinstance(value, str)]
        assert length is None or all(len(value) <= length for value in values)


def test_unsampled_spans_are_left_alone() -> None:
    """A span that nobody records takes no attributes, and has none to take."""
    spans = Spans(sampler=sampling.ParentBased(sampling.ALWAYS_OFF))
    scope = run(spans.provider)

    assert spans.finished() == () and scope.spans == []


@pytest.mark.parametrize(
    ("sampler", "unseen"),
    [
        (sampling.ALWAYS_ON, True),
        (sampling.ALWAYS_OFF, True),
        (sampling.TraceIdRatioBased(0.5), True),
        (sampling.ParentBased(sampling.TraceIdRatioBased(0.5)), True),
        (sampling.ParentBasedTraceIdRatio(0.5), True),
        (sampling.ParentBased(sampling.ALWAYS_ON, remote_parent_sampled=LookingSampler()), False),
        (LookingSampler(), False),
        (None, False),
    ],
)
def test_which_samplers_are_known(sampler: object, unseen: bool) -> None:
    """Only the SDK's own are known not to look."""
    assert samples_unseen(sampler) is unseen


def test_which_processors_are_known() -> None:
    """The SDK's exporting ones do nothing at a start; whatever derives from them may."""

    class Derived(SimpleSpanProcessor):
        pass

    exporter = InMemorySpanExporter()
    simple, batch = SimpleSpanProcessor(exporter), BatchSpanProcessor(exporter)
    try:
        assert start_unseen((simple, batch, SessionSpanProcessor()), SessionSpanProcessor)
        assert not start_unseen((simple, Derived(exporter)), SessionSpanProcessor)
        assert not start_unseen((simple, Looking()), SessionSpanProcessor)
        assert not start_unseen(processors_of(object()), SessionSpanProcessor)
    finally:
        batch.shutdown()


def test_put_where_the_span_is_another_kind() -> None:
    """A span whose inside is not as known gets its attributes the public way."""

    class Other:
        def __init__(self) -> None:
            self.set: dict[str, Any] = {}

        def set_attributes(self, attributes: Any) -> None:
            self.set.update(attributes)

    span = Other()
    put(span, {"turn.id": "t"})

    assert span.set == {"turn.id": "t"}


def test_turn_ids_are_distinct_across_draws() -> None:
    """Ids are drawn many at a time; none is given twice."""
    ids = [new_turn_id() for _ in range(2_000)]

    assert len(set(ids)) == len(ids)
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in ids)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_draws_turn_ids_of_its_own() -> None:
    """What the parent has drawn and not yet given is the parent's."""
    new_turn_id()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, " ".join(new_turn_id() for _ in range(200)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        theirs = set(pipe.read().split())
    os.waitpid(pid, 0)

    assert len(theirs) == 200
    assert theirs.isdisjoint(new_turn_id() for _ in range(400))


@pytest.mark.parametrize("trace_id", [1, 0xAF7651916CD43DD8448EB211C80319C, 2**128 - 1])
@pytest.mark.parametrize("span_id", [1, 0xB7AD6B7169203331, 2**64 - 1])
@pytest.mark.parametrize("flags", [0, 1, 3, 255])
def test_a_span_context_is_written_as_in_traceparent(trace_id: int, span_id: int, flags: int) -> None:
    """32, 16 and 2 hexadecimal digits in lower case, zeros in front (W3C Trace Context, 3.2.2)."""
    context = SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(flags))

    assert written(context) == f"{trace_id:032x}-{span_id:016x}-{flags:02x}"
    assert span_context_of(written(context)) == SpanContext(trace_id, span_id, True, TraceFlags(flags))
