"""Graphs that the tests run, and what was seen of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.tools import tool
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import interrupt

from tests.hierarchy.support import Script

from .models import Model

ASYNC_NEEDS_311 = pytest.mark.skipif(sys.version_info < (3, 11), reason="LangGraph's interrupts in async need 3.11")
ASK: Any = {"messages": [("user", "Do you have lamps?")]}


def thread(name: str, **more: Any) -> Any:
    """Return the config of a run in a thread."""
    return {"configurable": {"thread_id": name}, **more}


@tool
def search(q: str) -> str:
    """Search the shop."""
    return f"one {q}"


def agent(*answers: Any, model: type[Model] = Model, tools: Any = (search,)) -> Any:
    """Return a graph of a planner and its tools; it asks for the tool once and then answers, unless told otherwise."""
    speaks = model(answers=list(answers) or ["!search", "We have one lamp."])

    def planner(state: MessagesState, config: Any) -> Any:
        return {"messages": [speaks.invoke(state["messages"], config)]}

    async def aplanner(state: MessagesState, config: Any) -> Any:
        return {"messages": [await speaks.ainvoke(state["messages"], config)]}

    from langchain_core.runnables import RunnableLambda

    builder: Any = StateGraph(MessagesState)
    builder.add_node("planner", RunnableLambda(planner, aplanner))
    builder.add_node("tools", ToolNode(list(tools)))
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", tools_condition, ["tools", END])
    builder.add_edge("tools", "planner")
    return builder.compile(checkpointer=MemorySaver())


def line(*nodes: tuple[str, Callable[[Any], Any]], state: Any = MessagesState, **compiled: Any) -> Any:
    """Return a graph of nodes that run one after the other."""
    builder: Any = StateGraph(state)
    before = START
    for name, function in nodes:
        builder.add_node(name, function)
        builder.add_edge(before, name)
        before = name
    builder.add_edge(before, END)
    return builder.compile(**{"checkpointer": MemorySaver(), **compiled})


def approval(state: Any) -> Any:
    """Ask a person."""
    return {"messages": [("ai", f"They said {interrupt('May I?')}.")]}


def turns(script: Script) -> list[dict[str, Any]]:
    """Return what the turns' spans say, in the order in which they ended."""
    return [dict(span.attributes or {}) for span in script.named("turn")]


def tree(script: Script) -> list[tuple[str, str | None]]:
    """Return name and parent of every span but the session's, in the order in which they began."""
    names = {span.context.span_id: span.name for span in script.spans if span.context}
    spans = sorted(script.spans, key=lambda span: span.start_time or 0)
    shown = [(span.name, None if span.parent is None else names.get(span.parent.span_id)) for span in spans]
    return [(name, parent) for name, parent in shown if name not in ("session", "session.start", "session.end")]
