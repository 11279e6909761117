"""
One application in two worlds, and a client that drives both without a server.

The application answers by path; each handler reports what it sees of its session, so that the same cases with the same
assertions run over the ASGI and the WSGI shell.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs
from wsgiref.util import setup_testing_defaults

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from session_mw import CallableSink, SessionSettings, copy_context, current_conversation, current_session, current_turn
from session_mw.asgi import SessionTrackingMiddleware as ASGIMiddleware
from session_mw.testing import FakeClock
from session_mw.wsgi import SessionTrackingMiddleware as WSGIMiddleware

SECRET = "0123456789abcdef-a-secret-for-tests-only-0123456789"


def seen() -> dict[str, Any]:
    """Return what a handler sees of its session, and open a span as any instrumentation inside would."""
    session, turn, conversation = current_session(), current_turn(), current_conversation()
    with trace.get_tracer("app", tracer_provider=_provider.get("provider")).start_as_current_span("work"):
        pass
    if session is None:
        return {"id": None}
    return {
        "id": session.id,
        "turn": turn.number if turn else None,
        "user": session.user_id,
        "previous": session.previous_id,
        "conversation": conversation.id if conversation else None,
        "type": session.type,
        "channel": session.channel,
    }


_provider: dict[str, Any] = {}


def act(path: str, query: dict[str, str]) -> tuple[int, list[tuple[str, str]], list[Callable[[], bytes]]]:  # noqa: C901
    """Do what *path* says; the body is a list of functions, called one by one as the body streams."""

    def report() -> bytes:
        return json.dumps(seen()).encode()

    status, headers = 200, [("content-type", "application/json")]
    session = current_session() if path not in ("/untouched",) else None
    body: list[Callable[[], bytes]] = [report]
    if path == "/untouched":
        body = [lambda: b"plain"]
    elif path == "/stream":
        body = [lambda: report() + b"\n"] * 3
    elif path == "/boom":
        raise RuntimeError("the application failed")
    elif path == "/boom-late":
        body = [lambda: b"first", _boom]
    elif path == "/error":
        status = 503
    elif path == "/redirect":
        status, headers = 303, [("location", "/echo")]
        body = [lambda: b""]
    elif path == "/no-content":
        status, body = 204, [lambda: b""]
    elif path == "/cookies":
        headers += [("set-cookie", "theme=dark; Path=/"), ("set-cookie", "lang=en; Path=/")]
    elif path == "/vary":
        headers += [("vary", "Accept-Encoding, cookie"), ("cache-control", "max-age=60")]
    elif path == "/private":
        headers += [("cache-control", "private, max-age=60")]
    elif path == "/thread":
        body = [_in_thread]
    elif session is not None:
        _say(path, query, session)
    return status, headers, body


def _say(path: str, query: dict[str, str], session: Any) -> None:
    if path == "/login":
        session.identify(query.get("user"), tier=query.get("tier"))
    elif path == "/logout":
        session.end()
    elif path == "/rotate":
        session.rotate()
    elif path == "/set":
        session.set(**query)
    elif path == "/end":
        session.end(query["reason"])
    elif path == "/convert":
        session.convert()
    elif path == "/journey":
        session.journey(query["name"], query["stage"], *(int(query[n]) for n in ("number", "total") if n in query))
    elif path == "/usage":
        turn = current_turn()
        assert turn is not None
        turn.set(intent="question", action="answered", input_length=12, output_length=34)
        turn.add_usage(input_tokens=100, output_tokens=20, cost_usd=0.000123, model="local")
        turn.add_usage(input_tokens=1, output_tokens=2, cost_usd=0.000007)


def _boom() -> bytes:
    raise RuntimeError("the application failed late")


def _in_thread() -> bytes:
    found: dict[str, Any] = {}
    thread = threading.Thread(target=copy_context(lambda: found.update(seen())))
    thread.start()
    thread.join()
    return json.dumps(found).encode()


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    """The application in ASGI."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    query = {k: v[0] for k, v in parse_qs(scope.get("query_string", b"").decode()).items()}
    status, headers, body = act(scope["path"], query)
    raw = [(k.encode(), v.encode()) for k, v in headers]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    for number, chunk in enumerate(body):
        await asyncio.sleep(0)
        more = number < len(body) - 1
        await send({"type": "http.response.body", "body": chunk(), "more_body": more})


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


REASONS = {200: "OK", 204: "No Content", 303: "See Other", 503: "Service Unavailable"}


def wsgi_app(environ: Any, start_response: Any) -> Iterator[bytes]:
    """The application in WSGI."""
    query = {k: v[0] for k, v in parse_qs(environ.get("QUERY_STRING", "")).items()}
    status, headers, body = act(environ["PATH_INFO"], query)
    start_response(f"{status} {REASONS[status]}", headers)
    return (chunk() for chunk in body)


@dataclass
class Reply:
    """A response as the client sees it. Header names in lower case."""

    status: int
    headers: list[tuple[str, str]]
    chunks: list[bytes]

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self.chunks)

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    def all(self, name: str) -> list[str]:
        """Every header of *name*."""
        return [v for k, v in self.headers if k == name]

    def one(self, name: str) -> str | None:
        """The only header of *name*, None when there is none."""
        found = self.all(name)
        assert len(found) <= 1, found
        return found[0] if found else None


