"""Each run of a graph is a turn, its thread the conversation: over all ways to run one, however it ends."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.errors import GraphRecursionError
from langgraph.graph import END, START, MessagesState, StateGraph

from session_mw import conversation, current_conversation, current_turn, hash_user_id, session_context, turn
from session_mw.integrations.langgraph import instrument, instrument_graph
from tests.hierarchy.seen import NOBODY, here
from tests.hierarchy.support import Script

from .graphs import ASK, agent, line, thread, turns

CONFIG = thread("thread-1")


def stream(graph: Any, mode: Any) -> list[Any]:
    return list(graph.stream(ASK, CONFIG, stream_mode=mode))


async def astream(graph: Any, mode: Any, **more: Any) -> list[Any]:
    return [chunk async for chunk in graph.astream(ASK, CONFIG, stream_mode=mode, **more)]


async def events(graph: Any, version: Any) -> list[Any]:
    return [event async for event in graph.astream_events(ASK, CONFIG, version=version)]


MODES: list[Any] = ["values", "updates", "messages", "custom", "debug", ["updates", "messages"]]
WAYS: dict[str, Callable[[Any], Any]] = {
    "invoke": lambda graph: graph.invoke(ASK, CONFIG),
    "invoke, config by name": lambda graph: graph.invoke(input=ASK, config=CONFIG),
    "ainvoke": lambda graph: asyncio.run(graph.ainvoke(ASK, CONFIG)),
    "batch": lambda graph: graph.batch([ASK], CONFIG),
    "abatch": lambda graph: asyncio.run(graph.abatch([ASK], CONFIG)),
    "a chain": lambda graph: (RunnableLambda(lambda given: given) | graph).invoke(ASK, CONFIG),
    "a chain, config from around": lambda graph: RunnableLambda(lambda given: graph.invoke(given)).invoke(ASK, CONFIG),
    "with_config": lambda graph: graph.with_config(CONFIG).invoke(ASK),
    "astream_events v1": lambda graph: asyncio.run(events(graph, "v1")),
    "astream_events v2": lambda graph: asyncio.run(events(graph, "v2")),
    "subgraphs": lambda graph: asyncio.run(astream(graph, "updates", subgraphs=True)),
    **{f"stream {mode}": lambda graph, mode=mode: stream(graph, mode) for mode in MODES},
    **{f"astream {mode}": lambda graph, mode=mode: asyncio.run(astream(graph, mode)) for mode in MODES},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.filterwarnings("ignore:astream_events version='v1' is deprecated")
def test_every_way_to_run_is_one_turn(way: str, script: Script) -> None:
    """One turn in the thread's conversation, its node, tool and model calls counted, and nothing is left current."""
    graph = instrument_graph(agent())
    with session_context("s-1"):
        WAYS[way](graph)
        assert ("s-1", None) == (here()[0], (current_turn() or NOBODY) and None)

    (said,) = turns(script)
    expected = {
        "session.id": "s-1",
        "conversation.id": "thread-1",
        "gen_ai.conversation.id": "thread-1",
        "turn.number": 1,
        "conversation.turn_number": 1,
        "turn.agent_runs": 2,
        "turn.tool_calls": 1,
        "turn.action": "planner",
        "turn.input_length": 18,
        "turn.output_length": 17,
    }
    assert expected == {name: said.get(name) for name in expected}
    assert here() == NOBODY
    assert 220 == script.ended("s-1")["session.total_tokens"]


def test_result_and_chunks_are_the_graphs_own(script: Script) -> None:
    """What comes out of a tracked graph is what comes out of an untracked one."""
    plain, tracked = agent(), instrument_graph(agent())
    for mode in ("values", "updates", ["updates", "values"]):
        told = [str(type(chunk)) + str(_texts(chunk)) for chunk in plain.stream(ASK, CONFIG, stream_mode=mode)]

        assert told == [str(type(c)) + str(_texts(c)) for c in tracked.stream(ASK, CONFIG, stream_mode=mode)]


def _texts(chunk: Any) -> Any:
    if isinstance(chunk, dict):
        return {key: _texts(value) for key, value in chunk.items()}
    if isinstance(chunk, (list, tuple)):
        return [_texts(value) for value in chunk]
    return getattr(chunk, "content", chunk)


