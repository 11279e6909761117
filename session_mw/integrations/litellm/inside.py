"""Between the middleware and LiteLLM: headers as LiteLLM understands them, and calls as ``calls`` has them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from ..._core import names
from ..._core.scope import SessionScope
from ..._engine.visit import Visit
from ...asgi import SessionTrackingMiddleware
from ...asgi.types import KEY, ASGIApp, Receive, Scope, Send
from .agents import LITELLM
from .calls import Call, Refusals, current_call
from .held import Held

logger = logging.getLogger("session_mw")

TRACE: Final = b"x-litellm-trace-id"
MAX_TRACE_ID: Final = 200  # characters, as of a session's
_SESSION: Final = LITELLM.encode()
_SOURCES: Final = {"environment": "env"}  # as the lines were that people look for


class Inside:
    """
    LiteLLM's application, with what it has to know of the session.

    Args:
        app: LiteLLM's application.
        token_header: Stops here.
        adopt: Called for each request: sees to it that LiteLLM's loggers say sessions.
        count_for_others: Also count what sessions use that another service owns.

    Attributes:
        middleware: Around it.
        held: Turns whose usage is still to be told.
        refused: How many model calls of sessions LiteLLM has refused, by status.
    """

    middleware: SessionTrackingMiddleware

    def __init__(self, app: ASGIApp, token_header: str, adopt: Callable[[], None], count_for_others: bool) -> None:
        self.app = app
        self._adopt = adopt
        self._token = token_header.lower().encode("latin-1")
        self._counts = count_for_others
        self.held = Held()
        self.refused = Refusals()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, with or without a session."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        self._adopt()
        headers = [(name, value) for name, value in scope["headers"] if name != self._token]
        if KEY not in scope:
            await self.app({**scope, "headers": headers}, receive, send)
            return
        visit: Visit = scope[KEY][0]
        call = Call(self, visit, _trace_id(headers))
        headers = [(name, value) for name, value in headers if name not in (_SESSION, TRACE)]
        headers.append((_SESSION, visit.scope.session_id.encode("latin-1", "replace")))
        _tell(visit)
        if visit.scope.waiting is None:
            self.note(visit)
        token = current_call.set(call)
        try:
            await self.app({**scope, "headers": headers}, receive, call.watched(send))
        finally:
            current_call.reset(token)

    def note(self, visit: Visit) -> None:
        """Note what a request says of its session, where the session does not know it, and who counts its usage."""
        session = visit.scope
        said = visit.found.said or {}
        if names.AGENT_SESSION_ID not in said and names.AGENT_SESSION_ID in session.attributes:
            del session.attributes[names.AGENT_SESSION_ID]
            session.restamp()  # of an earlier request's client
        session.change({name: value for name, value in said.items() if session.attributes.get(name) != value})
        self._counted(session)

    def _counted(self, session: SessionScope) -> None:
        if session.remote and not self._counts:
            session.turn = None
        elif not session.remote and session.turn is not None:
            self.held.keep(session)


def _tell(visit: Visit) -> None:
    """Log what LiteLLM and its spans are told."""
    if not logger.isEnabledFor(logging.DEBUG):
        return
    source = _SOURCES.get(visit.found.source or "", visit.found.source)
    logger.debug("[LOGGING] Injected session_id from %s: %s", source, visit.scope.session_id)
    for name in (names.SESSION_TYPE, names.SESSION_PROMPT_VERSION, names.SESSION_NAME):
        value = (visit.found.said or {}).get(name, visit.scope.attributes.get(name))
        if value is not None:
            logger.debug("[LOGGING] Injected session_%s from %s: %s", name.removeprefix("session."), source, value)


def _trace_id(headers: list[tuple[bytes, bytes]]) -> str | None:
    """Return what a client calls its trace, where it is something to be written down."""
    text = next((value.decode("latin-1").strip() for name, value in headers if name == TRACE), "")
    return text if text and len(text) <= MAX_TRACE_ID and text.isascii() and text.isprintable() else None
