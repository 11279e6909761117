"""
Identity on every span and log record: whoever makes it, with whatever tracer, as long as it passes these processors.

Rule 1: which session a span belongs to is asked in this order: the session in its parent context; the attributes of
its local parent (callbacks in threads that got the span but no context); the running request.
Rule 2: what a span or record was created with stays, and so does what other SDKs' helpers say (``helpers``): somebody
meant it. All that we write of session and user goes by it, so that no span says two.
Rule 3: nothing here raises. The SDK calls processors inside the application's own calls and catches nothing.

The SDK is not imported: its interfaces are met by shape, and seen by type checkers only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context, get_current

from .._core import names
from .._core.records import AttributeValue
from .._core.scope import present
from . import unclaimed
from ._library import LIBRARY_NAME
from ._sdk_spans import attributes_of, missing, restamp, stamp_span
from .context import SCOPE_KEY
from .helpers import USERS, levelled, stamp_in, with_own
from .notices import once
from .rollup import ended, opened, session_of, turn_of_parent

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import LogRecordProcessor as _LogRecordProcessor
    from opentelemetry.sdk.trace import ReadableSpan, Span
    from opentelemetry.sdk.trace import SpanProcessor as _SpanProcessor
else:
    _LogRecordProcessor = _SpanProcessor = object

logger = logging.getLogger("session_mw")

_OURS = frozenset({"session", "turn"})
_NOTHING: Mapping[str, AttributeValue] = {}
INHERITED = (
    names.SESSION_ID,
    names.USER_ID,
    names.GEN_AI_CONVERSATION_ID,
    names.CONVERSATION_ID,
    names.TURN_NUMBER,
    *names.EVERYWHERE,
    names.AGENT_SESSION_ID,
)
_inherits: tuple[str, ...] = INHERITED  # and what dialects in use stamp besides
_user_also = names.USER_ID  # or what one of these dialects calls it


def inherit_also(stamped: Iterable[str]) -> None:
    """Let spans take over these attributes of their parent too: the names of dialects that are in use."""
    global _inherits, _user_also
    _inherits = tuple(dict.fromkeys((*_inherits, *stamped)))
    _user_also = next((name for name in _inherits if name in USERS), names.USER_ID)


class SessionSpanProcessor(_SpanProcessor):
    """
    Stamps every span with the session, user, conversation and turn it belongs to, and adds up what spans say of usage.

    Inside other SDKs' context helpers (Langfuse's ``propagate_attributes``, OpenInference's ``using_session``,
    Traceloop's ``set_association_properties``, Logfire's ``set_baggage``) it stamps what these name, in every dialect;
    what is counted stays the request's.

    Tokens, cost, agent runs, tool calls and errors of a turn come from the spans of whatever instrumentation runs
    inside it; see ``rollup``. ``instrument()`` adds one to a provider; adding one by hand works as well, and adding
    two counts nothing twice.

    Attributes:
        active: False makes it do nothing: the SDK cannot remove a processor.
    """

    def __init__(self) -> None:
        self.active = True
        self._ours: object = None  # the instrumentation scope of our tracer, once it was seen

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Stamp *span*, and enter it for its turn. None for the context means the current one."""
        if not self.active:
            return
        try:
            if span.name in _OURS and self._is_ours(span):
                return  # made with their stamp, or given it at once; and never counted
            context = get_current() if parent_context is None else parent_context
            scope: Any = context.get(SCOPE_KEY)
            if scope is None:
                scope = _start_by_parent(span, context)
            elif scope.stray is not None:
                scope = scope.stray.undo()
            if scope is None:
                return
            if not (scope.quiet and scope.hidden):
                stamp_span(span, _stamp_for(span, scope, context))
            if scope.turn is not None:
                opened(span, scope.turn, scope.session_id)
            elif scope.waiting is not None:
                scope.waiting.append(span)
        except Exception as error:
            _failed("span", error)

    def _is_ours(self, span: Any) -> bool:
        library = span.instrumentation_scope
        if library is None or library is self._ours:
            return library is not None
        if library.name != LIBRARY_NAME:
            return False
        self._ours = library
        return True

    def on_end(self, span: ReadableSpan) -> None:
        """Count what *span* says into its turn."""
        try:
            if unclaimed.waiting:
                unclaimed.ended(span.context.span_id)
            own = attributes_of(span)
            if self.active and _torn(own):
                restamp(span, levelled(own, session_of(span.context.span_id), _inherits))
            ended(span, self.active)
        except Exception as error:
            _failed_to_count(error)

    def _on_ending(self, span: Span) -> None:
        """Do nothing; the SDK calls it from 1.40 on."""

    def shutdown(self) -> None:
        """Do nothing: nothing is held."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return True: nothing is held."""
        return True


