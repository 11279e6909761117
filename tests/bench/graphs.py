"""
What tracking a LangGraph graph adds to a run and to each node of it, side by side in one run:

    python -m tests.bench.graphs [nodes] [rounds]

Medians of interleaved rounds, processor time; nodes do nothing. Recording is the SDK with a simple processor and an
exporter that throws away. ``bare`` is the graph alone, ``callback`` has a handler of the caller's that does nothing,
``turns`` is tracked without spans inside the run, ``spans`` with.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langgraph.graph import END, START, MessagesState, StateGraph
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from session_mw import configure, session_context
from session_mw.integrations.langgraph import instrument_graph
from session_mw.testing import RecordingSink

SECRET = "benchmark-only-0123456789-abcdefghijklmnopqrstuv"
ASK: Any = {"messages": []}


class Away(SpanExporter):
    """Throws spans away."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def built(nodes: int) -> Any:
    """Return a line of nodes that do nothing."""
    builder: Any = StateGraph(MessagesState)
    before = START
    for number in range(nodes):
        builder.add_node(f"n{number}", lambda state: {})
        builder.add_edge(before, f"n{number}")
        before = f"n{number}"
    builder.add_edge(before, END)
    return builder.compile()


def microseconds(work: Callable[[], Any]) -> float:
    """Return how long *work* takes."""
    began = time.process_time_ns()
    work()
    return (time.process_time_ns() - began) / 1000


def measured(nodes: int, rounds: int, way: str) -> dict[str, float]:
    """Return the median of each kind of graph, microseconds."""
    kinds: dict[str, tuple[Any, Any]] = {
        "bare": (built(nodes), None),
        "callback": (built(nodes), {"callbacks": [BaseCallbackHandler()]}),
        "turns": (instrument_graph(built(nodes), spans=False), None),
        "spans": (instrument_graph(built(nodes)), None),
    }
    took: dict[str, list[float]] = {name: [] for name in kinds}
    loop = asyncio.new_event_loop()
    for _ in range(rounds):
        for name, (graph, config) in kinds.items():
            with session_context("bench"):
                if way == "invoke":
                    took[name].append(microseconds(lambda g=graph, c=config: g.invoke(ASK, c)))
                else:
                    took[name].append(
                        microseconds(lambda g=graph, c=config: loop.run_until_complete(g.ainvoke(ASK, c)))
                    )
    loop.close()
    return {name: statistics.median(times) for name, times in took.items()}


def _run(loop: asyncio.AbstractEventLoop, way: str, graph: Any, config: Any) -> None:
    if way == "invoke":
        graph.invoke(ASK, config)
    else:
        loop.run_until_complete(graph.ainvoke(ASK, config))


def main() -> None:
    """Print a table for graphs of one node and of many: the difference is the nodes'."""
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(Away()))
    configure(secret_key=SECRET, tracer_provider=provider, event_sink=RecordingSink(), lifecycle_spans="never")
    for way in ("invoke", "ainvoke"):
        one, more = measured(1, rounds, way), measured(many, rounds, way)
        for name in one:
            node = (more[name] - one[name]) / (many - 1)
            bare = (more["bare"] - one["bare"]) / (many - 1)
            run = f"{more[name]:9.0f} us ({more[name] / more['bare']:4.2f}x)"
            print(f"{way:8} {name:9} run of {many}: {run}  node: {node:7.1f} us ({node / bare:4.2f}x)")


if __name__ == "__main__":
    main()
