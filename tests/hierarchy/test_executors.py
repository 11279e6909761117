"""
Identity in threads, pools, tasks, generators and background work: where it belongs, and nowhere else.

A session follows what Python's context follows: tasks, ``asyncio.to_thread``, generators of ours. What does not carry
the context (pools, ``run_in_executor``, threads before Python 3.14) gets the session by ``copy_context``, and nothing
without it. Each case also reports tokens after its turn or request is over: they are counted once, for their session.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse

from session_mw import (
    agent_run,
    conversation,
    copy_context,
    current_conversation,
    current_session,
    current_turn,
    observe,
    session_context,
    tool_call,
    turn,
)

from .support import Script, trace_of
from .test_in_requests import World

NOBODY = (None, None, None, False)


def here() -> tuple[str | None, int | None, str | None, bool]:
    """Return session, turn, conversation, and whether a span is current, as code that runs here sees them."""
    session, exchange, thread = current_session(), current_turn(), current_conversation()
    return (
        None if session is None else session.id,
        None if exchange is None else exchange.number,
        None if thread is None else thread.id,
        trace.get_current_span().get_span_context().is_valid,
    )


def ask_model(tracer: trace.Tracer, tokens: int, context: Context | None = None) -> None:
    """Make the span of a model call, as any instrumentation would."""
    with tracer.start_as_current_span("chat m", context) as span:
        span.set_attributes({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": tokens})


def tokens_of(script: Script) -> dict[str, int | None]:
    """Return the tokens of every session, after all of them ended."""
    script.sweep(31)
    return {end.key[0]: dict(end.attributes).get("session.total_tokens") for end in script.ends()}


# -- pools


def test_pool_without_copy_context_knows_nothing(script: Script) -> None:
    """A pool's threads carry no context: nobody's session, no parent, nobody's tokens."""
    with ThreadPoolExecutor(1) as pool, session_context("s-1", user_id="ada"), turn():
        seen = pool.submit(here).result()
        pool.submit(ask_model, script.tracer, 5).result()

    assert seen == NOBODY
    assert "session.id" not in script.shown("chat m")
    assert {"s-1": None} == tokens_of(script)


def test_pool_with_copy_context_is_inside(script: Script) -> None:
    """Session, turn, conversation and the span around; the thread keeps none of it for whoever has it next."""
    with ThreadPoolExecutor(1) as pool:
        with session_context("s-1", user_id="ada"), conversation("talk"), agent_run("planner"):
            expected = here()
            seen = pool.submit(copy_context(here)).result()
            pool.submit(copy_context(ask_model), script.tracer, 5).result()
        after = pool.submit(here).result()

    assert ("s-1", 1, "talk", True) == expected == seen
    assert after == NOBODY
    assert script.only("invoke_agent planner").context == script.only("chat m").parent
    assert {"s-1": 5} == tokens_of(script)


def test_pool_thread_that_serves_one_user_after_the_other(script: Script) -> None:
    """One thread, two users by turns, and work of neither in between."""
    seen: list[Any] = []
    with ThreadPoolExecutor(1) as pool:
        for number in range(6):
            with session_context(f"s-{number % 2}", user_id=f"user-{number % 2}"):
                seen.append(pool.submit(copy_context(here)).result()[0])
                pool.submit(copy_context(ask_model), script.tracer, 10 ** (number % 2)).result()
            seen.append(pool.submit(here).result()[0])

    assert ["s-0", None, "s-1", None] * 3 == seen
    assert {"s-0": 3, "s-1": 30} == tokens_of(script)


