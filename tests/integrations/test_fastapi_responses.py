"""FastAPI: streams, event streams, background work and errors, each with its session from first byte to last."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from fastapi import BackgroundTasks, FastAPI, HTTPException
from fastapi.responses import JSONResponse, StreamingResponse
from opentelemetry.trace import StatusCode

from session_mw import current_session, current_turn, hash_user_id
from session_mw.integrations.fastapi import SessionDep, SessionTracking
from tests.integrations.orders import instrument_fastapi, native
from tests.integrations.support import BROWSER, Client, Site, World, ancestors, only, session_ids


@pytest.fixture(params=["ours", "instrumented", "own telemetry"])
def app(world: World, request: pytest.FixtureRequest) -> FastAPI:
    """An application whose server span is made by us, by FastAPIInstrumentor, or by FastAPI itself."""
    app = FastAPI(**(native(world) if request.param == "own telemetry" else {}))
    SessionTracking(app, **world.options())
    return instrument_fastapi(world, app) if request.param == "instrumented" else app


def client_of(app: FastAPI) -> Client:
    return Client(Site(app, asgi=True))


# -- streams


def streams(world: World, app: FastAPI) -> None:
    """Add a stream by an async generator, by a plain one, and an event stream."""

    async def chunks() -> AsyncIterator[str]:
        for _ in range(3):
            yield json.dumps(world.look()) + "\n"

    def plain_chunks() -> Iterator[str]:
        for _ in range(3):
            yield json.dumps(world.look()) + "\n"

    async def events() -> AsyncIterator[str]:
        for _ in range(3):
            yield f"data: {json.dumps(world.look())}\n\n"

    app.post("/async")(lambda: StreamingResponse(chunks()))
    app.post("/sync")(lambda: StreamingResponse(plain_chunks()))
    app.get("/events")(lambda: StreamingResponse(events(), media_type="text/event-stream"))


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/async", {}),
        ("POST", "/sync", {}),
        ("GET", "/events", {**BROWSER, "sec-fetch-dest": "empty", "accept": "text/event-stream"}),
    ],
    ids=["async generator", "generator in threads", "event stream"],
)
def test_stream(world: World, app: FastAPI, method: str, path: str, headers: Any) -> None:
    """Each chunk sees the session, its spans lie in the turn, and the turn lasts until the last byte."""
    streams(world, app)
    reply = client_of(app).ask(method, path, headers=headers)
    seen = [json.loads(line.removeprefix("data: ")) for line in reply.text.split("\n") if line]

    assert 3 == len(seen)
    assert {(seen[0]["id"], 1)} == {(s["id"], s["turn"]) for s in seen}
    spans = world.spans()
    turn, session = only(spans, "turn"), only(spans, "session")
    assert all("turn" in ancestors(work, spans) for work in world.spans("work"))
    assert all(turn.start_time <= work.start_time <= work.end_time <= turn.end_time for work in world.spans("work"))
    assert turn.end_time <= session.end_time
    assert isinstance(turn.attributes["turn.time_to_first_chunk_ms"], int)
    assert {seen[0]["id"]} == session_ids(spans) == {r.attributes["session.id"] for r in world.records()}


def test_stream_of_a_generator_endpoint(world: World, app: FastAPI) -> None:
    """FastAPI's own event streams, by an endpoint that yields, are no different."""
    sse = pytest.importorskip("fastapi.sse")

    @app.get("/events", response_class=sse.EventSourceResponse)
    async def events() -> AsyncIterator[dict[str, Any]]:
        for _ in range(3):
            yield world.look()

    reply = client_of(app).ask("GET", "/events", headers={"accept": "text/event-stream"})
    seen = [json.loads(line.removeprefix("data: ")) for line in reply.text.split("\n") if line.startswith("data")]

    assert [1, 1, 1] == [s["turn"] for s in seen]
    assert {seen[0]["id"]} == session_ids(world.spans())


