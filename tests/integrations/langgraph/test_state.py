"""
A state that knows its session: seed 000's ``ConversationState`` and ``handle_turn``, word for word, inside a graph.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langchain_core.messages.utils import count_tokens_approximately
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from opentelemetry.trace import get_current_span

from session_mw import observe, session_context
from session_mw.integrations.langgraph import ConversationState as OurState
from session_mw.integrations.langgraph import instrument_graph, session_state
from tests.hierarchy.support import Script

from .graphs import ASK, ASYNC_NEEDS_311, line, thread, turns


class ConversationState(TypedDict):
    """The sample's state."""

    session_id: str
    conversation_id: str
    turn_number: int
    messages: list
    context_tokens: int


@observe(name="conversation.turn")
def handle_turn(state: ConversationState):
    """Do as the sample does."""
    span = get_current_span()
    span.set_attribute("session.id", state["session_id"])
    span.set_attribute("conversation.turn_number", state["turn_number"])
    span.set_attribute("context.tokens", state["context_tokens"])
    return {"messages": [*state["messages"], "hello"]}


def given(tokens: int) -> Any:
    return {"messages": [], "context_tokens": tokens}


def test_the_samples_state_and_handler(script: Script) -> None:
    """What the input leaves out is filled from the session, turn after turn; attributes and state say the same."""
    graph = instrument_graph(line(("handle_turn", handle_turn), state=ConversationState))
    with session_context("s-1"):
        results = [graph.invoke(given(4500 * n), thread("c-1")) for n in (1, 2)]

    names = ("session_id", "conversation_id", "turn_number", "context_tokens")
    assert [("s-1", "c-1", 1, 4500), ("s-1", "c-1", 2, 9000)] == [tuple(r[name] for name in names) for r in results]
    seen = [dict(span.attributes or {}) for span in script.named("conversation.turn")]
    wire = ("session.id", "conversation.id", "conversation.turn_number", "context.tokens")
    assert [("s-1", "c-1", 1, 4500), ("s-1", "c-1", 2, 9000)] == [tuple(s[name] for name in wire) for s in seen]
    assert [1, 2] == [t["conversation.turn_number"] for t in turns(script)]


def test_what_the_input_says_holds(script: Script) -> None:
    """The application's own values are not replaced."""
    graph = instrument_graph(line(("handle_turn", handle_turn), state=ConversationState))
    with session_context("s-1"):
        result = graph.invoke({**given(1), "session_id": "mine", "turn_number": 77}, thread("c-1"))

    assert ("mine", "c-1", 77) == (result["session_id"], result["conversation_id"], result["turn_number"])


def test_a_state_without_the_fields_is_left_alone(script: Script) -> None:
    """Only a state that has all of them is filled: others may mean something else by one of the names."""

    class Other(TypedDict):
        session_id: str
        n: int

    graph = instrument_graph(line(("node", lambda state: {"n": 1}), state=Other))
    with session_context("s-1"):
        assert {"n": 1} == graph.invoke({"n": 0}, thread("c-1"))


def test_our_state_with_a_node_that_counts(script: Script) -> None:
    """``session_state`` as a node counts the whole history, and the turn's span says how full the context is."""

    class Shop(OurState, total=False):
        basket: list[str]

    seen: list[Any] = []
    graph = instrument_graph(
        line(
            ("session", partial(session_state, count=count_tokens_approximately)),
            ("answer", lambda state: seen.append(dict(state)) or {"messages": [("ai", "Yes.")], "basket": ["lamp"]}),
            state=Shop,
        )
    )
    with session_context("s-1"):
        for _ in range(2):
            graph.invoke(ASK, thread("c-1"))

    assert [1, 3] == [len(state["messages"]) for state in seen]
    counted = [count_tokens_approximately(state["messages"]) for state in seen]
    assert [("s-1", "c-1", n, tokens) for n, tokens in enumerate(counted, 1)] == [
        tuple(state[name] for name in ("session_id", "conversation_id", "turn_number", "context_tokens"))
        for state in seen
    ]
    shown = [(t["context.tokens"], t["conversation.messages_in_context"]) for t in turns(script)]
    assert list(zip(counted, [1, 3], strict=True)) == shown
    assert [1, 1] == [t["turn.agent_runs"] for t in turns(script)]  # what fills the state is no agent


