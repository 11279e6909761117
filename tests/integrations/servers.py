"""A real server on a free loopback port, and a client that can leave in the middle."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import uvicorn
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

PATIENCE = 20.0  # seconds until a test gives up; nothing waits that long


class Ended(SpanProcessor):
    """Lets a test wait until spans of one name have ended."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._some = threading.Semaphore(0)

    def on_end(self, span: ReadableSpan) -> None:
        if span.name == self._name:
            self._some.release()

    def wait(self) -> bool:
        """Wait for one more; False when none came."""
        return self._some.acquire(timeout=PATIENCE)


@contextlib.contextmanager
def serve(app: Any, **options: Any) -> Iterator[int]:
    """Serve *app* by uvicorn in a thread, and give the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listener.close()


def ask(port: int, request: bytes) -> socket.socket:
    """Send *request*, and give the connection."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    connection.sendall(request)
    return connection


def read_until(connection: socket.socket, mark: bytes) -> bytes:
    """Read until *mark* arrived."""
    found = b""
    while mark not in found:
        more = connection.recv(65536)
        assert more, f"the server closed after {found!r}"
        found += more
    return found
