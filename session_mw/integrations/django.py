"""
Django: ``"session_mw.integrations.django.SessionTrackingMiddleware"`` in MIDDLEWARE, settings in ``SESSION_MW``.

    MIDDLEWARE = ["session_mw.integrations.django.SessionTrackingMiddleware", ...]
    SESSION_MW = {"secret_key": ..., "store": "sqlite:///sessions.db"}

Sync and async; streaming responses of both kinds keep their session while they stream. DjangoInstrumentor inserts
itself in front of MIDDLEWARE, so the server's span is current when ours open; without it, one is made here.

The user is taken from the request where something has resolved it already, and from the login and logout signals.
Nothing here loads a user, so no query, no ``Vary`` and no error in an async view is caused by it.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from http.cookies import SimpleCookie
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.instrumentation.wsgi import wsgi_getter
from opentelemetry.trace import SpanKind, StatusCode

from .._core import baggage
from .._core.extract import Reading
from .._core.facts import RequestFacts
from .._core.flows import Admitted
from .._core.ops import Flow
from .._core.scope import current_scope
from .._drive import run_async, run_sync
from .._engine import Engine
from .._engine.hints import installed_twice
from .._engine.parts import drain_at_exit
from .._engine.visit import Visit
from ..asgi import facts as asgi_facts
from ..context import Session, marks
from ..exceptions import MissingDependency
from ..settings import SessionSettings
from ..telemetry.content import listens, preview, reads_response
from ..wsgi.facts import FactsReader
from ..wsgi.listening import tap

try:
    from asgiref.sync import iscoroutinefunction, markcoroutinefunction
    from django.conf import settings as django_settings
    from django.contrib.auth.signals import user_logged_in, user_logged_out
    from django.core.signals import request_finished
    from django.urls import Resolver404, resolve
except ImportError as error:
    raise MissingDependency("session_mw.integrations.django", "django", "django") from error

KEY = "session_mw"
ERROR_KEY = "session_mw.error"


class SessionTrackingMiddleware:
    """
    Track the sessions of a Django project.

    Args:
        get_response: The rest of the project.
        settings: None reads Django's ``SESSION_MW``.
        wiring: ``tracer_provider``, ``meter_provider``, ``logger_provider``, ``clock``, for subclasses and tests.

    Raises:
        SettingsError: A setting is missing, unknown or contradicts another.
    """

    sync_capable = True
    async_capable = True

    def __init__(
        self, get_response: Callable[[Any], Any], settings: SessionSettings | None = None, **wiring: Any
    ) -> None:
        self.get_response = get_response
        checked = settings or SessionSettings.from_django(django_settings)
        self.engine = Engine(
            checked, endpoint=_mark, params=lambda facts: getattr(_resolved(facts), "kwargs", {}), **wiring
        )
        self._served = Listening if listens(self.engine.policy.rules) else Served
        self._facts = FactsReader(checked.token_header, checked.conversation_header)
        scopes = asgi_facts.FactsReader(checked.token_header, checked.conversation_header)
        self.engine.serves(wsgi=self._facts.read, asgi=scopes.read)
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
        user_logged_in.connect(_logged_in, dispatch_uid="session_mw")
        user_logged_out.connect(_logged_out, dispatch_uid="session_mw")
        if self.engine.background.stepwise:
            self._finished = lambda **_: self.engine.background.pass_by()  # kept here: the signal holds it weakly
            request_finished.connect(self._finished)
        drain_at_exit(self.engine)

    def __call__(self, request: Any) -> Any:
        """Serve one request; a coroutine in an async project."""
        visit = self._visit(request)
        if self._is_async:
            return self._serve_async(request, visit)
        return self._serve(request, visit)

    def _visit(self, request: Any) -> Visit | None:
        """Return what the request presents, None when it is not for us."""
        if KEY in request.META:
            installed_twice()
            return None
        facts = self._facts.read(request.META)
        facts.path, facts.scheme = request.path, request.scheme or "http"
        if not self.engine.wants(facts):
            if facts.baggage:
                _put_baggage(request, baggage.split(facts.baggage)[1])
            return None
        visit = self.engine.visit(facts)
        if visit.found.stripped:
            _put_baggage(request, visit.found.baggage)
        request.META[KEY] = visit
        return visit

    def _serve(self, request: Any, visit: Visit | None) -> Any:
        if visit is None:
            return self.get_response(request)
        admitted = run_sync(self.engine.opening(visit), self.engine.store)
        served = self._served(self.engine, request, visit, admitted)
        try:
            with served:
                response = self.get_response(request)
                served.answer(response)
        except BaseException as error:
            served.leave(error)
            raise
        if not served.streams:
            served.leave()
        return response

    async def _serve_async(self, request: Any, visit: Visit | None) -> Any:
        if visit is None:
            return await self.get_response(request)
        admitted = await run_async(self.engine.opening(visit), self.engine.async_store)
        served = self._served(self.engine, request, visit, admitted)
        try:
            with served:
                response = await self.get_response(request)
                served.answer(response)
        except BaseException as error:
            await served.leave_async(error)
            raise
        if not served.streams:
            await served.leave_async()
        return response

    def process_exception(self, request: Any, exception: Exception) -> None:
        """Note what a view raised, for the turn's span; Django answers it."""
        if KEY in request.META:
            request.META[ERROR_KEY] = exception


