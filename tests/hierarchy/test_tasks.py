"""Identity in event loops: tasks, groups, ``to_thread``, and async generators, finished or not."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from opentelemetry import propagate

from session_mw import (
    agent_run,
    conversation,
    copy_context,
    observe,
    session_context,
    tool_call,
    turn,
)

from .seen import NOBODY, ask_model, here, tokens_of
from .support import Script, trace_of


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


def test_gather_of_conversations_that_begin_a_session(script: Script) -> None:
    """Tasks that all come before the session's first turn: each has its own turn, in its own conversation."""

    async def one(name: str) -> None:
        async with conversation(name):
            await asyncio.sleep(0)
            async with turn():
                await asyncio.sleep(0)
                assert name == here()[2]

    async def main() -> None:
        async with session_context("s-1"):
            await asyncio.gather(*(one(f"talk-{number}") for number in range(3)))

    asyncio.run(main())
    shown = [dict(span.attributes or {}) for span in script.named("turn")]
    assert [("talk-0", 1), ("talk-1", 1), ("talk-2", 1)] == sorted(
        (one["conversation.id"], one["conversation.turn_number"]) for one in shown
    )
    assert [1, 2, 3] == sorted(one["turn.number"] for one in shown)


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
            return await asyncio.gather(*(one(10**n) for n in range(3)))

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
