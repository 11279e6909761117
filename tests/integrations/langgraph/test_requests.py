"""
Behind the middleware the request is the turn: a run in it is counted with it, and its thread names the conversation.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

from session_mw.integrations.langgraph import instrument_graph
from tests.hierarchy.test_in_requests import World, both_worlds

from .graphs import ASK, agent, approval, line, thread
from .test_interrupts import YES

NAMES = ("turn.number", "conversation.id", "conversation.turn_number", "turn.agent_runs", "turn.tool_calls")


def numbers(world: World) -> list[tuple[Any, ...]]:
    return [tuple(t.get(name) for name in NAMES) for t in world.shown("turn")]


@both_worlds
def test_run_in_a_request_is_its_turn(kind: str) -> None:
    """One turn for each request, however many runs; the first thread that is named is the turn's conversation."""
    graph = instrument_graph(agent())

    def handler(_: dict[str, str]) -> Any:
        graph.invoke(ASK, thread("a"))
        graph.invoke(ASK, thread("b"))
        return {}

    world = World(kind, handler)
    world.post()
    world.post()

    assert [(1, "a", 1, 4, 2), (2, "a", 2, 4, 2)] == numbers(world)
    assert ["a", "b"] * 2 == [s["conversation.id"] for s in world.shown("invoke_agent planner")][::2]
    (end,) = world.ends().values()
    assert (2, 880) == (end["session.total_turns"], end["session.total_tokens"])


def test_async_run_in_a_request() -> None:
    """The same with a coroutine."""
    graph = instrument_graph(agent())

    async def handler(_: dict[str, str]) -> Any:
        await graph.ainvoke(ASK, thread("a"))
        return {}

    world = World("asgi", handler)
    world.post()

    assert [(1, "a", 1, 2, 1)] == numbers(world)


@both_worlds
def test_conversation_that_the_client_named(kind: str) -> None:
    """What the client calls its conversation, passed on by the application: that one, under the id it has on spans."""
    graph = instrument_graph(agent())

    def handler(headers: dict[str, str]) -> Any:
        graph.invoke(ASK, thread(headers["x-conversation-id"]))
        return {}

    world = World(kind, handler)
    for _ in range(2):
        world.post("/", **{"X-Conversation-ID": "talk"})

    found = {s["conversation.id"] for name in ("turn", "invoke_agent planner") for s in world.shown(name)}
    assert 1 == len(found) and found.pop().endswith("talk")
    assert [1, 2] == [one[2] for one in numbers(world)]


@both_worlds
def test_interrupt_and_resume_in_two_requests(kind: str) -> None:
    """The person answers in the next request: two turns, none failed, and the spans say which is which."""
    graph = instrument_graph(line(("ask", approval)))
    asked = iter([ASK, YES])

    def handler(_: dict[str, str]) -> Any:
        return {"waits": "__interrupt__" in graph.invoke(next(asked), thread("a"))}

    world = World(kind, handler)
    assert [True, False] == [world.post()["waits"], world.post()["waits"]]
    assert [(None, "interrupt"), ("resume", None)] == [
        (t.get("turn.input_type"), t.get("turn.output_type")) for t in world.shown("turn")
    ]
    (end,) = world.ends().values()
    assert (2, 0) == (end["session.total_turns"], end["session.failed_turns"])


@both_worlds
def test_failure_that_the_application_answers(kind: str) -> None:
    """The application caught it and answered: the run's node failed, the request did not."""
    graph = instrument_graph(agent(ValueError("no")))

    def handler(_: dict[str, str]) -> Any:
        with pytest.raises(ValueError, match="no"):
            graph.invoke(ASK, thread("a"))
        return {"sorry": True}

    world = World(kind, handler)
    world.post()

    assert [("ValueError", None)] == [
        (node.get("error.type"), turn.get("error.type"))
        for node, turn in zip(world.shown("invoke_agent planner"), world.shown("turn"), strict=True)
    ]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_streamed_response(asynchronous: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that is read while the response is sent: one turn, which ends with the last chunk."""
    graph = instrument_graph(agent())

    async def async_chunks() -> AsyncIterator[str]:
        async for chunk in graph.astream(ASK, thread("a"), stream_mode="updates"):
            yield json.dumps(list(chunk)) + "\n"

    def chunks() -> Iterator[str]:
        for chunk in graph.stream(ASK, thread("a"), stream_mode="updates"):
            yield json.dumps(list(chunk)) + "\n"

    async def endpoint(request: Any) -> StreamingResponse:
        return StreamingResponse(async_chunks() if asynchronous else chunks())

    app = Starlette(routes=[Route("/", endpoint, methods=["POST"])])
    monkeypatch.setattr("tests.hierarchy.test_in_requests._asgi", lambda handler: app)
    world = World("asgi", lambda _: {})
    response = world.client.post("/")

    assert ["planner", "tools", "planner"] == [json.loads(line)[0] for line in response.text.splitlines()]
    assert [(1, "a", 1, 2, 1)] == numbers(world)
