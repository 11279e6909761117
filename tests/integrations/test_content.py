"""Question and answer, and the conversation in the path, in each framework as people write it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import flask
import pytest
from django.http import JsonResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import include, path
from fastapi import APIRouter, FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from opentelemetry.instrumentation.django import DjangoInstrumentor
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from session_mw import current_conversation, current_turn
from session_mw.asgi import SessionTrackingMiddleware as ASGIMiddleware
from session_mw.integrations.fastapi import SessionTracking as FastAPITracking
from session_mw.integrations.flask import SessionTracking as FlaskTracking
from session_mw.wsgi import SessionTrackingMiddleware as WSGIMiddleware
from tests.integrations import django_project
from tests.integrations.orders import instrument_all, instrument_fastapi, instrument_flask
from tests.integrations.support import Client, Site, World, server_spans

EVENTS = ['data: {"delta": "go "}\n\n', 'data: {"delta": "left"}\n\n', "data: [DONE]\n\n"]
LONG = "a-conversation-of-more-than-20-characters"


def numbers() -> dict[str, Any]:
    """Return what a handler sees of its conversation."""
    conversation, turn = current_conversation(), current_turn()
    assert conversation is not None and turn is not None
    return {"id": conversation.id, "turn": turn.number, "number": conversation.turn_number}


# -- the application, in each framework


def fastapi_site(world: World, **options: Any) -> Site:
    app = FastAPI()
    router = APIRouter(prefix="/threads/{thread}")

    @app.post("/json")
    async def whole(body: dict[str, str]) -> Any:
        return {"answer": body["message"].upper()}

    @app.post("/stream")
    async def stream(request: Request) -> Any:
        await request.body()

        async def events() -> AsyncIterator[str]:
            for event in EVENTS:
                yield event

        return StreamingResponse(events(), media_type="text/event-stream")

    @router.post("/messages")
    async def messages(thread: str) -> Any:
        return numbers()

    app.include_router(router)
    FastAPITracking(app, **world.options(**options))
    return Site(app, asgi=True)


def instrumented_fastapi_site(world: World, **options: Any) -> Site:
    site = fastapi_site(world, **options)
    instrument_fastapi(world, site.target)
    return site


def starlette_site(world: World, **options: Any) -> Site:
    async def whole(request: Any) -> Any:
        return JSONResponse({"answer": (await request.json())["message"].upper()})

    async def stream(request: Any) -> Any:
        return PlainTextResponse("".join(EVENTS), media_type="text/event-stream")

    async def messages(request: Any) -> Any:
        return JSONResponse(numbers())

    app = Starlette(
        routes=[
            Route("/json", whole, methods=["POST"]),
            Route("/stream", stream, methods=["POST"]),
            Mount("/threads", routes=[Route("/{thread}/messages", messages, methods=["POST"])]),
        ]
    )
    app.add_middleware(ASGIMiddleware, **world.options(**options))
    return Site(app, asgi=True)


def wrapped_starlette_site(world: World, **options: Any) -> Site:
    inner: Any = starlette_site(World(world.stack), **options).target
    inner.user_middleware.clear()
    return Site(ASGIMiddleware(inner, **world.options(**options)), asgi=True)


def flask_app() -> flask.Flask:
    app = flask.Flask("shop")

    @app.post("/json")
    def whole() -> Any:
        return {"answer": flask.request.get_json()["message"].upper()}

    @app.post("/stream")
    def stream() -> Any:
        flask.request.get_data()
        return flask.Response(iter(EVENTS), mimetype="text/event-stream")

    @app.post("/threads/<thread>/messages")
    def messages(thread: str) -> Any:
        return numbers()

    return app


def flask_site(world: World, **options: Any) -> Site:
    app = flask_app()
    FlaskTracking(app, **world.options(**options))
    return Site(app, asgi=False)


def instrumented_flask_site(world: World, **options: Any) -> Site:
    app = flask_app()
    instrument_flask(world, app)
    FlaskTracking(app, **world.options(**options))
    return Site(app, asgi=False)


def django_whole(request: Any) -> Any:
    return JsonResponse({"answer": json.loads(request.body)["message"].upper()})


def django_stream(request: Any) -> Any:
    assert request.read()
    return StreamingHttpResponse(iter(EVENTS), content_type="text/event-stream")


async def django_stream_async(request: Any) -> Any:
    assert request.body

    async def events() -> AsyncIterator[str]:
        for event in EVENTS:
            yield event

    return StreamingHttpResponse(events(), content_type="text/event-stream")


def django_messages(request: Any, thread: str) -> Any:
    return JsonResponse(numbers())


sync_patterns = [
    path("json", django_whole),
    path("stream", django_stream),
    path("threads/", include([path("<str:thread>/messages", django_messages)])),
]
async_patterns = [path("stream", django_stream_async), *sync_patterns]


def _django(world: World, asgi: bool, **options: Any) -> Site:
    django_project.configure(world, **options)
    patterns = async_patterns if asgi else sync_patterns
    world.stack.enter_context(override_settings(ROOT_URLCONF=tuple(patterns)))
    return django_project.site(asgi=asgi)


def django_site(world: World, **options: Any) -> Site:
    return _django(world, False, **options)


def django_async_site(world: World, **options: Any) -> Site:
    return _django(world, True, **options)


def instrumented_django_site(world: World, **options: Any) -> Site:
    site = _django(world, False, **options)
    instrument_all(world, DjangoInstrumentor())
    return django_project.site(asgi=site.asgi)


SITES: dict[str, Callable[..., Site]] = {
    "fastapi": fastapi_site,
    "fastapi, instrumented": instrumented_fastapi_site,
    "starlette": starlette_site,
    "starlette, wrapped": wrapped_starlette_site,
    "flask": flask_site,
    "flask, instrumented": instrumented_flask_site,
    "django": django_site,
    "django, async": django_async_site,
    "django, instrumented": instrumented_django_site,
}
PATHS = {"input_text": "message", "output_text": lambda body: body.get("answer") or body.get("delta")}


@pytest.fixture(params=SITES.values(), ids=SITES)
def site(request: pytest.FixtureRequest) -> Callable[..., Site]:
    made: Callable[..., Site] = request.param
    return made


def turn(world: World) -> dict[str, Any]:
    return dict(world.spans("turn")[-1].attributes)


def test_whole_bodies(world: World, site: Callable[..., Site]) -> None:
    """The handler reads its body as ever, and lengths are known."""
    response = Client(site(world, **PATHS)).ask(path="/json", json={"message": "wie spät"})

    assert {"answer": "WIE SPÄT"} == response.json()
    assert (8, 8) == (turn(world)["turn.input_length"], turn(world)["turn.output_length"])
    assert "input.value" not in turn(world)


def test_streamed_answers(world: World, site: Callable[..., Site]) -> None:
    """An answer is put together from the stream's events, and the stream is what it was."""
    response = Client(site(world, **PATHS, capture_content=True)).ask(path="/stream", json={"message": "where"})

    assert "".join(EVENTS) == response.text
    assert "go left" == turn(world)["output.value"]
    assert 7 == turn(world)["turn.output_length"]