@dataclass
class World:
    """
    The application behind one of the shells, with everything around it under control.

    Attributes:
        kind: asgi or wsgi.
        settings: In use.
        clock: Turned by hand.
        events: Every session.start and session.end that came out.
        exporter: Every span that came out.
        app: The wrapped application.
        jar: Cookies of the client.
        run: Runs a coroutine of the ASGI world, each on a loop of its own by default.
    """

    kind: str
    settings: SessionSettings
    clock: FakeClock
    events: list[Any]
    exporter: InMemorySpanExporter
    provider: TracerProvider
    app: Any
    jar: dict[str, str] = field(default_factory=dict)
    run: Callable[[Any], Any] = asyncio.run

    @property
    def engine(self) -> Any:
        """The middleware's engine."""
        return self.app.engine

    def request(
        self,
        method: str = "POST",
        path: str = "/echo",
        headers: Any = (),
        *,
        cookies: bool = True,
        scheme: str = "https",
        peer: str = "203.0.113.9",
    ) -> Reply:
        """Send one request, keep its cookies, and return the response; the application's errors are raised."""
        lines = [(k.lower(), v) for k, v in (headers.items() if isinstance(headers, dict) else headers)]
        if cookies and self.jar:
            lines.append(("cookie", "; ".join(f"{k}={v}" for k, v in self.jar.items())))
        if self.kind == "asgi":
            reply = _send_asgi(self.app, method, path, lines, scheme, peer, self.run)
        else:
            reply = _send_wsgi(self.app, method, path, lines, scheme, peer)
        for line in reply.all("set-cookie"):
            name, _, rest = line.partition("=")
            value = rest.split(";", 1)[0]
            if "max-age=0" in line.lower():
                self.jar.pop(name, None)
            else:
                self.jar[name] = value
        return reply

    def spans(self, name: str | None = None) -> list[Any]:
        """Return the finished spans, of one name if given."""
        return [s for s in self.exporter.get_finished_spans() if name is None or s.name == name]

    def work(self) -> None:
        """Do at once what the background would do."""
        self.engine.background.step()

    def ends(self) -> list[Any]:
        """Return every session.end so far."""
        self.work()
        return [e for e in self.events if e.event_name == "session.end"]

    def starts(self) -> list[Any]:
        """Return every session.start so far."""
        self.work()
        return [e for e in self.events if e.event_name == "session.start"]


def make_world(kind: str, app: Any = None, *, clock: FakeClock | None = None, **overrides: Any) -> World:
    """Return the application behind the shell of *kind*; nothing runs in the background unless asked for."""
    clock = clock or FakeClock()
    events: list[Any] = []
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    _provider["provider"] = provider
    given = {"secret_key": SECRET, "sweep": "thread", "lifecycle_spans": "never"}
    given["event_sink"] = CallableSink(events.extend)
    settings = SessionSettings(**{**given, **overrides})
    middleware: Any = ASGIMiddleware if kind == "asgi" else WSGIMiddleware
    inner = app or (asgi_app if kind == "asgi" else wsgi_app)
    wrapped = middleware(inner, settings, tracer_provider=provider, clock=clock)
    hold_background(wrapped.engine)
    return World(kind, settings, clock, events, exporter, provider, wrapped)


def hold_background(engine: Any) -> None:
    """Let no thread run: tests call ``step`` themselves."""
    engine.background.hold()


def _send_asgi(
    app: Any, method: str, path: str, lines: Any, scheme: str, peer: str, run: Callable[[Any], Any] = asyncio.run
) -> Reply:
    raw_path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "path": raw_path,
        "raw_path": raw_path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "scheme": scheme,
        "headers": [(k.encode("latin-1"), v if isinstance(v, bytes) else v.encode("latin-1")) for k, v in lines],
        "client": (peer, 50000),
        "server": ("testserver", 443),
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    run(app(scope, receive, send))
    start = next(m for m in sent if m["type"] == "http.response.start")
    headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in start["headers"]]
    chunks = [m.get("body", b"") for m in sent if m["type"] == "http.response.body"]
    return Reply(start["status"], headers, chunks)


def _send_wsgi(app: Any, method: str, path: str, lines: Any, scheme: str, peer: str) -> Reply:
    raw_path, _, query = path.partition("?")
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": raw_path, "QUERY_STRING": query}
    environ |= {"REMOTE_ADDR": peer, "wsgi.url_scheme": scheme}
    for name, value in lines:
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        key = "HTTP_" + name.upper().replace("-", "_")
        joint = "; " if name == "cookie" else ","
        environ[key] = environ[key] + joint + text if key in environ else text
    setup_testing_defaults(environ)
    started: list[Any] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        started[:] = [status, headers]
        return lambda data: None

    body = app(environ, start_response)
    chunks = []
    try:
        chunks.extend(body)
    finally:
        if hasattr(body, "close"):
            body.close()
    return Reply(int(started[0].split()[0]), [(k.lower(), v) for k, v in started[1]], chunks)
