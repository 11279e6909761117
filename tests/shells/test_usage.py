"""Through a real application: what the spans of a turn report is what its session's end says, to the micro-dollar."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

from session_mw import current_session, current_turn
from session_mw._core import names
from session_mw.exceptions import StoreUnavailable
from tests.shells.test_websocket import Wire
from tests.shells.worlds import World, make_world


def price(model: str, provider: str | None, usage: Any) -> float:
    """A micro-dollar for a token in, four for one out."""
    return (usage.input_tokens + 4 * usage.output_tokens) / 1_000_000


def call(tracer: Any, into: int, out: int) -> None:
    """Make the span of one model call, inside another instrumentation's."""
    said = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
    said |= {"gen_ai.usage.input_tokens": into, "gen_ai.usage.output_tokens": out}
    outer = {"openinference.span.kind": "LLM", "llm.token_count.prompt": into, "llm.token_count.completion": out}
    start = tracer.start_as_current_span
    with start("ChatModel", attributes=outer), start("chat m", attributes=said):
        pass


def agent(tracer: Any, calls: list[tuple[int, int]], fail: bool = False) -> None:
    """Run an agent that calls the model, uses a tool after each call but the last, and sums its usage up."""
    with tracer.start_as_current_span("invoke_agent helper") as span:
        span.set_attribute("gen_ai.operation.name", "invoke_agent")
        for number, (into, out) in enumerate(calls):
            call(tracer, into, out)
            if number < len(calls) - 1:
                with tracer.start_as_current_span("execute_tool search") as tool:
                    tool.set_attribute("gen_ai.operation.name", "execute_tool")
                    if fail:
                        tool.set_status(StatusCode.ERROR)
        span.set_attribute("gen_ai.usage.input_tokens", sum(into for into, _ in calls))
        span.set_attribute("gen_ai.usage.output_tokens", sum(out for _, out in calls))


class Chat:
    """An application that answers with an agent; what comes after the response is kept in ``after``."""

    def __init__(self) -> None:
        self.tracer: Any = None
        self.calls: list[tuple[int, int]] = []
        self.fail = False
        self.action: str | None = None
        self.during: Callable[[], None] = lambda: None
        self.after: list[Any] = []

    def act(self) -> None:
        self.during()
        turn = current_turn()
        if turn is not None and self.action is not None:
            turn.set(action=self.action)
        agent(self.tracer, self.calls, self.fail)
        late = self.tracer.start_span("chat", attributes={"gen_ai.operation.name": "chat"})
        self.after.append(late)

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        self.act()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    def wsgi(self, environ: Any, start_response: Any) -> list[bytes]:
        self.act()
        start_response("200 OK", [])
        return [b"ok"]


@pytest.fixture(params=["asgi", "wsgi"])
def chat(request: pytest.FixtureRequest) -> tuple[Chat, World]:
    app = Chat()
    world = make_world(request.param, getattr(app, request.param), price_for=price)
    app.tracer = world.provider.get_tracer("some-instrumentation")
    return app, world


def finish(world: World) -> dict[str, Any]:
    """Let the session time out, and return what its end says."""
    world.work()
    world.clock.advance(seconds=2 * 3600)
    (end,) = world.ends()
    return dict(end.attributes)


def test_end_equals_what_spans_reported(chat: tuple[Chat, World]) -> None:
    """Over many turns, tokens and cost of the session's end are the sums of its model calls, each counted once."""
    app, world = chat
    source = random.Random(7)
    total_in = total_out = 0
    for _ in range(25):
        app.calls = [(source.randint(1, 5_000), source.randint(0, 900)) for _ in range(source.randint(1, 4))]
        total_in += sum(into for into, _ in app.calls)
        total_out += sum(out for _, out in app.calls)
        world.request()
    end = finish(world)

    assert (total_in, total_out, (total_in + 4 * total_out) / 1_000_000) == (
        end[names.SESSION_TOTAL_INPUT_TOKENS],
        end[names.SESSION_TOTAL_OUTPUT_TOKENS],
        end[names.SESSION_TOTAL_COST_USD],
    )