def test_outside_of_a_session_nothing_is_known() -> None:
    """Neither guessed nor None: the fields are not there."""
    assert {} == session_state({"messages": ["x"]}, count=len)


def asking(state: ConversationState) -> Any:
    """Stop for a person, then do as the sample does."""
    return {"messages": [*state["messages"], interrupt("May I?"), (state["session_id"], state["turn_number"])]}


Opened = Callable[[], Any]


def in_memory(path: Path) -> Opened:
    saver = MemorySaver()
    return lambda: saver


def in_sqlite(path: Path) -> Opened:
    sqlite = pytest.importorskip("langgraph.checkpoint.sqlite", reason="langgraph-checkpoint-sqlite is not installed")
    import sqlite3

    return lambda: sqlite.SqliteSaver(sqlite3.connect(path / "threads.db", check_same_thread=False))


@pytest.fixture
def saver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    """A checkpointer that another process could open again."""
    kept: list[Any] = []
    opener = request.param(tmp_path)

    def opened() -> Any:
        kept.append(opener())
        return kept[-1]

    yield opened
    for one in kept:
        if hasattr(one, "conn"):
            one.conn.close()


@pytest.mark.parametrize(
    ("saver", "way"),
    [
        pytest.param(in_memory, "sync", id="memory, sync"),
        pytest.param(in_memory, "async", id="memory, async", marks=ASYNC_NEEDS_311),
        pytest.param(in_sqlite, "sync", id="sqlite, sync"),  # SqliteSaver has no async
    ],
    indirect=["saver"],
)
def test_resumed_tomorrow(way: str, saver: Opened, tmp_path: Path) -> None:
    """Another process, another session: the thread's state has tomorrow's session, its own id and the next number."""
    store = f"sqlite:///{tmp_path / 'sessions.db'}"
    config = thread("c-1")

    def run(session: str, what: Any) -> Any:
        script = Script(store=store)
        graph = instrument_graph(line(("asking", asking), state=ConversationState, checkpointer=saver()))
        with session_context(session):
            result = asyncio.run(graph.ainvoke(what, config)) if way == "async" else graph.invoke(what, config)
        return result, turns(script)[0]

    monday, first = run("monday", given(1))
    tuesday, second = run("tuesday", Command(resume="yes"))

    assert ["yes", ("tuesday", 2)] == [tuple(one) if isinstance(one, list) else one for one in tuesday["messages"]]
    assert ("monday", 1) == (monday["session_id"], monday["turn_number"])
    assert ("tuesday", "c-1", 2) == tuple(tuesday[name] for name in ("session_id", "conversation_id", "turn_number"))
    assert [("c-1", 1), ("c-1", 2)] == [(t["conversation.id"], t["conversation.turn_number"]) for t in (first, second)]


def test_resume_keeps_what_the_command_updates(script: Script) -> None:
    """A command's own update is added to, not replaced."""
    graph = instrument_graph(line(("asking", asking), state=ConversationState))
    with session_context("s-1"):
        graph.invoke(given(1), thread("c-1"))
        result = graph.invoke(Command(resume="yes", update={"context_tokens": 9, "turn_number": 50}), thread("c-1"))

    assert (9, 50, "s-1") == tuple(result[name] for name in ("context_tokens", "turn_number", "session_id"))


def test_state_of_another_kind_of_input(script: Script) -> None:
    """An input that is no mapping is the graph's own business."""
    builder: Any = StateGraph(int)
    builder.add_node("node", lambda state: state + 1)
    builder.add_edge(START, "node")
    with session_context("s-1"):
        assert 2 == instrument_graph(builder.compile()).invoke(1)
