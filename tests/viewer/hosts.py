"""
Applications with users of their own, and the viewer in each: whoever is logged in there may look.

``GET /login`` logs Ana in, as each framework does it. ``application(NAME)`` for servers: ``wsgi_...`` are WSGI.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from session_mw.viewer import SessionViewer
from tests.viewer.support import NOW_MS, filled

AT = "/sessions"
KEY = "a-secret-of-at-least-sixteen-bytes"


def viewer(auth: Callable[[Any], Any]) -> SessionViewer:
    """Return a viewer of the usual history."""
    return SessionViewer(filled(), auth=auth, clock=lambda: NOW_MS)


class _OfSession(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        user = conn.session.get("user")
        return (AuthCredentials(["authenticated"]), SimpleUser(user)) if user else None


async def _log_in(request: Request) -> PlainTextResponse:
    request.session["user"] = "ana"
    return PlainTextResponse("ok")


def _user(request: Request) -> Any:
    user = request.scope["user"]
    return user.display_name if user.is_authenticated else None


def starlette() -> Any:
    """Starlette: its own authentication has put the user into the scope."""
    layers = [Middleware(SessionMiddleware, secret_key=KEY), Middleware(AuthenticationMiddleware, backend=_OfSession())]
    return Starlette(routes=[Route("/login", _log_in), Mount(AT, viewer(_user))], middleware=layers)


def fastapi() -> Any:
    """FastAPI, with Starlette's session."""
    from fastapi import FastAPI

    app = FastAPI()
    app.add_middleware(SessionMiddleware, secret_key=KEY)
    app.add_route("/login", _log_in)
    app.mount(AT, viewer(lambda request: request.session.get("user")))
    return app


def litestar() -> Any:
    """Litestar, with its own session; handlers of a mount have it in their scope."""
    import litestar as star
    from litestar.middleware.session.server_side import ServerSideSessionConfig

    shown = viewer(lambda request: (request.scope.get("session") or {}).get("user"))

    async def sessions(scope: Any, receive: Any, send: Any) -> None:
        await shown(scope, receive, send)

    async def login(request: Any) -> str:
        request.set_session({"user": "ana"})
        return "ok"

    login.__annotations__ = {"request": star.Request, "return": str}
    handlers = [star.asgi(AT, is_mount=True, copy_scope=True)(sessions), star.get("/login")(login)]
    return star.Litestar(handlers, middleware=[ServerSideSessionConfig().middleware], openapi_config=None)


def _beside(app: Any, shown: Any) -> Any:
    """Return both, told apart by the path: what any ASGI host can do by itself."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        root = scope.get("root_path", "")
        mine = scope["type"] != "lifespan" and f"{scope['path'].removeprefix(root)}/".startswith(f"{AT}/")
        if mine:
            scope = {**scope, "root_path": root + AT}
        await (shown if mine else app)(scope, receive, send)

    return application


def quart() -> Any:
    """Quart, beside it; its session's signature is checked as it does it."""
    from quart import Quart, session

    app = Quart("host")
    app.secret_key = KEY

    @app.get("/login")
    async def login() -> str:
        session["user"] = "ana"
        return "ok"

    def auth(request: Request) -> Any:
        signed = app.session_interface.get_signing_serializer(app)
        said = request.cookies.get(app.config["SESSION_COOKIE_NAME"])
        return signed.loads(said).get("user") if said else None

    return _beside(app, viewer(auth))


def bare() -> Any:
    """No framework: what stands in front puts the user into the scope."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"set-cookie", b"user=ana")] if scope["path"].endswith("/login") else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    both = _beside(app, viewer(lambda request: request.scope["user"]))

    async def application(scope: Any, receive: Any, send: Any) -> None:
        user = Request(scope).cookies.get("user") if scope["type"] == "http" else None
        await both({**scope, "user": user}, receive, send)

    return application


def flask() -> Any:
    """Flask: its own session, read in a context of the request."""
    from flask import Flask, session
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    app = Flask("host")
    app.secret_key = KEY

    @app.get("/login")
    def login() -> str:
        session["user"] = "ana"
        return "ok"

    def auth(request: Request) -> Any:
        with app.request_context(request.scope["wsgi_environ"]):
            return session.get("user")

    return DispatcherMiddleware(app, {AT: viewer(auth).wsgi})


def _django() -> None:
    """Let Django have an application in which Ana is logged in by a signed cookie."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.http import HttpResponse
    from django.urls import path

    from tests.integrations import django_project as django_project  # configures Django, unless another test has

    def login(request: Any) -> HttpResponse:
        user = ana()
        request.session[SESSION_KEY] = str(user.pk)
        request.session[BACKEND_SESSION_KEY] = "tests.viewer.hosts.Backend"
        request.session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        return HttpResponse("ok")

    urls.urlpatterns = [path("login", login)]


class urls:
    """Where Django finds its pages."""

    urlpatterns: Any = ()


def ana() -> Any:
    """Return Ana, as no database has her."""
    from django.contrib.auth.models import User

    return User(pk=1, username="ana", password="!", is_staff=True)


class Backend:
    """Finds Ana without a database."""

    def get_user(self, pk: Any) -> Any:
        """Return her."""
        return ana() if str(pk) == "1" else None


def _staff(request: Request) -> Any:
    """Return the staff that Django's own session names: Django's middleware does not run in front of the viewer."""
    from importlib import import_module

    from django.conf import settings
    from django.contrib.auth import get_user
    from django.http import HttpRequest

    asked: Any = HttpRequest()
    store = import_module(settings.SESSION_ENGINE).SessionStore
    asked.session = store(request.cookies.get(settings.SESSION_COOKIE_NAME))
    user = get_user(asked)
    return user.get_username() if user.is_authenticated and user.is_staff else None


DJANGO: Mapping[str, Any] = {
    "ROOT_URLCONF": urls,
    "MIDDLEWARE": ["django.contrib.sessions.middleware.SessionMiddleware"],
    "AUTHENTICATION_BACKENDS": ["tests.viewer.hosts.Backend"],
    "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
    "ALLOWED_HOSTS": ["*"],
}


def django_asgi() -> Any:
    """Django's ASGI application, beside it."""
    _django()
    from django.core.handlers.asgi import ASGIHandler

    return _beside(ASGIHandler(), viewer(_staff))


def django_wsgi() -> Any:
    """Django's WSGI application, beside it by werkzeug's dispatcher."""
    _django()
    from django.core.handlers.wsgi import WSGIHandler
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    return DispatcherMiddleware(WSGIHandler(), {AT: viewer(_staff).wsgi})


ASGI: Mapping[str, Callable[[], Any]] = {
    "starlette": starlette,
    "fastapi": fastapi,
    "litestar": litestar,
    "quart": quart,
    "django_asgi": django_asgi,
    "bare": bare,
}
WSGI: Mapping[str, Callable[[], Any]] = {"flask": flask, "django_wsgi": django_wsgi}


def application(name: str) -> Any:
    """Return a host for a server in a process of its own."""
    if "django" in name:
        _django()
        from django.test import override_settings

        override_settings(**DJANGO).enable()
    return (ASGI.get(name) or WSGI[name])()