def test_pools_in_pools(script: Script) -> None:
    """Each hand-over takes ``copy_context``: one that was left out ends the chain, and does not find another's way."""

    def outer(wrap: Callable[..., Any]) -> tuple[Any, Any]:
        return here()[:2], inner_pool.submit(wrap(here)).result()[:2]

    with ThreadPoolExecutor(2) as outer_pool, ThreadPoolExecutor(2) as inner_pool, session_context("s-1"), turn():
        carried = outer_pool.submit(copy_context(outer), copy_context).result()
        dropped = outer_pool.submit(copy_context(outer), lambda function: function).result()

    assert (("s-1", 1), ("s-1", 1)) == carried
    assert (("s-1", 1), (None, None)) == dropped


def test_pool_work_that_outlives_its_turn(script: Script) -> None:
    """It still says whose it is; its tokens are the session's, once, and none of the turn's that runs meanwhile."""
    go = threading.Event()

    def late() -> Any:
        go.wait(10)
        ask_model(script.tracer, 7)
        return here()[0]

    with ThreadPoolExecutor(2) as pool:
        with session_context("s-1", user_id="ada"):
            first = pool.submit(copy_context(late))
        with session_context("s-2", user_id="bob"), turn():
            go.set()
            assert "s-1" == first.result()
            ask_model(script.tracer, 1000)

    assert {"s-1": 7, "s-2": 1000} == tokens_of(script)
    assert ["s-1", "s-2"] == [(span.attributes or {})["session.id"] for span in script.named("chat m")]


def test_copy_context_of_methods_and_generators(script: Script) -> None:
    """Bound methods are called as they are; what was bound once may be called many times, each in a copy of its own."""

    class Tool:
        def run(self, number: int) -> Any:
            otel_context.attach(otel_context.set_value("left", number))
            return number, here()[0], otel_context.get_value("left")

    with session_context("s-1"):
        bound = copy_context(Tool().run)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(bound, range(20)))

    assert [(number, "s-1", number) for number in range(20)] == found
    assert here() == NOBODY


# -- callbacks that know a span and no context


def test_span_handed_to_a_callback_thread(script: Script) -> None:
    """The parent tells whose it is: session, conversation, turn and tokens, while it runs and after its turn."""

    def callback(context: Context, tokens: int) -> None:
        ask_model(script.tracer, tokens, context)

    with ThreadPoolExecutor(1) as pool:
        with session_context("s-1", user_id="ada"), conversation("talk"), agent_run("planner") as agent:
            context = trace.set_span_in_context(agent.span, Context())
            pool.submit(callback, context, 5).result()
        with session_context("s-2"), turn():
            pool.submit(callback, context, 7).result()
            assert pool.submit(here).result() == NOBODY

    calls = [dict(span.attributes or {}) for span in script.named("chat m")]
    assert [("s-1", "talk", 1)] * 2 == [(c["session.id"], c["conversation.id"], c["turn.number"]) for c in calls]
    assert {"s-1": 12, "s-2": None} == tokens_of(script)


# -- event loops


def test_run_in_executor(script: Script) -> None:
    """It carries no context: nothing without ``copy_context``, everything with it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with session_context("s-1"), turn():
            assert (await loop.run_in_executor(None, here)) == NOBODY
            assert ("s-1", 1) == (await loop.run_in_executor(None, copy_context(here)))[:2]
            await loop.run_in_executor(None, copy_context(ask_model), script.tracer, 5)
        assert (await loop.run_in_executor(None, here)) == NOBODY

    asyncio.run(main())
    assert {"s-1": 5} == tokens_of(script)


def test_to_thread(script: Script) -> None:
    """It carries the context by itself; blocks opened in the thread are the session's too, and end there."""

    def work() -> Any:
        with tool_call("search"):
            ask_model(script.tracer, 5)
        return here()[:2]

    async def main() -> None:
        async with session_context("s-1"), turn():
            before = here()
            assert [("s-1", 1)] * 3 == list(await asyncio.gather(*(asyncio.to_thread(work) for _ in range(3))))
            assert before == here()
        assert (await asyncio.to_thread(here)) == NOBODY

    asyncio.run(main())
    assert {"s-1": 15} == tokens_of(script)
    assert 3 == script.shown("turn")["turn.tool_calls"]


