"""Nodes, tools and model calls as spans, where nobody else makes them: nested as they ran, counted as they ran."""

from __future__ import annotations

import asyncio
import json
import operator
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Annotated, Any, TypedDict

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import RetryPolicy, Send, interrupt

from session_mw import agent_run, observe, session_context, tool_call, turn
from session_mw.integrations.langgraph import instrument, instrument_graph
from session_mw.integrations.langgraph.spans import Spans
from tests.hierarchy.seen import here
from tests.hierarchy.support import Script, id_of

from .graphs import ASK, agent, line, search, thread, tree, turns
from .models import Model, Streaming

CONFIG = thread("thread-1")
WAYS = ["sync", "async"]


def run(graph: Any, way: str, given: Any = ASK, config: Any = CONFIG) -> None:
    """Run a graph once, in a session."""

    async def main() -> None:
        async with session_context("s-1"):
            await graph.ainvoke(given, config)

    if way == "async":
        asyncio.run(main())
    else:
        with session_context("s-1"):
            graph.invoke(given, config)


@pytest.mark.parametrize("way", WAYS)
def test_tree_of_an_agent(way: str, script: Script) -> None:
    """Nodes below the turn, models below nodes, tools below the turn: a node that only runs tools is no agent run."""
    run(instrument_graph(agent()), way)

    assert [
        ("turn", "session"),
        ("invoke_agent planner", "turn"),
        ("chat parrot-1", "invoke_agent planner"),
        ("execute_tool search", "turn"),
        ("invoke_agent planner", "turn"),
        ("chat parrot-1", "invoke_agent planner"),
    ] == tree(script)


@pytest.mark.parametrize("way", WAYS)
def test_work_inside_is_nested(way: str, script: Script) -> None:
    """Whatever makes spans inside a node or tool finds that span current, and afterwards the one around it."""

    @tool
    async def slow(q: str) -> str:
        """Work."""
        script.work("in the tool")
        return q

    async def node(state: MessagesState, config: RunnableConfig) -> Any:
        with observe("block"):
            await slow.ainvoke({"q": "x"}, config)
            script.work("after the tool")
            await Model(answers=["Yes."]).ainvoke("Do you?", config)
            with tool_call("slow"):  # the same name, but not the same call
                pass
        script.work("after the block")
        return {}

    graph = instrument_graph(line(("node", node), ("next", lambda state: script.work("in the next node"))))
    asyncio.run(_in_session(graph))

    assert [
        ("turn", "session"),
        ("invoke_agent node", "turn"),
        ("block", "invoke_agent node"),
        ("execute_tool slow", "block"),
        ("in the tool", "execute_tool slow"),
        ("after the tool", "block"),
        ("chat parrot-1", "block"),
        ("execute_tool slow", "block"),
        ("after the block", "invoke_agent node"),
        ("invoke_agent next", "turn"),
        ("in the next node", "invoke_agent next"),
    ] == tree(script)
    assert (2, 2) == (turns(script)[0]["turn.agent_runs"], turns(script)[0]["turn.tool_calls"])


async def _in_session(graph: Any) -> None:
    async with session_context("s-1"):
        before = here()
        await graph.ainvoke(ASK, CONFIG)
        assert before == here()


def test_a_tool_of_ours_inside_one_of_langchains_is_one_call(script: Script) -> None:
    """Two blocks about one call: the tool is counted once."""

    @tool
    @tool_call("lookup")
    def lookup(q: str) -> str:
        """Look up."""
        return q

    run(instrument_graph(agent("!lookup", "Done.", tools=[lookup])), "sync")

    assert 1 == turns(script)[0]["turn.tool_calls"]


@pytest.mark.parametrize("way", WAYS)
def test_parallel_nodes(way: str, script: Script) -> None:
    """Sends and branches that run at a time are siblings, each with what it did below it."""

    class State(TypedDict):
        found: Annotated[list[str], operator.add]

    def work(state: Any) -> Any:
        Model(answers=["Yes."]).invoke("Do you?")
        return {"found": [str(state)]}

    builder: Any = StateGraph(State)
    builder.add_node("plan", lambda state: {})
    builder.add_node("work", work)
    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", lambda state: [Send("work", {"n": n}) for n in range(5)], ["work"])
    builder.add_edge("work", END)
    run(instrument_graph(builder.compile()), way, {"found": []})

    assert 6 == turns(script)[0]["turn.agent_runs"]
    parents = [span.parent.span_id for span in script.named("chat parrot-1") if span.parent]
    assert sorted(parents) == sorted(id_of(span) for span in script.named("invoke_agent work"))


