"""Identity behind requests: background tasks, pools, tasks that outlive them, streams that nobody reads on."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse

from session_mw import (
    conversation,
    copy_context,
    observe,
    tool_call,
)

from .seen import NOBODY, ask_model, here
from .test_in_requests import World


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
    gc.collect()
    gc.disable()  # the collector comes when it is called: what it finds first is chance otherwise
    try:
        asyncio.run(main())
    finally:
        gc.enable()
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
