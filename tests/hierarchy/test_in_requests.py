"""The same blocks and functions inside requests: they extend what the middleware opened."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from werkzeug.test import Client
from werkzeug.wrappers import Request as WSGIRequest
from werkzeug.wrappers import Response as WSGIResponse

from session_mw import (
    agent_run,
    clear_session,
    conversation,
    current_session,
    current_turn,
    end_session,
    session_context,
    session_manager,
    session_metrics,
    set_session,
    tool_call,
    turn,
)
from session_mw.asgi import SessionTrackingMiddleware as ASGIMiddleware
from session_mw.testing import FakeClock, RecordingSink
from session_mw.wsgi import SessionTrackingMiddleware as WSGIMiddleware

from .support import SECRET, trace_of

Handler = Callable[[dict[str, str]], Any]


class World:
    """One application behind the middleware, in ASGI or WSGI, whose handler is given."""

    def __init__(self, kind: str, handler: Handler, **settings: Any) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer("app")
        self.sink, self.clock = RecordingSink(), FakeClock()
        given: dict[str, Any] = {
            "secret_key": SECRET,
            "tracer_provider": provider,
            "clock": self.clock,
            "event_sink": self.sink,
            "cookie_secure": False,
            "cookie_name": "sid",
            **settings,
        }
        self.kind = kind
        if kind == "asgi":
            self.middleware: Any = ASGIMiddleware(_asgi(handler), **given)
            self.client: Any = TestClient(self.middleware)
        else:
            self.middleware = WSGIMiddleware(_wsgi(handler), **given)
            self.client = Client(self.middleware)
        self.engine = self.middleware.engine
        self.engine.background.hold()

    def post(self, path: str = "/", **headers: str) -> Any:
        response = self.client.post(path, headers=headers)
        return response.json() if self.kind == "asgi" else response.get_json()

    def work(self, name: str = "work") -> None:
        with self.tracer.start_as_current_span(name):
            pass

    def shown(self, name: str) -> list[dict[str, Any]]:
        return [dict(span.attributes or {}) for span in self.exporter.get_finished_spans() if span.name == name]

    def ends(self, minutes: float = 31) -> dict[str, dict[str, Any]]:
        self.clock.advance(seconds=minutes * 60)
        self.engine.background.step()
        return {event.key[0]: dict(event.attributes) for event in self.sink.named("session.end")}


def _asgi(handler: Handler) -> Any:
    async def endpoint(request: Request) -> JSONResponse:
        answer = handler(dict(request.headers))
        return JSONResponse(await answer if asyncio.iscoroutine(answer) else answer)

    return Starlette(routes=[Route("/{rest:path}", endpoint, methods=["POST"])])


def _wsgi(handler: Handler) -> Any:
    @WSGIRequest.application
    def app(request: WSGIRequest) -> WSGIResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        return WSGIResponse(json.dumps(handler(headers)), mimetype="application/json")

    return app


both_worlds = pytest.mark.parametrize("kind", ["asgi", "wsgi"])


@both_worlds
def test_blocks_in_a_request_extend_its_session(kind: str) -> None:
    """No second session and no second turn, whatever is opened by whomever."""

    def handler(_: dict[str, str]) -> Any:
        with session_context(user_id="a", metadata={"plan": "pro"}) as session, turn(intent="ask"):
            with agent_run("planner"), tool_call("search"):
                world.work()
            return {"id": session.id, "turn": current_turn().number}  # type: ignore[union-attr]

    world = World(kind, handler)
    first, second = world.post(), world.post()

    assert first["id"] == second["id"]
    assert [1, 2] == [first["turn"], second["turn"]]
    assert 2 == len(world.shown("turn")) == len(world.shown("session"))
    end = world.ends()[first["id"]]
    assert (2, "pro") == (end["session.total_turns"], end["metadata.plan"])
    assert end["user.id"] == world.shown("work")[1]["user.id"]
    assert [1, 1] == [one["turn.tool_calls"] for one in world.shown("turn")]


@both_worlds
def test_conversation_in_a_request_is_its_turns(kind: str) -> None:
    """The first one that is named is the turn's: its span, its line in the history, its number."""

    def handler(_: dict[str, str]) -> Any:
        with conversation("support-42", topic="billing") as thread:
            world.work()
        return {"number": thread.turn_number}

    world = World(kind, handler)
    assert [1, 2] == [world.post()["number"] for _ in range(2)]

    turns = world.shown("turn")
    expected = {"conversation.id": "support-42", "conversation.topic": "billing"}
    assert [expected] * 2 == [{key: one[key] for key in expected} for one in turns]
    assert [1, 2] == [one["conversation.turn_number"] for one in turns]
    world.engine.background.step()
    history = world.engine.history.turns(turns[0]["session.id"])
    assert ["support-42"] * 2 == [row.conversation_id for row in history]


@both_worlds
def test_conversation_the_client_named_is_recognised(kind: str) -> None:
    """Handed on by the handler, a client's id is the scoped one: two users who both send conv-1 never meet."""

    def handler(headers: dict[str, str]) -> Any:
        with conversation(headers["x-conversation-id"]) as thread:
            return {"id": thread.id, "number": thread.turn_number}

    world = World(kind, handler)
    first = [world.post(**{"X-Conversation-ID": "conv-1"}) for _ in range(2)]
    other = world.client.__class__(world.middleware)
    world.client = other
    second = world.post(**{"X-Conversation-ID": "conv-1"})

    assert first[0]["id"] == first[1]["id"] != second["id"]
    assert [1, 2, 1] == [answer["number"] for answer in (*first, second)]
    assert "conv-1" not in (first[0]["id"], second["id"])


