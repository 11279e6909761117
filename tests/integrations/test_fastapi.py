"""FastAPI and Starlette: installation, the session in handlers, marks, and the middlewares that people put around."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser, SimpleUser
from starlette.endpoints import HTTPEndpoint
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount, Route

from session_mw import current_session, hash_user_id, turn_endpoint
from session_mw.asgi import SessionTrackingMiddleware
from session_mw.exceptions import SettingsError
from session_mw.integrations.fastapi import SessionDep, SessionTracking
from tests.integrations import apps
from tests.integrations.support import BROWSER, COOKIE, Client, Site, World, current_id, only, session_ids


def client_of(app: Any) -> Client:
    return Client(Site(app, asgi=True))


# -- installation


def test_settings_are_checked_when_the_middleware_is_added() -> None:
    """A mistake in the settings raises where it was made, not in the first request."""
    with pytest.raises(SettingsError, match="idle_timeout"):
        SessionTracking(FastAPI(), secret_key="x" * 40, idle_timeout="soon")


def test_settings_object_and_overrides(world: World) -> None:
    """A settings object serves as it is; names given beside it win."""
    from session_mw import SessionSettings

    app = apps.fastapi_app(world)
    SessionTracking(
        app, SessionSettings(**world.settings(cookie_name="__Host-one")), cookie_name="__Host-two", **world.wiring
    )

    assert client_of(app).ask().headers["set-cookie"].startswith("__Host-two=")


def test_session_dependency(world: World) -> None:
    """A handler asks for the session like for anything else; it is the current one."""
    app = FastAPI()
    SessionTracking(app, **world.options())

    @app.post("/chat")
    async def chat(session: SessionDep) -> Any:
        session.set(name="demo")
        return {"same": session.id == current_id(), "turn": session.turn_number}

    assert {"same": True, "turn": 1} == client_of(app).seen()
    assert "demo" == only(world.spans(), "turn").attributes["session.name"]


def test_session_dependency_without_middleware() -> None:
    """Without the middleware the dependency says what is missing."""
    app = FastAPI()

    @app.post("/chat")
    async def chat(session: SessionDep) -> Any: ...

    from fastapi.testclient import TestClient

    with pytest.raises(RuntimeError, match=r"Add SessionTracking\(app\)"):
        TestClient(app).post("/chat")


def test_sync_endpoint_runs_in_a_thread_with_its_session(world: World) -> None:
    """A plain ``def`` endpoint, and a dependency in another thread, see the request's session."""
    import threading

    from fastapi import Depends

    app = FastAPI()
    SessionTracking(app, **world.options())

    def before() -> Any:
        return world.look()

    @app.post("/chat")
    def chat(found: Any = Depends(before)) -> Any:
        return [found["id"], world.look()["id"], threading.current_thread() is threading.main_thread()]

    first, second, in_main = client_of(app).seen()
    assert first == second is not None
    assert not in_main
    assert {first} == session_ids(world.spans())


