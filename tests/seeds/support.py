"""What the samples of the seeds take for granted: an agent, a model with prices, and eyes on what came out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from session_mw import agent_run, llm_call, observe, tool_call
from tests.hierarchy.support import Script

Sample = Mapping[str, Any]


class Stopwatch:
    """The monotonic clock, turned by hand: what turns are measured by."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now_ns = 1
        patch.setattr("time.perf_counter_ns", lambda: self.now_ns)

    def advance(self, ms: int) -> None:
        self.now_ns += ms * 1_000_000


class Agent:
    """An agent that asks its model, uses a tool and asks again; it counts nothing itself."""

    def __init__(self, tools: Iterable[str] = ("search",), tokens: tuple[int, int] = (100, 20)) -> None:
        self.tools = list(tools)
        self.tokens = tokens

    def process(self, message: str) -> str:
        with agent_run("helper"):
            self.ask(message)
            for name in self.tools:
                with tool_call(name) as call:
                    call.result("found")
            return self.ask("found")

    def ask(self, message: str) -> str:
        with llm_call("local-small-1", provider="local") as call:
            call.usage(input_tokens=self.tokens[0], output_tokens=self.tokens[1], cost_usd=0.001)
            call.messages(input=message, output=f"an answer to {message}")
        return f"an answer to {message}"


def set_by_hand(script: Script, sample: Sample) -> dict[str, Any]:
    """Set what a seed sets, as it does; return what stands on the span."""
    from opentelemetry.trace import get_current_span

    @observe(name="by hand")
    def instrumented() -> None:
        span = get_current_span()
        for name, value in sample.items():
            span.set_attribute(name, value)

    instrumented()
    shown = script.shown("by hand")
    return {name: shown.get(name) for name in sample}


def like(sample: Sample, shown: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return what is shown under a sample's names.

    Every one of them has to be there, and to be of the sample's type.
    """
    expected = {name: type(value).__name__ for name, value in sample.items()}
    assert expected == {name: type(shown[name]).__name__ if name in shown else "absent" for name in sample}
    return {name: shown[name] for name in sample}


def everything(script: Script) -> str:
    """Return all that left the process or was written down: spans, events, history, live records."""
    spans = [json.loads(span.to_json()) for span in script.spans]
    events = [(event.event_name, dict(event.attributes)) for event in script.sink.records]
    sessions = {event.key[0] for event in script.sink.records}
    history = [[script.engine.history.session(id), script.engine.history.turns(id)] for id in sorted(sessions)]
    live = [script.engine.store.read(id) for id in sorted(sessions)]
    return repr((spans, events, history, live))
