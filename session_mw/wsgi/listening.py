"""
Listens to bodies as they pass, where ``input_text`` or ``output_text`` ask for it; nothing is held back or changed.

It stands innermost, around the application, so that the middleware knows the last chunk's text when it ends the turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .._core.extract import Reading
from .._core.rules import SpanRules
from .._core.scope import current_scope
from .._core.turn_state import TurnState
from ..telemetry.content import listens, reads_request, reads_response
from .types import Environ, StartResponse, WSGIApp


def listening(app: WSGIApp, rules: SpanRules) -> WSGIApp:
    """Return *app* with its bodies listened to; *app* itself when nobody asked for that."""
    return Listener(app, rules) if listens(rules) else app


class Listener:
    """
    Listens to the turns of an application.

    Args:
        app: The application.
        rules: What is looked for.
    """

    def __init__(self, app: WSGIApp, rules: SpanRules) -> None:
        self._app = app
        self._rules = rules

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        session = current_scope.get()
        turn = None if session is None else session.turn
        if turn is None:
            return self._app(environ, start_response)
        reading = reads_request(turn, self._rules, environ.get("CONTENT_TYPE") or "")
        if reading is not None and "wsgi.input" in environ:
            environ["wsgi.input"] = Tap(environ["wsgi.input"], reading)
        answer = Answer(turn, self._rules, start_response)
        answer.body = self._app(environ, answer.start_response)
        return answer


class Tap:
    """
    A request body that is read along; everything else of the server's object stays as it is.

    Args:
        stream: The server's.
        reading: Gets what the application reads.
    """

    def __init__(self, stream: Any, reading: Reading) -> None:
        self._stream = stream
        self._reading = reading

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def read(self, *size: Any) -> Any:
        """Read bytes."""
        return self._heard(self._stream.read(*size))

    def readline(self, *size: Any) -> Any:
        """Read a line."""
        return self._heard(self._stream.readline(*size))

    def readlines(self, *hint: Any) -> Any:
        """Read lines."""
        lines = self._stream.readlines(*hint)
        for line in lines:
            self._reading.feed(line)
        return lines

    def readinto(self, buffer: Any) -> Any:
        """Read bytes into *buffer*, where the server's object can."""
        count = self._stream.readinto(buffer)
        self._reading.feed(bytes(memoryview(buffer)[: count or 0]))
        return count

    def __iter__(self) -> Iterator[Any]:
        for line in self._stream:
            yield self._heard(line)

    def __next__(self) -> Any:
        return self._heard(next(self._stream))

    def _heard(self, data: Any) -> Any:
        self._reading.feed(data)
        return data


def tap(request: Any, turn: TurnState, rules: SpanRules) -> None:
    """Listen to what is read of the body of a Django request, or has been read by now: Django keeps it then."""
    reading = reads_request(turn, rules, request.META.get("CONTENT_TYPE") or "")
    if reading is not None and hasattr(request, "_body"):
        reading.feed(request._body)
    elif reading is not None and hasattr(request, "_stream"):
        request._stream = Tap(request._stream, reading)


class Answer:
    """
    A response that is read along.

    Attributes:
        body: The application's.
    """

    body: Any

    def __init__(self, turn: TurnState, rules: SpanRules, start_response: StartResponse) -> None:
        self._turn = turn
        self._rules = rules
        self._start_response = start_response
        self._reading: Reading | None = None
        self._chunks: Iterator[bytes] | None = None

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        """Start the response, and begin to read it."""
        found = {name.lower(): value for name, value in headers}
        kind, encoding = found.get("content-type", ""), found.get("content-encoding", "")
        self._reading = reads_response(self._turn, self._rules, kind, encoding)
        start = self._start_response
        write = start(status, headers, exc_info) if exc_info else start(status, headers)

        def heard(data: bytes) -> Any:
            self._hear(data)
            return write(data)

        return heard

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._chunks is None:
            self._chunks = iter(self.body)
        chunk = next(self._chunks)
        self._hear(chunk)
        return chunk

    def close(self) -> None:
        """Close the application's body."""
        if hasattr(self.body, "close"):
            self.body.close()

    def _hear(self, chunk: Any) -> None:
        if self._reading is not None:
            self._reading.feed(chunk)
