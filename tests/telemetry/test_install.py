"""Installing: once, in any order with the SDK's set-up, and out again."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry import baggage, propagate, trace
from opentelemetry._logs import LogRecord
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator, default_getter, default_setter
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from session_mw._core.scope import current_scope
from session_mw.telemetry.destination import destination_host
from session_mw.telemetry.install import ensure, instrument
from session_mw.telemetry.processors import SessionLogRecordProcessor, SessionSpanProcessor
from session_mw.telemetry.propagator import SessionBaggagePropagator
from tests.telemetry.support import LogKeeper, Spans, make_logger_provider, make_policy, make_scope


@pytest.fixture(autouse=True)
def _stock_propagator() -> None:
    propagate.set_global_textmap(CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()]))


def _session_of(spans: Spans) -> object:
    """Return the session id that a span of a running request gets."""
    current_scope.set(make_scope())
    spans.exporter.clear()
    spans.tracer.start_span("x").end()
    return spans.attributes("x").get("session.id")


def _parts(textmap: Any = None) -> list[type]:
    return [type(part) for part in (textmap or propagate.get_global_textmap())._propagators]


def _count(provider: Any, kind: type) -> int:
    return sum(isinstance(p, kind) for p in provider._active_span_processor._span_processors)


def _sent() -> str:
    carrier: dict[str, str] = {}
    current_scope.set(make_scope())
    destination_host.set("localhost")
    propagate.inject(carrier)
    return carrier.get("baggage", "")


def test_instrument_given_providers_stamps_spans_and_logs() -> None:
    """One call, and spans and log records of these providers carry their session."""
    spans, keeper = Spans(), LogKeeper()
    logs = make_logger_provider(SimpleLogRecordProcessor(keeper))
    instrument(tracer_provider=spans.provider, logger_provider=logs)

    assert "s-1" == _session_of(spans)
    logs.get_logger("app").emit(LogRecord(body="x"))
    assert "s-1" == keeper.attributes[0]["session.id"]


def test_instrument_twice_installs_once() -> None:
    """Middleware, application and a library may all call it."""
    spans = Spans()
    logs = make_logger_provider()
    for _ in range(3):
        instrument(make_policy(), tracer_provider=spans.provider, logger_provider=logs)

    assert 1 == _count(spans.provider, SessionSpanProcessor)
    added = logs._multi_log_record_processor._log_record_processors
    assert [SessionLogRecordProcessor] == [type(processor) for processor in added]
    assert [TraceContextTextMapPropagator, SessionBaggagePropagator] == _parts()


def test_instrument_from_many_threads_installs_once() -> None:
    """First requests arrive together."""
    spans = Spans()
    threads = [threading.Thread(target=instrument, kwargs={"tracer_provider": spans.provider}) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 1 == _count(spans.provider, SessionSpanProcessor)


def test_instrument_replaces_the_stock_propagator_in_its_place() -> None:
    """Others stay, in their order."""

    class Theirs(TextMapPropagator):
        def extract(self, carrier: Any, context: Any = None, getter: Any = None) -> Context:
            return context or Context()

        def inject(self, carrier: Any, context: Any = None, setter: Any = None) -> None: ...

        @property
        def fields(self) -> set[str]:
            return {"theirs"}

    inner = CompositePropagator([W3CBaggagePropagator()])
    propagate.set_global_textmap(CompositePropagator([Theirs(), inner, TraceContextTextMapPropagator()]))
    instrument(make_policy(), processors=False)

    textmap: Any = propagate.get_global_textmap()
    assert [Theirs, CompositePropagator, TraceContextTextMapPropagator] == _parts(textmap)
    assert [SessionBaggagePropagator] == _parts(textmap._propagators[1])
    assert {"theirs", "baggage", "traceparent", "tracestate"} == textmap.fields


class OtherBaggage(TextMapPropagator):
    """Reads baggage from headers of its own, as Jaeger's and OpenTracing's propagators do."""

    def extract(self, carrier: Any, context: Any = None, getter: Any = default_getter) -> Context:
        for key in getter.keys(carrier):
            if key.startswith("uberctx-"):
                context = baggage.set_baggage(key[8:], getter.get(carrier, key)[0], context)
        return context or Context()

    def inject(self, carrier: Any, context: Any = None, setter: Any = None) -> None: ...

    @property
    def fields(self) -> set[str]:
        return set()


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
def test_instrument_takes_out_what_a_propagator_behind_ours_lets_in(nested: bool) -> None:
    """Ours are nobody else's to bring, in whatever header; the application's own entries stay."""
    parts: list[TextMapPropagator] = [TraceContextTextMapPropagator(), W3CBaggagePropagator(), OtherBaggage()]
    propagate.set_global_textmap(CompositePropagator([CompositePropagator(parts)] if nested else parts))
    uninstrument = instrument(make_policy(), processors=False)
    carrier = {"uberctx-session.id": "evil", "uberctx-User.ID": "evil", "uberctx-tenant": "t1", "baggage": "a=1"}

    assert {"tenant": "t1", "a": "1"} == dict(baggage.get_all(propagate.extract(carrier)))
    assert _sent().startswith("session.id=s-1")
    assert {"traceparent", "tracestate", "baggage"} == propagate.get_global_textmap().fields
    uninstrument()
    assert "evil" == baggage.get_baggage("session.id", propagate.extract(carrier))


def test_instrument_replaces_a_stock_propagator_that_stands_alone() -> None:
    """``set_global_textmap(W3CBaggagePropagator())`` works too."""
    propagate.set_global_textmap(W3CBaggagePropagator())
    instrument(make_policy(), processors=False)

    assert _sent().startswith("session.id=s-1")


@pytest.mark.parametrize("parts", [[], [TraceContextTextMapPropagator()]], ids=["none", "tracecontext"])
def test_instrument_without_baggage_propagator_says_so(parts: Sequence[Any], caplog: pytest.LogCaptureFixture) -> None:
    """``OTEL_PROPAGATORS=tracecontext`` is a choice: it is kept, and one line says what it costs."""
    chosen = CompositePropagator(parts)
    propagate.set_global_textmap(chosen)
    instrument(make_policy(), processors=False)
    instrument(make_policy(), processors=False)

    assert chosen is propagate.get_global_textmap()
    assert 1 == len([record for record in caplog.records if "OTEL_PROPAGATORS" in record.message])


def test_instrument_uses_a_propagator_of_ours_that_is_there() -> None:
    """Who put ours in by hand gets it working, not a second one."""
    mine = SessionBaggagePropagator()
    textmap = CompositePropagator([mine])
    propagate.set_global_textmap(textmap)
    policy = make_policy()
    uninstrument = instrument(policy, processors=False)

    assert textmap is propagate.get_global_textmap()
    assert policy is mine.policy
    uninstrument()
    assert textmap is propagate.get_global_textmap()


def test_instrument_later_policy_is_used_and_none_takes_nothing_away() -> None:
    """``instrument()`` before the middleware sends nothing; the middleware's own call makes it work."""
    instrument(processors=False)
    assert "" == _sent()

    instrument(make_policy(), processors=False)
    instrument(processors=False)

    assert _sent().startswith("session.id=s-1")