@both_worlds
def test_another_session_in_a_request_is_a_trace_of_its_own(kind: str) -> None:
    """The application's own id opens that session, linked to the request; each has its turn."""

    def handler(_: dict[str, str]) -> Any:
        mine = current_session().id  # type: ignore[union-attr]
        with session_context(session_id="sess-abc", user_id="a"):
            world.work("inner")
        world.work("outer")
        return {"id": mine}

    world = World(kind, handler)
    mine = world.post()["id"]

    assert ["sess-abc"] == [one["session.id"] for one in world.shown("inner")]
    assert [mine] == [one["session.id"] for one in world.shown("outer")]
    spans = {span.name: trace_of(span) for span in world.exporter.get_finished_spans()}
    assert spans["inner"] != spans["outer"]
    ends = world.ends()
    assert {"sess-abc", mine} == set(ends)
    assert [1, 1] == [end["session.total_turns"] for end in ends.values()]


@both_worlds
def test_set_session_in_a_request_ends_with_it(kind: str) -> None:
    """Not cleared in a ``finally``: the next request, in the same thread and loop, is in its own session."""

    def handler(headers: dict[str, str]) -> Any:
        before = current_session().id  # type: ignore[union-attr]
        if headers.get("x-set"):
            set_session(headers["x-set"], user_id="somebody")
            world.work()
        return {"before": before, "now": session_manager.current_session_id}

    world = World(kind, handler)
    first = world.post(**{"X-Set": "mine"})
    second = world.post()

    assert "mine" == first["now"]
    assert first["before"] == second["before"] == second["now"]
    assert ["mine"] == [one["session.id"] for one in world.shown("work")]
    assert current_session() is None


@both_worlds
def test_clear_session_in_a_request(kind: str) -> None:
    """What follows belongs to nobody; the request's own turn is closed and counted as ever."""

    def handler(_: dict[str, str]) -> Any:
        mine = current_session().id  # type: ignore[union-attr]
        clear_session()
        return {"id": mine, "now": session_manager.current_session_id}

    world = World(kind, handler)
    answer = world.post()

    assert answer["now"] is None
    assert 1 == world.ends()[answer["id"]]["session.total_turns"]


@both_worlds
def test_end_session_in_a_request_ends_it_with_the_response(kind: str) -> None:
    """The turn is counted, the next request is another session."""

    def handler(headers: dict[str, str]) -> Any:
        mine = current_session().id  # type: ignore[union-attr]
        if headers.get("x-bye"):
            assert end_session(reason="completed")
        return {"id": mine}

    world = World(kind, handler)
    first, bye, after = world.post(), world.post(**{"X-Bye": "1"}), world.post()

    assert first["id"] == bye["id"] != after["id"]
    end = world.ends()[first["id"]]
    assert ("completed", 2) == (end["session.end_reason"], end["session.total_turns"])


@both_worlds
def test_session_metrics_in_a_request_count_what_it_has_reported(kind: str) -> None:
    """What the running turn's spans have said so far is in the totals."""

    def handler(_: dict[str, str]) -> Any:
        with world.tracer.start_as_current_span("chat m") as span:
            span.set_attributes({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 11})
        assert session_metrics()["tokens"] == current_session().metrics()["tokens"]  # type: ignore[union-attr]
        return session_metrics()

    world = World(kind, handler)

    assert [(1, 11), (2, 22)] == [(answer["turns"], answer["tokens"]) for answer in (world.post(), world.post())]


def test_blocks_in_parallel_requests_do_not_mix() -> None:
    """Two hundred interleaved requests, each with a conversation and tools of its own."""

    async def handler(headers: dict[str, str]) -> Any:
        name = headers["x-name"]
        async with conversation(f"conversation-{name}"):
            await asyncio.sleep(0)
            async with agent_run(f"agent-{name}"):
                await asyncio.gather(*(one(name) for _ in range(2)))
        return {"id": current_session().id}  # type: ignore[union-attr]

    async def one(name: str) -> None:
        async with tool_call("search"):
            await asyncio.sleep(0)
            world.work(f"work-{name}")

    world = World("asgi", handler)
    with ThreadPoolExecutor(8) as pool:
        clients = [TestClient(world.middleware) for _ in range(8)]
        answers = list(
            pool.map(lambda n: clients[n % 8].post("/", headers={"X-Name": str(n)}).json()["id"], range(200))
        )

    for number, session_id in enumerate(answers):
        found = {(one["session.id"], one["conversation.id"]) for one in world.shown(f"work-{number}")}
        assert {(session_id, f"conversation-{number}")} == found
    assert [2] * 200 == [one["turn.tool_calls"] for one in world.shown("turn")]


def test_work_that_outlives_its_request_stays_in_its_session() -> None:
    """Background work and streamed bodies: steps there belong to the request's turn, and to no later one."""

    async def answer(request: Request) -> Any:
        async def body() -> Any:
            for _ in range(2):
                with tool_call("late"):
                    world_work()
                yield b"x"

        return StreamingResponse(body()) if "stream" in request.url.path else PlainTextResponse("ok")

    def world_work() -> None:
        with tracer.start_as_current_span("streamed"):
            pass

    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("app")
    app = ASGIMiddleware(
        Starlette(routes=[Route("/{rest:path}", answer, methods=["POST"])]),
        secret_key=SECRET,
        tracer_provider=provider,
        cookie_secure=False,
        cookie_name="sid",
    )
    app.engine.background.hold()
    client = TestClient(app)
    client.post("/stream")
    client.post("/plain")

    spans = exporter.get_finished_spans()
    late = [span.attributes or {} for span in spans if span.name in ("streamed", "execute_tool late")]
    assert [1] * 4 == [one["turn.number"] for one in late]
    turns = [dict(span.attributes or {}) for span in spans if span.name == "turn"]
    assert [2, None] == [one.get("turn.tool_calls") for one in turns]