def test_each_run_is_a_turn_and_each_thread_a_conversation(script: Script) -> None:
    """Turns are numbered in the session and in the conversation, in turn and beside each other."""
    graph = instrument_graph(agent())
    with session_context("s-1"):
        for name in ("a", "b", "a"):
            graph.invoke(ASK, thread(name))

    found = [(t["conversation.id"], t["turn.number"], t["conversation.turn_number"]) for t in turns(script)]
    assert [("a", 1, 1), ("b", 2, 1), ("a", 3, 2)] == found


def test_batch_in_threads_and_tasks(script: Script) -> None:
    """Runs at a time are a turn each, in their own threads; the first does not lend its conversation to the others."""
    graph = instrument_graph(agent())
    configs = [thread(f"t-{number}") for number in range(6)]
    with session_context("s-1"):
        graph.batch([ASK] * 6, configs)

    async def main() -> None:
        async with session_context("s-2"):
            await asyncio.gather(*(graph.ainvoke(ASK, config) for config in configs))

    asyncio.run(main())
    for session in ("s-1", "s-2"):
        mine = [t for t in turns(script) if t["session.id"] == session]
        assert [1, 2, 3, 4, 5, 6] == sorted(t["turn.number"] for t in mine)
        assert sorted(f"t-{n}" for n in range(6)) == sorted(t["conversation.id"] for t in mine)
        assert [(2, 1)] * 6 == [(t["turn.agent_runs"], t["turn.tool_calls"]) for t in mine]
    assert [1] * 6 + [2] * 6 == sorted(t["conversation.turn_number"] for t in turns(script))


def test_run_inside_a_turn_belongs_to_it(script: Script) -> None:
    """Whoever names the turn has it; runs in it are no turns of their own."""
    graph = instrument_graph(agent())
    with session_context("s-1"), conversation("thread-1"), turn(intent="shopping"):
        graph.invoke(ASK, CONFIG)
        graph.invoke(ASK, CONFIG)

    (said,) = turns(script)
    assert ("thread-1", 4, 2, "shopping") == (
        said["conversation.id"],
        said["turn.agent_runs"],
        said["turn.tool_calls"],
        said["turn.intent"],
    )


def test_run_without_a_session_opens_one(script: Script) -> None:
    """A script that says nothing of sessions has one for each run."""
    graph = instrument_graph(agent())
    graph.invoke(ASK, CONFIG)
    graph.invoke(ASK, CONFIG)

    assert 2 == len({t["session.id"] for t in turns(script)})
    assert ["thread-1"] * 2 == [t["conversation.id"] for t in turns(script)]
    assert [1, 2] == [t["conversation.turn_number"] for t in turns(script)]


def test_graph_inside_a_graph_is_no_turn(script: Script) -> None:
    """A subgraph as a node, and a graph that a node runs in a thread of its own, belong to the run around them."""
    inner = instrument_graph(agent())

    def call(state: MessagesState) -> Any:
        inner.invoke(ASK, thread("inner"))
        return {}

    outer = instrument_graph(line(("first", call), ("second", agent().copy({"checkpointer": None}))))
    with session_context("s-1"):
        outer.invoke(ASK, CONFIG)

    (said,) = turns(script)
    assert ("thread-1", 1) == (said["conversation.id"], said["conversation.turn_number"])
    assert (2 + 2 + 2, 2) == (said["turn.agent_runs"], said["turn.tool_calls"])


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_failure_fails_the_turn_once(asynchronous: bool, script: Script) -> None:
    """An error in a node is the turn's and the node's, and reaches the caller as it was."""
    graph = instrument_graph(agent(ValueError("no")))
    with session_context("s-1"), pytest.raises(ValueError, match="no"):
        asyncio.run(graph.ainvoke(ASK, CONFIG)) if asynchronous else graph.invoke(ASK, CONFIG)

    assert ["ERROR"] == [span.status.status_code.name for span in script.named("turn")]
    assert "ValueError" == script.shown("turn")["error.type"]
    assert "ERROR" == script.only("invoke_agent planner").status.status_code.name
    end = script.ended("s-1")
    assert (1, 1) == (end["session.total_turns"], end["session.failed_turns"])