def test_stream_that_fails_in_the_middle(world: World, app: FastAPI) -> None:
    """An error after the first chunk ends the turn once, as an error; the next request is in the same session."""

    async def chunks() -> AsyncIterator[str]:
        yield "first"
        raise RuntimeError("the model failed")

    app.post("/async")(lambda: StreamingResponse(chunks()))
    app.post("/chat")(world.look)
    client = client_of(app)
    first = client.seen()
    client.ask(path="/async")
    after = client.seen()

    assert (first["id"], 3) == (after["id"], after["turn"])
    failed = world.spans("turn")[1]
    assert StatusCode.ERROR is failed.status.status_code
    assert "RuntimeError" == failed.attributes["error.type"]
    assert 3 == len(world.spans("turn")) == len(world.spans("session"))


# -- background work


def test_background_work_keeps_the_session(world: World, app: FastAPI) -> None:
    """What runs after the response sees the session, its spans carry it, and what it says the next request finds."""
    found: list[Any] = []

    async def later() -> None:
        found.append(world.look())
        session = current_session()
        assert session is not None
        session.set(name="said in the background")

    def in_a_thread() -> None:
        found.append(world.look())

    @app.post("/chat")
    async def chat(work: BackgroundTasks) -> Any:
        work.add_task(later)
        work.add_task(in_a_thread)
        return world.look()

    client = client_of(app)
    first = client.seen()

    assert [first["id"]] * 2 == [f["id"] for f in found]
    assert {first["id"]} == session_ids(world.spans()) == {r.attributes["session.id"] for r in world.records()}
    assert 3 == len(world.spans("work"))
    client.seen()
    assert "said in the background" == world.spans("session")[1].attributes["session.name"]


@pytest.mark.parametrize("session_span", ["first", "off"])
def test_background_work_without_a_session_span(world: World, session_span: str) -> None:
    """With fewer spans it is the same: what is said late is never written to a span that has ended."""
    world.overrides["session_span"] = session_span
    app = FastAPI()
    SessionTracking(app, **world.options())

    def later() -> None:
        session = current_session()
        assert session is not None
        session.set(name="said in the background")

    @app.post("/chat")
    async def chat(work: BackgroundTasks) -> Any:
        work.add_task(later)

    client = client_of(app)
    for _ in range(2):
        client.ask()

    assert (1 if session_span == "first" else 0) == len(world.spans("session"))
    assert "said in the background" == world.spans("turn")[1].attributes["session.name"]


def test_background_work_names_the_user(world: World, app: FastAPI) -> None:
    """A user named after the response is the session's from the next request on; one line says that it was late."""

    def later() -> None:
        session = current_session()
        assert session is not None
        session.identify("ada")

    @app.post("/chat")
    async def chat(work: BackgroundTasks) -> Any:
        work.add_task(later)
        return world.look()

    client = client_of(app)
    first, second = client.seen(), client.seen()

    assert first["id"] == second["id"]
    assert [None, hash_user_id("ada")] == [first["user"], second["user"]]


def test_background_work_ends_the_session(world: World, app: FastAPI) -> None:
    """A session ended after the response is over at once: the next request begins another."""

    def later() -> None:
        session = current_session()
        assert session is not None
        session.end("completed")

    @app.post("/chat")
    async def chat(work: BackgroundTasks) -> Any:
        work.add_task(later)
        return world.look()

    client = client_of(app)
    first, second = client.seen(), client.seen()

    assert first["id"] != second["id"]
    assert "completed" == world.named("session.end")[0].attributes["session.end_reason"]


def test_background_work_reports_usage(world: World, app: FastAPI) -> None:
    """Tokens of a model call after the response count in the session like any others, once."""

    def later() -> None:
        turn = current_turn()
        assert turn is not None
        turn.add_usage(input_tokens=100, output_tokens=10, cost_usd=0.001)

    @app.post("/chat")
    async def chat(work: BackgroundTasks) -> Any:
        turn = current_turn()
        assert turn is not None
        turn.add_usage(input_tokens=1, output_tokens=2, cost_usd=0.002)
        work.add_task(later)

    @app.post("/logout")
    async def logout(session: SessionDep) -> None:
        session.end()

    client = client_of(app)
    client.ask()
    client.ask(path="/logout")
    (end,) = world.named("session.end")

    assert [101, 12, 0.003] == [
        end.attributes[f"session.total_{name}"] for name in ("input_tokens", "output_tokens", "cost_usd")
    ]
    assert (2, 2) == (end.attributes["session.total_turns"], end.attributes["session.completed_turns"])


