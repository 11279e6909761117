"""
A hostile client in front of two services: it becomes nobody else, leaves no trace, and reaches the second service not.

The first service calls the second one, and a vendor. Both of ours share ``baggage_key``; the first one also believes a
network that the client is not in, through proxies that it does not own.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from opentelemetry import baggage, propagate
from opentelemetry.context import Context
from opentelemetry.instrumentation import asgi as otel_asgi
from opentelemetry.instrumentation import wsgi as otel_wsgi
from opentelemetry.sdk.trace import Span, SpanProcessor

from session_mw import current_session, instrument
from session_mw._core.baggage import split
from session_mw.clients.httpx import instrument_client
from session_mw.testing import FakeClock
from tests.integrations.servers import ask, serve
from tests.security.hostile import EVIL, Attacker, Case
from tests.security.signed import OURS
from tests.shells.worlds import World, make_world

KEY = "baggage-key-of-both-0123456789-abcdef"
TRUST: dict[str, Any] = {"trusted_peers": ["10.0.0.0/8", "fd00::/8"], "trusted_proxies": ["10.9.0.0/16"]}
CLIENT = "203.0.113.9"
VENDOR, SECOND = "api.vendor.example", "localhost:8001"
MOST_SECONDS = 0.25  # of CPU for one case; all take a few milliseconds

log = logging.getLogger("hostile.app")


class CopyBaggage(SpanProcessor):
    """Writes all baggage onto every span, as OpenTelemetry's BaggageSpanProcessor does when it is let."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        span.set_attributes({f"copied.{key}": str(value) for key, value in baggage.get_all(parent_context).items()})


class Everything(logging.Handler):
    """Keeps every log record, whatever its level, as text with all its fields."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.getMessage()} {record.__dict__}")


class Service:
    """A service of ours: says who it takes the client for, and calls others."""

    def __init__(self, kind: str, clock: Callable[[], int], calls: bool, **settings: Any) -> None:
        self.calls = calls
        self.seen: dict[str, Any] = {}
        self.sent: dict[str, str] = {}
        app = self.asgi if kind == "asgi" else self.wsgi
        given = {"baggage_key": KEY, "exclude_paths": ["/excluded"], **settings}
        self.world: World = make_world(kind, app, clock=clock, **given)  # type: ignore[arg-type]
        self.world.provider.add_span_processor(CopyBaggage())

    def answer(self, header: str) -> bytes:
        session = current_session()
        log.warning("a line of the application")
        self.seen = {"id": session.id if session else None, "user": session.user_id if session else None, "raw": header}
        if self.calls:
            for host in (SECOND, VENDOR):
                carrier = {"host": host}
                propagate.inject(carrier)
                self.sent[host] = carrier.get("baggage", "")
        return json.dumps(self.seen).encode()

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        lines = [value.decode("latin-1") for name, value in scope["headers"] if name == b"baggage"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": self.answer(",".join(lines))})

    def wsgi(self, environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [self.answer(environ.get("HTTP_BAGGAGE", ""))]

    def put_inside_opentelemetry(self) -> None:
        """Let an instrumentation stand outside of us, so that its server span starts before we see the request."""
        inner, provider = self.world.app, self.world.provider
        outer: Any = otel_asgi if self.world.kind == "asgi" else otel_wsgi
        self.world.app = outer.OpenTelemetryMiddleware(inner, tracer_provider=provider)
        self.world.app.engine = inner.engine

    def told(self) -> str:
        """Return everything that the spans say, and forget them."""
        spans = [(s.name, dict(s.attributes), [dict(e.attributes) for e in s.events]) for s in self.world.spans()]
        self.world.exporter.clear()
        return repr(spans)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Every log line from here on."""
    handler, root = Everything(), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler.lines
    root.removeHandler(handler)
    root.setLevel(before)


def attacked(front: Service, behind: Service, case: Case, logged: list[str]) -> None:
    """Send one case to the first service, what that one sends to the second, and look at everything."""
    began = time.process_time()
    reply = front.world.request(headers=case.headers, cookies=False, peer=CLIENT)
    seconds = time.process_time() - began
    header = front.sent[SECOND]

    assert 200 == reply.status
    nobody_else(front.seen, case)
    assert EVIL not in f"{reply.headers} {front.sent}"
    assert {} == split([front.sent[VENDOR]])[0]

    ours, _, problems = split([header])
    assert front.seen["id"] == ours["session.id"] and () == problems
    assert header.startswith("session.id=") and len(header) <= 8192
    assert 200 == behind.world.request(headers={"baggage": header}, cookies=False, peer=CLIENT).status
    assert front.seen["id"] == behind.seen["id"]
    assert {front.seen["id"]} == {s.attributes.get("session.id") for s in (*front.world.spans(), *behind.world.spans())}
    assert EVIL not in f"{behind.seen} {front.told()} {behind.told()} {logged}"
    assert seconds < MOST_SECONDS
    logged.clear()


