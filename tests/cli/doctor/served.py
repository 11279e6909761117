"""Servers for a doctor to look at: in threads of this process, on free ports."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from tests.e2e.servers import free_port


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an ASGI application until the end of the block; give its URL."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, log_level="critical", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not server.started and time.monotonic() < until:
        time.sleep(0.005)
    assert server.started
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


class Page:
    """
    A back end's page, or a proxy that says one thing to everything.

    Args:
        status: Of each answer.
    """

    def __init__(self, status: int = 200) -> None:
        self.status = status

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"location", b"https://llm.example.com/")] if 300 <= self.status < 400 else []
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"<html></html>"})


class Stage:
    """
    One server for many set-ups: starting one costs more than asking it.

    Attributes:
        app: What stands there now.
        url: Where.
    """

    def __init__(self) -> None:
        self.app: Any = Page()
        self.url = ""

    def shows(self, app: Any) -> str:
        """Put *app* there; return the URL."""
        self.app = app
        return self.url

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)
