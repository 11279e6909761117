"""
One step inside a turn, as a span: what every kind of step has in common.

Steps need no session and no SDK: without a session their span is stamped with nothing, without an SDK there is none.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.trace import Span, SpanKind, set_span_in_context

from .._core import names
from .._core.privacy import Hider, hide_all, suspicious
from .._core.records import AttributeValue
from .._core.rules import DEFAULT_RULES, SpanRules
from .._core.scope import SessionScope
from .._core.turn_state import TurnState
from .._engine.visit import error_of
from ..context.values import cleaned, cleaned_all
from ..telemetry._library import LIBRARY_NAME, SCHEMA_URL, library_version
from ..telemetry.content import allowed
from ..telemetry.context import SCOPE_KEY
from ..telemetry.helpers import stamp_in
from ..telemetry.spans import drop, fail
from .block import Block, Placed, check_unopened
from .hosts import engine_of, known_engine
from .runs import here

H = TypeVar("H", bound="Step")


class Step:
    """
    A step that runs: what ``with ... as step`` gives.

    Attributes:
        span: OpenTelemetry's span of the step; one that records nothing where there is no SDK.
    """

    def __init__(self, span: Span, scope: SessionScope | None) -> None:
        self.span = span
        self._scope = scope
        self._turn: TurnState | None = None if scope is None else scope.turn

    def set(self, **attributes: AttributeValue) -> None:
        """Set attributes on the step's span, under the names that are given."""
        self.span.set_attributes(cleaned_all(attributes, self.hide))

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Set attributes with dotted names on the step's span."""
        self.span.set_attributes(cleaned_all(attributes, self.hide))

    @property
    def hide(self) -> Hider:
        """Takes personal data out of text."""
        return hider_of(self._scope)

    @property
    def rules(self) -> SpanRules:
        """What may be kept of content."""
        return DEFAULT_RULES if self._scope is None else self._scope.rules

    def content(self, name: str, value: Any, kind: str = "text") -> None:
        """Keep *value*, which is of *kind*, under *name*, where content is captured at all."""
        if self.rules.capture and self.span.is_recording() and value is not None:
            text = allowed(self.rules, kind, text_of(value))
            if text is not None:
                self.span.set_attribute(name, text)

    def started(self) -> None:
        """Do what there is to do at the beginning."""

    def ended(self) -> None:
        """Do what there is to do at the end."""


def text_of(value: Any) -> str:
    """Return *value* as text: what is no text as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


class StepBlock(Block[H], Generic[H]):
    """
    A block that is one span.

    Args:
        name: Of the span. Addresses in it and in the attributes become pseudonyms when it is entered: a decorator is
            made before anybody knows with which key.
        attributes: What it is made with, so that samplers see it; None is left out.
        kind: CLIENT for calls that leave the process.
        handle: Makes what the ``with`` statement gives.
        openinference: The span's kind in that dialect.
    """

    def __init__(
        self,
        name: str,
        attributes: Mapping[str, AttributeValue | None],
        handle: Callable[[Span, SessionScope | None], H],
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        openinference: str = "CHAIN",
    ) -> None:
        self._personal = suspicious("\n".join((name, *map(str, attributes), *map(str, attributes.values()))))
        self._name = name if self._personal else str(cleaned(name, None))
        self._attributes = dict(attributes) if self._personal else cleaned_all(attributes, None)
        self._handle = handle
        self._kind = kind
        self._openinference = openinference
        self._open: list[tuple[H, Placed]] = []
        self._arguments: Callable[[], dict[str, Any]] | None = None

    def fresh(self, arguments: Callable[[], dict[str, Any]] | None = None) -> StepBlock[H]:
        """Return an unopened block of the same kind."""
        block = copy.copy(self)
        block._open, block._arguments = [], arguments
        return block

    def enter(self) -> H:
        """Open the span, and make it current."""
        check_unopened(self, self._open)
        scope = here()
        step = self.begin(scope)
        self._open.append((step, Placed(scope, context_inside(step))))
        if self._arguments is not None and step.rules.capture:
            self.asked(step, self._arguments())
        return step

    def begin(self, scope: SessionScope | None, parent: Context | None = None) -> H:
        """
        Begin the step, and leave what is current as it is: for callbacks. ``finish`` ends it.

        Args:
            scope: Whose step it is.
            parent: Of the span; None takes the current context.
        """
        name, attributes = self._made_with(scope)
        span = tracer(scope).start_span(name, parent, self._kind, attributes)
        step = self._handle(span, scope)
        if scope is not None and span.is_recording():
            scope.spans.append(span)
        step.started()
        return step

    def _made_with(self, scope: SessionScope | None) -> tuple[str, dict[str, Any]]:
        name, attributes = self._name, self._attributes
        if self._personal:
            hide = hider_of(scope)
            name, attributes = str(cleaned(name, hide)), cleaned_all(attributes, hide)
        if scope is None:
            return name, {names.OPENINFERENCE_KIND: self._openinference, **attributes}
        kind = {names.OPENINFERENCE_KIND: self._openinference} if "openinference" in scope.rules.dialects else {}
        stamp = scope.span_stamp if scope.hidden else stamp_in(scope, get_current())
        return name, {**stamp, **kind, **attributes}

    def leave(self, error: BaseException | None) -> None:
        """End the span, as failed if something was raised inside."""
        step, placed = self._open.pop()
        placed.leave()
        finish(step, error)

    def asked(self, step: H, arguments: dict[str, Any]) -> None:
        """Learn what the decorated function is called with; asked only where content is captured."""

    @property
    def step(self) -> H:
        """The step that runs."""
        return self._open[-1][0]


def context_inside(step: Step, parent: Context | None = None) -> Context:
    """Return a context in which the span of *step* is current; *parent* is what it adds to, None the current one."""
    context = get_current() if parent is None else parent
    if step._scope is not None:
        context = Context({**context, SCOPE_KEY: step._scope})
    return set_span_in_context(step.span, context)


def finish(step: Step, error: BaseException | None) -> None:
    """End a step, as failed if *error* was raised inside."""
    failed = error_of(error, None)
    if failed is not None:
        step.span.set_attribute("error.type", failed)
        fail(step.span, failed, error, step.hide)
    step.ended()
    if step._scope is not None:
        drop(step._scope.spans, step.span)
    step.span.end()


def hider_of(scope: SessionScope | None) -> Hider:
    """Return what takes personal data out of text, with the keys of *scope*'s engine or of this process's."""
    if scope is not None:
        return scope.rules.hide
    engine = known_engine()
    return hide_all if engine is None else engine.policy.rules.hide


def tracer(scope: SessionScope | None) -> trace.Tracer:
    """Return the tracer of *scope*'s engine, of this process's, or the global one."""
    engine = known_engine() if scope is None else engine_of(scope)
    live = None if engine is None else engine.spans.tracer()
    return live or trace.get_tracer(LIBRARY_NAME, library_version(), schema_url=SCHEMA_URL)
