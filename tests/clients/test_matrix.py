"""
Whoever injects, in whatever order it was set up, and whatever the SDK does: a service of ours learns the session, any
other learns nothing.

Every client is real, and so is the server; host names lead to it by the resolver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import pytest
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import TracerProvider, sampling
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from session_mw._core.scope import current_scope
from session_mw.telemetry.install import instrument
from tests.clients.callers import MATRIX, WRAPPED
from tests.clients.recorder import Received, Recorder
from tests.telemetry.support import make_policy, make_scope

OURS, THEIRS = "billing.internal", "api.vendor.example"
ALLOWED = ("*.internal",)

SDKS: dict[str, Callable[[], Any]] = {
    "sampled": lambda: TracerProvider(sampler=sampling.ALWAYS_ON, shutdown_on_exit=False),
    "unsampled": lambda: TracerProvider(sampler=sampling.ALWAYS_OFF, shutdown_on_exit=False),
    "no-sdk": trace.NoOpTracerProvider,
}
# What is set up, in order.
WAYS = {
    "neither": ("ours",),
    "own": ("ours", "own"),
    "otel-first": ("otel", "ours"),
    "otel-last": ("ours", "otel"),
    "both-otel-first": ("otel", "ours", "own"),
    "both-otel-last": ("ours", "otel", "own"),
}


@contextmanager
def set_up(steps: tuple[str, ...], instrumentor: Any, provider: Any) -> Iterator[None]:
    """Set up in the order given; taken down in the same order, so that nobody finds his own on top."""
    propagate.set_global_textmap(CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()]))
    undo: list[Callable[[], None]] = []
    for step in steps:
        if step == "ours":
            undo.append(instrument(make_policy(ALLOWED), processors=False))
        elif step == "otel":
            theirs = instrumentor()
            theirs.instrument(tracer_provider=provider)
            undo.append(theirs.uninstrument)
    try:
        yield
    finally:
        for step in undo:
            step()


def call(
    client: str, way: str, sdk: str, urls: list[str], server: Recorder, foreign: bool
) -> tuple[list[Received], Any]:
    """Call *urls* from inside a session that has a span, and foreign baggage where wanted; return the span as well."""
    caller, instrumentor = MATRIX[client]
    provider = SDKS[sdk]()
    with set_up(WAYS[way], instrumentor, provider):
        current_scope.set(make_scope())
        with provider.get_tracer("app").start_as_current_span("turn") as span:
            token = context.attach(baggage.set_baggage("tenant", "acme" if foreign else None))
            caller(urls, own="own" in WAYS[way])
            context.detach(token)
    return server.take(), span.get_span_context()


ROUTES = {
    "allowed": (OURS,),
    "foreign": (THEIRS,),
    "allowed-to-foreign": (OURS, THEIRS),
    "foreign-to-allowed": (THEIRS, OURS),
    "user-info": ("api.vendor.example@billing.internal",),
    "disguised": ("billing.internal@api.vendor.example",),
}


def url_of(route: tuple[str, ...], server: Recorder) -> str:
    return server.url(route[0], server.url(route[1]) if len(route) > 1 else "")


def cases() -> Iterator[Any]:
    """Every combination; the usual run leaves out what has never differed from one that is in it."""
    for client, way, sdk, foreign in product(MATRIX, WAYS, SDKS, (True, False)):
        if client not in WRAPPED and "own" in WAYS[way]:
            continue  # there is no wrapper of ours for this client alone
        usual = sdk == "unsampled" or (foreign and way in ("own", "otel-first", "otel-last"))
        name = f"{client}-{way}-{sdk}-{'with' if foreign else 'without'}-others"
        yield pytest.param(client, way, sdk, foreign, id=name, marks=() if usual else pytest.mark.slow)


@pytest.mark.parametrize(("client", "way", "sdk", "foreign"), list(cases()))
def test_matrix(client: str, way: str, sdk: str, foreign: bool, server: Recorder) -> None:
    """Ours reach our host, once and first; nothing of ours reaches any other, straight or redirected."""
    received, turn = call(client, way, sdk, [url_of(route, server) for route in ROUTES.values()], server, foreign)

    expected = [host.rpartition("@")[2] for route in ROUTES.values() for host in route]
    assert expected == [one.host for one in received]
    for one in received:
        check(one, injected=way != "neither", foreign=foreign)
        check_trace(one, turn, theirs="otel" in WAYS[way], injected=way != "neither" and sdk != "no-sdk")


def check(one: Received, *, injected: bool, foreign: bool) -> None:
    members = [line.split(",") for line in one.all("baggage")]
    others = ["tenant=acme"] if injected and foreign else []
    if not injected or one.host != OURS:
        assert ([others] if others else []) == members
        return
    assert 1 == len(members)
    assert ["session.id=s-1", "user.id=u_1", "gen_ai.conversation.id=s-1", "turn.number=3"] == members[0][:4]
    assert members[0][4].startswith("session.sig=") and others == members[0][5:]


def check_trace(one: Received, turn: Any, *, theirs: bool, injected: bool) -> None:
    """The call is a child of the turn, or of the client's span where an instrumentation made one."""
    parents = [line.split("-")[1:3] for line in one.all("traceparent")]
    assert ([format(turn.trace_id, "032x")] if injected else []) == [trace_id for trace_id, _ in parents]
    if injected:
        assert theirs == (parents[0][1] != format(turn.span_id, "016x"))