def test_turn_span_and_history_say_what_was_counted(chat: tuple[Chat, World]) -> None:
    """Agent runs, tool calls, errors and the last action stand on the turn's span and in its line of the history."""
    app, world = chat
    app.calls, app.fail = [(10, 1), (20, 2), (30, 3)], True
    world.request()
    world.work()

    (span,) = world.spans("turn")
    expected = {"turn.agent_runs": 1, "turn.tool_calls": 2, "turn.errors": 2, "turn.action": "search"}
    assert expected == {key: span.attributes[key] for key in expected}
    (row,) = world.engine.history.turns(span.attributes["session.id"])
    assert (60, 6, 84, "search") == (row.input_tokens, row.output_tokens, row.cost_microusd, row.action)


def test_drop_off_knows_the_last_tool(chat: tuple[Chat, World]) -> None:
    """A user who leaves after a tool was called: the tool is what the agent did last."""
    app, world = chat
    app.calls = [(1, 1), (1, 1)]
    world.request()
    world.request()

    assert "search" == finish(world)[names.DROPOFF_AGENT_LAST_ACTION]


def test_action_of_the_application_holds(chat: tuple[Chat, World]) -> None:
    """What the application says it did is not replaced by what was counted."""
    app, world = chat
    app.calls, app.action = [(1, 1), (1, 1)], "escalated to a person"
    world.request()
    world.request()

    (_, span) = world.spans("turn")
    assert "escalated to a person" == span.attributes["turn.action"]
    assert "escalated to a person" == finish(world)[names.DROPOFF_AGENT_LAST_ACTION]


