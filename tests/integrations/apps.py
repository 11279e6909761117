"""
The same small application in every framework: ``/chat`` answers what the handler sees of its session.

``POST`` and ``GET /chat`` look; ``/boom`` fails; ``/health`` is excluded by default; ``/quiet`` does not look.
"""

from __future__ import annotations

import json
from typing import Any

import flask
import litestar
import quart
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from tests.integrations.support import World

METHODS = ["GET", "POST"]


def fastapi_app(world: World, app: FastAPI | None = None, **options: Any) -> FastAPI:
    """Return it in FastAPI."""
    app = app or FastAPI(**options)

    @app.api_route("/chat", methods=METHODS)
    async def chat() -> Any:
        return world.look()

    @app.api_route("/quiet", methods=METHODS)
    def quiet() -> Any:
        return "quiet"

    @app.api_route("/health", methods=METHODS)
    async def health() -> Any:
        return world.look()

    @app.api_route("/boom", methods=METHODS)
    async def boom() -> Any:
        raise RuntimeError("the handler failed")

    return app


def starlette_app(world: World, cls: Any = None, **options: Any) -> Any:
    """Return it in Starlette."""

    async def chat(request: Any) -> Any:
        return JSONResponse(world.look())

    async def quiet(request: Any) -> Any:
        return PlainTextResponse("quiet")

    async def boom(request: Any) -> Any:
        raise RuntimeError("the handler failed")

    routes = [
        Route("/chat", chat, methods=METHODS),
        Route("/health", chat, methods=METHODS),
        Route("/quiet", quiet, methods=METHODS),
        Route("/boom", boom, methods=METHODS),
    ]
    return (cls or Starlette)(routes=routes, **options)


def flask_app(world: World, cls: type[flask.Flask] = flask.Flask) -> flask.Flask:
    """Return it in Flask."""
    app = cls("shop")

    @app.route("/chat", methods=METHODS)
    @app.route("/health", methods=METHODS)
    def chat() -> Any:
        return world.look()

    @app.route("/quiet", methods=METHODS)
    def quiet() -> Any:
        return "quiet"

    @app.route("/boom", methods=METHODS)
    def boom() -> Any:
        raise RuntimeError("the handler failed")

    return app


def quart_app(world: World) -> quart.Quart:
    """Return it in Quart."""
    app = quart.Quart("shop")

    @app.route("/chat", methods=METHODS)
    @app.route("/health", methods=METHODS)
    async def chat() -> Any:
        return world.look()

    @app.route("/quiet", methods=METHODS)
    async def quiet() -> Any:
        return "quiet"

    @app.route("/boom", methods=METHODS)
    async def boom() -> Any:
        raise RuntimeError("the handler failed")

    return app


def litestar_app(world: World, **options: Any) -> Any:
    """Return it in Litestar."""

    @litestar.route(["/chat", "/health"], http_method=["GET", "POST"], status_code=200)
    async def chat() -> dict[str, Any]:
        return world.look()

    @litestar.route("/quiet", http_method=["GET", "POST"], status_code=200)
    async def quiet() -> str:
        return "quiet"

    @litestar.route("/boom", http_method=["GET", "POST"], status_code=200)
    async def boom() -> str:
        raise RuntimeError("the handler failed")

    return litestar.Litestar([chat, quiet, boom], logging_config=None, **options)


def bare_asgi(world: World) -> Any:
    """Return it without a framework, ASGI."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/boom":
            raise RuntimeError("the handler failed")
        body = b"quiet" if scope["path"] == "/quiet" else json.dumps(world.look()).encode()
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def bare_wsgi(world: World) -> Any:
    """Return it without a framework, WSGI."""

    def app(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/boom":
            raise RuntimeError("the handler failed")
        body = b"quiet" if environ["PATH_INFO"] == "/quiet" else json.dumps(world.look()).encode()
        start_response("200 OK", [("Content-Type", "application/json")])
        return [body]

    return app