def test_recursion_limit_fails_the_turn(script: Script) -> None:
    """The limit in the caller's config holds, and running into it is a failure."""
    graph = instrument_graph(agent("!search"))
    with session_context("s-1"), pytest.raises(GraphRecursionError):
        graph.invoke(ASK, thread("t", recursion_limit=5))

    assert "GraphRecursionError" == script.shown("turn")["error.type"]
    assert (3, 2) == (script.shown("turn")["turn.agent_runs"], script.shown("turn")["turn.tool_calls"])


@pytest.mark.parametrize("close", [True, False], ids=["closed", "forgotten"])
def test_stream_left_early(close: bool, script: Script) -> None:
    """A reader that leaves is no failure; the turn ends then, once, and nothing stays current with the reader."""
    graph = instrument_graph(agent())
    with session_context("s-1"):
        chunks = graph.stream(ASK, CONFIG, stream_mode="updates")
        next(chunks)
        assert current_conversation() is not None and current_conversation().id == "s-1"  # type: ignore[union-attr]
        if close:
            chunks.close()
        del chunks
        gc.collect()

    (span,) = script.named("turn")
    assert ("UNSET", 1) == (span.status.status_code.name, (span.attributes or {})["turn.agent_runs"])
    assert here() == NOBODY


def test_async_stream_left_early_and_task_cancelled(script: Script) -> None:
    """The same for tasks: a cancelled run ends its turn and its node's span, and is no failure."""
    started = asyncio.Event()

    async def wait(state: MessagesState) -> Any:
        started.set()
        await asyncio.sleep(60)

    slow = instrument_graph(line(("slow", wait)))

    async def main() -> None:
        async with session_context("s-1"):
            stream = instrument_graph(agent()).astream(ASK, CONFIG, stream_mode="updates")
            await anext(stream)
            await stream.aclose()
            task = asyncio.create_task(slow.ainvoke(ASK, CONFIG))
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert ["UNSET", "UNSET"] == [span.status.status_code.name for span in script.named("turn")]
    assert 1 == len(script.named("invoke_agent slow"))
    assert (2, 0) == (lambda end: (end["session.total_turns"], end["session.failed_turns"]))(script.ended("s-1"))


THREADS = {
    "int": (7, "7"),
    "uuid": ("0b5c7a1e-8a5e-4f0e-9d3c-3f1f4d1b2a33",) * 2,
    "address": ("jane@example.org", None),
    "too long": ("x" * 201, None),
    "spaces": (" a b ", None),
}


@pytest.mark.parametrize("name", THREADS)
def test_any_thread_id_will_do(name: str, script: Script) -> None:
    """Kept as the application gives it; what cannot be an id on spans is a pseudonym, the same one each time."""
    given, expected = THREADS[name]
    graph = instrument_graph(agent())
    with session_context("s-1"):
        graph.invoke(ASK, {"configurable": {"thread_id": given}})
        graph.invoke(ASK, {"configurable": {"thread_id": given}})

    found = {t["conversation.id"] for t in turns(script)}
    pseudonym = "thread-" + hash_user_id(str(given).strip()).removeprefix("u_")
    assert {expected or pseudonym} == found
    assert [1, 2] == [t["conversation.turn_number"] for t in turns(script)]


def test_without_a_thread_the_conversation_stays(script: Script) -> None:
    """A graph without a checkpointer has no thread: it talks in the conversation that is current."""
    graph = instrument_graph(line(("only", lambda state: {}), checkpointer=None))
    with session_context("s-1"):
        graph.invoke(ASK)
        with conversation("c-1"):
            graph.invoke(ASK)

    assert ["s-1", "c-1"] == [t["conversation.id"] for t in turns(script)]


def test_config_of_the_caller_is_merged(script: Script) -> None:
    """Callbacks, tags, metadata and limits of the caller arrive, whatever form they have, and are not changed."""
    from langchain_core.callbacks import BaseCallbackHandler, CallbackManager

    heard: list[Any] = []

    class Mine(BaseCallbackHandler):
        def on_chain_start(self, serialized: Any, inputs: Any, **said: Any) -> None:
            heard.append((said["tags"], said["metadata"].get("mine")))

    graph = instrument_graph(line(("only", lambda state: {})))
    mine = Mine()
    for callbacks in ([mine], CallbackManager([mine], [mine])):
        heard.clear()
        config = thread("t", callbacks=callbacks, tags=["tag"], metadata={"mine": 1})
        before = {**config, "metadata": {**config["metadata"]}}
        graph.invoke(ASK, config)

        assert ["tag"] == heard[0][0] and {1} == {value for _, value in heard}
        config["metadata"].pop("thread_id", None)  # older LangChains write it there themselves
        assert before == config
        handlers = callbacks if isinstance(callbacks, list) else callbacks.handlers
        assert [mine] == handlers