def nobody_else(seen: dict[str, Any], case: Case) -> None:
    """The handler saw a session of its own, or the one that was signed; and nothing of ours in the header."""
    assert EVIL not in repr(seen)
    assert case.known == seen["id"] or (seen["user"] is None and not seen["id"].startswith("sess-"))
    assert seen["user"] in (None, OURS["user.id"])
    assert {} == split([seen["raw"]])[0]


def passed_by(front: Service, case: Case) -> None:
    """Send one case to a path that is left alone: its header is cleaned all the same."""
    assert 200 == front.world.request(path="/excluded", headers=case.headers, cookies=False, peer=CLIENT).status
    assert front.seen["id"] is None
    assert EVIL not in f"{front.seen} {front.sent} {front.told()}"


def two_services(kind: str, place: str) -> tuple[Service, Service]:
    """Return both, the first one as OpenTelemetry's propagator knows it."""
    clock = FakeClock(time.time_ns() // 1_000_000)  # the propagator signs by the real clock
    front, behind = Service(kind, clock, True, **TRUST), Service(kind, clock, False)
    instrument(front.world.engine.policy, processors=False)
    if place == "inside OpenTelemetry":
        front.put_inside_opentelemetry()
    return front, behind


def attack(kind: str, place: str, numbers: range, logged: list[str]) -> None:
    """Attack with the cases of these numbers; a failure says which one it was."""
    front, behind = two_services(kind, place)
    for number in numbers:
        case = Attacker(number, front.world).case(number)
        try:
            attacked(front, behind, case, logged)
            if number % 4 == 0:
                passed_by(front, case)
        except Exception as error:
            error.add_note(f"case {number}, {case.kind}: {case.headers!r:.2000}")
            raise


PLACES = ["alone", "inside OpenTelemetry"]


@pytest.mark.parametrize("place", PLACES)
def test_hostile_client(kind: str, place: str, logged: list[str]) -> None:
    """75 cases in each world and place: no identity, no trace on spans and in logs, nothing handed on, no 500."""
    first = 75 * (PLACES.index(place) + 2 * (kind == "wsgi"))
    attack(kind, place, range(first, first + 75), logged)


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_hostile_client_2000_cases(kind: str, place: str, logged: list[str]) -> None:
    """Two thousand more, 500 in each world and place."""
    first = 1000 + 500 * (PLACES.index(place) + 2 * (kind == "wsgi"))
    attack(kind, place, range(first, first + 500), logged)


# The same over sockets


class Received:
    """Keeps the baggage lines of a service's requests, as its server got them, in front of everything of ours."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.lines: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.lines = [value for name, value in scope["headers"] if name == b"baggage"]
        await self.app(scope, receive, send)


class Caller(Service):
    """The first service, with a real HTTP client: it calls the second one by its port, and a vendor."""

    port = 0

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        def vendor(request: httpx.Request) -> httpx.Response:
            self.sent[VENDOR] = request.headers.get("baggage", "")
            return httpx.Response(200)

        body = self.answer(",".join(v.decode("latin-1") for k, v in scope["headers"] if k == b"baggage"))
        mounts = {f"all://{VENDOR}": httpx.MockTransport(vendor)}
        async with instrument_client(httpx.AsyncClient(mounts=mounts, trust_env=False)) as client:
            await client.post(f"http://127.0.0.1:{self.port}/answer")
            await client.post(f"https://{VENDOR}/v1/chat")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


def status_of(port: int, case: Case) -> int:
    """Send one case over a socket, bytes as they are, and return the status."""
    lines = [b"POST /chat HTTP/1.1", b"host: front", b"connection: close", b"content-length: 2"]
    lines += [name.encode() + b": " + value for name, value in case.headers]
    with ask(port, b"\r\n".join(lines) + b"\r\n\r\n{}") as connection:
        reply = b""
        while more := connection.recv(65536):
            reply += more
    return int(reply.split(b" ", 2)[1])


@pytest.mark.slow
def test_hostile_client_over_sockets(logged: list[str]) -> None:
    """Two uvicorns, 66 cases: what the server does not refuse (400) ends as above."""
    clock = FakeClock(time.time_ns() // 1_000_000)
    front, behind = Caller("asgi", clock, False, **TRUST), Service("asgi", clock, False)
    received = Received(behind.world.app)
    instrument(front.world.engine.policy, processors=False)
    served = 0
    with serve(received) as front.port, serve(front.world.app, proxy_headers=True, forwarded_allow_ips="*") as port:
        for number in range(5000, 5066):
            case = Attacker(number, front.world).case(number)
            front.seen, behind.seen, front.sent = {}, {}, {}
            status = status_of(port, case)
            assert status in (200, 400), f"case {number}, {case.kind}"
            if status == 200:
                served += 1
                nobody_else(front.seen, case)
                (header,) = received.lines
                assert {} == split([front.sent[VENDOR]])[0]
                assert front.seen["id"] == behind.seen["id"]
                assert EVIL not in f"{header!r} {front.sent} {behind.seen} {front.told()} {behind.told()} {logged}"
            logged.clear()

    assert served > 40