class Served:
    """
    One request being served: identity and spans around the rest of the project, as a context manager.

    Args:
        engine: Whose it is.
        request: Django's.
        visit: What it presented.
        admitted: Its admission.

    Attributes:
        streams: The body comes later, and closes the turn itself.
    """

    def __init__(self, engine: Engine, request: Any, visit: Visit, admitted: Admitted) -> None:
        self._engine = engine
        self._request = request
        self._visit = visit
        self._admitted = admitted
        self._status: int | None = None
        self._server_span: Any = None
        self.streams = False

    def __enter__(self) -> Served:
        """Open the session's context and spans in the current task or thread."""
        scope = self._engine.enter(self._visit, self._admitted)
        self._scope_token = current_scope.set(scope)
        parent = self._own_server_span()
        context = self._engine.open_spans(self._visit, self._admitted, parent)
        self._context = context
        self._token = None if context is None else otel_context.attach(context)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the context as it was."""
        if self._token is not None:
            otel_context.detach(self._token)
        current_scope.reset(self._scope_token)

    def _own_server_span(self) -> Any:
        """Make the server's span if nobody else does and it is wanted."""
        engine = self._engine
        tracer, mode = engine.spans.tracer(), engine.settings.server_span
        if tracer is None or mode == "never":
            return None
        if mode == "auto" and trace.get_current_span().get_span_context().is_valid:
            return None
        request = self._request
        parent = propagate.extract(request.META, getter=wsgi_getter)
        attributes = {"http.request.method": request.method, "url.path": request.path, "url.scheme": request.scheme}
        self._server_span = tracer.start_span(request.method, parent, SpanKind.SERVER, attributes)
        return trace.set_span_in_context(self._server_span, parent)

    def answer(self, response: Any) -> None:
        """Put our headers on the response, and the session around a body that streams."""
        self._status = response.status_code
        self._engine.meet(self._visit.scope, resolved_user(self._request))
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.items()]
        for name, value in self._engine.reply(self._visit, raw):
            if (name, value) not in raw:
                _put_header(response, name.decode("latin-1").title(), value.decode("latin-1"))
        if getattr(response, "streaming", False):
            self._stream(response)
        else:
            self._chunk(response.content)

    def _stream(self, response: Any) -> None:
        """Wrap the body. Django closes a response in any case, also one whose body nobody ever asked for."""
        self.streams = True
        preview(self._visit.scope)  # DjangoInstrumentor ends its span before a body that streams
        if getattr(response, "file_to_stream", None) is None:  # a server sends files better than a generator
            body, source = response.streaming_content, response._iterator
            private = contextvars.copy_context()
            wrapped = self._async_body(body, source) if response.is_async else self._body(body, private)
            response._resource_closers[:] = [partial(private.run, close) for close in response._resource_closers]
            response.streaming_content = wrapped
        response._resource_closers.append(self.leave)

    def _chunk(self, chunk: Any) -> Any:
        turn = self._visit.scope.turn
        if turn is not None and not turn.first_chunk_ns and chunk:
            turn.first_chunk_ns = time.perf_counter_ns()
        return chunk

    def _body(self, chunks: Any, private: contextvars.Context) -> Iterator[bytes]:
        """Yield the body, each chunk made inside a private context: no token is held across a yield."""
        iterator = iter(chunks)
        error: BaseException | None = None
        try:
            while True:
                try:
                    chunk = private.run(next, iterator)
                except StopIteration:
                    break
                yield self._chunk(chunk)
        except BaseException as raised:
            error = raised
            raise
        finally:
            self.leave(error)

    async def _async_body(self, chunks: Any, source: Any) -> AsyncIterator[bytes]:
        """Yield an async body; its context is entered anew for each chunk, and to close it."""
        iterator = chunks.__aiter__()
        error: BaseException | None = None
        try:
            while True:
                try:
                    chunk = await self._inside(iterator.__anext__)
                except StopAsyncIteration:
                    break
                yield self._chunk(chunk)
        except BaseException as raised:
            error = raised
            raise
        finally:
            if hasattr(source, "aclose"):
                await self._inside(source.aclose)
            await self.leave_async(error)

    async def _inside(self, step: Callable[[], Awaitable[Any]]) -> Any:
        token = current_scope.set(self._visit.scope)
        attached = None if self._context is None else otel_context.attach(self._context)
        try:
            return await step()
        finally:
            if attached is not None:
                self._context = otel_context.get_current()  # a chunk may have begun a span that the next one is part of
                otel_context.detach(attached)
            current_scope.reset(token)

    def leave(self, error: BaseException | None = None) -> None:
        """Close the turn, once; later calls write what came late."""
        flow = self._close(error)
        if flow is not None:
            self._engine.guarded(flow)

    async def leave_async(self, error: BaseException | None = None) -> None:
        """Close the turn, once, without blocking the event loop."""
        flow = self._close(error)
        if flow is not None:
            await self._engine.guarded_async(flow)

    def _close(self, error: BaseException | None) -> Flow[bool] | None:
        if error is None and (self._status or 0) >= 500:
            # What a view raised and Django answered otherwise (Http404, PermissionDenied) is no failure.
            error = self._request.META.get(ERROR_KEY)
        flow = self._engine.leave(self._visit, error, self._status)
        if self._server_span is not None:
            self._end_server_span()
        return flow

    def _end_server_span(self) -> None:
        span, self._server_span = self._server_span, None
        match = getattr(self._request, "resolver_match", None)
        if match is not None:
            route = match.route or "/"
            span.update_name(f"{self._request.method} {route}")
            span.set_attribute("http.route", route)
        if self._status is not None:
            span.set_attribute("http.response.status_code", self._status)
            if self._status >= 500:
                span.set_attribute("error.type", str(self._status))
                span.set_status(StatusCode.ERROR)
        span.end()


