"""A client that leaves in the middle: real uvicorn, a raw socket. It ends the turn, once, and is nobody's failure."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from opentelemetry.trace import StatusCode

from session_mw.asgi import SessionTrackingMiddleware
from session_mw.integrations.fastapi import SessionTracking
from tests.integrations import django_project
from tests.integrations.orders import instrument_fastapi, native
from tests.integrations.servers import PATIENCE, Ended, ask, read_until, serve
from tests.integrations.support import World, only, server_spans, session_ids

POST = b"POST %s HTTP/1.1\r\nHost: shop.example\r\nContent-Length: %d\r\n\r\n"


class Chat:
    """A stream that does not end by itself."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.closed = threading.Event()

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            with self._world.tracer.start_as_current_span("model"):
                while True:
                    yield b"word "
                    await asyncio.sleep(0.01)
        finally:
            self.closed.set()


def fastapi_ours(world: World, chat: Chat, **options: Any) -> Any:
    app = FastAPI(**options)
    app.post("/stream")(lambda: StreamingResponse(chat.chunks()))

    @app.post("/read")
    async def read(request: Request) -> None:
        await request.body()

    SessionTracking(app, **world.options())
    return app


def fastapi_instrumented(world: World, chat: Chat) -> Any:
    return instrument_fastapi(world, fastapi_ours(world, chat))


def fastapi_own_telemetry(world: World, chat: Chat) -> Any:
    return fastapi_ours(world, chat, **native(world))


def bare_asgi(world: World, chat: Chat) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        gone = asyncio.ensure_future(left(receive))
        stream = chat.chunks()
        while not gone.done():
            await send({"type": "http.response.body", "body": await stream.__anext__(), "more_body": True})
        await stream.aclose()  # type: ignore[attr-defined]

    async def left(receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    return SessionTrackingMiddleware(app, **world.options())


def django_async(world: World, chat: Chat) -> Any:
    django_project.configure(world)
    django_project.chunks = chat.chunks
    return django_project.site(asgi=True).target


@pytest.mark.parametrize("build", [fastapi_ours, fastapi_instrumented, fastapi_own_telemetry, bare_asgi, django_async])
def test_client_leaves_in_the_middle(world: World, build: Callable[[World, Chat], Any]) -> None:
    """The turn ends once, not as an error; the stream's own span lies in it; the next client has another session."""
    chat, turns = Chat(world), Ended("turn")
    world.provider.add_span_processor(turns)
    with serve(build(world, chat), lifespan="off") as port:
        for _ in range(2):
            connection = ask(port, POST % (b"/stream", 0))
            read_until(connection, b"word")
            connection.close()
            assert turns.wait()
        assert chat.closed.wait(PATIENCE)

    assert 2 == len(world.spans("turn")) == len(world.spans("session")) == len(server_spans(world.spans()))
    assert 2 == len(session_ids(world.spans("turn")))
    for turn in world.spans("turn"):
        assert StatusCode.UNSET is turn.status.status_code
        assert "error.type" not in (turn.attributes or {})
    assert {None} != session_ids(world.spans("model"))
    assert session_ids(world.spans("model")) <= session_ids(world.spans("turn"))


def test_client_leaves_before_its_request_is_whole(world: World) -> None:
    """Starlette tells the handler by an exception: for the turn that is no error either."""
    turns = Ended("turn")
    world.provider.add_span_processor(turns)
    with serve(fastapi_ours(world, Chat(world)), lifespan="off") as port:
        connection = ask(port, POST % (b"/read", 100) + b"half of it")
        connection.close()
        assert turns.wait()

    assert StatusCode.UNSET is only(world.spans(), "turn").status.status_code
