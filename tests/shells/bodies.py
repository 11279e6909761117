"""An application that reads and answers as told, in both worlds, and a client that sends bodies in chunks."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from session_mw import current_turn
from tests.shells.worlds import World, make_world
from tests.telemetry.support import Noting


@dataclass
class Plan:
    """
    What the application does, and what it saw.

    Attributes:
        chunks: Of the answer.
        kind: Content-Type of the answer.
        headers: More of them.
        read: How a WSGI application reads its input.
        work: Done between reading and answering, given the tracer.
        log: In which order things happened.
        seen: The request's body, as it arrived.
    """

    chunks: list[bytes] = field(default_factory=lambda: [b"{}"])
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    read: Callable[[Any], bytes] = lambda stream: bytes(stream.read())
    work: Callable[[Any], None] = lambda tracer: None
    log: list[str] = field(default_factory=list)
    seen: bytes = b""


def world_of(kind: str, plan: Plan, **settings: Any) -> World:
    """Return the application behind the shell of *kind*; spans are noted as the roll-up notes them."""
    holder: dict[str, Any] = {}

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        plan.seen = b""
        while True:
            message = await receive()
            plan.seen += message.get("body", b"")
            plan.log.append("got")
            if not message.get("more_body"):
                break
        plan.work(holder["tracer"])
        headers = [(b"content-type", plan.kind.encode())]
        headers += [(k.encode(), v.encode()) for k, v in plan.headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number, chunk in enumerate(plan.chunks):
            plan.log.append("sent")
            await send({"type": "http.response.body", "body": chunk, "more_body": number < len(plan.chunks) - 1})

    def wsgi(environ: Any, start_response: Any) -> Any:
        plan.seen = plan.read(environ["wsgi.input"])
        plan.work(holder["tracer"])
        start_response("200 OK", [("Content-Type", plan.kind), *plan.headers.items()])
        return iter(plan.chunks)

    world = make_world(kind, asgi if kind == "asgi" else wsgi, **settings)
    world.provider.add_span_processor(Noting())
    holder["tracer"] = world.provider.get_tracer("app")
    return world


def send(world: World, chunks: list[bytes], kind: str = "application/json", path: str = "/chat") -> list[bytes]:
    """Send a POST whose body comes in *chunks*; return the chunks of the answer."""
    deliver = _send_asgi if world.kind == "asgi" else _send_wsgi
    return deliver(world.app, chunks, kind, path)


def _send_asgi(app: Any, chunks: list[bytes], kind: str, path: str) -> list[bytes]:
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "scheme": "https",
        "headers": [(b"content-type", kind.encode())],
        "client": ("203.0.113.9", 50000),
        "server": ("testserver", 443),
    }
    waiting, sent = list(chunks), []

    async def receive() -> Any:
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def deliver(message: Any) -> None:
        if message["type"] == "http.response.body":
            sent.append(message["body"])

    asyncio.run(app(scope, receive, deliver))
    return sent


def _send_wsgi(app: Any, chunks: list[bytes], kind: str, path: str) -> list[bytes]:
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "203.0.113.9",
        "CONTENT_TYPE": kind,
        "CONTENT_LENGTH": str(sum(map(len, chunks))),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(b"".join(chunks)),
    }
    body = app(environ, lambda *started: lambda data: None)
    try:
        return list(body)
    finally:
        body.close()


def say(**said: Any) -> Callable[[Any], None]:
    """Return work that sets *said* on the turn."""

    def work(tracer: Any) -> None:
        turn = current_turn()
        assert turn is not None
        turn.set(**said)

    return work
