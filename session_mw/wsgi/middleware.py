"""The WSGI middleware: finds out what a request is, and hands it on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .._core import baggage
from .._core.scope import SessionScope
from .._drive import run_sync
from .._engine import Engine
from .._engine.early import read_early
from .._engine.hints import installed_twice
from .._engine.parts import drain_at_exit
from ..settings import SessionSettings
from ..telemetry.early import sampler_expected
from .call import Call
from .facts import FactsReader, routing_args, without_ours
from .listening import listening
from .server_span import ServerSpan
from .types import KEY, Environ, StartResponse, WSGIApp


class SessionTrackingMiddleware:
    """
    Track sessions of a WSGI application.

    Args:
        app: The application. With Flask use ``session_mw.integrations.flask``.
        settings: None reads ``SESSION_MW_*`` from the environment and ``.env``.
        tracer_provider: OpenTelemetry; None takes the global one, whenever it is set.
        meter_provider: The same for metrics.
        logger_provider: The same for logs and events.
        clock: Wall clock in milliseconds since the epoch, for tests.
        endpoint: Finds the ``@turn_endpoint`` mark of a request's handler; integrations give it.
        params: Finds the parameters of a request's path; integrations give it.
        overrides: Settings by name.

    Raises:
        SettingsError: A setting is missing, unknown or contradicts another.
    """

    def __init__(
        self,
        app: WSGIApp,
        settings: SessionSettings | None = None,
        *,
        tracer_provider: Any = None,
        meter_provider: Any = None,
        logger_provider: Any = None,
        clock: Callable[[], int] | None = None,
        endpoint: Callable[[Any], bool | None] | None = None,
        params: Callable[[Any], Mapping[str, Any]] | None = None,
        **overrides: Any,
    ) -> None:
        self.app = app
        self.engine = Engine(
            settings,
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
            logger_provider=logger_provider,
            clock=clock,
            endpoint=endpoint,
            params=params or routing_args,
            overrides=overrides,
        )
        self.listened = listening(app, self.engine.policy.rules)
        names = self.engine.settings
        self._facts = FactsReader(names.token_header, names.conversation_header)
        self.engine.serves(wsgi=self._facts.read)
        self.server = ServerSpan(self.engine)
        drain_at_exit(self.engine)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        if KEY in environ:
            installed_twice()
            return self.app(environ, start_response)
        facts = (read_early(environ) if sampler_expected() else None) or self._facts.read(environ)
        if not self.engine.wants(facts):
            if facts.baggage:
                environ = without_ours(environ, baggage.split(facts.baggage)[1])
            return self.app(environ, start_response)
        visit = self.engine.visit(facts)
        user = self.engine.hash_user(environ["REMOTE_USER"]) if "REMOTE_USER" in environ else None
        if self.engine.never_blocks:
            admitted = self.engine.admit_at_once(visit, user)
        else:
            admitted = run_sync(self.engine.opening(visit, user), self.engine.store)
        self.engine.enter(visit, admitted)
        inner = without_ours(environ, visit.found.baggage) if visit.found.stripped else dict(environ)
        call = inner[KEY] = Call(self, visit, admitted)
        return call.run(inner, start_response)

    def opens_late(self, environ: Environ) -> bool:
        """Return whether the framework's own hook opens the spans, because its server span starts later still."""
        return False

    def meet(self, scope: SessionScope) -> None:
        """Take the user that the framework resolved meanwhile; integrations know where to look."""