def test_root_has_question_and_answer(world: World, site: Callable[..., Site]) -> None:
    """The trace's root, whoever made it, shows the question; and the answer, where it was there in time."""
    Client(site(world, **PATHS, capture_content=True)).ask(path="/json", json={"message": "hi"})

    (root,) = server_spans(world.spans())
    assert root.parent is None
    assert "hi" == root.attributes["input.value"]  # type: ignore[index]
    assert "HI" == turn(world)["output.value"]


def test_forms(world: World) -> None:
    """A path is the name of a form's field too."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([b"ok"])

    site = Site(WSGIMiddleware(app, **world.options(input_text="message")), asgi=False)
    Client(site).ask(data={"message": "from a form", "other": "x"})

    assert 11 == turn(world)["turn.input_length"]


# -- the conversation in the path


def test_path_parameter_names_the_conversation(world: World, site: Callable[..., Site]) -> None:
    """Turns of each conversation are counted apart, from the first, within one session."""
    client = Client(site(world, conversation_path_param="thread"))
    asked = ("one", "one", "two", "one")
    seen = [client.ask(path=f"/threads/{name}-{LONG}/messages", json={}).json() for name in asked]

    assert [f"{name}-{LONG}" for name in asked] == [s["id"] for s in seen]
    assert [1, 2, 1, 3] == [s["number"] for s in seen]
    assert [1, 2, 3, 4] == [s["turn"] for s in seen]
    spans = [dict(span.attributes) for span in world.spans("turn")]
    assert [f"{name}-{LONG}" for name in asked] == [s["gen_ai.conversation.id"] for s in spans]
    assert [1, 2, 1, 3] == [s["conversation.turn_number"] for s in spans]


def test_short_ids_of_two_clients_never_meet(world: World, site: Callable[..., Site]) -> None:
    """``conv-1`` of one client is not ``conv-1`` of another."""
    target = site(world, conversation_path_param="thread")
    ids = {Client(target).ask(path="/threads/conv-1/messages", json={}).json()["id"] for _ in range(2)}

    assert 2 == len(ids)
    assert all(found.endswith("-conv-1") for found in ids)


def test_header_wins_over_the_path(world: World, site: Callable[..., Site]) -> None:
    """A client that names its conversation in the header means that one."""
    client = Client(site(world, conversation_path_param="thread"))
    seen = client.ask(path=f"/threads/{LONG}/messages", json={}, headers={"x-conversation-id": "h" * 30}).json()

    assert "h" * 30 == seen["id"]


def test_path_of_a_websocket_names_its_conversation(world: World) -> None:
    """Each message of a connection is a turn of the conversation in its path."""
    app = FastAPI()
    seen: list[Any] = []

    @app.websocket("/threads/{thread}")
    async def talk(websocket: WebSocket, thread: str) -> None:
        await websocket.accept()
        for _ in range(2):
            await websocket.receive_text()
            seen.append(numbers())
            await websocket.send_text("ok")

    FastAPITracking(app, **world.options(conversation_path_param="thread"))
    with TestClient(app).websocket_connect(f"/threads/{LONG}") as connection:
        for _ in range(2):
            connection.send_text("hi")
            connection.receive_text()

    assert [{"id": LONG, "turn": n, "number": n} for n in (1, 2)] == seen


@pytest.mark.parametrize("where", ["/json", "/nowhere", "/threads/bad%20id/messages"])
def test_paths_without_a_conversation(world: World, site: Callable[..., Site], where: str) -> None:
    """Where there is none, or no valid one, or no route, the turn belongs to the session's conversation."""
    client = Client(site(world, conversation_path_param="thread"))
    client.ask(path=where, json={"message": "x"})

    shown = turn(world)
    assert shown["session.id"] == shown["gen_ai.conversation.id"]


