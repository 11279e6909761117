"""One HTTP response on its way out: our headers at its start, the end of the turn at its last byte."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .._engine.visit import Visit
from .types import Message, Scope, Send
from .user import user_in

if TYPE_CHECKING:
    from .middleware import SessionTrackingMiddleware

LAST_BY_THEMSELVES = ("http.response.pathsend", "http.response.zerocopysend")


class Responder:
    """
    Sees every message of one response.

    Attributes:
        status: Of the response, None before its start.
        done: Whether the last byte was sent.
    """

    __slots__ = ("_middleware", "_scope", "_send", "_trailers", "_visit", "done", "status")

    def __init__(self, middleware: SessionTrackingMiddleware, visit: Visit, scope: Scope, send: Send) -> None:
        self._middleware = middleware
        self._visit = visit
        self._scope = scope
        self._send = send
        self._trailers = False
        self.status: int | None = None
        self.done = False

    async def send(self, message: Message) -> None:
        """Send *message*, amended."""
        kind = message["type"]
        if kind == "http.response.start":
            message = self._start(message)
        elif kind == "http.response.body":
            turn = self._visit.scope.turn
            if turn is not None and not turn.first_chunk_ns and message.get("body"):
                turn.first_chunk_ns = time.perf_counter_ns()
            if not message.get("more_body", False) and not self._trailers:
                self.done = True
                flow = self._middleware.engine.leave(self._visit, None, self.status)
                if flow is not None:
                    await self._middleware.finish(flow)
        elif kind == "http.response.trailers":
            if not message.get("more_trailers", False):
                await self._last()
        elif kind in LAST_BY_THEMSELVES and not message.get("more_body", False):
            await self._last()
        await self._send(message)

    def _start(self, message: Message) -> Message:
        self.status = message["status"]
        self._trailers = bool(message.get("trailers", False))
        if "user" in self._scope:
            self._middleware.engine.meet(self._visit.scope, user_in(self._scope))
        engine = self._middleware.engine
        if not engine.replies(self._visit):
            return message
        return {**message, "headers": engine.reply(self._visit, message.get("headers", ()))}

    async def _last(self) -> None:
        self.done = True
        flow = self._middleware.engine.leave(self._visit, None, self.status)
        if flow is not None:
            await self._middleware.finish(flow)
