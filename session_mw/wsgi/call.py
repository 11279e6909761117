"""
One WSGI request: its private context, its start of response, its body.

Servers may pull the body from another thread, close it half-way, or close it without ever pulling a chunk (HEAD): each
way ends the turn and every span exactly once.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context

from .._core.flows import Admitted
from .._core.scope import SessionScope, current_scope
from .._engine.visit import Visit
from ..telemetry.content import settle
from ..telemetry.spans import fail_first
from .types import Environ, StartResponse

if TYPE_CHECKING:
    from .middleware import SessionTrackingMiddleware


def settle_now(scope: SessionScope) -> None:
    """Show what was said in the turn while the server's span is open: it ends with the body, before the turn does."""
    turn = scope.turn
    if turn is not None and turn.heard is not None:
        settle(scope, turn)


def _forget(error: BaseException) -> None:
    """Do nothing, in place of a method of a request that is over: no cycle holds it for the garbage collector."""


class Inner:
    """
    The application's body, each chunk made with the turn's span current, or with what the chunk before left current.

    Around it, the server span's middleware makes its own span current for each chunk, and an instrumentation of the
    framework may have detached everything at the end of the view.
    """

    __slots__ = ("_body", "_chunks", "_context", "_failed", "_scope")

    def __init__(
        self, body: Any, context: Context, scope: SessionScope, failed: Callable[[BaseException], None]
    ) -> None:
        self._body = body
        self._failed = failed
        self._chunks: Iterator[bytes] | None = None
        self._context = context
        self._scope = scope

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._chunks is None:
            self._chunks = iter(self._body)
        # Most often the context is current already: the request's own, which nobody has left.
        there = otel_context.get_current() is self._context
        token = None if there else otel_context.attach(self._context)
        try:
            return next(self._chunks)
        except StopIteration:
            settle_now(self._scope)
            self._failed = _forget
            raise
        except BaseException as error:
            self._failed(error)
            raise
        finally:
            self._context = otel_context.get_current()
            if token is not None:
                otel_context.detach(token)

    def close(self) -> None:
        """Close the application's body."""
        settle_now(self._scope)
        self._failed = _forget
        if not hasattr(self._body, "close"):
            return
        token = otel_context.attach(self._context)
        try:
            self._body.close()
        finally:
            otel_context.detach(token)