def test_bare_wsgi_takes_what_a_router_found(world: World) -> None:
    """Without a framework, the parameters of a router outside are taken (``wsgiorg.routing_args``)."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        body = json.dumps(numbers()).encode()
        start_response("200 OK", [("Content-Type", "application/json")])
        return iter([body])

    inner = WSGIMiddleware(app, **world.options(conversation_path_param="thread"))

    def router(environ: Any, start_response: Any) -> Any:
        environ["wsgiorg.routing_args"] = ((), {"thread": environ["PATH_INFO"].strip("/")})
        return inner(environ, start_response)

    client = Client(Site(router, asgi=False))

    assert [1, 2] == [client.ask(path=f"/{LONG}").json()["number"] for _ in range(2)]


def test_bare_asgi_takes_what_a_router_found(world: World) -> None:
    """The same in ASGI (``path_params``)."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = json.dumps(numbers()).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    inner = ASGIMiddleware(app, **world.options(conversation_path_param="thread"))

    async def router(scope: Any, receive: Any, send: Any) -> None:
        await inner({**scope, "path_params": {"thread": scope["path"].strip("/")}}, receive, send)

    client = Client(Site(router, asgi=True))

    assert [1, 2] == [client.ask(path=f"/{LONG}").json()["number"] for _ in range(2)]


def test_routes_that_fail_are_said_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The application's own matching may raise: the request goes on, in the session's conversation."""

    class Broken(Starlette):
        @property
        def routes(self) -> Any:
            raise RuntimeError("no routes today")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    broken = Broken()
    inner = ASGIMiddleware(app, **world.options(conversation_path_param="thread"))

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        await inner({**scope, "app": broken}, receive, send)

    client = Client(Site(outer, asgi=True))

    assert ["ok", "ok"] == [client.ask(path="/x").text for _ in range(2)]
    assert 1 == len([r for r in caplog.records if "conversation_path_param" in r.getMessage()])
