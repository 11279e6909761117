"""Every order of installation: one server span, the session's in it, the turn's in that; nothing forged or left."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from opentelemetry import context as otel_context
from opentelemetry import propagate
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from session_mw import current_session
from tests.integrations import orders
from tests.integrations.orders import Build
from tests.integrations.support import (
    FORGED,
    Client,
    Site,
    World,
    ancestors,
    id_of,
    is_clean,
    only,
    parent_of,
    server_spans,
    session_ids,
    traceparent,
)

THEIRS_IS_SERVER: tuple[Build, ...] = (
    orders.fastapi_instrument_app_then_ours,
    orders.fastapi_ours_then_instrument_app,
    orders.fastapi_instrument_app_without_send_and_receive,
    orders.fastapi_instrument_class_then_ours,
    orders.fastapi_own_telemetry,
    orders.fastapi_own_telemetry_and_instrument_app,
    orders.fastapi_ours_then_theirs_added,
    orders.fastapi_theirs_around_ours,
    orders.starlette_ours_then_instrument_app,
    orders.starlette_instrument_class_ours_in_constructor,
    orders.flask_instrument_app_then_ours,
    orders.flask_ours_then_instrument_app,
    orders.flask_instrument_class_then_init_app,
    orders.flask_theirs_around_ours,
    orders.flask_theirs_around_ours_and_instrument_app,
    orders.django_instrument,
    orders.django_async_instrument,
    orders.django_theirs_around,
    orders.django_async_theirs_around,
    orders.litestar_theirs_around_ours,
    orders.quart_theirs_around_ours,
    orders.asgi_theirs_around_ours,
    orders.wsgi_theirs_around_ours,
)
OURS_IS_SERVER: tuple[Build, ...] = (
    orders.fastapi_ours,
    orders.fastapi_add_middleware,
    orders.fastapi_ours_then_instrument_class,
    orders.starlette_ours,
    orders.starlette_ours_then_instrument_class,
    orders.flask_ours,
    orders.flask_ours_then_instrument_class,
    orders.django_ours,
    orders.django_async_ours,
    orders.django_instrument_too_late,
    orders.litestar_ours,
    orders.litestar_ours_around,
    orders.quart_ours,
    orders.asgi_ours,
    orders.wsgi_ours,
)
THEIRS_IS_CHILD: tuple[Build, ...] = (
    orders.fastapi_theirs_added_then_ours,
    orders.fastapi_ours_around_instrumented,
    orders.fastapi_ours_around_own_telemetry,
    orders.starlette_instrument_app_then_ours,
    orders.starlette_instrument_class_then_ours,
    orders.flask_theirs_inside_ours,
    orders.flask_bare_ours_around_instrumented,
    orders.django_instrument_behind_ours,
    orders.django_async_instrument_behind_ours,
    orders.quart_theirs_inside_ours,
    orders.asgi_theirs_inside_ours,
    orders.wsgi_theirs_inside_ours,
)

TRACES, CALLERS = (0xA1, 0xA2), (0xC1, 0xC2)
HEADERS = [{"baggage": FORGED, "traceparent": traceparent(t, c)} for t, c in zip(TRACES, CALLERS, strict=True)]


def _rows(*groups: tuple[Build, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("build", [pytest.param(b, id=b.__name__) for group in groups for b in group])


def visit(site: Site) -> list[httpx.Response]:
    """Ask twice as one client with a caller's trace and forged baggage, then once as another: in one task or thread."""
    first, second = Client(site), Client(site)
    asks: list[tuple[Client, dict[str, str]]] = [(first, HEADERS[0]), (first, HEADERS[1]), (second, {})]
    if not site.asgi:
        return [client.ask(headers=headers) for client, headers in asks]

    async def one_task() -> list[httpx.Response]:
        replies = [await client.ask_async(headers=headers) for client, headers in asks]
        assert current_session() is None
        assert is_clean(otel_context.get_current())
        return replies

    return asyncio.run(one_task())


def by_trace(world: World) -> list[list[ReadableSpan]]:
    """Return the spans of each trace, in order of their first."""
    traces: dict[int, list[ReadableSpan]] = {}
    for span in world.spans():
        traces.setdefault(span.context.trace_id, []).append(span)
    return list(traces.values())


def is_early(span: ReadableSpan, build: Build) -> bool:
    """Django reads the body before any middleware runs: the span for that can know no session."""
    return build is orders.django_async_theirs_around and span.name.endswith("http receive")


def check_tree(spans: list[ReadableSpan], server: ReadableSpan) -> None:
    """Server > session > turn > the handler's, and every span ended once."""
    session, turn, work = only(spans, "session"), only(spans, "turn"), only(spans, "work")
    assert id_of(server) == parent_of(session)
    assert id_of(session) == parent_of(turn)
    assert "turn" in ancestors(work, spans)
    assert len(spans) == len({id_of(span) for span in spans})
    assert turn.start_time <= work.start_time <= work.end_time <= turn.end_time <= session.end_time


@pytest.fixture(params=["default propagator", "stock propagators set by the user"], autouse=True)
def _propagator(request: pytest.FixtureRequest) -> None:
    if request.param != "default propagator":
        stock = [TraceContextTextMapPropagator(), W3CBaggagePropagator()]
        propagate.set_global_textmap(CompositePropagator(stock))


@_rows(THEIRS_IS_SERVER, OURS_IS_SERVER)
def test_stock_propagators_set_afterwards(world: World, build: Build) -> None:
    """Set over ours, they read a client's forged identity; inside of us nothing sees it, and no span is another's."""
    site = build(world)
    Client(site).ask()  # some frameworks make their middleware with the first request
    world.clear()
    propagate.set_global_textmap(CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()]))
    seen = Client(site).seen(headers=HEADERS[0])

    assert {"tenant": "t1"} == seen["baggage"]
    spans = world.spans()
    (server,) = server_spans(spans)
    inside = [span for span in spans if span is not server and server.name not in span.name]
    assert {"session", "turn", "work"} <= {span.name for span in inside}
    assert {seen["id"]} == session_ids([server, *inside])
    assert "admin" not in repr([dict(span.attributes or {}) for span in inside])


@_rows(THEIRS_IS_SERVER, OURS_IS_SERVER, THEIRS_IS_CHILD)
def test_order(world: World, build: Build) -> None:
    """In each order: continuity, the tree, the caller's trace, identity on every span and record, nothing forged."""
    replies = visit(build(world))

    assert [200, 200, 200] == [reply.status_code for reply in replies]
    seen = [reply.json() for reply in replies]
    assert [1, 2, 1] == [s["turn"] for s in seen]
    assert seen[0]["id"] == seen[1]["id"] != seen[2]["id"]
    traces = by_trace(world)
    assert 3 == len(traces)
    for spans, found, caller in zip(traces, seen, (*CALLERS, None), strict=True):
        (outermost,) = [span for span in spans if caller == parent_of(span)]
        assert [outermost] == server_spans(spans) or build in THEIRS_IS_CHILD
        check_tree(spans, outermost)
        assert {found["id"]} == session_ids(span for span in spans if not is_early(span, build))
    assert [*TRACES] == [spans[0].context.trace_id for spans in traces[:2]]
    assert [{"tenant": "t1"}] * 2 + [{}] == [s["baggage"] for s in seen]
    assert [s["id"] for s in seen] == [record.attributes["session.id"] for record in world.records()]
    assert [1, 2, 1] == [record.attributes["turn.number"] for record in world.records()]
    everything = repr([dict(s.attributes or {}) for s in world.spans()] + [dict(r.attributes) for r in world.records()])
    assert "evil" not in everything
    assert "admin" not in everything