def test_instrument_without_propagator_leaves_the_global_one() -> None:
    """``propagator=False`` touches no global."""
    before = propagate.get_global_textmap()
    instrument(make_policy(), tracer_provider=Spans().provider, propagator=False)()

    assert before is propagate.get_global_textmap()


def test_instrument_without_processors_leaves_the_providers() -> None:
    """``processors=False`` touches no provider."""
    spans = Spans()
    instrument(make_policy(), tracer_provider=spans.provider, processors=False)

    assert _session_of(spans) is None


@pytest.mark.parametrize(
    "provider", [trace.ProxyTracerProvider(), trace.NoOpTracerProvider(), object()], ids=["proxy", "noop", "foreign"]
)
def test_instrument_leaves_other_providers_alone(provider: Any) -> None:
    """Before the SDK is set up, and with vendors' own providers, nothing happens to them."""
    before = dict(vars(provider)) if hasattr(provider, "__dict__") else None
    instrument(tracer_provider=provider, logger_provider=provider)()

    assert before == (dict(vars(provider)) if hasattr(provider, "__dict__") else None)
    assert not hasattr(provider, "_active_span_processor")


def test_uninstrument_puts_everything_back() -> None:
    """The propagator that was there is there again; spans are stamped no more, and again after instrument()."""
    spans = Spans()
    before = propagate.get_global_textmap()
    uninstrument = instrument(make_policy(), tracer_provider=spans.provider)
    uninstrument()

    assert before is propagate.get_global_textmap()
    assert _session_of(spans) is None
    uninstrument()
    instrument(tracer_provider=spans.provider)
    assert "s-1" == _session_of(spans)
    assert 1 == _count(spans.provider, SessionSpanProcessor)


def test_uninstrument_leaves_a_propagator_that_somebody_set_meanwhile() -> None:
    """What is not ours is not ours to remove."""
    uninstrument = instrument(make_policy(), processors=False)
    theirs = CompositePropagator([TraceContextTextMapPropagator()])
    propagate.set_global_textmap(theirs)
    uninstrument()

    assert theirs is propagate.get_global_textmap()


def test_ensure_adds_processors_when_the_provider_is_replaced() -> None:
    """An application may set its provider up after the first request, or set up another."""
    first, second = Spans(), Spans()
    instrument(processors=False)
    ensure(trace.ProxyTracerProvider(), None)
    ensure(first.provider, None)
    ensure(second.provider, None)
    ensure(first.provider, None)

    assert ["s-1", "s-1"] == [_session_of(first), _session_of(second)]
    assert [1, 1] == [_count(spans.provider, SessionSpanProcessor) for spans in (first, second)]


