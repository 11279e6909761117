"""In every order of installation: sessions are sampled as a whole, and a client's trace goes on only where it may."""

from __future__ import annotations

import logging
import random
import time
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import propagate
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler
from opentelemetry.trace import Link, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from session_mw import SessionRatioSampler, SessionSettings, configure, session_context
from session_mw._engine import compiled
from session_mw._engine.parts import latest_engine
from session_mw._hierarchy import hosts
from session_mw.telemetry.early import LINK_KEY
from session_mw.telemetry.spans import linked
from tests.integrations import orders
from tests.integrations.orders import Build
from tests.integrations.support import Client, Site, World, id_of, only, parent_of, server_spans, traceparent
from tests.integrations.test_orders import OURS_IS_SERVER, THEIRS_IS_CHILD, THEIRS_IS_SERVER

ALL = (*THEIRS_IS_SERVER, *OURS_IS_SERVER, *THEIRS_IS_CHILD)
SOME = (
    orders.fastapi_instrument_app_then_ours,
    orders.fastapi_own_telemetry,
    orders.fastapi_ours_around_own_telemetry,
    orders.flask_ours_then_instrument_app,
    orders.django_instrument,
    orders.django_async_instrument,
    orders.django_ours,
    orders.asgi_theirs_around_ours,
    orders.asgi_ours,
    orders.wsgi_theirs_around_ours,
    orders.wsgi_ours,
)
NO_PEER = (orders.fastapi_own_telemetry,)  # FastAPI's own telemetry hands on headers, and no address

TRACE, CALLER = 0xA1, 0xC1
SAMPLED = {"traceparent": traceparent(TRACE, CALLER)}
UNSAMPLED = {"traceparent": f"00-{TRACE:032x}-{CALLER:016x}-00"}


def _rows(builds: tuple[Build, ...]) -> pytest.MarkDecorator:
    """Return a row for each order; those that differ from one of ``SOME`` in the framework only are slow tests."""
    slow = {build: () if build in SOME else pytest.mark.slow for build in builds}
    return pytest.mark.parametrize("build", [pytest.param(b, id=b.__name__, marks=slow[b]) for b in builds])


def ready(world: World, build: Build, sampler: Sampler, **settings: Any) -> Site:
    """Return the application, sampled; some frameworks make their middleware with the first request: it has come."""
    world.provider.sampler = sampler
    world.tracer = world.provider.get_tracer("shop")
    world.overrides.update(settings)
    site = build(world)
    Client(site).ask()
    world.clear()
    return site


def asked(world: World, client: Client, headers: dict[str, str] | None = None) -> tuple[str, list[ReadableSpan]]:
    """Return the session that a request had, and the spans that were kept of it."""
    world.clear()
    return client.seen(headers=headers or {})["id"], world.spans()


@pytest.fixture
def _known_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids are the same in every run: of six sessions some are kept and some are not."""
    monkeypatch.setattr(compiled, "os", SimpleNamespace(urandom=random.Random(5).randbytes))


@pytest.mark.usefixtures("_known_ids")
@pytest.mark.parametrize("parent_based", [True, False], ids=["parent based", "alone"])
@_rows(ALL)
def test_sessions_are_kept_or_dropped_whole(
    world: World, build: Build, parent_based: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """All spans of all requests of a session, or none: as its id says, from the first request on."""
    ours = SessionRatioSampler(0.5)
    site = ready(world, build, ParentBased(ours) if parent_based else ours)
    kept = set()
    for client in (Client(site), Client(site), Client(site), Client(site)):
        first, second = asked(world, client), asked(world, client)

        assert first[0] == second[0]
        for session_id, spans in (first, second):
            wanted = {"session", "turn", "work"} if ours.keeps(session_id) else set()
            assert wanted == {span.name for span in spans} & {"session", "turn", "work"}
            assert bool(wanted) is bool(server_spans(spans)) is bool(spans)
        kept.add(ours.keeps(first[0]))
    assert {True, False} == kept
    assert [] == [record.getMessage() for record in caplog.records if "SessionRatioSampler" in record.getMessage()]


@pytest.mark.parametrize("caller", [SAMPLED, UNSAMPLED], ids=["sampled", "unsampled"])
@_rows(SOME)
def test_remote_parent_decides(world: World, build: Build, caller: dict[str, str]) -> None:
    """``ParentBased`` asks the caller first: a session may be kept there, or dropped, and so it is here."""
    kept = caller is SAMPLED
    site = ready(world, build, ParentBased(SessionRatioSampler(0 if kept else 1)))

    assert ({TRACE} if kept else set()) == {span.context.trace_id for span in asked(world, Client(site), caller)[1]}
    assert kept is not bool(asked(world, Client(site))[1])


@_rows(ALL)
def test_untrusted_client_does_not_force_recording(world: World, build: Build) -> None:
    """With ``continue_trace="trusted"`` the flag of a client's traceparent decides nothing, in neither direction."""
    site = ready(world, build, ParentBased(ALWAYS_OFF), continue_trace="trusted")

    assert [] == asked(world, Client(site), SAMPLED)[1]


