"""
One other instrumentation beside ours, in a process of its own: they patch LangChain for the whole process.

``python -m tests.integrations.langgraph.others_worker <name> <first|last>`` installs it before or after a graph is
tracked, runs that graph and then, every graph tracked, another one, two turns each in a session for each, and prints as
JSON all spans and what the sessions' ends say.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from langchain_core.tools import tool
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from session_mw import configure, session_context
from session_mw._hierarchy.hosts import known_engine
from session_mw.integrations.langgraph import instrument, instrument_graph
from session_mw.testing import FakeClock, RecordingSink

from .models import Model

SECRET = "langgraph-tests-only-0123456789-abcdefghijklmnop"
CONFIG: dict[str, Any] = {"configurable": {"thread_id": "thread-1"}}
ASK: Any = {"messages": [("user", "Do you have lamps?")]}


@tool
def search(q: str) -> str:
    """Search the shop."""
    return f"one {q}"


def openinference() -> Any:
    from openinference.instrumentation.langchain import LangChainInstrumentor

    LangChainInstrumentor().instrument()


def traceloop() -> Any:
    from opentelemetry.instrumentation.langchain import LangchainInstrumentor

    LangchainInstrumentor().instrument()


def langfuse() -> Any:
    from langfuse import Langfuse
    from langfuse.langchain import CallbackHandler

    Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", base_url="http://127.0.0.1:9", timeout=1)
    return CallbackHandler()


def langsmith() -> Any:
    for name in ("LANGSMITH_TRACING", "LANGSMITH_OTEL_ENABLED", "LANGSMITH_OTEL_ONLY"):
        os.environ[name] = "true"
    os.environ["LANGSMITH_API_KEY"], os.environ["LANGSMITH_ENDPOINT"] = "ls-1", "http://127.0.0.1:9"


def mlflow() -> Any:
    import mlflow as library

    os.chdir(tempfile.mkdtemp())  # it keeps what it is told in the current directory
    os.environ["MLFLOW_TRACKING_URI"] = "sqlite:///mlflow.db"

    library.langchain.autolog()


def nothing() -> Any:
    return None


OTHERS: dict[str, Callable[[], Any]] = {
    one.__name__: one for one in (openinference, traceloop, langfuse, langsmith, mlflow, nothing)
}


def built() -> Any:
    """Return an agent: it asks for the tool once, then answers."""

    def planner(state: MessagesState) -> Any:
        return {"messages": [Model(answers=["!search", "We have one lamp."]).invoke(state["messages"])]}

    builder: Any = StateGraph(MessagesState)
    builder.add_node("planner", planner)
    builder.add_node("tools", ToolNode([search]))
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", tools_condition, ["tools", END])
    builder.add_edge("tools", "planner")
    return builder.compile(checkpointer=MemorySaver())


def main() -> None:
    """Run the one named on the command line."""
    name, order = sys.argv[1:3]
    exporter, sink, clock = InMemorySpanExporter(), RecordingSink(), FakeClock()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    configure(secret_key=SECRET, event_sink=sink, clock=clock, lifecycle_spans="never")
    handler = OTHERS[name]() if order == "first" else None
    graph, everywhere = instrument_graph(built()), built()
    if order == "last":
        handler = OTHERS[name]()
    config = {**CONFIG, "callbacks": [handler]} if handler is not None else CONFIG
    asyncio.run(_run("one graph", graph, config))
    instrument()
    asyncio.run(_run("every graph", everywhere, config))
    if name == "langsmith":
        from langchain_core.tracers.langchain import wait_for_all_tracers

        wait_for_all_tracers()
    engine = known_engine()
    assert engine is not None
    engine.background.step()
    clock.advance(seconds=1801)
    engine.background.step()
    ends = {end.key[0]: dict(end.attributes) for end in sink.named("session.end")}
    spans = exporter.get_finished_spans()
    print(json.dumps({"spans": [_seen(span, spans) for span in spans], "ends": ends}))


async def _run(session: str, graph: Any, config: Any) -> None:
    """Run a graph twice, invoked and streamed."""
    with session_context(session.replace(" ", "-")):
        graph.invoke(ASK, config)
        async for _ in graph.astream(ASK, config, stream_mode="messages"):
            pass


def _seen(span: Any, spans: Any) -> dict[str, Any]:
    parent = next((s.name for s in spans if span.parent and s.context.span_id == span.parent.span_id), None)
    return {
        "name": span.name,
        "scope": span.instrumentation_scope.name,
        "parent": parent,
        "error": span.status.status_code.name == "ERROR",
        "attributes": dict(span.attributes),
    }


if __name__ == "__main__":
    main()
