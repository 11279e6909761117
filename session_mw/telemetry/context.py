"""
The session in OpenTelemetry's context.

The context variable ``current_scope`` is the source of truth. The key here carries the same scope where only
OpenTelemetry's context travels: instrumentations that start a span from an extracted context, and threads to which an
instrumentation hands the context alone.
"""

from __future__ import annotations

from contextvars import Token
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context, create_key, get_value, set_value

from .._core.scope import SessionScope, current_scope, present

SCOPE_KEY: Final = create_key("session_mw.scope")
# The key is private; a context that holds nothing but a span tells it. Using it ourselves saves two calls a span.
(SPAN_KEY,) = trace.set_span_in_context(trace.INVALID_SPAN, Context())


def scope_of(context: Context | None) -> SessionScope | None:
    """
    Return the session that *context* belongs to.

    Args:
        context: None means the current one.

    Returns:
        The scope in the context, else the one of the running request, else None.
    """
    scope = get_value(SCOPE_KEY, context)
    if not isinstance(scope, SessionScope):
        return present()
    return scope if scope.stray is None else scope.stray.undo()


def with_scope(scope: SessionScope, context: Context | None = None) -> Context:
    """
    Return *context* with the session in it.

    Args:
        scope: The session.
        context: None means the current one, which is not changed.
    """
    return set_value(SCOPE_KEY, scope, context)


class Outside:
    """
    Hides the running request's session while records about other sessions are written.

    A sweep may run inside a request (``sweep="request"``): what it reports of session B, or logs on the way, must not
    get the user of session A, whose request lent the thread.
    """

    __slots__ = ("_token",)

    _token: Token[SessionScope | None]

    def __enter__(self) -> None:
        self._token = current_scope.set(None)

    def __exit__(self, *_: object) -> None:
        current_scope.reset(self._token)
