"""Where a call goes, and so whether it may carry the session: the same whatever the SDK does."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import baggage
from opentelemetry.context import Context
from opentelemetry.sdk.trace import sampling
from opentelemetry.trace import SpanKind, use_span

from session_mw._core.scope import current_scope
from session_mw.telemetry.destination import destination_host, url_host
from session_mw.telemetry.propagator import SessionBaggagePropagator
from tests.telemetry.support import Spans, make_policy, make_scope, sent_by


@pytest.fixture
def propagator() -> SessionBaggagePropagator:
    return SessionBaggagePropagator(make_policy())


SDKS = {
    "sampled": lambda: Spans(sampler=sampling.ALWAYS_ON).tracer.start_span("GET", kind=SpanKind.CLIENT),
    "unsampled": lambda: Spans(sampler=sampling.ALWAYS_OFF).tracer.start_span("GET", kind=SpanKind.CLIENT),
    "no-sdk": lambda: None,
}


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize(("host", "sent"), [("localhost:80", True), ("api.example.com", False)])
def test_inject_is_the_same_sampled_unsampled_and_without_sdk(
    propagator: SessionBaggagePropagator, sdk: str, host: str, sent: bool
) -> None:
    """Whether a trace is kept must not change what a service behind learns."""
    current_scope.set(make_scope())
    span = SDKS[sdk]()
    carrier = {"Host": host}
    if span is None:
        propagator.inject(carrier)
    else:
        with use_span(span):
            propagator.inject(carrier)

    assert sent == ("session.id=s-1" in carrier.get("baggage", ""))


@pytest.mark.parametrize("header", ["Host", "host", "HOST"])
def test_destination_host_header(propagator: SessionBaggagePropagator, header: str) -> None:
    """A Host header in the carrier says where the call goes."""
    current_scope.set(make_scope())

    assert "s-1" == sent_by(propagator, **{header: "billing.internal:8080"}).get("session.id")


def test_destination_of_the_client_wrapper_beats_the_header(propagator: SessionBaggagePropagator) -> None:
    """A Host header may be copied from another request; the wrapper saw the URL."""
    current_scope.set(make_scope())
    destination_host.set("api.example.com")

    assert {} == sent_by(propagator, Host="localhost")


@pytest.mark.parametrize(
    "attributes",
    [
        {"server.address": "billing.internal", "server.port": 80},
        {"net.peer.name": "billing.internal"},
        {"http.host": "billing.internal:80"},
        {"url.full": "http://billing.internal:80/pay?x=1"},
        {"http.url": "http://billing.internal/pay"},
        {"http.url": "http://[::1]:8080"},
    ],
    ids=lambda attributes: next(iter(attributes)),
)
def test_destination_of_the_client_span(propagator: SessionBaggagePropagator, attributes: dict[str, Any]) -> None:
    """What an instrumentation wrote on its CLIENT span says where the call goes, in both generations of names."""
    current_scope.set(make_scope())
    span = Spans().tracer.start_span("GET", kind=SpanKind.CLIENT, attributes=attributes)

    with use_span(span):
        assert "s-1" == sent_by(propagator).get("session.id")


@pytest.mark.parametrize("kind", [SpanKind.SERVER, SpanKind.INTERNAL, SpanKind.PRODUCER])
def test_destination_of_other_spans_says_nothing(propagator: SessionBaggagePropagator, kind: SpanKind) -> None:
    """A server span's address is our own."""
    current_scope.set(make_scope())
    span = Spans().tracer.start_span("x", kind=kind, attributes={"server.address": "localhost"})

    with use_span(span):
        assert {} == sent_by(propagator)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:password@localhost/",
        "http://evil.example\\@localhost/",
        "http://localhost\\@evil.example/",
        "http://evil.example@localhost/",
        "http://localhost\\.evil.example/",
        "//localhost/",
        "/relative",
        "localhost",
        "http://",
        "http:// localhost/",
        "http://local\nhost/",
        None,
        5,
    ],
)
def test_url_host_leaves_no_room_for_doubt(url: object) -> None:
    """A URL that two parsers could read differently has no host here."""
    assert url_host(url) is None


@pytest.mark.parametrize("carrier", [[("host", "localhost")], object(), None], ids=["list", "object", "none"])
def test_destination_carriers_that_are_no_headers(propagator: SessionBaggagePropagator, carrier: Any) -> None:
    """Carriers of messages have no Host: unknown, not an error."""
    written: list[str] = []

    class Setter:
        def set(self, carrier: Any, key: str, value: str) -> None:
            written.append(value)

    current_scope.set(make_scope())
    propagator.inject(carrier, baggage.set_baggage("a", "1", Context()), Setter())  # type: ignore[arg-type]

    assert ["a=1"] == written
