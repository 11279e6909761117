"""An interrupt is no error: the turn ends well and says so; the run that resumes is the conversation's next turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
from langchain_core.tools import tool
from langgraph.graph import MessagesState
from langgraph.types import Command, interrupt

from session_mw import conversation, session_context, turn
from session_mw.integrations.langgraph import instrument_graph
from tests.hierarchy.support import Script

from .graphs import ASK, ASYNC_NEEDS_311, agent, approval, line, thread, turns

CONFIG = thread("thread-1")
YES: Any = Command(resume="yes")


async def drain(chunks: Any) -> list[Any]:
    return [chunk async for chunk in chunks]


WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "invoke": lambda graph, given: graph.invoke(given, CONFIG),
    "ainvoke": lambda graph, given: asyncio.run(graph.ainvoke(given, CONFIG)),
    **{
        f"stream {mode}": lambda graph, given, mode=mode: list(graph.stream(given, CONFIG, stream_mode=mode))
        for mode in ("values", "updates", "messages", "custom", "debug")
    },
    **{
        f"astream {mode}": lambda graph, given, mode=mode: asyncio.run(
            drain(graph.astream(given, CONFIG, stream_mode=mode))
        )
        for mode in ("updates", "custom")
    },
}


def said(script: Script) -> list[tuple[Any, ...]]:
    """Return number, conversation, its number, and how each turn began and ended."""
    names = ("turn.number", "conversation.id", "conversation.turn_number", "turn.input_type", "turn.output_type")
    return [tuple(t.get(name) for name in names) for t in turns(script)]


# LangGraph's own limit: before Python 3.11 a task cannot be given a context, and ``interrupt()`` asks for it.
ALL_WAYS = [pytest.param(way, marks=ASYNC_NEEDS_311 if way.startswith("a") else ()) for way in WAYS]
INTERRUPTED = [(1, "thread-1", 1, None, "interrupt"), (2, "thread-1", 2, "resume", None)]


@pytest.mark.parametrize("way", ALL_WAYS)
def test_interrupt_and_resume(way: str, script: Script) -> None:
    """Over every way to run: two turns of one conversation, neither failed, no span in error."""
    graph = instrument_graph(line(("ask", approval)))
    with session_context("s-1"):
        WAYS[way](graph, ASK)
        WAYS[way](graph, YES)

    assert INTERRUPTED == said(script)
    assert 3 == turns(script)[1]["turn.input_length"]
    assert {"UNSET"} == {span.status.status_code.name for span in script.spans}
    assert "They said yes." == graph.get_state(CONFIG).values["messages"][-1].content
    end = script.ended("s-1")
    assert (2, 2, 0) == tuple(end[f"session.{name}_turns"] for name in ("total", "completed", "failed"))
    assert "turn.errors" not in turns(script)[0]


@pytest.mark.parametrize("mode", ["values", "updates"])
@pytest.mark.parametrize("when", ["interrupt_before", "interrupt_after"])
def test_breakpoint(when: str, mode: str, script: Script) -> None:
    """A graph that is compiled to stop says so too, and goes on with no input at all."""
    if mode == "values" and find_spec("langgraph.callbacks") is None:
        pytest.skip("this LangGraph tells of breakpoints in its updates only")
    graph = instrument_graph(line(("one", lambda s: {}), ("two", lambda s: {}), **{when: ["one"]}))
    with session_context("s-1"):
        list(graph.stream(ASK, CONFIG, stream_mode=mode))
        list(graph.stream(None, CONFIG, stream_mode=mode))

    assert INTERRUPTED == said(script)


def test_interrupt_in_a_tool_and_in_a_subgraph(script: Script) -> None:
    """Wherever it comes from: the outermost run stopped."""

    @tool
    def refund(q: str) -> str:
        """Pay back, if a person agrees."""
        return f"refund: {interrupt('Really?')}"

    asking = instrument_graph(agent("!refund", "Done.", tools=[refund]))
    inner = line(("ask", approval), checkpointer=None)
    outer = instrument_graph(line(("sub", inner)))
    with session_context("s-1"):
        for graph, name in ((asking, "a"), (outer, "b")):
            graph.invoke(ASK, thread(name))
            graph.invoke(YES, thread(name))

    assert [(None, "interrupt"), ("resume", None)] * 2 == [one[3:] for one in said(script)]
    assert {"UNSET"} == {span.status.status_code.name for span in script.spans}
    assert [1, 1] == [t["turn.tool_calls"] for t in turns(script)[:2]]
    lengths = [(t.get("turn.input_length"), t.get("turn.output_length")) for t in turns(script)[:2]]
    assert [(18, None), (3, 5)] == lengths  # what was written, and what was answered, in that turn


def test_interrupt_of_a_graph_that_a_node_runs_is_that_nodes_business(script: Script) -> None:
    """The outer run did not stop, so its turn says nothing."""
    inner = line(("ask", approval))

    def call(state: MessagesState) -> Any:
        inner.invoke(ASK, thread("inner"))
        return {}

    with session_context("s-1"):
        instrument_graph(line(("call", call))).invoke(ASK, CONFIG)

    assert [(1, "thread-1", 1, None, None)] == said(script)


def test_what_the_application_says_holds(script: Script) -> None:
    """A turn whose input or output was named keeps the name."""
    graph = instrument_graph(line(("ask", approval)))
    with session_context("s-1"):
        with turn(input_type="question") as exchange:
            exchange.set(output_type="approval")
            graph.invoke(ASK, CONFIG)
        with turn(input_type="command"):
            graph.invoke(YES, CONFIG)

    assert [("question", "approval"), ("command", None)] == [one[3:] for one in said(script)]


def test_resumed_tomorrow_in_another_session(script: Script) -> None:
    """The conversation goes on under its id and number, in a session of its own day."""
    graph = instrument_graph(line(("ask", approval)))
    with session_context("monday"):
        graph.invoke(ASK, CONFIG)
    script.sweep(minutes=24 * 60)
    with session_context("tuesday"):
        graph.invoke(YES, CONFIG)
        with conversation("thread-1") as talk, turn():
            assert 3 == talk.turn_number

    assert ["monday", "tuesday", "tuesday"] == [t["session.id"] for t in turns(script)]
    assert [("thread-1", 1), ("thread-1", 2), ("thread-1", 3)] == [one[1:3] for one in said(script)]
    (monday,) = [end for end in script.ends() if end.key[0] == "monday"]
    assert "ok" == monday.attributes["session.status"]