def test_subgraph_below_its_node(script: Script) -> None:
    """A graph as a node: its nodes are agent runs of its own, below that node's."""
    inner = agent().copy({"checkpointer": None})
    run(instrument_graph(line(("helper", inner))), "sync")

    assert ("invoke_agent planner", "invoke_agent helper") in tree(script)
    assert ("execute_tool search", "invoke_agent helper") in tree(script)
    assert (3, 1) == (turns(script)[0]["turn.agent_runs"], turns(script)[0]["turn.tool_calls"])


@pytest.mark.parametrize("way", WAYS)
def test_create_agent(way: str, script: Script) -> None:
    """LangChain's own agents: each time the model is asked is an agent run, each tool a call."""
    agents = pytest.importorskip("langchain.agents")
    if not hasattr(agents, "create_agent"):
        pytest.skip("langchain before 1.0")
    graph = agents.create_agent(Model(answers=["!search", "We have one."]), tools=[search], name="keeper")
    run(instrument_graph(graph), way)

    assert (2, 1, "model") == tuple(turns(script)[0][f"turn.{n}"] for n in ("agent_runs", "tool_calls", "action"))
    assert 220 == script.ended("s-1")["session.total_tokens"]


def test_functional_workflow(script: Script) -> None:
    """``@entrypoint`` and ``@task``: the workflow and its tasks are agent runs."""
    from langgraph.func import entrypoint, task

    @task
    def double(number: int) -> int:
        return 2 * number

    @entrypoint()
    def workflow(number: int) -> int:
        return sum(future.result() for future in [double(number), double(number)])

    run(instrument_graph(workflow), "sync", 3)

    assert {"invoke_agent workflow": 1, "invoke_agent double": 2} == Counter(
        name for name, _ in tree(script) if name.startswith("invoke_agent")
    )


def test_retries_are_runs(script: Script) -> None:
    """A node that is tried again ran twice: the first failed, and the turn did not."""
    tries: list[int] = []

    def shaky(state: MessagesState) -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("away")
        return {}

    builder: Any = StateGraph(MessagesState)
    policy = RetryPolicy(initial_interval=0.0, jitter=False)
    try:
        builder.add_node("shaky", shaky, retry_policy=policy)
    except TypeError:  # before 0.5
        builder.add_node("shaky", shaky, retry=policy)
    builder.add_edge(START, "shaky")
    run(instrument_graph(builder.compile()), "sync")

    assert ["ERROR", "UNSET"] == [s.status.status_code.name for s in script.named("invoke_agent shaky")]
    (said,) = turns(script)
    assert (2, 1) == (said["turn.agent_runs"], said["turn.errors"])
    assert "UNSET" == script.only("turn").status.status_code.name


def test_tool_that_fails_is_told_to_the_model(script: Script) -> None:
    """The tool's span failed, the turn did not: the model gets to know."""

    @tool
    def broken(q: str) -> str:
        """Fail."""
        raise LookupError("nothing")

    from langgraph.prebuilt import ToolNode

    node = ToolNode([broken], handle_tool_errors=True)
    message = AIMessage("", tool_calls=[{"name": "broken", "args": {"q": "x"}, "id": "c-1"}])
    run(instrument_graph(line(("tools", node))), "sync", {"messages": [message]})

    assert "LookupError" == script.shown("execute_tool broken")["error.type"]
    assert ("UNSET", 1) == (script.only("turn").status.status_code.name, turns(script)[0]["turn.errors"])


def test_model_call_says_what_it_used(script: Script) -> None:
    """Tokens with their parts, model and provider, by the names of OpenTelemetry's conventions."""
    answer = AIMessage(
        "Yes.",
        id="run--1",
        response_metadata={"id": "resp-1", "model_name": "parrot-1-2026"},
        usage_metadata={
            "input_tokens": 100,
            "output_tokens": 10,
            "total_tokens": 110,
            "input_token_details": {"cache_read": 60, "cache_creation": 20},
            "output_token_details": {"reasoning": 4},
        },
    )

    class Detailed(Model):
        def _message(self, text: str) -> Any:
            return {name: getattr(answer, name) for name in ("content", "response_metadata", "usage_metadata")}

    run(instrument_graph(line(("node", lambda s: {"messages": [Detailed(answers=["x"]).invoke("Do you?")]}))), "sync")

    shown = script.shown("chat parrot-1")
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "parrot-1",
        "gen_ai.provider.name": "zoo",
        "gen_ai.response.id": "resp-1",
        "gen_ai.response.model": "parrot-1-2026",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 10,
        "gen_ai.usage.cache_read.input_tokens": 60,
        "gen_ai.usage.cache_write.input_tokens": 20,
        "gen_ai.usage.reasoning.output_tokens": 4,
        "openinference.span.kind": "LLM",
    }
    assert expected == {name: shown.get(name) for name in expected}


