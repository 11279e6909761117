"""The ASGI middleware: finds out what a connection is, and hands it on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, overload

from opentelemetry import context as otel_context
from opentelemetry import trace

from .._core import baggage
from .._core.facts import RequestFacts
from .._core.flows import Admitted
from .._core.ops import Flow
from .._core.scope import current_scope
from .._drive import run_async, run_sync
from .._engine import Engine
from .._engine.early import read_early
from .._engine.hints import installed_twice
from .._engine.parts import drain_at_exit
from ..settings import SessionSettings
from ..telemetry.early import sampler_expected
from ..telemetry.spans import fail_first
from .endpoints import endpoint_mark, path_params
from .facts import FactsReader, without_ours
from .http import Responder
from .lifespan import Lifespan
from .listening import listening
from .server_span import ServerSpan, continued
from .types import KEY, ASGIApp, Receive, Scope, Send
from .user import user_in
from .websocket import Connection


class SessionTrackingMiddleware:
    """
    Track sessions of an ASGI application.

    Args:
        app: The application. With FastAPI and Starlette use ``app.add_middleware(SessionTrackingMiddleware)``.
        settings: None reads ``SESSION_MW_*`` from the environment and ``.env``.
        tracer_provider: OpenTelemetry; None takes the global one, whenever it is set.
        meter_provider: The same for metrics.
        logger_provider: The same for logs and events.
        clock: Wall clock in milliseconds since the epoch, for tests.
        endpoint: Finds the ``@turn_endpoint`` mark of a request's handler; integrations give it.
        named: Names the session of a request that presents none, or lets it pass without; integrations give it.
        overrides: Settings by name.

    Raises:
        SettingsError: A setting is missing, unknown or contradicts another.
    """

    # Starlette types its factories as taking the application by position, beside any keywords; Litestar names it.
    @overload
    def __init__(self, app: ASGIApp, /, settings: SessionSettings | None = None, **options: Any) -> None: ...

    @overload
    def __init__(self, *, app: ASGIApp, settings: SessionSettings | None = None, **options: Any) -> None: ...

    def __init__(  # type: ignore[misc]  # a keyword `app` is the application, no setting
        self,
        app: ASGIApp,
        settings: SessionSettings | None = None,
        *,
        tracer_provider: Any = None,
        meter_provider: Any = None,
        logger_provider: Any = None,
        clock: Callable[[], int] | None = None,
        endpoint: Callable[[Any], bool | None] | None = None,
        named: Callable[[Any, Any], None] | None = None,
        **overrides: Any,
    ) -> None:
        self.app = app
        self.engine = Engine(
            settings,
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
            logger_provider=logger_provider,
            clock=clock,
            endpoint=endpoint or endpoint_mark,
            params=partial(path_params, app),
            named=named,
            overrides=overrides,
        )
        self.listened = listening(app, self.engine.policy.rules)
        names = self.engine.settings
        self._facts = FactsReader(names.token_header, names.conversation_header)
        self.engine.serves(asgi=self._facts.read)
        self._server = ServerSpan(self._inside, self.engine, tracer_provider)
        drain_at_exit(self.engine)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        kind = scope["type"]
        if kind != "http" and kind != "websocket":
            if kind == "lifespan":
                lifespan = Lifespan(self.engine, receive, send)
                receive, send = lifespan.receive, lifespan.send
            await self.app(scope, receive, send)
            return
        if KEY in scope:
            installed_twice()
            await self.app(scope, receive, send)
            return
        facts = (read_early(scope) if sampler_expected() else None) or self._facts.read(scope)
        if not self.engine.wants(facts):
            if facts.baggage:
                scope = without_ours(scope, baggage.split(facts.baggage)[1])
            await self.app(scope, receive, send)
            return
        engine = self.engine
        visit = engine.visit(facts)
        if visit.found.passes:
            await self.app(without_ours(scope, visit.found.baggage) if visit.found.stripped else scope, receive, send)
            return
        if kind == "websocket" and engine.settings.websocket_turns == "connection":
            visit.turn = visit.found.remote is None
        user = engine.hash_user(user_in(scope)) if "user" in scope else None
        if engine.never_blocks:
            admitted = engine.admit_at_once(visit, user)
        else:
            admitted = await run_async(engine.opening(visit, user), engine.async_store)
        session = engine.enter(visit, admitted)
        inner = without_ours(scope, visit.found.baggage) if visit.found.stripped else dict(scope)
        ours = self._server.wanted()
        # Starlette's applications put themselves into the scope: where one is there, we are inside it.
        inner[KEY] = (visit, admitted, ours, ours and "app" not in scope)
        token = current_scope.set(session)
        try:
            if ours:
                await self._server.app(inner, receive, send)
            else:
                await self._inside(inner, receive, send)
        finally:
            current_scope.reset(token)

    async def _inside(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve inside the server span, be it ours or another's."""
        visit, admitted, ours, outermost = scope[KEY]
        context = self.engine.open_spans(visit, admitted)
        token = None if context is None else otel_context.attach(context)
        if outermost and context is not None:
            scope["headers"] = continued(scope["headers"], context)
        engine = self.engine
        try:
            if visit.facts.kind == "websocket":
                await Connection(self, visit, receive, send).serve(scope)
                if engine.background.stepwise:
                    await engine.background.pass_by_in_thread()
                return
            responder = Responder(self, visit, scope, send)
            try:
                await self.listened(scope, receive, responder.send)
            except BaseException as error:
                await self.finish(engine.leave(visit, error, responder.status))
                raise
            flow = engine.leave(visit, None, responder.status, cut=not responder.done)
            if flow is not None:
                await self.finish(flow)
            if engine.background.stepwise:
                await engine.background.pass_by_in_thread()
        except Exception as error:
            if ours and token is not None:
                fail_first(trace.get_current_span(token.old_value), error, engine.policy.rules.hide)
            raise
        finally:
            if token is not None:
                otel_context.detach(token)

    def read(self, scope: Scope) -> RequestFacts:
        """Return the facts of a connection, as the middleware reads them."""
        return self._facts.read(scope)

    async def drive(self, flow: Flow[Admitted]) -> Admitted:
        """Drive *flow*: straight through when the store never blocks."""
        if self.engine.never_blocks:
            return run_sync(flow, self.engine.store)
        return await run_async(flow, self.engine.async_store)

    async def finish(self, flow: Flow[bool] | None) -> None:
        """Drive what has to be written before the last byte."""
        if flow is None:
            return
        await self.engine.guarded_async(flow)