def test_gather_of_steps_in_one_turn(script: Script) -> None:
    """Parallel tools are siblings below the agent that started them, whoever of them ends first."""

    async def one(number: int) -> None:
        async with tool_call(f"tool-{number}"):
            for _ in range(5 - number):
                await asyncio.sleep(0)
            ask_model(script.tracer, 1)

    async def main() -> None:
        async with session_context("s-1"), turn(), agent_run("planner"):
            await asyncio.gather(*(one(number) for number in range(5)))

    asyncio.run(main())
    agent = script.only("invoke_agent planner").context
    assert [agent] * 5 == [script.only(f"execute_tool tool-{number}").parent for number in range(5)]
    assert 5 == script.shown("turn")["turn.tool_calls"]
    assert {"s-1": 5} == tokens_of(script)


def test_gather_of_sessions_side_by_side(script: Script) -> None:
    """Fifty tasks, each with a session, a conversation and turns of its own, interleaved at every step."""

    async def one(number: int) -> None:
        async with session_context(f"s-{number}", user_id=f"user-{number}"), conversation(f"talk-{number}"):
            for _ in range(3):
                async with turn():
                    await asyncio.sleep(0)
                    assert (f"s-{number}", f"talk-{number}") == (here()[0], here()[2])
                    ask_model(script.tracer, number + 1)
        assert here() == NOBODY

    async def main() -> None:
        await asyncio.gather(*(one(number) for number in range(50)))
        assert here() == NOBODY

    asyncio.run(main())
    assert {f"s-{number}": 3 * (number + 1) for number in range(50)} == tokens_of(script)


def test_gather_inside_a_session_with_turns_of_their_own(script: Script) -> None:
    """Tasks that begin turns of one session get a number each, and their tokens do not mix."""

    async def one(tokens: int) -> tuple[int, int | None]:
        async with turn() as exchange:
            await asyncio.sleep(0)
            ask_model(script.tracer, tokens)
            await asyncio.sleep(0)
            assert exchange.number == here()[1]
        return tokens, exchange.number

    async def main() -> list[tuple[int, int | None]]:
        async with session_context("s-1"):
            async with turn():
                pass
            return await asyncio.gather(*(contextless(one(10**n)) for n in range(3)))

    async def contextless(work: Any) -> Any:
        return await work

    found = asyncio.run(main())
    assert [2, 3, 4] == sorted(number or 0 for _, number in found)
    assert {"s-1": 111} == tokens_of(script)
    history = {row.number: row.input_tokens for row in script.engine.history.turns("s-1")}
    assert {1: None, **{number: tokens for tokens, number in found}} == history


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.TaskGroup came with Python 3.11")
def test_task_group(script: Script) -> None:
    """Tasks of a group are inside; where one fails, the others' steps end with it, and nothing is left current."""

    async def waits() -> None:
        async with tool_call("waits"):
            await asyncio.Event().wait()

    async def fails() -> None:
        await asyncio.sleep(0)
        async with tool_call("fails"):
            ask_model(script.tracer, 5)
            raise LookupError("no such tool")

    async def main() -> None:
        with pytest.raises(ExceptionGroup):  # noqa: F821
            await together()
        assert here() == NOBODY

    async def together() -> None:
        async with session_context("s-1"), turn(), asyncio.TaskGroup() as group:  # type: ignore[attr-defined]
            group.create_task(waits())
            group.create_task(fails())

    asyncio.run(main())
    status = {name: script.only(f"execute_tool {name}").status.status_code.name for name in ("waits", "fails")}
    assert {"waits": "UNSET", "fails": "ERROR"} == status
    assert 2 == script.shown("turn")["turn.tool_calls"]
    assert {"s-1": 5} == tokens_of(script)