@pytest.mark.parametrize("capture", [False, True])
def test_words_only_where_content_is_captured(capture: bool) -> None:
    """Messages, arguments and results stand on spans with ``capture_content``; lengths are known without."""
    script = Script(capture_content=capture)
    run(instrument_graph(agent()), "sync")

    everything = json.dumps([dict(span.attributes or {}) for span in script.spans])
    assert [capture] * 3 == [words in everything for words in ("Do you have", "We have one", "one lamp")]
    assert (18, 17) == (turns(script)[0]["turn.input_length"], turns(script)[0]["turn.output_length"])
    tool_span = script.shown("execute_tool search")
    assert "call-search" == tool_span["gen_ai.tool.call.id"]
    assert capture is ("gen_ai.tool.call.arguments" in tool_span)


@pytest.mark.parametrize("way", WAYS)
def test_streamed_model(way: str, script: Script) -> None:
    """A model that streams tells when its answer began; a reader that leaves it is no failure."""

    def node(state: MessagesState, config: RunnableConfig) -> Any:
        stream = Streaming(answers=["one two three"]).stream("Do you?")
        next(stream)
        stream.close()
        return {"messages": [Streaming(answers=["one two three"]).invoke("Do you?", config)]}

    graph = instrument_graph(line(("node", node)))
    with session_context("s-1"):
        if way == "sync":
            list(graph.stream(ASK, CONFIG, stream_mode="messages"))
        else:
            asyncio.run(_drain(graph.astream(ASK, CONFIG, stream_mode="messages")))

    left, whole = script.named("chat parrot-1")
    assert "gen_ai.response.time_to_first_chunk" in (whole.attributes or {})
    assert ["UNSET"] * 2 == [left.status.status_code.name, whole.status.status_code.name]
    assert 110 == script.ended("s-1")["session.total_tokens"]


async def _drain(chunks: Any) -> None:
    async for _ in chunks:
        pass


def test_threads_without_context(script: Script) -> None:
    """Work that a node gives to threads of its own is found by the config it passes on."""

    def node(state: MessagesState, config: RunnableConfig) -> Any:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda text: Model(answers=["Yes."]).invoke(text, config), ["a", "b"]))
        return {}

    run(instrument_graph(line(("node", node))), "sync")

    assert [("chat parrot-1", "invoke_agent node")] * 2 == [one for one in tree(script) if one[0].startswith("chat")]
    assert 220 == script.ended("s-1")["session.total_tokens"]


@pytest.mark.usefixtures("everywhere")
def test_langchain_without_a_graph(script: Script) -> None:
    """Models and tools alone, plain, batched and streamed: counted in the turn; outside of a session nothing is."""
    model = Model(answers=["Yes."])
    model.invoke("Do you?")
    assert () == script.spans
    with session_context("s-1"), turn(), agent_run("shop"):
        model.invoke("Do you?")
        model.batch(["a", "b", "c"])
        asyncio.run(model.abatch(["a", "b"]))
        search.invoke({"q": "lamp"})

    assert {"invoke_agent shop"} == {parent for name, parent in tree(script) if name.startswith(("chat", "execute"))}
    assert (1, 1) == (turns(script)[0]["turn.agent_runs"], turns(script)[0]["turn.tool_calls"])
    assert 660 == script.ended("s-1")["session.total_tokens"]


@pytest.mark.usefixtures("everywhere")
def test_a_graph_inside_a_chain(script: Script) -> None:
    """What runs in the graph is its run's, whatever is around it; what is before it is counted too."""
    model = Model(answers=["Yes."])
    chain = RunnableLambda(lambda given: model.invoke("Do you?") and given) | agent()
    with session_context("s-1"), turn():
        chain.invoke(ASK, CONFIG)
    with session_context("s-1"), turn():
        (RunnableLambda(lambda given: given) | instrument_graph(agent(), spans=False)).invoke(ASK, CONFIG)

    assert [(2, 1), (None, None)] == [(t.get("turn.agent_runs"), t.get("turn.tool_calls")) for t in turns(script)]
    assert 330 == script.ended("s-1")["session.total_tokens"]


def test_the_applications_own_spans_handler_is_not_doubled(script: Script) -> None:
    """Who tracks everything and one graph has one span for each thing that ran."""
    undo = instrument()
    try:
        run(instrument_graph(agent()), "sync")
    finally:
        undo()

    assert 2 == len(script.named("invoke_agent planner"))


