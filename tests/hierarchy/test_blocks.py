"""Blocks as context managers and decorators, for functions of four kinds, in whatever order they are left."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry import trace

from session_mw import agent_run, conversation, current_session, llm_call, observe, session_context, tool_call, turn

from .support import Script, id_of, parent_of

MAKERS: dict[str, Any] = {
    "session_context": lambda: session_context("s-1"),
    "conversation": lambda: conversation("c-1"),
    "turn": lambda: turn(),
    "agent_run": lambda: agent_run("planner"),
    "llm_call": lambda: llm_call("m"),
    "tool_call": lambda: tool_call("search"),
    "observe": lambda: observe("step"),
}
SPANS = {
    "session_context": "session",
    "conversation": "turn",
    "turn": "turn",
    "agent_run": "invoke_agent planner",
    "llm_call": "chat m",
    "tool_call": "execute_tool search",
    "observe": "step",
}
every_block = pytest.mark.parametrize("kind", MAKERS)


def seen(script: Script) -> int:
    """Make a span, and return the id of the span around it."""
    with script.tracer.start_as_current_span("inside"):
        return trace.get_current_span().get_span_context().span_id


def check(script: Script, kind: str) -> None:
    """The block's span was made once, and what was done inside stands below it."""
    block = script.only(SPANS[kind])
    inside = script.named("inside")
    above = {id_of(block)} | {id_of(span) for span in script.spans if parent_of(span) == id_of(block)}

    assert inside
    assert {parent_of(span) for span in inside} <= above
    assert not trace.get_current_span().get_span_context().is_valid
    assert current_session() is None


@every_block
def test_block_with(script: Script, kind: str) -> None:
    """``with`` opens the block for what is inside, and nothing after it."""
    with MAKERS[kind]():
        seen(script)

    check(script, kind)


@every_block
def test_block_async_with(script: Script, kind: str) -> None:
    """``async with`` does the same."""

    async def main() -> None:
        async with MAKERS[kind]():
            seen(script)
        assert current_session() is None

    asyncio.run(main())

    check(script, kind)


@every_block
def test_block_decorates_functions(script: Script, kind: str) -> None:
    """A decorated function keeps its name and value, and each call has a block of its own."""

    @MAKERS[kind]()
    def work(value: int) -> int:
        """Work."""
        seen(script)
        return value * 2

    assert 4 == work(2)
    assert ("work", "Work.") == (work.__name__, work.__doc__)
    check(script, kind)
    script.exporter.clear()
    assert 6 == work(3)
    check(script, kind)


@every_block
def test_block_decorates_coroutines(script: Script, kind: str) -> None:
    """A decorated coroutine function is still one."""

    @MAKERS[kind]()
    async def work(value: int) -> int:
        await asyncio.sleep(0)
        seen(script)
        return value * 2

    assert asyncio.iscoroutinefunction(work)
    assert 4 == asyncio.run(work(2))
    check(script, kind)


@every_block
def test_block_decorates_generators(script: Script, kind: str) -> None:
    """A generator's steps run inside the block; between them whoever pulls sees nothing of it."""

    @MAKERS[kind]()
    def work() -> Iterator[str]:
        seen(script)
        got = yield "a"
        seen(script)
        yield f"b{got}"

    steps: Any = work()
    assert "a" == next(steps)
    assert current_session() is None
    assert not trace.get_current_span().get_span_context().is_valid
    assert "b!" == steps.send("!")
    assert [] == list(steps)
    check(script, kind)


@every_block
def test_block_decorates_async_generators(script: Script, kind: str) -> None:
    """The same for async generators, what is sent and thrown included."""

    @MAKERS[kind]()
    async def work() -> AsyncIterator[str]:
        await asyncio.sleep(0)
        seen(script)
        try:
            yield "a"
        except LookupError:
            seen(script)
            yield "caught"

    async def main() -> None:
        steps: Any = work()
        assert "a" == await steps.__anext__()
        assert current_session() is None
        assert "caught" == await steps.athrow(LookupError())
        assert [] == [step async for step in steps]

    asyncio.run(main())
    check(script, kind)


