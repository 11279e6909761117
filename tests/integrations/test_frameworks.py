"""What holds in every framework: the settings that ask about requests, errors, streams, and their own test clients."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import flask
import litestar
import pytest
import quart
from litestar.response import Stream
from litestar.testing import TestClient as LitestarClient
from opentelemetry.trace import StatusCode
from starlette.responses import StreamingResponse
from starlette.routing import Route

from session_mw import hash_user_id
from session_mw.asgi import SessionTrackingMiddleware as ASGIOurs
from session_mw.wsgi import SessionTrackingMiddleware as WSGIOurs
from tests.integrations import apps, django_project, orders
from tests.integrations.orders import Build
from tests.integrations.support import BASE, BROWSER, COOKIE, Client, Site, World, ancestors, only, session_ids

FRAMEWORKS: dict[str, Build] = {
    "fastapi": orders.fastapi_ours,
    "starlette": orders.starlette_ours,
    "flask": orders.flask_ours,
    "django": orders.django_ours,
    "django async": orders.django_async_ours,
    "litestar": orders.litestar_ours_around,
    "quart": orders.quart_ours,
    "bare asgi": orders.asgi_ours,
    "bare wsgi": orders.wsgi_ours,
}


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def build(framework: str) -> Build:
    return FRAMEWORKS[framework]


# -- settings that ask about requests


def test_user_setting(world: World, build: Build) -> None:
    """A callable names the user of a request: as a pseudonym, from the first span on; another is another session."""
    world.overrides["user"] = lambda request: request.header("X-User")
    client = Client(build(world))
    nobody = client.seen()
    ada = [client.seen(headers={"x-user": "ada"}) for _ in range(2)]
    bob = client.seen(headers={"x-user": "bob"})

    assert nobody["id"] == ada[0]["id"] == ada[1]["id"] != bob["id"]
    assert ada[0]["id"] == bob["previous"]
    expected = [None, hash_user_id("ada"), hash_user_id("ada"), hash_user_id("bob")]
    assert expected == [s["user"] for s in (nobody, *ada, bob)]
    assert expected == [span.attributes.get("user.id") for span in world.spans("work")]


def test_user_setting_that_fails(world: World, build: Build, caplog: pytest.LogCaptureFixture) -> None:
    """When the callable fails the request goes on without a user, and one line says so."""

    def fail(request: Any) -> Any:
        raise LookupError("no such thing")

    world.overrides["user"] = fail
    client = Client(build(world))
    seen = [client.seen() for _ in range(3)]

    assert [(1, None), (2, None), (3, None)] == [(s["turn"], s["user"]) for s in seen]
    assert 1 == len([r for r in caplog.records if r.levelno == logging.ERROR and "LookupError" in r.getMessage()])


@pytest.mark.parametrize(
    ("settings", "turns"),
    [
        ({"turn_methods": ("GET",)}, [True, False, True]),
        ({"turn_paths": ("/chat",)}, [True, True, False]),
        ({"turn_when": lambda request: request.header("X-Turn") == "yes"}, [False, True, False]),
        ({"turn_methods": ("POST",), "turn_paths": ("/quiet",)}, [False, False, False]),
    ],
    ids=["turn_methods", "turn_paths", "turn_when", "both"],
)
def test_turn_settings(world: World, build: Build, settings: dict[str, Any], turns: list[bool]) -> None:
    """They replace the rule: which requests are turns is what the application says."""
    world.overrides.update(settings)
    client = Client(build(world))
    found = []
    for method, path, headers in (("GET", "/chat", {}), ("POST", "/chat", {"x-turn": "yes"}), ("GET", "/quiet", {})):
        world.clear()
        client.ask(method, path, headers={**BROWSER, **headers})
        found.append(bool(world.spans("turn")))

    assert turns == found


def test_exclude_paths(world: World, build: Build) -> None:
    """Excluded paths pass untouched: no session, no span of ours, no cookie, no Vary; the others are tracked."""
    world.overrides["exclude_paths"] = ("/chat",)
    site = build(world)
    reply = Client(site).ask()

    assert reply.json()["id"] is None
    assert "set-cookie" not in reply.headers
    assert "vary" not in reply.headers
    assert [] == world.spans("session")
    assert COOKIE in Client(site).ask(path="/quiet").headers["set-cookie"]
    assert COOKIE in Client(site).ask(path="/health").headers["set-cookie"]  # the default list is replaced


def test_server_span_never(world: World, build: Build) -> None:
    """With ``server_span="never"`` no server span is made here; the session's is the outermost of ours."""
    world.overrides["server_span"] = "never"
    found = Client(build(world)).seen()

    assert only(world.spans(), "session").parent is None
    assert ["turn", "session"] == ancestors(only(world.spans(), "work"), world.spans())
    assert {found["id"]} == session_ids(world.spans())


# -- errors

COOKIE_ON_UNHANDLED_ERRORS = {
    "fastapi": False,
    "starlette": False,
    "flask": True,
    "django": True,
    "django async": True,
    "litestar": True,
    "quart": True,
    "bare asgi": False,
    "bare wsgi": False,
}