def test_open_runs_are_bounded(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs whose end nobody tells of do not fill the memory; nodes among them end with the run."""
    from uuid import uuid4

    from session_mw.integrations.langgraph import spans

    monkeypatch.setattr(spans, "MAX_OPEN", 3)
    handler = Spans()
    with session_context("s-1"):
        for _ in range(5):
            handler.on_tool_start({"name": "lost"}, "", run_id=uuid4())
        assert 2 == len(script.named("execute_tool lost"))
        said: Any = {"langgraph_node": "stuck", "langgraph_checkpoint_ns": "stuck:1"}
        handler.on_chain_start({}, {}, run_id=uuid4(), tags=["graph:step:1"], metadata=said)
        handler.close()

    assert (3, 1) == (len(script.named("execute_tool lost")), len(script.named("invoke_agent stuck")))


def test_work_that_a_node_leaves_behind(script: Script) -> None:
    """A task that a node started and nobody waited for: what it uses after the turn is the session's all the same."""
    go, left = asyncio.Event(), list[Any]()

    async def later(config: RunnableConfig) -> None:
        await go.wait()
        await Model(answers=["Yes."]).ainvoke("Do you?", config)

    async def node(state: MessagesState, config: RunnableConfig) -> Any:
        left.append(asyncio.create_task(later(config)))
        return {}

    async def main() -> None:
        async with session_context("s-1"):
            await instrument_graph(line(("node", node))).ainvoke(ASK, CONFIG)
            go.set()
            await asyncio.gather(*left)

    asyncio.run(main())
    assert "turn.tool_calls" not in turns(script)[0] and 1 == len(script.named("chat parrot-1"))
    assert (1, 110) == (lambda end: (end["session.total_turns"], end["session.total_tokens"]))(script.ended("s-1"))


# A step is what one node does: models asked, tools called, a person asked, a failure that is caught.
STEPS = st.lists(st.sampled_from(["model", "tool", "person", "caught"]), max_size=4)
LAYERS = st.lists(st.lists(STEPS, min_size=1, max_size=3), min_size=1, max_size=3)


@settings(max_examples=8, deadline=None)
@given(LAYERS, st.sampled_from(WAYS if sys.version_info >= (3, 11) else WAYS[:1]))
def test_whatever_the_graph_counts_are_what_ran(layers: list[list[list[str]]], way: str) -> None:
    """Layers of parallel nodes that ask models, call tools and stop for people: every number is what was executed."""
    from langgraph.types import Command

    if find_spec("langgraph.callbacks") is None:  # such versions cannot answer several people one by one
        assume(sum(steps.count("person") for layer in layers for steps in layer) < 2)
    script, ran = Script(), Counter[str]()
    graph = instrument_graph(_graph_of(layers, ran))
    rounds = 0
    with session_context("s-1"):
        waiting: Any = ASK
        while True:
            asyncio.run(graph.ainvoke(waiting, CONFIG)) if way == "async" else graph.invoke(waiting, CONFIG)
            rounds += 1
            pending = [one for task in graph.get_state(CONFIG).tasks for one in task.interrupts]
            if not pending:
                break
            waiting = Command(resume=_answers(pending))
            assert rounds < 20

    said = turns(script)
    assert list(range(1, rounds + 1)) == [t["conversation.turn_number"] for t in said]
    assert ran["node"] == sum(t.get("turn.agent_runs", 0) for t in said)
    assert ran["tool"] == sum(t.get("turn.tool_calls", 0) for t in said)
    assert ["interrupt"] * (rounds - 1) + [None] == [t.get("turn.output_type") for t in said]
    end = script.ended("s-1")
    assert (110 * ran["model"] or None) == end.get("session.total_tokens")
    assert (rounds, 0) == (end["session.total_turns"], end["session.failed_turns"])


def _answers(pending: list[Any]) -> Any:
    """Answer everybody that waits; versions that have no ids for it ask one at a time."""
    ids = [getattr(one, "id", None) or getattr(one, "interrupt_id", None) for one in pending]
    return dict.fromkeys(ids, "yes") if len(pending) > 1 else "yes"


def _graph_of(layers: list[list[list[str]]], ran: Counter[str]) -> Any:
    from langgraph.checkpoint.memory import MemorySaver

    builder: Any = StateGraph(MessagesState)
    before: list[str] = [START]
    for depth, layer in enumerate(layers):
        names = [f"n{depth}{at}" for at in range(len(layer))]
        for name, steps in zip(names, layer, strict=True):
            builder.add_node(name, _node(steps, ran))
            builder.add_edge(before if before != [START] else START, name)
        before = names
    return builder.compile(checkpointer=MemorySaver())


def _node(steps: list[str], ran: Counter[str]) -> Any:
    def node(state: MessagesState) -> Any:
        ran["node"] += 1
        for step in steps:
            if step == "person":
                interrupt("May I?")
                continue
            ran["model" if step == "model" else "tool"] += 1
            if step == "model":
                Model(answers=["Yes."]).invoke("Do you?")
            elif step == "tool":
                search.invoke({"q": "lamp"})
            else:
                with pytest.raises(ZeroDivisionError):
                    _failing.invoke({"q": 0})
        return {}

    return node


@tool("failing")
def _failing(q: int) -> float:
    """Fail."""
    return 1 / q
