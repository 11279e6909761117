"""
Beside every other instrumentation of LangChain, whichever was there first: nothing is made twice, nothing is counted
twice, and what they make carries the session. What nobody makes, ours does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from session_mw import session_context
from session_mw.integrations.langgraph import instrument_graph
from session_mw.integrations.langgraph.others import SpanMaker, makes_spans
from session_mw.integrations.langgraph.spans import Spans
from tests.hierarchy.support import Script

from .graphs import ASK, agent, thread

OURS = "session_mw"
TURNS, SESSIONS = 4, ("one-graph", "every-graph")

# What each makes of one turn of the agent, besides ours: model calls and tools. What it is that they call an agent run
# is theirs to say; None is not asked.
PACKAGES = {
    "nothing": "langgraph",
    "openinference": "openinference.instrumentation.langchain",
    "traceloop": "opentelemetry.instrumentation.langchain",
    "langfuse": "langfuse",
    "langsmith": "langsmith",
    "mlflow": "mlflow",
}
# MLflow keeps its spans to itself unless it is told to share the provider, and then nobody else makes any here.
MAKES_NONE_HERE = ("nothing", "mlflow")
# OpenLLMetry makes a span around the whole graph: installed after ``instrument()`` it stands above the turn.
OUTSIDE = {"LangGraph.workflow"}
LATE = ("langsmith",)  # it makes its spans when it sends them, which is after the turn


def _missing(name: str) -> bool:
    try:
        return find_spec(PACKAGES[name]) is None
    except ModuleNotFoundError:
        return True


def _case(name: str, order: str) -> Any:
    soon = (name, order) == ("openinference", "first")
    return pytest.param(name, order, id=f"{name} {order}", marks=pytest.mark.landing if soon else pytest.mark.slow)


def outcome(name: str, order: str) -> Any:
    if _missing(name):
        pytest.skip(f"{PACKAGES[name]} is not installed")
    command = [sys.executable, "-m", "tests.integrations.langgraph.others_worker", name, order]
    env = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, env=env, cwd=Path(__file__).parents[3])

    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("name", "order"), [_case(name, order) for name in PACKAGES for order in ("first", "last")])
def test_beside(name: str, order: str) -> None:
    """Four turns in two sessions: each model call and tool once, on whose span it may be, and every token once."""
    found = outcome(name, order)
    spans, ends = found["spans"], found["ends"]
    mine = Counter(span["name"].split()[0] for span in spans if span["scope"] == OURS)
    theirs = [span for span in spans if span["scope"] != OURS]

    if name in MAKES_NONE_HERE:
        assert {"turn": 4, "session": 2, "invoke_agent": 8, "chat": 8, "execute_tool": 4} == mine
        assert [] == theirs
    else:
        assert {"turn": 4, "session": 2} == mine
        assert 4 == sum("search" in span["name"] for span in theirs)
    assert {*SESSIONS} == {span["attributes"].get("session.id") for span in spans}
    for session in SESSIONS:
        assert (2, 0, 440) == tuple(
            ends[session][f"session.{one}"] for one in ("total_turns", "failed_turns", "total_tokens")
        )
    if name not in LATE:
        turns = [span["attributes"] for span in spans if span["name"] == "turn"]
        assert [1] * TURNS == [turn["turn.tool_calls"] for turn in turns]
        apart = {s["name"] for s in theirs if s["attributes"].get("gen_ai.conversation.id") != "thread-1"}
        assert (OUTSIDE if (name, order) == ("traceloop", "last") else set()) == apart


class Telling(BaseCallbackHandler):
    """A handler that makes spans, as many do: it holds a tracer."""

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer


def test_any_handler_with_a_tracer_of_ours(script: Script) -> None:
    """Whoever holds a tracer of the provider makes the spans; one of another provider does so elsewhere."""
    elsewhere = TracerProvider(shutdown_on_exit=False).get_tracer("theirs")
    graph = instrument_graph(agent())
    for tracer, ours in ((script.tracer, 0), (elsewhere, 2)):
        script.exporter.clear()
        with session_context("s-1"):
            graph.invoke(ASK, thread("t", callbacks=[Telling(tracer)]))

        assert ours == len(script.named("invoke_agent planner"))


def test_handlers_that_make_none() -> None:
    """A handler that only listens changes nothing, and what it is made of breaks nothing."""

    class Odd(BaseCallbackHandler):
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    assert [False, False, True] == [makes_spans(one) for one in (BaseCallbackHandler(), Odd())] + [
        isinstance(Spans(), SpanMaker)
    ]


@pytest.mark.landing  # its import takes a second
def test_langfuse_with_a_provider_of_its_own(script: Script) -> None:
    """A client that keeps its spans apart sends them elsewhere: here ours are made."""
    langfuse = pytest.importorskip("langfuse")
    from langfuse.langchain import CallbackHandler

    for number, provider in enumerate((script.provider, TracerProvider(shutdown_on_exit=False))):
        key = f"pk-lf-{number}"
        client = langfuse.Langfuse(
            public_key=key, secret_key="sk", tracer_provider=provider, span_exporter=InMemorySpanExporter()
        )
        with session_context("s-1"):  # the session's engine is what ours is compared with
            assert (number == 0) is makes_spans(CallbackHandler(public_key=key))
        assert client is not None


def test_langsmith_only_where_it_makes_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """LangSmith's own tracing is none of OpenTelemetry's, unless it is told to be."""
    utils = pytest.importorskip("langsmith.utils")
    from langchain_core.tracers.langchain import LangChainTracer
    from langsmith import Client

    tracer = LangChainTracer(client=Client(api_key="x", api_url="http://127.0.0.1:9", auto_batch_tracing=False))
    for value, expected in (("false", False), ("true", True)):
        monkeypatch.setenv("LANGSMITH_OTEL_ENABLED", value)
        utils.get_env_var.cache_clear()
        assert expected is makes_spans(tracer)
    monkeypatch.delenv("LANGSMITH_OTEL_ENABLED")
    utils.get_env_var.cache_clear()
