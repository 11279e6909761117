"""
Calls an ASGI or WSGI application as a server would, without a server: a loop over the callable.

``Client.run`` is what is timed. ``Client.ask`` sends one request and keeps everything, for the checks before and after.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from .requests import QUESTION, Headers, environ_of, headers, scope_of

MESSAGE = {"type": "http.request", "body": QUESTION, "more_body": False}


@dataclass
class Reply:
    """A response, and what the handler saw of its session."""

    status: int
    headers: Headers
    body: bytes
    saw: object


class BareApp(Protocol):
    """The innermost application: ``peek`` is called by its handler while a request is being checked."""

    peek: Callable[[Any], object] | None
    saw: object


class Client(Protocol):
    """One case's client: the same request, over and over."""

    def ask(self, cookie: str | None) -> Reply:
        """Send one request and return the response."""

    def use(self, cookie: str | None) -> None:
        """Present *cookie* from now on."""

    def run(self, count: int) -> int:
        """Send *count* requests; return the CPU nanoseconds that the process used meanwhile."""


async def _receive() -> Any:
    return MESSAGE


async def _send(message: Any) -> None:
    return None


class ASGIClient:
    """
    Drives an ASGI application in one event loop.

    Args:
        app: The application with its middleware.
        inner: The bare application inside it.
        loop: Shared by all cases.
        peek: What the handler looks at while it is checked.
        page: Load pages in place of posting questions.
    """

    def __init__(
        self, app: Any, inner: BareApp, loop: asyncio.AbstractEventLoop, peek: Callable[[Any], object], page: bool
    ) -> None:
        self._app, self._inner, self._loop, self._peek, self._page = app, inner, loop, peek, page
        self.use(None)

    def use(self, cookie: str | None) -> None:
        self._headers = headers(cookie, page=self._page)
        self._scope = scope_of(self._headers, page=self._page)

    def ask(self, cookie: str | None) -> Reply:
        lines = headers(cookie, page=self._page)
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        self._inner.peek, self._inner.saw = self._peek, None
        self._loop.run_until_complete(self._app(scope_of(lines, page=self._page), _receive, send))
        self._inner.peek = None
        start = next(m for m in sent if m["type"] == "http.response.start")
        body = b"".join(m.get("body", b"") for m in sent if m["type"] == "http.response.body")
        return Reply(start["status"], list(start.get("headers", ())), body, self._inner.saw)

    def run(self, count: int) -> int:
        return self._loop.run_until_complete(self._run(count))

    async def _run(self, count: int) -> int:
        app, template, lines = self._app, self._scope, self._headers
        receive, send = _receive, _send
        began = time.process_time_ns()
        for _ in range(count):
            scope = dict(template)
            scope["headers"] = list(lines)
            await app(scope, receive, send)
        return time.process_time_ns() - began


def _start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
    return None


class WSGIClient:
    """
    Drives a WSGI application: calls it, iterates the body, closes it.

    Args:
        app: The application with its middleware.
        inner: The bare application inside it.
        peek: What the handler looks at while it is checked.
        page: Load pages in place of posting questions.
    """

    def __init__(self, app: Any, inner: BareApp, peek: Callable[[Any], object], page: bool) -> None:
        self._app, self._inner, self._peek, self._page = app, inner, peek, page
        self.use(None)

    def use(self, cookie: str | None) -> None:
        self._environ = environ_of(headers(cookie, page=self._page), page=self._page)

    def ask(self, cookie: str | None) -> Reply:
        started: list[Any] = []

        def start_response(status: str, lines: Any, exc_info: Any = None) -> Any:
            started[:] = [status, lines]

        self._inner.peek, self._inner.saw = self._peek, None
        answer = self._app(environ_of(headers(cookie, page=self._page), page=self._page), start_response)
        body = b"".join(answer)
        if hasattr(answer, "close"):
            answer.close()
        self._inner.peek = None
        lines = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in started[1]]
        return Reply(int(started[0].split()[0]), lines, body, self._inner.saw)

    def run(self, count: int) -> int:
        app, template, start_response = self._app, self._environ, _start_response
        began = time.process_time_ns()
        for _ in range(count):
            answer = app(dict(template), start_response)
            for _chunk in answer:
                pass
            close = getattr(answer, "close", None)
            if close is not None:
                close()
        return time.process_time_ns() - began