@_rows(ALL)
def test_untrusted_client_gets_a_trace_of_its_own(world: World, build: Build) -> None:
    """It begins with us, and one link leads to the client's span; nothing else of the client's is in it."""
    site = ready(world, build, ParentBased(ALWAYS_ON), continue_trace="trusted")
    client = Client(site)
    _, spans = asked(world, client, {**UNSAMPLED, "tracestate": "vendor=evil"})

    (root,) = [span for span in spans if parent_of(span) is None]
    assert {root.context.trace_id} == {span.context.trace_id for span in spans} != {TRACE}
    assert {id_of(span) for span in spans} >= {parent_of(span) for span in spans if span is not root}
    only(spans, "turn")
    assert [(root, TRACE, CALLER)] == [
        (span, link.context.trace_id, link.context.span_id) for span in spans for link in span.links
    ]
    assert "evil" not in repr([span.context.trace_state for span in spans])
    assert [] == [link for span in asked(world, client)[1] for link in span.links]


@_rows(SOME)
def test_trusted_peer_is_continued(world: World, build: Build) -> None:
    """A network of ``trusted_peers`` may say which trace it is, where its address is known before the span begins."""
    trust = {"continue_trace": "trusted", "trusted_peers": ["127.0.0.0/8"]}
    site = ready(world, build, ParentBased(ALWAYS_ON), **trust)
    traces = {span.context.trace_id for span in asked(world, Client(site), SAMPLED)[1]}

    assert (build in NO_PEER) is ({TRACE} != traces)


@_rows(SOME)
def test_signed_session_is_continued(world: World, build: Build) -> None:
    """Whoever shares the key for baggage may say which trace it is, from any address; an altered set may not."""
    site = ready(world, build, ParentBased(ALWAYS_ON), continue_trace="trusted")
    session_id, spans = asked(world, Client(site), {**SAMPLED, "baggage": signed("s-42")})

    assert "s-42" == session_id
    assert {TRACE} == {span.context.trace_id for span in spans}
    _, spans = asked(world, Client(site), {**SAMPLED, "baggage": signed("s-42")[:-4] + "AAAA"})
    assert {TRACE} & {span.context.trace_id for span in spans} == set()


def signed(session_id: str) -> str:
    """Return the baggage of another service that shares our key."""
    engine: Any = latest_engine()
    entries = {"session.id": session_id}
    entries["session.sig"] = engine.policy.signer.sign(entries, time.time_ns() // 1_000_000)
    return ",".join(f"{key}={value}" for key, value in entries.items())


@_rows(SOME)
def test_never_continued(world: World, build: Build) -> None:
    """``continue_trace="never"``: not even a service that we trust; and our own spans stay one trace."""
    site = ready(world, build, ParentBased(ALWAYS_ON), continue_trace="never", trusted_peers=["127.0.0.0/8"])
    _, spans = asked(world, Client(site), {**SAMPLED, "baggage": signed("s-42")})

    (trace_id,) = {span.context.trace_id for span in spans}
    assert TRACE != trace_id
    assert [TRACE] == [link.context.trace_id for span in spans for link in span.links]


@_rows((orders.asgi_theirs_around_ours, orders.wsgi_theirs_around_ours, orders.django_instrument))
def test_replaced_propagator_is_said_once(world: World, build: Build, caplog: pytest.LogCaptureFixture) -> None:
    """Without ours the sampler cannot know the session: the trace's id decides, and one line says so."""
    site = ready(world, build, ParentBased(SessionRatioSampler(1)))
    propagate.set_global_textmap(CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()]))
    for _ in range(3):
        Client(site).ask()

    said = [r for r in caplog.records if r.name == "session_mw" and "SessionRatioSampler did not know" in r.message]
    assert [logging.WARNING] == [record.levelno for record in said]