class Call:
    """
    One request and its response body, iterated by the server.

    Attributes:
        visit: The request as the engine knows it.
        admitted: Its admission.
        status: Status code, None before ``start_response``.
    """

    # Defaults stand on the class: most requests change few of these.
    status: int | None = None
    _body: Any = None
    _chunks: Iterator[bytes] | None = None
    _sized = False
    _ahead: bytes | None = None
    _failure: Exception | None = None
    _inner: Any = None
    _own_server_span = False
    _server_span: Any = None
    _opened = False
    _done = False
    _closed = False

    def __init__(self, middleware: SessionTrackingMiddleware, visit: Visit, admitted: Admitted) -> None:
        self._middleware = middleware
        self._engine = middleware.engine
        self.visit = visit
        self.admitted = admitted
        self._context = contextvars.copy_context()

    def run(self, environ: Environ, start_response: StartResponse) -> Call:
        """Call the application inside the private context."""
        try:
            self._body = self._context.run(self._serve, environ, start_response)
        except BaseException as error:
            self._leave(error)
            raise
        return self

    def _serve(self, environ: Environ, start_response: StartResponse) -> Any:
        current_scope.set(self.visit.scope)
        server = self._middleware.server
        if server.wanted(environ) and not self._middleware.opens_late(environ):
            self._own_server_span = True
            return server.app(environ, start_response)
        return self.inside(environ, start_response)

    def inside(self, environ: Environ, start_response: StartResponse) -> Any:
        """Call the application inside the server span, be it ours or another's."""
        if self._own_server_span:
            self._server_span = trace.get_current_span()
        if not self._middleware.opens_late(environ):
            self.open_spans()
        self._start_response = start_response
        try:
            self._inner = self._middleware.listened(environ, self.start_response)
        except BaseException as error:
            self.failed(error)
            raise
        if self.visit.context is None:
            return self._inner
        return Inner(self._inner, self.visit.context, self.visit.scope, self.failed)

    def failed(self, error: BaseException) -> None:
        """Settle what was said, and see to it that a server span of ours repeats no address that stands in an error."""
        settle_now(self.visit.scope)
        if self._server_span is not None and isinstance(error, Exception):
            fail_first(self._server_span, error, self._engine.policy.rules.hide)

    def open_spans(self) -> None:
        """Open session and turn span in the current context. Nothing is detached: the context is private."""
        if self._opened:
            return
        self._opened = True
        context = self._engine.open_spans(self.visit, self.admitted)
        if context is not None:
            otel_context.attach(context)

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        """Start the response, our headers among its own."""
        self.status = int(status.split(" ", 1)[0])
        self._middleware.meet(self.visit.scope)
        sized = False
        for name, _ in headers:
            if len(name) == 14 and name.lower() == "content-length":
                sized = True
        self._sized = sized
        if self._engine.replies(self.visit):
            raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
            headers = _restored(headers, self._engine.reply(self.visit, raw))
        return self._start_response(status, headers, exc_info) if exc_info else self._start_response(status, headers)

    def __iter__(self) -> Iterator[bytes]:
        """Return the body."""
        return self

    def __next__(self) -> bytes:
        """
        Return the next chunk.

        Where the application ended the session or changed it, that is written before the client has the last byte: its
        next request must find it. A client that knows the length has it with the last chunk, so one chunk is held
        back; any other waits for the server to say that it was the last.
        """
        if self._failure is not None:
            raise self._failure
        chunk = self._pull() if self._ahead is None else self._ahead
        self._ahead = None
        turn = self.visit.scope.turn
        if turn is not None and not turn.first_chunk_ns and chunk:
            turn.first_chunk_ns = time.perf_counter_ns()
        if self._sized and not self._done and self._engine.has_news(self.visit):
            self._look_ahead()
        return chunk

    def _look_ahead(self) -> None:
        """Have the next chunk made; should that fail, the one before still goes out first."""
        try:
            self._ahead = self._pull()
        except StopIteration:
            pass
        except Exception as error:
            self._failure = error

    def _pull(self) -> bytes:
        """Have the next chunk made, inside the context; whatever ends the body ends the turn."""
        try:
            return self._context.run(self._next)
        except StopIteration:
            self._done = True
            self._leave(None)
            raise
        except BaseException as error:
            self._leave(error)
            raise

    def _next(self) -> bytes:
        if self._chunks is None:
            self._chunks = iter(self._body)
        return next(self._chunks)

    def close(self) -> None:
        """Close the body, and whatever is still open."""
        if self._closed:
            return
        self._closed = True
        try:
            self._context.run(self._close)
        except BaseException as error:
            self._leave(error)
            raise
        self._leave(None if self._done or self._chunks is None else GeneratorExit())
        if self._engine.background.stepwise:  # only here has the client all of the response
            self._engine.background.pass_by()

    def _close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            if self._chunks is None and self._server_span is not None:
                # A generator that never began does nothing when it is closed: do its work.
                if hasattr(self._inner, "close"):
                    self._inner.close()
                self._leave(None)
                self._server_span.end()

    def _leave(self, error: BaseException | None) -> None:
        flow = self._engine.leave(self.visit, error, self.status)
        if flow is not None:
            self._engine.guarded(flow)


def _restored(headers: list[tuple[str, str]], amended: Any) -> list[tuple[str, str]]:
    """Return *amended* as text, names as the application spelled them."""
    spelled = {name.lower(): name for name, _ in headers}
    texts = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in amended)
    return [(spelled.get(name, name.title()), value) for name, value in texts]
