"""
A model call on its way through the proxy: a turn, once LiteLLM has let it in.

Rule 1: what LiteLLM refuses is no turn: a missing or wrong key (401), a route or model that a key may not use (403), a
        budget or a rate that is used up (429), a body that it does not take (400). It begins no session, extends none,
        and no token goes out with it. LiteLLM's own span says that it failed, and of which session it said to be.
Rule 2: a call is let in when LiteLLM runs its hooks before it, ours as the last of them (``loggers``), or else when a
        response begins that is no error. What fails from then on is a turn that failed.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from ..._core import names
from ..._core.scope import SessionScope
from ..._core.turn_state import TurnState
from ..._engine.visit import Visit
from ..._engine.waiting import began, late_turn
from ...asgi.types import Message, Send

if TYPE_CHECKING:
    from .inside import Inside

logger = logging.getLogger("session_mw")

ERRORS: Final = (b"event: error", b'data: {"error"')  # how LiteLLM ends a stream, Anthropic's and OpenAI's


class Call:
    """
    One model call that belongs to a session.

    Args:
        inside: Of the proxy.
        visit: The request, as the middleware knows it.
        trace_id: The client's own ``X-LiteLLM-Trace-Id``, None when it sent none.

    Attributes:
        answering: Whether a response that is no error has begun.
    """

    def __init__(self, inside: Inside, visit: Visit, trace_id: str | None) -> None:
        self._inside = inside
        self._visit = visit
        self._arrived_ns = time.perf_counter_ns()
        self._began = visit.scope.remote  # its turn is another service's
        self.trace_id = trace_id
        self.answering = False

    @property
    def scope(self) -> SessionScope:
        """Its session."""
        return self._visit.scope

    async def let_in(self) -> None:
        """Begin its turn, once: LiteLLM has taken it."""
        if self._began or self.scope.waiting is None:
            return
        self._began = True
        middleware, open_spans = self._inside.middleware, list(self.scope.waiting or ())
        admitted = await middleware.drive(late_turn(middleware.engine, self._visit))
        began(middleware.engine, self._visit, admitted)
        turn = self.scope.turn
        if turn is not None:
            turn.started_ns = self._arrived_ns
            self._say_trace(turn, open_spans)
        self._inside.note(self._visit)

    def _say_trace(self, turn: TurnState, open_spans: Iterable[Any]) -> None:
        """Say what the client calls its trace: on the turn, and on spans that LiteLLM has opened for the request."""
        if self.trace_id is None:
            return
        turn.attributes = {**turn.attributes, names.AGENT_TRACE_ID: self.trace_id}
        for span in open_spans:
            if span.is_recording():
                span.set_attribute(names.AGENT_TRACE_ID, self.trace_id)

    def failed(self, kind: str) -> None:
        """Note that its turn failed, with the first reason that is told."""
        turn = self.scope.turn
        if self._began and turn is not None and not turn.ended and turn.error is None:
            turn.error = kind

    def watched(self, send: Send) -> Send:
        """Return *send* such that the begin of the response is seen, and an error in the middle of a stream."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self._answered(message["status"])
            elif self.answering and message.get("body", b"").startswith(ERRORS):
                self.failed("error_event")
            await send(message)

        return sending

    async def _answered(self, status: int) -> None:
        if status < 400:
            await self.let_in()
            self.answering = True
        elif self._began:
            self.failed(str(status))
        else:
            self._inside.refused[str(status)] += 1
            logger.debug("[LOGGING] Refused with %d: no turn of session %s", status, self.scope.session_id)


Refusals = Counter[str]
current_call: ContextVar[Call | None] = ContextVar("session_mw_call", default=None)