def test_background_work_that_fails(world: World, app: FastAPI) -> None:
    """An error after the last byte is no failure of the turn: the user has the answer."""

    def later() -> None:
        raise RuntimeError("the background failed")

    @app.post("/chat")
    async def chat(work: BackgroundTasks) -> Any:
        work.add_task(later)
        return world.look()

    client_of(app).ask()

    turn = only(world.spans(), "turn")
    assert StatusCode.ERROR is not turn.status.status_code
    assert "error.type" not in (turn.attributes or {})


class SlowStoreClock:
    """A clock on which a second passes while the store is asked for the first time."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000
        self.reads = 0

    def __call__(self) -> int:
        self.reads += 1
        if self.reads == 2:
            self.now += 1_000
        return self.now


def test_end_is_never_in_the_future(world: World) -> None:
    """However long the store took to answer, a session that was ended is over now, and reported with this response."""
    app = FastAPI()
    SessionTracking(app, clock=SlowStoreClock(), **world.options())

    @app.post("/logout")
    async def logout(session: SessionDep) -> None:
        session.end()

    client_of(app).ask(path="/logout")
    (end,) = world.named("session.end")

    assert end.attributes["session.duration_ms"] == 0


# -- errors


def failing(world: World, app: FastAPI) -> None:
    """Add endpoints that fail in each way."""

    @app.post("/unhandled")
    async def unhandled(session: SessionDep) -> Any:
        raise RuntimeError("nobody handles this")

    @app.post("/handled")
    async def handled(session: SessionDep) -> Any:
        raise LookupError("somebody handles this")

    @app.post("/teapot")
    async def teapot(session: SessionDep) -> Any:
        raise HTTPException(418)

    @app.post("/down")
    async def down(session: SessionDep) -> Any:
        raise HTTPException(503)

    @app.post("/invalid")
    async def invalid(number: int, session: SessionDep) -> Any: ...

    @app.exception_handler(LookupError)
    async def on_lookup(request: Any, error: Exception) -> Any:
        return JSONResponse(world.look(), 404)


@pytest.mark.parametrize(
    ("path", "status", "cookie", "error"),
    [
        ("/unhandled", 500, False, "RuntimeError"),
        ("/handled", 404, True, None),
        ("/teapot", 418, True, None),
        ("/down", 503, True, "503"),
        ("/invalid", 422, True, None),
        ("/nowhere", 404, True, None),
    ],
)
def test_errors(world: World, app: FastAPI, path: str, status: int, cookie: bool, error: str | None) -> None:
    """
    A handled error is an answer like any other, cookie and all; a turn fails from status 500 up.

    The answer to an unhandled error is made by Starlette's outermost middleware, outside of ours: it has no cookie.
    """
    failing(world, app)
    reply = client_of(app).ask(path=path)

    assert status == reply.status_code
    assert cookie is ("set-cookie" in reply.headers)
    turn = only(world.spans(), "turn")
    assert error == (turn.attributes or {}).get("error.type")
    assert (StatusCode.ERROR if error else StatusCode.UNSET) is turn.status.status_code
    assert 1 == len(session_ids(world.spans()))
    assert 1 == len(world.spans("session"))


def test_handlers_of_errors_see_the_session(world: World, app: FastAPI) -> None:
    """A handler for one kind of error runs inside the session; the one for all errors runs outside, with none."""
    failing(world, app)
    seen: list[Any] = []

    @app.exception_handler(Exception)
    async def on_any(request: Any, error: Exception) -> Any:
        seen.append((current_session(), current_turn()))
        return JSONResponse({}, 500)

    handled = client_of(app).ask(path="/handled").json()
    client_of(app).ask(path="/unhandled")

    assert handled["id"] == world.spans("turn")[0].attributes["session.id"]
    assert [(None, None)] == seen


def test_session_goes_on_after_an_unhandled_error(world: World, app: FastAPI) -> None:
    """A client that has its cookie keeps its session through an unhandled error; the failed turn counts."""
    failing(world, app)
    app.post("/chat")(world.look)
    client = client_of(app)
    first = client.seen()
    client.ask(path="/unhandled")
    after = client.seen()

    assert (first["id"], 3) == (after["id"], after["turn"])
