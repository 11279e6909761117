"""A turn, spans inside it, and somebody who takes what comes after it."""

from __future__ import annotations

from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import StatusCode, set_span_in_context

from session_mw._core.rules import SpanRules
from session_mw._core.turn_state import TurnState
from session_mw.telemetry.context import with_scope
from tests.telemetry.support import make_scope, stamped_spans

CHAT = {"gen_ai.operation.name": "chat"}
FREE = SpanRules(price=lambda model, provider, usage: None)


def used(into: int | None, out: int | None, **more: Any) -> dict[str, Any]:
    """Return a model call's attributes."""
    tokens = {"gen_ai.usage.input_tokens": into, "gen_ai.usage.output_tokens": out}
    return {**CHAT, **{key: value for key, value in tokens.items() if value is not None}, **more}


class Taker:
    """Stands where the engine does: takes what comes after a turn."""

    def __init__(self) -> None:
        self.taken: list[Any] = []

    def late_usage(self, session_id: str, generation: int, late: Any) -> None:
        self.taken.append((session_id, generation, late))


class Inside:
    """A turn, and a tracer inside it: one of its own, or another turn's."""

    def __init__(self, rules: SpanRules = FREE, beside: Inside | None = None) -> None:
        self.spans = stamped_spans() if beside is None else beside.spans
        self.tracer = self.spans.tracer
        self.scope = make_scope()
        assert self.scope.turn is not None
        self.turn: TurnState = self.scope.turn
        self.taker = Taker()
        self.turn.owner = ("s-1", 1, self.taker)
        self.turn.rules = rules
        self.context = with_scope(self.scope, Context())

    def start(self, parent: Any = None, name: str = "span", **attributes: Any) -> Any:
        """Start a span in *parent*, at the top of the turn without one."""
        context = self.context if parent is None else set_span_in_context(parent, self.context)
        return self.tracer.start_span(
            name, context, attributes={k.replace("__", "."): v for k, v in attributes.items()}
        )

    def call(self, parent: Any = None, attributes: dict[str, Any] | None = None, failed: bool = False) -> Any:
        """Start a span in *parent*, and end it."""
        span = self.start(parent)
        span.set_attributes(attributes or {})
        if failed:
            span.set_status(StatusCode.ERROR)
        span.end()
        return span

    def agent(self, parent: Any, name: str) -> Any:
        """Start an agent run."""
        return self.start(parent, f"invoke_agent {name}", gen_ai__operation__name="invoke_agent")

    def tool(self, parent: Any, name: str) -> Any:
        """Start a tool call."""
        return self.start(parent, f"execute_tool {name}", gen_ai__operation__name="execute_tool")
