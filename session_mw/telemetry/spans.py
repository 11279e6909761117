"""
The spans of a request: a ``session`` span and, inside it, the ``turn`` span; and identity on the server's span.

One trace holds one turn: back ends take a trace for a turn, and one session a trace. Attributes are given when a span
is created, so that samplers and other processors see them. Without an SDK nothing is made.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NoOpTracerProvider,
    ProxyTracerProvider,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
)

from .._core import names
from .._core.dialects import Dressing
from .._core.events import iso
from .._core.privacy import Hider, suspicious
from .._core.records import AttributeValue
from .._core.scope import SessionScope, is_root
from .._core.turn_state import TurnState
from ._library import LIBRARY_NAME, SCHEMA_URL, library_version
from ._providers import global_tracer_provider
from ._samplers import drops_whole_traces, goes_by_session, samples_unseen
from ._sdk_spans import keep, processors_of, put, stamp_span, start_unseen
from ._traces import UNSAMPLED as UNSAMPLED
from ._traces import written
from .context import SCOPE_KEY, SPAN_KEY, with_scope
from .early import LINK_KEY
from .notices import text_of
from .processors import SessionSpanProcessor
from .rollup import remember

SHOWN_ON_SESSION = (
    names.SESSION_CHANNEL,
    names.SESSION_CLIENT_VERSION,
    names.SESSION_LOCALE,
    names.USER_TIER,
    names.USER_ORG_ID,
)
KEPT = (names.LAST_TRACE, names.LAST_INTENT, names.LAST_ACTION, names.STAGE_ENTERED)  # shown nowhere
USUAL = frozenset({*SHOWN_ON_SESSION, *names.EVERYWHERE, *KEPT})
METADATA_PREFIX = names.METADATA + "."
NOTHING: Mapping[str, AttributeValue] = {}
iso_of_start = lru_cache(maxsize=4096)(iso)  # a session's turns say the same start
OUTSIDE = Context()  # no session, no parent: a trace begins here


class SpanMaker:
    """
    Opens and ends session and turn spans with one tracer provider.

    Args:
        tracer_provider: None takes the global one, whenever it is set.
        session_span: ``request`` (one each), ``first`` (only with a session's first turn), ``off``.
        dialects: Back-end dialects to write besides the conventions.

    Attributes:
        live: The tracer of the provider seen last, None while that is none of an SDK.
        by_session: Its sampler keeps or drops sessions as a whole.
    """

    def __init__(
        self, tracer_provider: Any = None, session_span: str = "request", dialects: frozenset[str] = frozenset()
    ) -> None:
        self._given = tracer_provider
        self._provider: Any = None
        self.live: Tracer | None = None
        self._whole_traces = self.by_session = self._samples_unseen = False
        self._unseen: tuple[object, bool] = (None, False)  # processors, and whether a start means nothing to them
        self._session_span = session_span
        self._every_request = session_span == "request"
        dressing = Dressing(dialects)
        self._on_session: dict[str, AttributeValue] = dict(dressing.own)
        self._on_turn: dict[str, AttributeValue] = {**dressing.own, **dressing.turn}
        # Metadata stands on the session's span; back ends with names of their own look for it on the trace's root.
        self._on_root = any(name != "openinference" for name in dialects)

    @property
    def provider(self) -> Any:
        """The tracer provider in use now."""
        return self._given if self._given is not None else global_tracer_provider()

    def refresh(self) -> Any:
        """Return the provider in use now, its tracer in ``live``. For each request: set-up may come late."""
        provider = self._given
        if provider is None:
            provider = global_tracer_provider()
        if provider is not self._provider:
            real = not isinstance(provider, (ProxyTracerProvider, NoOpTracerProvider))
            self.live = provider.get_tracer(LIBRARY_NAME, library_version(), SCHEMA_URL) if real else None
            sampler = getattr(provider, "sampler", None)
            self._whole_traces, self.by_session = drops_whole_traces(sampler), goes_by_session(sampler)
            self._samples_unseen, self._unseen = samples_unseen(sampler), (None, False)
            self._provider = provider  # last: until then, a request in another thread does the same
        return provider

    def _starts_unseen(self) -> bool:
        """
        Return whether nobody looks at a span's attributes while it is started: no sampler, no processor.

        Then they are written right after, at a tenth of the price: see ``_sdk_spans``.
        """
        if not self._samples_unseen:
            return False
        known, unseen = self._unseen
        processors = processors_of(self._provider)
        if processors is not known:
            unseen = start_unseen(processors, SessionSpanProcessor)
            self._unseen = (processors, unseen)
        return unseen

    def tracer(self) -> Tracer | None:
        """Return the tracer, or None while no SDK is configured."""
        self.refresh()
        return self.live

    def open(
        self, scope: SessionScope, parent: Context | None = None, links: list[Link] | None = None
    ) -> Context | None:
        """
        Open the spans of a request.

        Args:
            scope: The request's session; its turn span, if it has a turn, is kept in it.
            parent: Context to open them in; None takes the current one.
            links: Of the session's span, where it begins a trace of its own.

        Returns:
            The context for the application, None without an SDK.
        """
        tracer = self.live
        if tracer is None:
            return None
        outer = otel_context.get_current() if parent is None else parent
        server: Any = outer.get(SPAN_KEY)
        if LINK_KEY in outer:
            outer, links = linked(outer, server, links)
        if scope.quiet:
            return with_scope(scope, outer)
        if server is not None and server.is_recording():
            put(server, scope.stamp)
            scope.spans.append(server)
            if self._on_root:
                server.set_attributes(scope.rules.dressing.metadata(scope.attributes, is_root(server)))
        turn = scope.turn
        if not (self._every_request or self._opens_now(turn)):
            context = Context({**outer, SCOPE_KEY: scope})
            return context if turn is None else self.open_turn(scope, turn, context, links)
        # The stamp is there from the beginning, for samplers; what else there is to say is worked out for spans that
        # somebody records.
        unseen = self._starts_unseen()
        span = tracer.start_span("session", outer, SpanKind.INTERNAL, None if unseen else scope.stamp, links)
        recording = span.is_recording()
        context = Context({**outer, SCOPE_KEY: scope, SPAN_KEY: span})
        if self._whole_traces and not recording:
            # The turn's span would be dropped like the session's: see drops_whole_traces.
            if turn is not None:
                turn.dropped = True
            return context
        if recording:
            self._show_session(scope, span, scope.stamp if unseen else NOTHING)
        scope.spans.append(span)
        scope.session_span = span
        return context if turn is None else self._open_turn(scope, turn, context, None, unseen)

    def mark(self, scope: SessionScope, parent: Context | None = None) -> Context | None:
        """Put a session that another service owns on the server's span, and open none: it is that service's turn."""
        if self.live is None:
            return None
        server = trace.get_current_span(parent)
        outer, _ = linked(otel_context.get_current() if parent is None else parent, server, None)
        if scope.quiet:
            return with_scope(scope, outer)
        if server.is_recording():
            server.set_attributes(scope.stamp)
            scope.spans.append(server)
        return otel_context.set_value(SCOPE_KEY, scope, outer)

    def _opens_now(self, turn: TurnState | None) -> bool:
        return self._session_span == "first" and turn is not None and turn.number == 1

    def _show_session(self, scope: SessionScope, span: Span, stamp: Mapping[str, AttributeValue]) -> None:
        """Set what the ``session`` span says besides the stamp, and *stamp* where it was not created with it."""
        shown = {**stamp, **self._on_session, names.SESSION_START_TIME: iso_of_start(scope.started_ms)}
        if scope.user_id is not None:
            shown[names.USER_HASH] = scope.user_id
        if scope.previous_id is not None:
            shown[names.SESSION_PREVIOUS_ID] = scope.previous_id
        if scope.recovered:
            shown[names.SESSION_RECOVERED] = True
        known = scope.attributes
        for name in SHOWN_ON_SESSION:
            if name in known:
                shown[name] = known[name]
        if known.keys() <= USUAL:
            put(span, shown)
            return
        shown |= {name: value for name, value in known.items() if name.startswith(METADATA_PREFIX)}
        span.set_attributes({**shown, **scope.rules.dressing.metadata(known, is_root(span))})

    def open_turn(
        self, scope: SessionScope, turn: TurnState, context: Context, links: list[Link] | None = None
    ) -> Context:
        """Open the span of *turn* in *context*, and return the context for what happens inside it."""
        return self._open_turn(scope, turn, context, links, self._starts_unseen())

    def _open_turn(
        self, scope: SessionScope, turn: TurnState, context: Context, links: list[Link] | None, unseen: bool
    ) -> Context:
        tracer = self.live
        assert tracer is not None
        span = tracer.start_span("turn", context, SpanKind.INTERNAL, None if unseen else scope.stamp, links)
        if unseen and span.is_recording():
            stamp_span(span, scope.stamp)
        turn.span, turn.rules = span, scope.rules
        remember(turn, span)
        scope.spans.append(span)
        if self._on_root and is_root(span):
            span.set_attributes(scope.rules.dressing.metadata(scope.attributes, True))
        return Context({**context, SPAN_KEY: span})

    def _turn_facts(self, scope: SessionScope, turn: TurnState) -> dict[str, AttributeValue]:
        """Return what a turn's span says besides the stamp, known from its begin."""
        shown: dict[str, AttributeValue] = {
            **self._on_turn,
            names.TURN_ID: turn.id,
            names.TURN_ROLE: "user",
            names.CONVERSATION_SESSION_ID: scope.session_id,
        }
        number = turn.conversation_turn or (turn.number if scope.conversation_id is None else None)
        if number is not None:
            shown[names.CONVERSATION_TURN_NUMBER] = number
            shown[names.CONVERSATION_TOTAL_TURNS] = number
        return shown

    def end_turn(self, scope: SessionScope, turn: TurnState, latency_ms: int, error: BaseException | None) -> None:
        """End the span of *turn*: latency, what the application said, and how it went."""
        span = turn.span
        if span is None:
            return
        if span.is_recording():
            keep(span, scope.stamp)
            shown = self._turn_facts(scope, turn)
            said = turn.attributes
            if said:
                shown.update(said)
            add_results(shown, turn, latency_ms)
            if said:  # the application's values: the SDK looks at them
                span.set_attributes(shown)
            else:
                put(span, shown)
            if turn.error is not None:
                fail(span, turn.error, error, scope.rules.hide)
        span.end()
        drop(scope.spans, span)

    def end_session(self, scope: SessionScope, error: str | None) -> None:
        """End the ``session`` span of the request. The server's own is not ours to end, but written to no more."""
        span = scope.session_span
        for open_span in scope.spans:
            if open_span is span or getattr(open_span, "kind", None) is SpanKind.SERVER:
                keep(open_span, scope.stamp)
        scope.spans.clear()
        if span is None:
            return
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end()
        scope.session_span = None


def linked(outer: Context, server: Any, links: list[Link] | None) -> tuple[Context, list[Link] | None]:
    """
    Link a request's trace to that of a client who is not continued: the server's span, or else our own.

    Args:
        outer: Context that the request came in, which may hold the link.
        server: Span in it, if there is one.
        links: For our own span.

    Returns:
        The context without the link, and the links of our own span.
    """
    link: Any = outer.get(LINK_KEY)
    if link is None:
        return outer, links
    if server is not None and server.is_recording() and is_root(server):
        server.add_link(link.context)
    else:
        links = [*(links or ()), link]
    return Context({**outer, LINK_KEY: None}), links


def add_results(shown: dict[str, AttributeValue], turn: TurnState, latency_ms: int) -> None:
    """Add the attributes known only at a turn's end."""
    shown[names.TURN_LATENCY_MS] = latency_ms
    if turn.first_chunk_ns:
        shown[names.TURN_TIME_TO_FIRST_CHUNK_MS] = (turn.first_chunk_ns - turn.started_ns) // 1_000_000
    if turn.error is not None:
        shown["error.type"] = turn.error


def trace_of(turn: TurnState | None) -> str:
    """Return ``<trace id>-<span id>-<flags>`` of a turn's span; empty when it has none."""
    if turn is None or turn.span is None:
        return UNSAMPLED if turn is not None and turn.dropped else ""
    context = turn.span.get_span_context()
    if not context.is_valid:
        return ""
    if not context.trace_flags & 1:
        return UNSAMPLED  # one text for all: nothing can be linked to, so nothing has to be written down again
    return written(context)


def fail(span: Span, error_type: str, error: BaseException | None, hide: Callable[[str], str]) -> None:
    """
    Mark *span* as failed, and say by what.

    Args:
        span: Of a turn or step.
        error_type: Name of the error, or a status code.
        error: None when nothing was raised.
        hide: Takes personal data out of the messages: errors repeat what they were given.

    Source:
        OpenTelemetry, semantic conventions for exceptions on spans.
    """
    if not span.is_recording():
        return
    said = error_type
    if error is not None:
        kind, message = type(error), hide(text_of(error))
        module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
        shown = {
            "exception.type": module + kind.__qualname__,
            "exception.message": message,
            "exception.stacktrace": hide(_stack_of(error)),
            "exception.escaped": "False",
        }
        span.add_event("exception", shown)
        said = f"{error_type}: {message}"[:500]
    span.set_status(Status(StatusCode.ERROR, said))


def _stack_of(error: BaseException) -> str:
    """Return the stack trace; formatting runs code of whoever wrote the error, and the parser, which may both fail."""
    try:
        return "".join(traceback.format_exception(error))
    except Exception as failure:
        return f"<no stack trace: {type(failure).__name__}>"


def fail_first(span: Any, error: Exception, hide: Hider) -> None:
    """
    Mark a span as failed before the one who made it does, where that would write down what is personal.

    OpenTelemetry's server middleware records the error that passes through it, message and stack trace, on the span
    that we had it make. There is no setting for it: so it is recorded here, and what comes after changes nothing.

    Args:
        span: That the middleware made for us.
        error: On its way through.
        hide: Takes personal data out of the messages.
    """
    if span.is_recording() and suspicious(_stack_of(error)):
        fail(span, type(error).__name__, error, hide)
        span.record_exception = span.set_status = _nothing


def _nothing(*_: object, **__: object) -> None:
    """Do nothing."""


def drop(spans: list[Any], span: Span) -> None:
    """Take *span* out of the open ones. In place and in one step: other threads open and end theirs meanwhile."""
    try:
        spans.remove(span)
    except ValueError:
        pass