class Listening(Served):
    """A request whose bodies are listened to, for ``input_text`` and ``output_text``."""

    _reading: Reading | None = None

    def __enter__(self) -> Served:
        """Listen to the request's body."""
        super().__enter__()
        if (turn := self._visit.scope.turn) is not None:
            tap(self._request, turn, self._engine.policy.rules)
        return self

    def answer(self, response: Any) -> None:
        """Begin to read the response."""
        if (turn := self._visit.scope.turn) is not None:
            given = response.get("Content-Type", ""), response.get("Content-Encoding", "")
            self._reading = reads_response(turn, self._engine.policy.rules, *given)
        super().answer(response)

    def _chunk(self, chunk: Any) -> Any:
        if self._reading is not None:
            self._reading.feed(chunk)
        return super()._chunk(chunk)


def _put_baggage(request: Any, foreign: str | None) -> None:
    """Leave foreign baggage only in the request, for whatever reads it inside."""
    if foreign is None:
        request.META.pop("HTTP_BAGGAGE", None)
    else:
        request.META["HTTP_BAGGAGE"] = foreign
    if hasattr(request, "scope"):
        request.scope = asgi_facts.without_ours(request.scope, foreign)


def _put_header(response: Any, name: str, value: str) -> None:
    """Set a header; a cookie goes into the response's own jar, where Django's cache middleware and test client look."""
    cookies: SimpleCookie = SimpleCookie(value if name == "Set-Cookie" else None)
    if cookies:
        response.cookies.update(cookies)
    else:  # before Python 3.14 the jar knows no Partitioned
        response[name] = value


def resolved_user(request: Any) -> object:
    """Return the id of the user that something has resolved for *request* already; never loads one."""
    user = getattr(request, "_cached_user", None) or getattr(request, "_acached_user", None)
    return user.pk if user is not None and user.is_authenticated else None


def _mark(facts: RequestFacts) -> bool | None:
    """Return the ``@turn_endpoint`` mark of the view that will handle the request."""
    found = _resolved(facts) if marks.in_use else None
    return None if found is None else marks.mark_of(found.func)


def _resolved(facts: RequestFacts) -> Any:
    try:
        return resolve(facts.raw.get("PATH_INFO") or "/")
    except Resolver404:
        return None


def _logged_in(sender: Any, request: Any, user: Any, **extra: Any) -> None:
    scope = current_scope.get()
    if scope is not None:
        scope.extra.meet(scope, user.pk)


def _logged_out(sender: Any, request: Any, user: Any, **extra: Any) -> None:
    scope = current_scope.get()
    if scope is not None and not scope.remote:
        Session(scope).end("user_exit")