def test_late_spans_are_the_sessions(chat: tuple[Chat, World]) -> None:
    """A span that ends after its response, in any thread, adds to the session's end once."""
    app, world = chat
    app.calls = [(10, 1)]
    for _ in range(5):
        world.request()

    def end_all() -> None:
        for span in app.after:
            span.set_attributes({"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 7})
            span.end()

    thread = threading.Thread(target=end_all)
    thread.start()
    thread.join()
    end = finish(world)

    assert (550, 40) == (end[names.SESSION_TOTAL_INPUT_TOKENS], end[names.SESSION_TOTAL_OUTPUT_TOKENS])


def test_late_after_the_end_is_a_record_of_its_own(chat: tuple[Chat, World]) -> None:
    """What comes after the end was reported is one ``session.usage_late``, with tokens and cost."""
    app, world = chat
    app.calls = [(10, 1)]
    world.request()
    end = finish(world)
    (span,) = app.after
    span.set_attributes({"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 7, "operation.cost": 0.5})
    span.end()
    world.work()

    (late,) = [e for e in world.events if e.event_name == names.EVENT_USAGE_LATE]
    assert (10, 100, 7, 0.5) == (
        end[names.SESSION_TOTAL_INPUT_TOKENS],
        late.attributes[names.SESSION_TOTAL_INPUT_TOKENS],
        late.attributes[names.SESSION_TOTAL_OUTPUT_TOKENS],
        late.attributes[names.SESSION_TOTAL_COST_USD],
    )


def test_late_with_a_computed_price_is_one_record(chat: tuple[Chat, World]) -> None:
    """A call is told of once, whoever knows its price; so are all calls that are written at a time."""
    app, world = chat
    app.calls = [(10, 1)]
    world.request()
    world.request()
    finish(world)
    for span in app.after:
        said = {"gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 7}
        span.set_attributes(said)
        span.end()

    assert [(200, 14, 256)] == late_of(world)


def test_turn_that_ends_after_its_session_is_late(chat: tuple[Chat, World]) -> None:
    """A turn that outlasts its session and has something to say of it: what it used is not lost with what it said."""
    app, world = chat
    app.calls = [(10, 1)]

    def during() -> None:
        session = current_session()
        assert session is not None
        session.set(plan="pro")
        world.clock.advance(seconds=2 * 3600)
        world.work()

    app.during = during
    world.request()
    (end,) = world.ends()

    assert names.SESSION_TOTAL_TOKENS not in end.attributes
    assert [(10, 1, 14)] == late_of(world)


def test_store_that_fails_once_loses_no_usage(chat: tuple[Chat, World]) -> None:
    """What a turn brought and the store did not take before the last byte is written by the background."""
    app, world = chat
    app.calls = [(10, 1)]
    works = world.engine.store.add

    def fail(*items: Any) -> Any:
        world.engine.store.add = works
        raise StoreUnavailable("the store is down")

    def during() -> None:
        session = current_session()
        assert session is not None
        session.set(plan="pro")
        world.engine.store.add = fail

    app.during = during
    world.request()
    end = finish(world)

    assert (11, "pro") == (end[names.SESSION_TOTAL_TOKENS], end["metadata.plan"])


def late_of(world: World) -> list[tuple[Any, Any, int]]:
    """Return what each ``session.usage_late`` says: tokens in and out, and micro-dollars."""
    world.work()
    late = [event.attributes for event in world.events if event.event_name == names.EVENT_USAGE_LATE]
    keys = (names.SESSION_TOTAL_INPUT_TOKENS, names.SESSION_TOTAL_OUTPUT_TOKENS)
    return [(*(one.get(key) for key in keys), round(one[names.SESSION_TOTAL_COST_USD] * 1_000_000)) for one in late]


@pytest.mark.usefixtures("restless")
def test_background_that_is_emptied_while_threads_add_loses_nothing(chat: tuple[Chat, World]) -> None:
    """Late usage that arrives while the session is being ended is either written with it or reported late."""
    app, world = chat
    app.calls = [(1, 1)]
    world.request()
    background = world.engine.background
    world.work()
    barrier = threading.Barrier(4)

    def add() -> None:
        barrier.wait()
        for _ in range(2_000):
            world.engine.late_usage("some-session", 1, (1, None, None))

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    barrier.wait()
    taken: list[Any] = []
    while any(thread.is_alive() for thread in threads):
        taken += background.take("some-session")
    taken += background.take("some-session")

    assert 6_000 == len(taken)


def test_websocket_turn_that_says_something_is_counted() -> None:
    """What a message's turn used is written with what the application said of the session in it."""
    tracers: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            session = current_session()
            assert session is not None
            session.set(last=message["text"])
            agent(tracers[0], [(10, 1)])
            await send({"type": "websocket.send", "text": message["text"]})

    world = make_world("asgi", app, price_for=price)
    tracers.append(world.provider.get_tracer("some-instrumentation"))

    async def talk() -> None:
        wire = Wire(world)
        await wire.accepted()
        for text in ("one", "two", "three"):
            await wire.ask(text)
        await wire.close()

    asyncio.run(talk())
    end = finish(world)

    assert (30, 3, 3, "three") == (
        end[names.SESSION_TOTAL_INPUT_TOKENS],
        end[names.SESSION_TOTAL_OUTPUT_TOKENS],
        end[names.SESSION_COMPLETED_TURNS],
        end["metadata.last"],
    )


def test_websocket_turns_keep_their_own() -> None:
    """A call that began in one message's turn and ends in the next one's is counted once, late, in no other turn."""
    tracers: list[Any] = []
    open_spans: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            for span in open_spans:
                span.set_attributes({"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 7})
                span.end()
            open_spans[:] = [tracers[0].start_span("chat", attributes={"gen_ai.operation.name": "chat"})]
            agent(tracers[0], [(10, 1)])
            await send({"type": "websocket.send", "text": message["text"]})

    world = make_world("asgi", app, price_for=price)
    tracers.append(world.provider.get_tracer("some-instrumentation"))

    async def talk() -> None:
        wire = Wire(world)
        await wire.accepted()
        for text in ("one", "two", "three"):
            await wire.ask(text)
        await wire.close()

    asyncio.run(talk())
    world.work()

    turns = world.spans("turn")
    assert [1, 1, 1] == [span.attributes["turn.agent_runs"] for span in turns]
    rows = world.engine.history.turns(turns[0].attributes["session.id"])
    assert [10, 10, 10] == [row.input_tokens for row in rows]
    end = finish(world)
    assert (230, 17) == (end[names.SESSION_TOTAL_INPUT_TOKENS], end[names.SESSION_TOTAL_OUTPUT_TOKENS])