class SessionLogRecordProcessor(_LogRecordProcessor):
    """
    Stamps every log record with the session, user, conversation and turn it belongs to.

    It has to come before the processors that export or queue records. ``instrument()`` sees to that. Other SDKs'
    context helpers win for what they name, as with ``SessionSpanProcessor``.

    Attributes:
        active: False makes it do nothing: the SDK cannot remove a processor.
    """

    def __init__(self) -> None:
        self.active = True

    def on_emit(self, log_record: Any) -> None:
        """Stamp *log_record*: the SDK's wrapper (``LogData`` up to 1.38) around the record of the API."""
        if not self.active:
            return
        try:
            record = log_record.log_record
            stamp = stamp_of(record.context or None)
            if stamp:
                _stamp_record(record, stamp)
        except Exception as error:
            _failed("log record", error)

    def enabled(self, **_: Any) -> bool:
        """
        Return False: this processor alone is no reason to make a record.

        The SDK (from 1.45 on) asks every processor and takes any True.
        """
        return False

    def shutdown(self) -> None:
        """Do nothing: nothing is held."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return True: nothing is held."""
        return True


def _torn(own: Mapping[str, Any]) -> bool:
    """Return whether a span may say two sessions or two users: a quick look. Conversations with ids do not pass it."""
    if own.get(names.SESSION_ID) != own.get(names.CONVERSATION_ID):
        return True
    return own.get(_user_also) != own.get(names.USER_ID)


def _start_by_parent(span: Any, context: Context) -> Any:
    """
    Stamp and enter a span that only its local parent's attributes assign to a session.

    Returns:
        The running request's scope where the parent tells nothing; None when nothing is left to do.
    """
    inherited = _inherited(trace.get_current_span(context))
    if not inherited:
        scope = present()
        if scope is None:
            unclaimed.opened(span)
        return scope
    turn = turn_of_parent(span, inherited)
    owner = None if turn is None else turn.owner
    stamp_span(span, {**inherited, **levelled(inherited, owner and owner[0], _inherits)})
    if turn is not None:
        opened(span, turn, str(inherited[names.SESSION_ID]))
    return None


def _stamp_for(span: Any, scope: Any, context: Context) -> Mapping[str, AttributeValue]:
    """Return the stamp of a span: its session's, or as a helper or its creator has it."""
    stamp = stamp_in(scope, context)
    own = attributes_of(span)
    if own and (names.SESSION_ID in own or names.USER_ID in own):
        session_id, user_id = own.get(names.SESSION_ID), own.get(names.USER_ID)
        if session_id != stamp[names.SESSION_ID] or user_id != stamp.get(names.USER_ID):
            return with_own(scope, stamp, session_id, user_id)
    return stamp


def stamp_of(parent_context: Context | None) -> Mapping[str, AttributeValue]:
    """
    Return what a span or record in this context is to be stamped with; empty outside of sessions.

    Args:
        parent_context: None means the current one.
    """
    context = get_current() if parent_context is None else parent_context
    scope: Any = context.get(SCOPE_KEY)
    if scope is None:
        inherited = _inherited(trace.get_current_span(context))
        if inherited:
            return inherited
        scope = present()
    elif scope.stray is not None:
        scope = scope.stray.undo()
    return _NOTHING if scope is None else stamp_in(scope, context)


def _inherited(parent: Any) -> Mapping[str, AttributeValue]:
    """What the parent is stamped with. Spans of other processes and unsampled ones have no attributes."""
    own = getattr(parent, "attributes", None)
    known = own.copy() if own else _NOTHING
    if names.SESSION_ID not in known:
        return _NOTHING
    return {key: known[key] for key in _inherits if key in known}


def _stamp_record(record: Any, stamp: Mapping[str, AttributeValue]) -> None:
    own = record.attributes
    if not own:
        new: Mapping[str, AttributeValue] = stamp
    else:
        new = missing(stamp, own)
    if hasattr(own, "update"):
        own.update(new)
    else:
        record.attributes = {**(own or {}), **new}


def _failed(what: str, error: Exception) -> None:
    kind = type(error).__name__
    once(f"stamp:{what}:{kind}", logger.error, "cannot stamp a %s with its session: %s: %s", what, kind, error)


def _failed_to_count(error: Exception) -> None:
    kind = type(error).__name__
    once(f"count:{kind}", logger.error, "cannot count what a span says of usage: %s: %s", kind, error)