@pytest.mark.parametrize("mounted", [FastAPI, Starlette])
def test_middleware_in_application_and_sub_application_works_once(
    world: World, mounted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """In a mounted application that brings its own, the inner one does nothing, and says so."""
    app, sub = FastAPI(), mounted()

    async def chat(request: Any) -> Any:
        return JSONResponse(world.look())

    sub.add_route("/chat", chat, methods=["POST"])
    for each in (app, sub):
        each.add_middleware(SessionTrackingMiddleware, **world.options())
    app.mount("/sub", sub)
    client = client_of(app)
    replies = [client.ask(path="/sub/chat") for _ in range(2)]

    assert [1, 2] == [reply.json()["turn"] for reply in replies]
    assert 1 == len(replies[0].headers.get_list("set-cookie"))
    assert 2 == len(world.spans("turn")) == len(world.spans("session"))
    assert 1 == len([r for r in caplog.records if "installed twice" in r.message])


def test_sub_application_alone_has_the_middleware(world: World) -> None:
    """Installed in a mounted application only, it tracks what goes there and nothing else."""
    app, sub = FastAPI(), FastAPI()
    apps.fastapi_app(world, app)
    apps.fastapi_app(world, sub)
    SessionTracking(sub, **world.options())
    app.mount("/sub", sub)
    client = client_of(app)

    assert client.seen(path="/chat")["id"] is None
    assert client.seen(path="/sub/chat")["id"] is not None
    assert 1 == len(world.spans("turn"))


# -- turns


def marked_app(world: World) -> FastAPI:
    """Return an application with marks in all the places where handlers can stand."""
    app, router, sub = FastAPI(), APIRouter(prefix="/api"), FastAPI()

    @turn_endpoint
    async def yes() -> Any:
        return world.look()

    @turn_endpoint(False)
    async def no() -> Any:
        return world.look()

    @turn_endpoint
    class Both(HTTPEndpoint):
        async def get(self, request: Any) -> Any:
            return JSONResponse(world.look())

    @turn_endpoint
    async def starlette_yes(request: Any) -> Any:
        return JSONResponse(world.look())

    for target, path in ((app, "/items/{item_id}"), (router, "/items/{item_id}"), (sub, "/items/{item_id}")):
        target.get(path)(yes)
        target.post(path)(no)
    nested = APIRouter(prefix="/nested")
    nested.get("/{name}")(yes)
    router.include_router(nested)
    app.include_router(router)
    app.mount("/sub", sub)
    app.router.routes.append(
        Mount("/plain", routes=[Route("/yes", starlette_yes), Mount("/deep", routes=[Route("/c", Both)])])
    )
    app.get("/unmarked")(world.look)
    return app


@pytest.mark.parametrize(
    ("method", "path", "turn"),
    [
        ("GET", "/items/7", True),
        ("POST", "/items/7", False),
        ("GET", "/api/items/7", True),
        ("POST", "/api/items/7", False),
        ("GET", "/api/nested/x", True),
        ("GET", "/sub/items/7", True),
        ("POST", "/sub/items/7", False),
        ("GET", "/plain/yes", True),
        ("GET", "/plain/deep/c", True),
        ("GET", "/unmarked", False),
        ("GET", "/nowhere", False),
        ("POST", "/nowhere", True),
    ],
)
def test_marks(world: World, method: str, path: str, turn: bool) -> None:
    """``@turn_endpoint`` decides for its handler: path parameters, routers in routers, mounts, classes."""
    app = marked_app(world)
    SessionTracking(app, **world.options())
    client_of(app).ask(method, path, headers=BROWSER)

    assert (1 if turn else 0) == len(world.spans("turn"))


def test_head_and_redirects(world: World) -> None:
    """HEAD is no turn; a redirect is one, and carries the cookie; so does the router's own for a slash too many."""
    app = apps.fastapi_app(world)
    SessionTracking(app, **world.options())
    app.post("/go")(lambda: RedirectResponse("/chat", 303))
    app.head("/head")(lambda: None)
    replies = [client_of(app).ask(*ask) for ask in (("HEAD", "/head"), ("POST", "/go"), ("POST", "/chat/"))]

    assert [200, 303, 307] == [reply.status_code for reply in replies]
    assert all(reply.headers["set-cookie"].startswith(COOKIE) for reply in replies)
    assert 3 == len(world.spans("session"))
    assert 2 == len(world.spans("turn"))


# -- other people's middleware


class Look(BaseHTTPMiddleware):
    """Notes what it sees of the session, before and behind the handler."""

    async def dispatch(self, request: Any, call_next: Any) -> Any:
        seen: list[Any] = request.app.state.seen
        for _ in (0,):
            session = current_session()
            seen.append(session.id if session else None)
        response = await call_next(request)
        session = current_session()
        seen.append(session.name if session else None)
        return response


@pytest.mark.parametrize("inside", [True, False], ids=["inside ours", "outside ours"])
def test_base_http_middleware(world: World, inside: bool) -> None:
    """Inside of ours, a BaseHTTPMiddleware sees the session, and what the handler said; outside, none. Handlers do."""
    app = FastAPI()
    app.state.seen = []
    if inside:
        app.add_middleware(Look)
    SessionTracking(app, **world.options())
    if not inside:
        app.add_middleware(Look)

    @app.post("/chat")
    async def chat(session: SessionDep) -> Any:
        session.set(name="named by the handler")
        return world.look()

    reply = client_of(app).ask()
    found = reply.json()["id"]

    assert ([found, "named by the handler"] if inside else [None, None]) == app.state.seen
    assert COOKIE in reply.headers["set-cookie"]
    assert {found} == session_ids(world.spans())


@pytest.mark.parametrize("inside", [True, False], ids=["inside ours", "outside ours"])
def test_cors(world: World, inside: bool) -> None:
    """A preflight is no turn; the answer to a page of another origin varies by both, and carries cookie and session."""
    app = apps.fastapi_app(world)
    cors: dict[str, Any] = {
        "allow_origins": ["https://page.example"],
        "allow_credentials": True,
        "allow_methods": ["POST"],
    }
    if inside:
        app.add_middleware(CORSMiddleware, **cors)
    SessionTracking(app, **world.options())
    if not inside:
        app.add_middleware(CORSMiddleware, **cors)
    client = client_of(app)
    origin = {"origin": "https://page.example"}
    preflight = client.ask("OPTIONS", headers={**origin, "access-control-request-method": "POST"})
    reply = client.ask(headers=origin)

    assert [200, 200] == [preflight.status_code, reply.status_code]
    assert 1 == len(world.spans("turn"))
    assert "https://page.example" == reply.headers["access-control-allow-origin"]
    assert {"Origin", "Cookie"} <= {field.strip() for field in reply.headers["vary"].split(",")}
    assert 1 == reply.json()["turn"]


@pytest.mark.parametrize("inside", [True, False], ids=["inside ours", "outside ours"])
def test_gzip(world: World, inside: bool) -> None:
    """A compressed answer arrives whole, with its cookie."""
    app = FastAPI()
    if inside:
        app.add_middleware(GZipMiddleware, minimum_size=10)
    SessionTracking(app, **world.options())
    if not inside:
        app.add_middleware(GZipMiddleware, minimum_size=10)

    @app.post("/chat")
    async def chat(session: SessionDep) -> Any:
        return {"text": "word " * 500}

    reply = client_of(app).ask(headers={"accept-encoding": "gzip"})

    assert "gzip" == reply.headers["content-encoding"]
    assert {"text": "word " * 500} == reply.json()
    assert COOKIE in reply.headers["set-cookie"]
    assert {"Accept-Encoding", "Cookie"} == {field.strip() for field in reply.headers["vary"].split(",")}


# -- users


class Backend(AuthenticationBackend):
    """Knows users by a header."""

    async def authenticate(self, conn: Any) -> Any:
        name = conn.headers.get("x-user")
        if name is None:
            return None
        user: BaseUser = WithIdentity(name) if conn.headers.get("x-identity") else SimpleUser(name)
        return AuthCredentials(["authenticated"]), user


class WithIdentity(SimpleUser):
    """A user who has an identity besides a name."""

    @property
    def identity(self) -> str:
        return "id-of-" + self.username


@pytest.mark.parametrize("inside", [True, False], ids=["inside ours", "outside ours"])
@pytest.mark.parametrize("identity", [True, False], ids=["identity", "SimpleUser"])
def test_authentication_middleware(
    world: World, inside: bool, identity: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The user that Starlette resolved becomes the session's, as a pseudonym; SimpleUser has no identity: no error."""
    app = apps.fastapi_app(world)
    if inside:
        app.add_middleware(AuthenticationMiddleware, backend=Backend())
    SessionTracking(app, **world.options())
    if not inside:
        app.add_middleware(AuthenticationMiddleware, backend=Backend())
    client = client_of(app)
    anonymous = client.seen()
    headers = {"x-user": "lovelace", **({"x-identity": "1"} if identity else {})}
    known = [client.seen(headers=headers) for _ in range(2)]

    pseudonym = hash_user_id("id-of-lovelace" if identity else "lovelace")
    assert anonymous["user"] is None
    assert anonymous["id"] == known[0]["id"] == known[1]["id"]
    assert pseudonym == known[1]["user"]
    assert pseudonym == world.spans("session")[1].attributes["user.id"]
    assert "lovelace" not in repr([dict(span.attributes or {}) for span in world.spans()])
    assert [] == [r for r in caplog.records if r.levelno >= logging.ERROR]


def test_another_authenticated_user_gets_another_session(world: World) -> None:
    """A session never holds two users: who comes with the cookie of another begins a new session, linked."""
    app = apps.fastapi_app(world)
    SessionTracking(app, **world.options())
    app.add_middleware(AuthenticationMiddleware, backend=Backend())
    client = client_of(app)
    ada, bob = (client.seen(headers={"x-user": name}) for name in ("ada", "bob"))

    assert ada["id"] != bob["id"]
    assert ada["id"] == bob["previous"]
    (end,) = world.named("session.end")
    assert ("replaced", hash_user_id("ada")) == (end.attributes["session.end_reason"], end.attributes["user.id"])