def test_task_that_outlives_its_session_block(script: Script) -> None:
    """Fire and forget: the task keeps its session, the loop does not, and what it reports late is counted once."""

    async def late(go: asyncio.Event) -> Any:
        await go.wait()
        async with tool_call("late"):
            ask_model(script.tracer, 7)
        return here()[0]

    async def main() -> None:
        go = asyncio.Event()
        async with session_context("s-1", user_id="ada"), turn():
            task = asyncio.create_task(late(go))
        async with session_context("s-2", user_id="bob"), turn():
            go.set()
            assert "s-1" == await task
            assert "s-2" == here()[0]
            ask_model(script.tracer, 1000)

    asyncio.run(main())
    assert {"s-1": 7, "s-2": 1000} == tokens_of(script)
    assert "turn.tool_calls" not in dict(script.named("turn")[1].attributes or {})


def left_half_way(script: Script, session_id: str, user: str) -> AsyncIterator[int]:
    """A generator that opens blocks itself, in the context of whoever pulls it."""

    async def answer() -> AsyncIterator[int]:
        async with session_context(session_id, user_id=user), turn(), agent_run("planner"):
            ask_model(script.tracer, 5)
            yield 1
            yield 2

    return answer()


@pytest.mark.parametrize("look", ["session", "span", "block", "headers"])
def test_async_generator_left_half_way(script: Script, look: str) -> None:
    """The loop closes it in a context of its own; for whoever pulled it, its session ends all the same."""

    async def main() -> None:
        await pull(left_half_way(script, "s-1", "ada"))
        if look == "session":
            assert here() == NOBODY
        elif look == "headers":
            carrier = {"host": "localhost"}
            propagate.inject(carrier)
            assert "s-1" not in str(carrier)
        elif look == "span":
            script.work("stray")
            script.work("clean")
        with session_context(user_id="bob") as session:
            assert "s-1" != session.id
            ask_model(script.tracer, 1000)
        assert here() == NOBODY

    async def pull(generator: AsyncIterator[int]) -> None:
        async for _ in generator:
            break
        del generator
        gc.collect()
        for _ in range(3):
            await asyncio.sleep(0)

    asyncio.run(main())
    found = tokens_of(script)
    assert 5 == found.pop("s-1")
    assert [1000] == list(found.values())
    if look == "span":
        assert "session.id" not in script.shown("stray").keys() | script.shown("clean").keys()
        assert script.only("clean").parent is None


def test_async_generator_left_half_way_inside_a_session(script: Script) -> None:
    """What was around it is current again: the session, its turn, its span."""

    async def main() -> None:
        async with session_context("s-0", user_id="bob"), turn():
            before = here()
            await left(left_half_way(script, "s-1", "ada"))
            assert before == here()
            ask_model(script.tracer, 1000)
        assert here() == NOBODY

    async def left(generator: AsyncIterator[int]) -> None:
        await generator.__anext__()
        closing = asyncio.create_task(generator.aclose())  # type: ignore[attr-defined]
        await closing

    asyncio.run(main())
    assert {"s-0": 1000, "s-1": 5} == tokens_of(script)
    outer, inner = (span for span in script.named("chat m")[::-1])
    assert trace_of(outer) != trace_of(inner)


def test_task_started_in_a_generator_that_was_left_half_way(script: Script) -> None:
    """It was started inside, so it stays inside, however its generator ended."""
    tasks: list[asyncio.Task[Any]] = []

    async def late(go: asyncio.Event) -> Any:
        await go.wait()
        ask_model(script.tracer, 7)
        return here()[0]

    async def answer(go: asyncio.Event) -> AsyncIterator[int]:
        async with session_context("s-1", user_id="ada"), turn():
            tasks.append(asyncio.create_task(late(go)))
            yield 1
            yield 2

    async def main() -> None:
        go = asyncio.Event()
        generator = answer(go)
        await generator.__anext__()
        await asyncio.create_task(generator.aclose())  # type: ignore[attr-defined]
        assert here() == NOBODY
        go.set()
        assert "s-1" == await tasks[0]

    asyncio.run(main())
    assert {"s-1": 7} == tokens_of(script)