@every_block
def test_block_that_raises_ends_as_failed(script: Script, kind: str) -> None:
    """What is raised inside goes on to the caller, and the span says so."""
    with pytest.raises(ValueError, match="boom"), MAKERS[kind]():
        raise ValueError("boom")

    span = script.only(SPANS[kind])
    assert "ERROR" == span.status.status_code.name
    assert current_session() is None


@every_block
def test_block_of_an_abandoned_generator_ends(script: Script, kind: str) -> None:
    """A generator that nobody finishes ends its block when it is thrown away; that is no error of its own."""

    @MAKERS[kind]()
    def work() -> Iterator[int]:
        seen(script)
        yield 1
        yield 2

    steps = work()
    next(steps)
    del steps
    gc.collect()

    check(script, kind)
    assert "UNSET" == script.only(SPANS[kind]).status.status_code.name


@every_block
def test_block_of_an_abandoned_async_generator_ends(script: Script, kind: str) -> None:
    """The same for async generators, which the event loop closes in a context of its own."""

    @MAKERS[kind]()
    async def work() -> AsyncIterator[int]:
        seen(script)
        yield 1
        yield 2

    async def main() -> None:
        async for _ in work():
            break
        gc.collect()
        await asyncio.sleep(0)
        assert current_session() is None

    asyncio.run(main())
    check(script, kind)


@every_block
def test_block_of_a_generator_that_threads_pull(script: Script, kind: str) -> None:
    """Each step may be pulled by another thread, as servers do with streamed bodies: no thread keeps anything."""

    @MAKERS[kind]()
    def work() -> Iterator[int]:
        for step in range(4):
            seen(script)
            yield step

    def left() -> tuple[object, bool]:
        return current_session(), trace.get_current_span().get_span_context().is_valid

    steps = work()
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        pulled = [pool.submit(next, steps).result() for pool in (first, second, first, second)]
        assert (None, False) == first.submit(left).result() == second.submit(left).result()
    assert [0, 1, 2, 3] == pulled
    assert [] == list(steps)
    check(script, kind)


def test_block_keeps_other_variables_of_its_task(script: Script) -> None:
    """An async block runs in the caller's own context: what is set inside is seen after it."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def main() -> str:
        async with session_context("s-1"), turn():
            variable.set("inside")
        return variable.get()

    assert "inside" == asyncio.run(main())


def test_block_async_is_cancelled_with_its_task(script: Script) -> None:
    """Cancelling a task inside an async generator's block reaches the generator; the turn is no failed one."""
    reached: list[str] = []
    waits = asyncio.Event()

    @turn()
    async def work() -> AsyncIterator[int]:
        try:
            yield 1
            waits.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            reached.append("cancelled")
            raise

    async def main() -> None:
        async def pull() -> None:
            async for _ in work():
                pass

        task = asyncio.create_task(pull())
        await waits.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    assert ["cancelled"] == reached
    assert "UNSET" == script.only("turn").status.status_code.name


def test_block_decorated_with_wrong_arguments_raises_as_without(script: Script) -> None:
    """A wrong call says what it would have said; nothing stays open."""

    @observe
    def work(value: int) -> Iterator[int]:
        yield value

    with pytest.raises(TypeError, match="value"):
        list(work())  # type: ignore[call-arg]
    assert not trace.get_current_span().get_span_context().is_valid


@every_block
def test_block_is_opened_once_at_a_time(script: Script, kind: str) -> None:
    """Entered again while it is open, it raises; after it was left, it is a block like any other."""
    block = MAKERS[kind]()
    with block:
        with pytest.raises(RuntimeError, match="open already"):
            block.__enter__()
        seen(script)
    check(script, kind)
    script.exporter.clear()
    with block:
        seen(script)
    check(script, kind)
