"""
Child spans, as an application's instrumentations make them: plain, stamped by our processor, stamped by hand.

Each has three attributes when it starts, as a span for a model call has, inside the context of a turn.
"""

from __future__ import annotations

import time
from typing import Any

from opentelemetry.context import attach, detach
from opentelemetry.trace import Tracer

from session_mw import SessionSpanProcessor
from session_mw._core.rules import SpanRules
from session_mw._core.scope import SessionScope, current_scope
from session_mw._core.turn_state import TurnState
from session_mw.telemetry.context import with_scope

from .case import Case, CaseError
from .telemetry import Recorder

OWN = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "local", "gen_ai.request.model": "local-1"}
USED = {**OWN, "gen_ai.response.model": "local-1", "gen_ai.usage.input_tokens": 812, "gen_ai.usage.output_tokens": 64}
PLAIN = "child span, plain"
PLAIN_CALL = "child span, model call, plain"


def turn_scope() -> SessionScope:
    """Return a session in its seventh turn."""
    scope = SessionScope("Zk3vQ1mT8yYAq5JtW0bXc7LdRfGhNpSe", 1_761_999_022_000, "u_0f4a5b6c7d8e9f00112233445566778a")
    scope.attributes = {"session.type": "chat"}
    scope.turn = TurnState(lambda: "9c1f0e2d3b4a5968", 7, 0)
    scope.turn.rules = SpanRules(price=lambda model, provider, usage: 0.001)
    scope.restamp()
    return scope


class Children:
    """
    Makes child spans.

    Args:
        recorder: Where they go.
        by_hand: Set the turn's attributes on each, as somebody without a processor would.
        used: Each reports tokens, which are counted and priced.
    """

    def __init__(self, recorder: Recorder, by_hand: bool, used: bool) -> None:
        self._tracer: Tracer = recorder.provider.get_tracer("llm")
        self._scope = turn_scope()
        self._stamp = dict(self._scope.stamp) if by_hand else None
        self._own: dict[str, Any] = USED if used else OWN

    def run(self, count: int) -> int:
        """Make *count* of them; return the CPU nanoseconds that took."""
        token, variable = attach(with_scope(self._scope)), current_scope.set(self._scope)
        tracer, stamp, own = self._tracer, self._stamp, self._own
        self._scope.turn = turn_scope().turn  # a turn has some calls, not a benchmark's
        try:
            began = time.process_time_ns()
            for _ in range(count):
                span = tracer.start_span("chat local-1", attributes=own)
                if stamp is not None:
                    span.set_attributes(stamp)
                span.end()
            return time.process_time_ns() - began
        finally:
            current_scope.reset(variable)
            detach(token)

    def missing(self) -> set[str]:
        """Return what a span of this kind does not carry of the turn's stamp."""
        token, variable = attach(with_scope(self._scope)), current_scope.set(self._scope)
        try:
            span: Any = self._tracer.start_span("chat local-1", attributes=OWN)
            if self._stamp is not None:
                span.set_attributes(self._stamp)
            span.end()
            return set(self._scope.stamp) - set(span.attributes)
        finally:
            current_scope.reset(variable)
            detach(token)


def child_case(name: str, *, processor: bool = False, by_hand: bool = False, used: bool = False) -> Case:
    """Return child spans as a case; with neither processor nor stamp by hand they are plain."""
    recorder = Recorder()
    if processor:
        recorder.provider.add_span_processor(SessionSpanProcessor())
    children = Children(recorder, by_hand, used)
    stamped = processor or by_hand
    case = Case(
        name, children.run, base=(PLAIN_CALL if used else PLAIN) if stamped else None, spans=1, recorder=recorder
    )

    def check() -> None:
        case.ran += 1
        if bool(children.missing()) == stamped:
            raise CaseError(f"{name}: stamped is {not stamped}, should be {stamped}")

    case.check, case.settle, case.close = check, recorder.settle, recorder.close
    return case