def test_observed_async_generator_left_half_way_in_another_session(script: Script) -> None:
    """What is left of it is closed while somebody else's session is current: each keeps its own."""

    @session_context("s-1")
    @observe
    async def answer() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            ask_model(script.tracer, 7)

    async def main() -> None:
        generator = answer()
        await generator.__anext__()
        async with session_context("s-2"), turn():
            await generator.aclose()  # type: ignore[attr-defined]
            assert "s-2" == here()[0]
            ask_model(script.tracer, 1000)
        assert here() == NOBODY

    asyncio.run(main())
    assert {"s-1": 7, "s-2": 1000} == tokens_of(script)


# -- requests


async def ask(world: World, path: str = "/", client: httpx.AsyncClient | None = None, **headers: str) -> Any:
    """Ask in the running event loop, as a server would; a client of its own unless one is given."""
    if client is None:
        async with client_of(world) as client:
            return (await client.post(path, headers=headers)).json()
    return (await client.post(path, headers=headers)).json()


def client_of(world: World) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(world.middleware), base_url="http://test")


def app_of(answer: Callable[[Request], Any]) -> Any:
    """An ASGI application around a function that returns a response."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        response = await answer(Request(scope, receive))
        await response(scope, receive, send)

    return app


def world_of(answer: Callable[[Request], Any], **settings: Any) -> World:
    world = World("asgi", lambda headers: {}, user=lambda request: request.header("X-User"), **settings)
    world.middleware.app = world.middleware.listened = app_of(answer)
    return world


def books(world: World) -> dict[str, int | None]:
    return {session: end.get("session.total_tokens") for session, end in world.ends().items()}


def test_request_background_tasks() -> None:
    """They run after the last byte, still theirs; what they use is counted once, whoever is served meanwhile."""
    seen: list[Any] = []

    async def later(expected: str, tokens: int) -> None:
        await asyncio.sleep(0)
        seen.append(expected == here()[0])
        ask_model(world.tracer, tokens)

    def later_in_a_thread(expected: str, tokens: int) -> None:
        seen.append(expected == here()[0])
        ask_model(world.tracer, tokens)

    async def answer(request: Request) -> Any:
        mine, _, _, _ = here()
        assert mine is not None
        tokens = int(request.headers["x-tokens"])
        tasks = [BackgroundTask(work, mine, tokens) for work in (later, later_in_a_thread)]
        return JSONResponse({"id": mine}, background=BackgroundTasks(tasks))

    async def main() -> list[str]:
        found = [ask(world, **{"X-User": f"user-{n}", "X-Tokens": str(10**n)}) for n in range(5)]
        return [answer["id"] for answer in await asyncio.gather(*found)]

    world = world_of(answer)
    ids = asyncio.run(main())
    assert [True] * 10 == seen
    assert {session: 2 * 10**n for n, session in enumerate(ids)} == books(world)


def test_request_task_that_outlives_it() -> None:
    """Fire and forget: through another user's request, and through its own session's next turn."""
    tasks: list[asyncio.Task[Any]] = []

    async def late(go: asyncio.Event, tokens: int) -> Any:
        await go.wait()
        async with tool_call("late"):
            ask_model(world.tracer, tokens)
        return here()[0]

    async def main() -> list[str]:
        go = asyncio.Event()

        async def answer(request: Request) -> Any:
            tasks.append(asyncio.create_task(late(go, int(request.headers["x-tokens"]))))
            return JSONResponse({"id": here()[0], "turn": here()[1]})

        world.middleware.app = world.middleware.listened = app_of(answer)
        async with client_of(world) as ada, client_of(world) as bob:
            asked = [
                await ask(world, client=client, **{"X-User": user, "X-Tokens": tokens})
                for client, user, tokens in ((ada, "ada", "1"), (bob, "bob", "10"), (ada, "ada", "100"))
            ]
        assert [1, 1, 2] == [one["turn"] for one in asked]
        go.set()
        assert [one["id"] for one in asked] == [await task for task in tasks]
        assert here() == NOBODY
        return [one["id"] for one in asked]

    world = world_of(lambda request: None)
    ada, bob, again = asyncio.run(main())
    assert ada == again != bob
    assert {ada: 101, bob: 10} == books(world)
    assert not [one for one in world.shown("turn") if "turn.tool_calls" in one]


@pytest.mark.parametrize("observed", [True, False], ids=["observed", "bare"])
def test_request_whose_client_leaves(observed: bool) -> None:
    """
    A stream that nobody reads on: its turn ends once, and the loop keeps none of it.

    Python closes an abandoned generator in whatever context the collector happens to run; one that is observed has a
    context of its own, so that its last words are its session's, too.
    """
    closed: list[Any] = []

    async def chunks() -> AsyncIterator[bytes]:
        async with tool_call("search"), conversation("talk"):
            try:
                while True:
                    ask_model(world.tracer, 1)
                    yield b"word "
                    await asyncio.sleep(0)
            finally:
                ask_model(world.tracer, 100)
                closed.append(here()[0])

    async def answer(request: Request) -> Any:
        return StreamingResponse(observe(chunks)() if observed else chunks())

    async def main() -> None:
        sent: list[Any] = []
        gone = asyncio.Event()

        async def receive() -> Any:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)
            if len(sent) == 4:
                gone.set()
            await asyncio.sleep(0)

        await world.middleware({**SCOPE, "headers": [(b"x-user", b"ada")]}, receive, send)
        gc.collect()
        for _ in range(10):
            await asyncio.sleep(0)
        assert here() == NOBODY

    world = world_of(answer)
    asyncio.run(main())
    (shown,) = world.shown("turn")
    session = shown["session.id"]
    chats = [chat.get("session.id") for chat in world.shown("chat m")]
    assert [session if observed else None] == closed == chats[-1:]
    assert {session} == set(chats[:-1]) and len(chats) > 3
    assert {session: len(chats) - 1 + (100 if observed else 0)} == books(world)


SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "method": "POST",
    "path": "/",
    "raw_path": b"/",
    "root_path": "",
    "query_string": b"",
    "scheme": "http",
    "client": ("127.0.0.1", 1),
    "server": ("test", 80),
}


def test_request_with_a_pool_of_the_application() -> None:
    """One pool for all requests: work of fifty users at a time, each carried by ``copy_context``, none without."""

    async def answer(request: Request) -> Any:
        loop = asyncio.get_running_loop()
        mine = here()[0]
        tokens = int(request.headers["x-tokens"])
        carried = await loop.run_in_executor(pool, copy_context(work), tokens)
        bare = await loop.run_in_executor(pool, here)
        world.late.append(pool.submit(copy_context(late), tokens))
        return JSONResponse({"id": mine, "same": mine == carried, "bare": bare[0]})

    def work(tokens: int) -> Any:
        ask_model(world.tracer, tokens)
        return here()[0]

    def late(tokens: int) -> None:
        go.wait(10)
        ask_model(world.tracer, tokens)

    async def main() -> list[Any]:
        asked = (ask(world, **{"X-User": f"user-{n}", "X-Tokens": str(n + 1)}) for n in range(50))
        return await asyncio.gather(*asked)

    go = threading.Event()
    world: Any = world_of(answer)
    world.late = []
    with ThreadPoolExecutor(60) as pool:
        answers = asyncio.run(main())
        go.set()
    for job in world.late:
        job.result()

    assert [(True, None)] * 50 == [(one["same"], one["bare"]) for one in answers]
    assert {one["id"]: 2 * (n + 1) for n, one in enumerate(answers)} == books(world)