def test_unhandled_error(world: World, framework: str, build: Build) -> None:
    """
    The turn fails, once; whether the 500 carries the cookie depends on who makes it: the framework inside of us does.

    A client that has its cookie keeps its session.
    """
    site = build(world)
    newcomer, client = Client(site), Client(site)
    has_cookie = COOKIE in newcomer.ask(path="/boom").headers.get("set-cookie", "")
    first = client.seen()
    reply = client.ask(path="/boom")
    after = client.seen()

    assert COOKIE_ON_UNHANDLED_ERRORS[framework] is has_cookie
    assert 500 == reply.status_code
    assert (first["id"], 3) == (after["id"], after["turn"])
    failed = world.spans("turn")[2]
    assert StatusCode.ERROR is failed.status.status_code
    assert failed.attributes["error.type"] in ("RuntimeError", "500")
    assert 4 == len(world.spans("turn")) == len(world.spans("session"))


# -- streams


def _plain(world: World) -> Iterator[bytes]:
    with world.tracer.start_as_current_span("model"):
        for _ in range(3):
            yield json.dumps(world.look()).encode() + b"\n"


async def _asynchronous(world: World) -> AsyncIterator[bytes]:
    with world.tracer.start_as_current_span("model"):
        for _ in range(3):
            await asyncio.sleep(0)
            yield json.dumps(world.look()).encode() + b"\n"


def starlette_stream(world: World) -> Site:
    app = apps.starlette_app(world)
    app.router.routes.append(
        Route("/stream", lambda request: StreamingResponse(_asynchronous(world)), methods=["POST"])
    )
    app.add_middleware(ASGIOurs, **world.options())
    return Site(app, asgi=True)


def litestar_stream(world: World) -> Site:
    @litestar.post("/stream")
    async def stream() -> Stream:
        return Stream(_asynchronous(world))

    return Site(ASGIOurs(litestar.Litestar([stream], logging_config=None), **world.options()), asgi=True)


def quart_stream(world: World) -> Site:
    app = apps.quart_app(world)

    @app.post("/stream")
    async def stream() -> Any:
        return quart.Response(_asynchronous(world))

    app.asgi_app = ASGIOurs(app.asgi_app, **world.options())  # type: ignore[assignment, method-assign]
    return Site(app, asgi=True)


def bare_asgi_stream(world: World) -> Site:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        async for chunk in _asynchronous(world):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return Site(ASGIOurs(app, **world.options()), asgi=True)


def bare_wsgi_stream(world: World) -> Site:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return _plain(world)

    return Site(WSGIOurs(app, **world.options()), asgi=False)


@pytest.mark.parametrize("make", [starlette_stream, litestar_stream, quart_stream, bare_asgi_stream, bare_wsgi_stream])
def test_stream(world: World, make: Build) -> None:
    """Each chunk sees the session and is within the turn, which lasts until the last byte; so in the next request."""
    client = Client(make(world))
    for number in (1, 2):
        world.clear()
        seen = [json.loads(line) for line in client.ask(path="/stream").text.splitlines()]
        spans, turn = world.spans(), only(world.spans(), "turn")

        assert [(seen[0]["id"], number)] * 3 == [(s["id"], s["turn"]) for s in seen]
        assert [["model", "turn", "session"]] * 3 == [ancestors(work, spans)[:3] for work in world.spans("work")]
        assert all(work.end_time <= turn.end_time for work in world.spans("work"))
        assert {seen[0]["id"]} == session_ids(spans) == {r.attributes["session.id"] for r in world.records()}


# -- their own test clients


def test_quart_test_client(world: World) -> None:
    """Quart's test client stays in its session."""
    app = orders.quart_ours(world).target

    async def ask() -> list[Any]:
        client = app.test_client()
        return [await (await client.post("/chat", scheme="https")).get_json() for _ in range(2)]

    first, second = asyncio.run(ask())
    assert (first["id"], 2) == (second["id"], second["turn"])


def test_litestar_test_client(world: World) -> None:
    """Litestar's test client, which runs its lifespan too, stays in its session."""
    with LitestarClient(orders.litestar_ours(world).target, base_url=BASE) as client:
        first, second = (client.post("/chat").json() for _ in range(2))

    assert (first["id"], 2) == (second["id"], second["turn"])


def test_litestar_middleware_for_each_route(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Litestar makes its middleware anew for each route: with a memory each, one line says what to do instead."""
    client = Client(orders.litestar_ours(world))
    for _ in range(2):
        client.ask(path="/chat")
        client.ask(path="/quiet")

    assert 1 == len([r for r in caplog.records if "wrap the application" in r.getMessage()])


def test_litestar_wrapped_counts_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Around the whole application there is one: the routes' turns are counted together."""
    client = Client(orders.litestar_ours_around(world))
    client.ask(path="/quiet")

    assert 2 == client.seen()["turn"]
    assert [] == [r for r in caplog.records if "wrap the application" in r.getMessage()]


def test_flask_test_client(world: World) -> None:
    """Flask's test client stays in its session."""
    app: flask.Flask = orders.flask_ours(world).target
    client = app.test_client()
    first, second = (client.post("/chat", base_url=BASE).get_json() for _ in range(2))

    assert (first["id"], 2) == (second["id"], second["turn"])


def test_django_is_tracked_behind_its_prefix(world: World) -> None:
    """Paths in the settings are whole paths, also where a script's prefix stands in front."""
    django_project.configure(world, more={"FORCE_SCRIPT_NAME": "/shop"}, turn_paths=("/shop/chat",))
    client = Client(django_project.site(asgi=False))
    client.ask()
    client.ask(path="/quiet")

    assert 1 == len(world.spans("turn"))
    assert 2 == len(world.spans("session"))
