"""
Identity in threads, pools, tasks, generators and background work: where it belongs, and nowhere else.

A session follows what Python's context follows: tasks, ``asyncio.to_thread``, generators of ours. What does not carry
the context (pools, ``run_in_executor``, threads before Python 3.14) gets the session by ``copy_context``, and nothing
without it. Each case also reports tokens after its turn or request is over: they are counted once, for their session.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context

from session_mw import (
    agent_run,
    conversation,
    copy_context,
    session_context,
    tool_call,
    turn,
)

from .seen import NOBODY, ask_model, here, tokens_of
from .support import Script


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


def test_copy_context_of_coroutines(script: Script) -> None:
    """A queue's consumer serves everybody: each job runs in the session that it was put in from, step by step."""

    async def job(tokens: int) -> Any:
        before = here()[0]
        await asyncio.sleep(0)
        async with tool_call("search"):
            ask_model(script.tracer, tokens)
            await asyncio.sleep(0)
        return before, here()[0]

    async def main() -> None:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        for number in range(3):
            async with session_context(f"s-{number}", user_id=f"user-{number}"):
                queue.put_nowait(copy_context(job))
        for number in range(3):
            assert (f"s-{number}", f"s-{number}") == await queue.get_nowait()(10**number)
            assert here() == NOBODY

    asyncio.run(main())
    assert {"s-0": 1, "s-1": 10, "s-2": 100} == tokens_of(script)


def test_copy_context_of_coroutines_is_cancelled_with_its_task(script: Script) -> None:
    """No task is made for it: a cancelled caller's cancellation reaches it, and ends its steps."""

    async def job() -> None:
        async with tool_call("waits"):
            await asyncio.Event().wait()

    async def main() -> None:
        async with session_context("s-1"):
            bound = copy_context(job)
        task = asyncio.create_task(bound())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert here() == NOBODY

    asyncio.run(main())
    assert "s-1" == script.shown("execute_tool waits")["session.id"]


def test_coroutine_handed_from_a_thread_to_the_loop(script: Script) -> None:
    """``run_coroutine_threadsafe`` carries what is current in the thread that hands it over."""

    async def job() -> Any:
        await asyncio.sleep(0)
        return here()[0]

    def from_thread(loop: asyncio.AbstractEventLoop) -> Any:
        return asyncio.run_coroutine_threadsafe(job(), loop).result(10)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with session_context("s-1"):
            assert "s-1" == await loop.run_in_executor(None, copy_context(from_thread), loop)
            assert (await loop.run_in_executor(None, from_thread, loop)) is None

    asyncio.run(main())


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
