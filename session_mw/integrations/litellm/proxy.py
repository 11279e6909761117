"""
The ASGI wrapper around LiteLLM's proxy: the middleware as it is, with what a proxy needs on either side of it.

Rule 1: nothing here makes spans: LiteLLM's own carry the session. A request that names none passes as it came.
Rule 2: the session token stops here. LiteLLM writes every ``X-`` header it sees onto its spans.
Rule 3: what a session of another service uses is that service's to count (its instrumentation saw the same answer),
        unless ``count_for_others``. All others are counted here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any, Final

from opentelemetry.trace import NoOpTracerProvider

from ..._core import baggage
from ..._core.admission import admit
from ...asgi import SessionTrackingMiddleware
from ...asgi.facts import without_ours
from ...asgi.types import ASGIApp, Receive, Scope, Send
from ...settings import SessionSettings
from .echo import PATH, Echo
from .inside import Inside
from .naming import Namer

logger = logging.getLogger("session_mw")

# Where models are called, by the dialects that LiteLLM speaks; behind any root path.
MODEL_PATHS: Final = tuple(
    f"*/{end}"
    for end in (
        "chat/completions",
        "completions",
        "messages",
        "responses",
        "responses/compact",
        "embeddings",
        "moderations",
        "rerank",
        "ocr",
        "interactions",
        "images/generations",
        "images/edits",
        "videos",
        "audio/speech",
        "audio/transcriptions",
        "models/*:generateContent",
        "models/*:streamGenerateContent",
        "model/*/converse",  # Bedrock's, handed on as it is
        "model/*/converse-stream",
        "model/*/invoke",
        "model/*/invoke-with-response-stream",
    )
)
LOOPBACK: Final = ("127.0.0.0/8", "::1/128")


class Proxy:
    """
    LiteLLM's proxy with sessions.

    Args:
        app: LiteLLM's application.
        settings: None reads ``SESSION_MW_*``; without a secret there, the one of this machine is taken, and its own
            addresses are trusted.
        adopt: Called for each request: sees to it that LiteLLM's loggers say sessions.
        state: What ``session-mw doctor`` is told of LiteLLM.
        count_for_others: Also count what sessions use that another service owns (Rule 3).
        clock: Wall clock in milliseconds since the epoch, for tests.
        overrides: Settings by name.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: SessionSettings | None = None,
        *,
        adopt: Callable[[], None] = lambda: None,
        state: Callable[[], dict[str, Any]] = dict,
        count_for_others: bool = False,
        clock: Callable[[], int] | None = None,
        **overrides: Any,
    ) -> None:
        chosen = _for_a_proxy(settings, overrides)
        self._inside = Inside(app, chosen.token_header, adopt, count_for_others)
        self._held = self._inside.held
        self.middleware = self._inside.middleware = SessionTrackingMiddleware(
            self._inside, chosen, named=self._named, tracer_provider=NoOpTracerProvider(), clock=clock
        )
        engine = self.middleware.engine
        engine.expects_sdk = False
        self._namer = Namer(engine.policy, chosen.secret_bytes(), os.environ)
        self._echo = Echo(engine, self._namer, self.middleware, self._state)
        self._of_litellm = state
        _log_as_litellm_does()
        adopt()

    def _named(self, facts: Any, found: Any) -> None:
        self._namer(facts, found)

    def _state(self) -> dict[str, Any]:
        return {**self._of_litellm(), "refused": dict(self._inside.refused)}

    def flush(self) -> None:
        """Hand on turns that wait, where no lifespan tells that the server stops."""
        self._held.flush()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            scope = self._token_first(scope)
            if scope["path"].endswith(PATH):
                await self._echo(scope, receive, send)
                return
        if scope["type"] == "lifespan":
            receive = self._held.flushed_at_shutdown(receive)
        await self.middleware(scope, receive, send)

    def _token_first(self, scope: Scope) -> Scope:
        """
        Return *scope* without our entries in its baggage, where a token that holds came beside them.

        The launcher sends both: who answers for its session by a token lets the proxy count (Rule 3).
        """
        facts = self.middleware.read(scope)
        if not facts.tokens or not facts.baggage:
            return scope
        ours, foreign, _ = baggage.split(facts.baggage)
        facts.baggage = ()
        engine = self.middleware.engine
        if not ours or admit(facts, engine.policy, engine.clock()).claim is None:
            return scope
        return without_ours(scope, foreign)


def _log_as_litellm_does() -> None:
    """Show what is injected where LiteLLM shows its own debug lines."""
    if os.environ.get("LITELLM_LOG", "").upper() == "DEBUG":
        logger.setLevel(logging.DEBUG)
        if not logger.hasHandlers():
            logger.addHandler(logging.StreamHandler())


def _for_a_proxy(settings: SessionSettings | None, overrides: dict[str, Any]) -> SessionSettings:
    """Return settings with a proxy's defaults where nobody chose."""
    if settings is None:
        settings = _from_environment(overrides)
    elif overrides:
        settings = settings.replace(**overrides)
    chosen = settings.model_fields_set
    changes: dict[str, Any] = {}
    if "issue" not in chosen:
        changes["issue"] = "header"
    if chosen.isdisjoint(("turn_paths", "turn_methods", "turn_when")):
        changes |= {"turn_paths": MODEL_PATHS, "turn_methods": ("POST",)}
    return settings.replace(**changes) if changes else settings


def _from_environment(overrides: dict[str, Any]) -> SessionSettings:
    if "secret_key" in overrides or "SESSION_MW_SECRET_KEY" in os.environ:
        return SessionSettings(**overrides)
    given = {"trusted_peers": LOOPBACK, **overrides} if "SESSION_MW_TRUSTED_PEERS" not in os.environ else overrides
    return SessionSettings.insecure_dev(**given)