def test_instrumented_twice_and_copies(script: Script) -> None:
    """A second time changes nothing; copies are tracked; the class says who it is, and untracked graphs stay so."""
    untracked, graph = agent(), agent()
    kind = type(graph)
    assert graph is instrument_graph(instrument_graph(graph))
    assert isinstance(graph, kind) and kind.__name__ == type(graph).__name__
    with session_context("s-1"), session_context("s-1"):
        graph.copy().invoke(ASK, CONFIG)
    assert 1 == len(turns(script))
    with session_context("s-1"):
        untracked.invoke(ASK, CONFIG)
    assert 1 == len([t for t in turns(script) if "turn.agent_runs" in t])


def test_builder_is_refused() -> None:
    """What cannot run is told so, with what to do."""
    builder: Any = StateGraph(MessagesState)
    builder.add_edge(START, END)

    with pytest.raises(TypeError, match="Compile it first"):
        instrument_graph(builder)


@pytest.mark.usefixtures("everywhere")
def test_everywhere(script: Script) -> None:
    """Every graph of the process, and one that is tracked by itself as well: a turn each, not two."""
    with session_context("s-1"):
        agent().invoke(ASK, CONFIG)
        instrument_graph(agent()).invoke(ASK, CONFIG)
        asyncio.run(agent().ainvoke(ASK, CONFIG))

    assert [(1, 2, 1), (2, 2, 1), (3, 2, 1)] == [
        (t["turn.number"], t["turn.agent_runs"], t["turn.tool_calls"]) for t in turns(script)
    ]


def test_uninstrumented(script: Script) -> None:
    """Undone, graphs and models are what they were."""
    from .models import Model

    instrument()()
    with session_context("s-1"):
        agent().invoke(ASK, CONFIG)
        Model(answers=["Yes."]).invoke("Do you?")

    (said,) = turns(script)
    assert ("turn.agent_runs" in said, said["conversation.id"]) == (False, "s-1")
    assert [] == script.named("chat parrot-1")


def test_without_spans(script: Script) -> None:
    """Turns alone: nothing inside makes a span."""
    with session_context("s-1"):
        instrument_graph(agent(), spans=False).invoke(ASK, CONFIG)

    assert {"turn", "session"} == {span.name for span in script.spans} - {"session.start"}
    assert "thread-1" == turns(script)[0]["conversation.id"]


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_without_sdk(way: str) -> None:
    """Without an SDK the turn counts all the same: turns, agent runs, tools, tokens."""
    script = Script(recording=False)
    graph = instrument_graph(agent())
    with session_context("s-1"):
        graph.invoke(ASK, CONFIG) if way == "invoke" else asyncio.run(graph.ainvoke(ASK, CONFIG))

    end = script.ended("s-1")
    assert (1, 220) == (end["session.total_turns"], end["session.total_tokens"])


class Server(BaseHTTPRequestHandler):
    """Answers a run as LangGraph's server streams it."""

    asked: ClassVar[list[Any]] = []

    def do_POST(self) -> None:
        self.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b'event: updates\r\ndata: {"n": {"x": 1}}\r\n\r\nevent: values\r\ndata: {"x": 1}\r\n\r\n')

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_remote_graph(asynchronous: bool, script: Script) -> None:
    """A graph that runs on another machine: its run is a turn here, and nothing of ours is sent along."""
    remote = pytest.importorskip("langgraph.pregel.remote")
    Server.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        graph = instrument_graph(remote.RemoteGraph("agent", url=f"http://127.0.0.1:{server.server_port}"))
        with session_context("s-1"):
            found = asyncio.run(graph.ainvoke(ASK, CONFIG)) if asynchronous else graph.invoke(ASK, CONFIG)
        server.shutdown()

    assert {"x": 1} == found
    assert [("s-1", "thread-1", 1)] == [
        (t["session.id"], t["conversation.id"], t["turn.number"]) for t in turns(script)
    ]
    (asked,) = Server.asked
    assert {} == asked["config"].get("metadata", {}) and "callbacks" not in asked["config"]
