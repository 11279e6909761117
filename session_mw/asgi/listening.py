"""
Listens to bodies as they pass, where ``input_text`` or ``output_text`` ask for it; nothing is held back or changed.

It stands innermost, around the application, so that the middleware knows the last chunk's text when it ends the turn.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .._core.extract import Reading
from .._core.rules import SpanRules
from .._core.scope import SessionScope, current_scope
from .._core.turn_state import TurnState
from ..telemetry.content import heard_of, listens, reads_request, reads_response
from .types import ASGIApp, Message, Receive, Scope, Send


def listening(app: ASGIApp, rules: SpanRules) -> ASGIApp:
    """Return *app* with its bodies listened to; *app* itself when nobody asked for that."""
    return Listener(app, rules) if listens(rules) else app


class Listener:
    """
    Listens to the turns of an application.

    Args:
        app: The application.
        rules: What is looked for.
    """

    def __init__(self, app: ASGIApp, rules: SpanRules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        session = current_scope.get()
        if session is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            frames = Frames(session, self._rules, receive, send)
            await self._app(scope, frames.receive, frames.send)
        elif session.turn is None:
            await self._app(scope, receive, send)
        else:
            bodies = Bodies(session.turn, self._rules, scope, receive, send)
            await self._app(scope, bodies.receive, bodies.send)


class Bodies:
    """The bodies of one request and its response."""

    def __init__(self, turn: TurnState, rules: SpanRules, scope: Scope, receive: Receive, send: Send) -> None:
        self._turn = turn
        self._rules = rules
        self._receive = receive
        self._send = send
        self._request = reads_request(turn, rules, _header(scope["headers"], b"content-type"))
        self._response: Reading | None = None

    async def receive(self) -> Message:
        """Wait for a message, and read it."""
        message = await self._receive()
        if self._request is not None and message["type"] == "http.request":
            self._request.feed(message.get("body"))
        return message

    async def send(self, message: Message) -> None:
        """Read a message, and send it."""
        kind = message["type"]
        if kind == "http.response.start":
            headers = message.get("headers", ())
            encoding = _header(headers, b"content-encoding")
            self._response = reads_response(self._turn, self._rules, _header(headers, b"content-type"), encoding)
        elif kind == "http.response.body" and self._response is not None:
            self._response.feed(message.get("body"))
        await self._send(message)


class Frames:
    """The messages of one websocket: a text received is what the user wrote, texts sent are the answer."""

    def __init__(self, session: SessionScope, rules: SpanRules, receive: Receive, send: Send) -> None:
        self._session = session
        self._rules = rules
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        """Wait for a message, and read it. By now it has begun its turn, if it begins one."""
        message = await self._receive()
        turn = self._turn()
        if turn is not None and message["type"] == "websocket.receive":
            reading = heard_of(turn).request or reads_request(turn, self._rules, "")
            _read(reading, message)
        return message

    async def send(self, message: Message) -> None:
        """Read a message, and send it."""
        turn = self._turn()
        if turn is not None and message["type"] == "websocket.send":
            reading = heard_of(turn).response or reads_response(turn, self._rules, "")
            _read(reading, message)
        await self._send(message)

    def _turn(self) -> TurnState | None:
        turn = self._session.turn
        return None if turn is None or turn.ended else turn


def _read(reading: Reading | None, message: Message) -> None:
    text = message.get("text")
    if reading is not None and isinstance(text, str):
        reading.frame(text)


def _header(headers: Iterable[Any], name: bytes) -> str:
    for key, value in headers:
        if bytes(key).lower() == name:
            return bytes(value).decode("latin-1")
    return ""
