"""The application inside every case: it reads its body once and answers with two lines of JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

ANSWER = b'{"answer":"It left yesterday."}'
RAW_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"31")]
TEXT_HEADERS = [("content-type", "application/json"), ("content-length", "31")]


class ASGIApp:
    """
    The application in ASGI.

    Args:
        work: What the handler does with the scope in every request; None does nothing.
    """

    def __init__(self, work: Callable[[Any], object] | None = None) -> None:
        self.peek: Callable[[Any], object] | None = None
        self.saw: object = None
        self._work = work

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        await receive()
        if self._work is not None:
            self._work(scope)
        if self.peek is not None:
            self.saw = self.peek(scope)
        await send({"type": "http.response.start", "status": 200, "headers": list(RAW_HEADERS)})
        await send({"type": "http.response.body", "body": ANSWER})


class WSGIApp:
    """
    The application in WSGI.

    Args:
        work: What the handler does with the environ in every request; None does nothing.
    """

    def __init__(self, work: Callable[[Any], object] | None = None) -> None:
        self.peek: Callable[[Any], object] | None = None
        self.saw: object = None
        self._work = work

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        """Answer one request."""
        if self._work is not None:
            self._work(environ)
        if self.peek is not None:
            self.saw = self.peek(environ)
        start_response("200 OK", list(TEXT_HEADERS))
        return [ANSWER]