def test_each_middleware_has_its_own_setting(world: World) -> None:
    """Two applications in a process, the later one of which continues everybody: the first one does not, still."""
    first = ready(world, orders.asgi_ours, ParentBased(ALWAYS_OFF), continue_trace="trusted")
    second = ready(world, orders.wsgi_ours, ParentBased(ALWAYS_OFF), continue_trace="always")

    assert [] == asked(world, Client(first), SAMPLED)[1]
    assert {TRACE} == {span.context.trace_id for span in asked(world, Client(second), SAMPLED)[1]}


@_rows((orders.asgi_theirs_around_ours, orders.wsgi_ours))
def test_sessions_of_scripts_change_nothing(world: World, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """``configure()`` in the same process, later: the middleware's setting is the one for requests."""
    monkeypatch.setattr(hosts, "_own", [])
    monkeypatch.setattr(hosts, "_said", [])
    site = ready(world, build, ParentBased(ALWAYS_OFF), continue_trace="trusted")
    configure(SessionSettings(**world.settings(continue_trace="always")))
    with session_context("script-1"):
        pass

    assert [] == asked(world, Client(site), SAMPLED)[1]


def test_link_is_made_once() -> None:
    """It is the request's: what else begins in its context, an application called in process, is not linked."""
    client = SpanContext(TRACE, CALLER, is_remote=True)
    inside, links = linked(Context({LINK_KEY: Link(client)}), None, None)

    assert [client] == [link.context for link in links or ()]
    assert None is linked(inside, None, None)[1]


@pytest.mark.usefixtures("_known_ids")
def test_first_request_may_make_the_middleware(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Without lifespan a span around FastAPI begins before our middleware is there: nobody is told off for that."""
    ours = SessionRatioSampler(0.5)
    world.provider.sampler = ParentBased(ours)
    client = Client(orders.fastapi_theirs_around_ours(world))
    first, second = asked(world, client), asked(world, client)

    assert first[0] == second[0]
    assert ours.keeps(second[0]) is bool(second[1])
    assert [] == [record.getMessage() for record in caplog.records if "SessionRatioSampler" in record.getMessage()]


def test_propagator_before_the_one_of_traces_is_said_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Placed by hand where it is asked too early, ours cannot decline a trace: one line says so."""
    from session_mw import SessionBaggagePropagator

    propagate.set_global_textmap(CompositePropagator([SessionBaggagePropagator(), TraceContextTextMapPropagator()]))
    ready(world, orders.asgi_ours, ALWAYS_ON, continue_trace="trusted")

    assert 1 == len([r for r in caplog.records if "Put it last" in r.message])


@_rows((orders.asgi_theirs_around_ours, orders.wsgi_theirs_inside_ours))
def test_propagators_in_the_other_order(world: World, build: Build, caplog: pytest.LogCaptureFixture) -> None:
    """``OTEL_PROPAGATORS=baggage,tracecontext`` is put right where traces are declined."""
    propagate.set_global_textmap(CompositePropagator([W3CBaggagePropagator(), TraceContextTextMapPropagator()]))
    site = ready(world, build, ParentBased(ALWAYS_OFF), continue_trace="trusted")

    assert [] == asked(world, Client(site), SAMPLED)[1]
    assert [] == [record for record in caplog.records if record.name == "session_mw" and record.levelno > logging.INFO]
