"""The sites that visitors see: pages of any host that only run scripts, and an API with sessions, over real https."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from session_mw.asgi import SessionTrackingMiddleware
from tests.integrations.servers import serve
from tests.integrations.support import World

# Called with [url, options of fetch()].
ASK = """async ([url, options]) => {
  try {
    const answer = await fetch(url, options)
    return {status: answer.status, token: answer.headers.get("x-session-token"), body: await answer.json()}
  } catch (error) { return {error: String(error)} }
}"""


def make_certificate(folder: Path) -> dict[str, str]:
    """Make a certificate that nobody trusts, and return uvicorn's options for it."""
    key, certificate = str(folder / "key.pem"), str(folder / "certificate.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=session-mw.test"]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return {"ssl_keyfile": key, "ssl_certfile": certificate}


async def blank(request: Request) -> Response:
    """A page with nothing on it."""
    return HTMLResponse("<!doctype html><title>page</title><body>page</body>")


pages = Starlette(routes=[Route("/{path:path}", blank)])


class Api:
    """
    An API with sessions.

    Attributes:
        world: What its telemetry said.
        port: Where it listens.
        received: Method and headers of every request, as they came from the browser.
        answered: Method and headers of every answer, as they went to it.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.port = 0
        self.received: list[tuple[str, dict[str, str]]] = []
        self.answered: list[tuple[str, list[tuple[str, str]]]] = []

    def url(self, host: str, path: str = "/chat", scheme: str = "https") -> str:
        """Return a URL of it under a name."""
        return f"{scheme}://{host}:{self.port}{path}"

    def answers(self, method: str, name: str) -> list[str]:
        """Return the headers of a name in all answers to a method."""
        return [value for found, pairs in self.answered for key, value in pairs if (found, key) == (method, name)]

    def watched(self, app: Any) -> Any:
        """Return *app* with both sides of its traffic written down."""

        async def watching(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                return await app(scope, receive, send)
            self.received.append((scope["method"], _text(scope["headers"])))

            async def sending(message: Any) -> None:
                if message["type"] == "http.response.start":
                    pairs = [(k.decode().lower(), v.decode()) for k, v in message["headers"]]
                    self.answered.append((scope["method"], pairs))
                await send(message)

            await app(scope, receive, sending)

        return watching

    async def chat(self, request: Request) -> Response:
        """A turn."""
        return JSONResponse(self.world.look())

    async def page(self, request: Request) -> Response:
        """A page that says which session it is in."""
        return HTMLResponse(f"<!doctype html><title>api</title><body>{self.world.look()['id']}</body>")

    async def socket(self, socket: WebSocket) -> None:
        """Answer one message with the session it is in."""
        await socket.accept()
        await socket.receive_text()
        await socket.send_text(self.world.look()["id"])
        await socket.close()


def _text(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    return {key.decode("latin-1"): value.decode("latin-1") for key, value in headers}


def build(api: Api, cors: dict[str, Any] | None, order: str, settings: dict[str, Any]) -> Any:
    """Return the application: *order* says whether CORSMiddleware is outside or inside of ours."""
    app = Starlette(
        routes=[
            Route("/chat", api.chat, methods=["GET", "POST"]),
            Route("/page", api.page, methods=["GET", "POST"]),
            WebSocketRoute("/ws", api.socket),
        ]
    )
    if cors is not None and order == "inside":
        app.add_middleware(CORSMiddleware, **cors)
    app.add_middleware(SessionTrackingMiddleware, **api.world.options(**settings))
    if cors is not None and order == "outside":
        app.add_middleware(CORSMiddleware, **cors)
    return api.watched(app)


@contextmanager
def serving_api(
    certificate: dict[str, str], cors: dict[str, Any] | None = None, order: str = "outside", **settings: Any
) -> Iterator[Api]:
    """Serve an API; an empty *certificate* means plain http."""
    with ExitStack() as stack:
        api = Api(World(stack))
        api.port = stack.enter_context(serve(build(api, cors, order, settings), **certificate))
        yield api