def test_ensure_says_once_that_the_propagator_was_replaced(caplog: pytest.LogCaptureFixture) -> None:
    """The losing order: set_global_textmap() after us. Not put back, but said, with what to do."""
    spans = Spans()
    instrument(make_policy(), tracer_provider=spans.provider)
    ensure(spans.provider, None)
    assert [] == caplog.records
    theirs = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])
    propagate.set_global_textmap(theirs)
    ensure(spans.provider, None)
    ensure(spans.provider, None)

    assert theirs is propagate.get_global_textmap()
    assert 1 == len(caplog.records)
    assert "SessionBaggagePropagator()" in caplog.records[0].message


def test_ensure_takes_up_a_propagator_of_ours_in_a_later_set_up(caplog: pytest.LogCaptureFixture) -> None:
    """Who follows the warning gets sessions carried on, without another word."""
    instrument(make_policy(), processors=False)
    propagate.set_global_textmap(CompositePropagator([SessionBaggagePropagator()]))
    ensure(None, None)

    assert _sent().startswith("session.id=s-1")
    assert [] == caplog.records


def test_ensure_before_instrument_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Without a propagator of ours nobody can have replaced it."""
    with caplog.at_level(logging.DEBUG, "session_mw"):
        ensure(None, None)

    assert [] == caplog.records


def test_instrument_keeps_no_provider_alive() -> None:
    """Providers are kept track of weakly, and one at the address of another is not taken for it."""
    provider = TracerProvider(shutdown_on_exit=False)
    instrument(tracer_provider=provider, propagator=False)
    reference = weakref.ref(provider)
    del provider
    gc.collect()

    assert reference() is None
    gc.freeze()  # or each collection would go through all that the tests before have left
    for _ in range(4):
        spans = Spans()
        instrument(tracer_provider=spans.provider, propagator=False)
        assert "s-1" == _session_of(spans)
        del spans
        gc.collect()


class _Wrapper:
    """A provider as observability SDKs wrap it: by value, so not hashable, and without room for weak references."""

    __slots__ = ("spans",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, spans: Spans) -> None:
        self.spans = spans

    def add_span_processor(self, processor: Any) -> None:
        self.spans.provider.add_span_processor(processor)


def test_instrument_wrapped_provider_is_tracked_too() -> None:
    """A provider that can be neither hashed nor referred to weakly gets one processor, once."""
    spans = Spans()
    wrapper = _Wrapper(spans)
    instrument(tracer_provider=wrapper)
    instrument(tracer_provider=wrapper)

    assert 1 == _count(spans.provider, SessionSpanProcessor)


class Proxy:
    """A provider in front of another that is exchanged, as Logfire has it."""

    def __init__(self, provider: TracerProvider) -> None:
        self.provider = provider

    def add_span_processor(self, processor: Any) -> None:
        self.provider.add_span_processor(processor)


def test_ensure_follows_a_provider_that_is_exchanged_behind_a_proxy() -> None:
    """``logfire.configure()`` a second time: the new provider has our processor, the proxy is the same."""
    first, second = Spans(), Spans()
    proxy = Proxy(first.provider)
    ensure(proxy, None)

    proxy.provider = second.provider
    ensure(proxy, None)
    ensure(proxy, None)

    assert ("s-1", "s-1") == (_session_of(first), _session_of(second))
    assert 1 == _count(second.provider, SessionSpanProcessor)


@dataclass
class Wrapper(TextMapPropagator):
    """A propagator around another, as Logfire puts one around the global one."""

    wrapped: TextMapPropagator

    def extract(self, carrier: Any, context: Context | None = None, getter: Any = default_getter) -> Context:
        return self.wrapped.extract(carrier, context, getter)

    def inject(self, carrier: Any, context: Context | None = None, setter: Any = default_setter) -> None:
        self.wrapped.inject(carrier, context, setter)

    @property
    def fields(self) -> set[str]:
        return self.wrapped.fields


def test_instrument_finds_its_place_inside_a_wrapper(caplog: pytest.LogCaptureFixture) -> None:
    """The wrapper stays around what it was put around."""
    before = Wrapper(propagate.get_global_textmap())
    propagate.set_global_textmap(before)

    undo = instrument(make_policy())

    assert type(propagate.get_global_textmap()) is Wrapper
    assert "session.id=s-1" in _sent()
    assert [] == caplog.messages
    undo()
    assert propagate.get_global_textmap() is before


def test_ensure_finds_ours_inside_a_wrapper_that_came_later(caplog: pytest.LogCaptureFixture) -> None:
    """Somebody put one around ours: nothing was replaced, and nothing is said."""
    instrument(make_policy())
    propagate.set_global_textmap(Wrapper(propagate.get_global_textmap()))

    ensure(None, None)

    assert "session.id=s-1" in _sent()
    assert [] == caplog.messages


def test_instrumented_extract_trusts_nothing_from_outside() -> None:
    """After instrument(), what a client calls session.id never reaches the application's baggage."""
    instrument(processors=False)
    context = propagate.extract({"baggage": "session.id=evil,tenant=t1"})

    assert {"tenant": "t1"} == dict(baggage.get_all(context))
