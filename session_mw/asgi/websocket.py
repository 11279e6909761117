"""
One WebSocket connection: verified at its handshake, its cookie issued in the accept, a turn for each text message.

A trace holds one turn, so each message's turn is a new root, linked to the connection's span. It ends when the
application waits for the next message after having answered, at the next message, at ``turn_timeout``, or with the
connection. Empty and binary messages are no turns.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link

from .._core.admission import conversation_of
from .._core.flows import Admitted, open_again
from .._core.initial import Initial
from .._core.ops import Add
from .._core.reply import token_headers
from .._core.turn_state import TurnState
from .._engine.engine import NEW
from .._engine.visit import Visit
from ..telemetry.context import SCOPE_KEY
from .types import Message, Receive, Scope, Send

if TYPE_CHECKING:
    from .middleware import SessionTrackingMiddleware

ACTIVITY_MS = 5_000  # activity between turns is written once in so long, at most


class Connection:
    """
    Serves one connection.

    Args:
        middleware: Whose it is.
        visit: What its handshake presented.
        receive: Of the server.
        send: Of the server.
    """

    def __init__(self, middleware: SessionTrackingMiddleware, visit: Visit, receive: Receive, send: Send) -> None:
        self._middleware = middleware
        self._engine = middleware.engine
        self._visit = visit
        self._receive = receive
        self._send = send
        self._sent = False
        self._base: Context = otel_context.get_current()
        self._timer: asyncio.TimerHandle | None = None
        self._per_message = self._engine.settings.websocket_turns == "message" and not visit.scope.remote
        self._manual = self._engine.settings.websocket_turns == "manual"
        self._noted_ms = 0
        self._pause_ms = min(ACTIVITY_MS, self._engine.policy.limits.idle_ms // 6)

    async def serve(self, scope: Scope) -> None:
        """Run the application on the connection."""
        engine = self._engine
        try:
            await self._middleware.listened(scope, self.receive, self.send)
        except BaseException as error:
            self._close(error)
            await self._middleware.finish(engine.leave(self._visit, error, None))
            raise
        self._close(None)
        await self._middleware.finish(engine.leave(self._visit, None, None))

    async def receive(self) -> Message:
        """Wait for a message; a text begins a turn, and coming back after an answer ends one."""
        if not self._per_message:
            return await self._heard()
        if self._sent:
            self._close(None)
        message = await self._heard()
        if message["type"] == "websocket.receive" and self._begins_turn(message):
            self._close(None)
            await self._begin()
        elif message["type"] == "websocket.disconnect":
            self._close(None)
        return message

    async def _heard(self) -> Message:
        """
        Return the client's next message; where it is no turn by itself it may still be activity.

        Sound arrives in binary messages, and whoever counts turns by hand may get anything: a call of an hour is no
        idle session. A text that is no turn is a heartbeat, as the application's own rule says.
        """
        message = await self._receive()
        if message["type"] == "websocket.receive" and (message.get("bytes") or (self._manual and message.get("text"))):
            self._note()
        return message

    def _note(self) -> None:
        """Note activity of the session, now and then."""
        scope, engine = self._visit.scope, self._engine
        now_ms = engine.clock()
        if not scope.stored or scope.remote or 0 <= now_ms - self._noted_ms < self._pause_ms:
            return
        self._noted_ms = now_ms
        engine.background.add(Add(scope.session_id, scope.generation, scope.at(now_ms)))

    def _begins_turn(self, message: Message) -> bool:
        when = self._engine.policy.turns.when
        if when is not None:
            return self._engine.asked(when, self._visit.facts)
        text = message.get("text")
        return bool(text and text.strip())

    async def send(self, message: Message) -> None:
        """Send a message; the accept carries the cookie."""
        kind = message["type"]
        if kind == "websocket.accept":
            message = self._accept(message)
        elif kind == "websocket.send":
            turn = self._visit.scope.turn
            if turn is not None and not turn.ended:
                self._sent = True
                if not turn.first_chunk_ns:
                    turn.first_chunk_ns = time.perf_counter_ns()
        await self._send(message)

    def _accept(self, message: Message) -> Message:
        visit, engine = self._visit, self._engine
        visit.scope.replied = True
        if visit.scope.remote or not (visit.token_due or visit.scope.rebind):
            return message
        new = token_headers(visit.scope, engine.policy, engine.clock())
        return {**message, "headers": [*message.get("headers", ()), *new]}

    async def _begin(self) -> None:
        """Begin a turn: touch the session, open a trace linked to the connection."""
        engine, scope, policy = self._engine, self._visit.scope, self._engine.policy
        facts, thread = self._visit.facts, None
        if facts.conversation or policy.conversation_of is not None:
            thread = conversation_of(facts, policy, scope.user_id or scope.session_id)
        initial = Initial(facts, self._visit.found, policy)
        admitted: Admitted = await self._middleware.drive(open_again(scope, policy, engine.failed, initial, thread))
        engine.begin(scope, admitted, turn=True)
        turn = scope.turn
        assert turn is not None
        self._sent = False
        if engine.spans.tracer() is not None:
            root = otel_context.set_value(SCOPE_KEY, scope, Context())
            otel_context.attach(engine.spans.open_turn(scope, turn, root, self._links()))
        if admitted.outcome in NEW and scope.stored:
            engine.metrics.session_started()
            engine.report_start(scope)
        self._arm(turn)

    def _links(self) -> list[Link]:
        span: Any = trace.get_current_span(self._base)
        context = span.get_span_context()
        return [Link(context)] if context.is_valid else []

    def _arm(self, turn: TurnState) -> None:
        """End the turn at ``turn_timeout``, whatever the application does; other loops than asyncio do without."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._timer = loop.call_later(self._engine.settings.turn_timeout, self._expire, turn)

    def _expire(self, turn: TurnState) -> None:
        if self._visit.scope.turn is turn:
            self._close(None)

    def _close(self, error: BaseException | None) -> None:
        """End the turn that is open, if one is. Nothing is detached: tasks of the application may still hold it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        scope = self._visit.scope
        if not self._per_message or scope.turn is None or scope.turn.ended:
            return
        news = self._engine.close_turn(scope, error, None)
        if news is not None:  # no response waits for it: the connection goes on
            self._engine.background.add(news)
        self._sent = False
        otel_context.attach(self._base)
