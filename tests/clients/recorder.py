"""A real HTTP server on loopback that writes down every header it receives, under whatever host name it was called."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

_getaddrinfo = socket.getaddrinfo


@dataclass(frozen=True)
class Received:
    """One request."""

    host: str
    path: str
    headers: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        """Return the values of all headers of a name."""
        return [value for key, value in self.headers if key.lower() == name]

    @property
    def session(self) -> str | None:
        """The session that its baggage names, None when none does."""
        members = dict(pair.split("=", 1) for line in self.all("baggage") for pair in line.split(","))
        return members.get("session.id")


class Recorder(ThreadingHTTPServer):
    """``/r?to=URL`` redirects there, with ``status`` or 302; everything else is answered."""

    daemon_threads = True
    request_queue_size = 100

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__((address, port), _Handler)
        self.received: list[Received] = []

    def url(self, host: str, then: str = "", status: int = 302) -> str:
        """Return a URL of this server under a name; *then* is where it redirects to, and how."""
        more = "" if status == 302 else f"status={status}&"
        return f"http://{host}:{self.server_address[1]}/" + (f"r?{more}to={quote(then, safe=':/?')}" if then else "a")

    def take(self) -> list[Received]:
        """Return what was received since the last call."""
        taken, self.received = self.received, []
        return taken


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Recorder

    def do_GET(self) -> None:
        # A proxy is asked for whole URLs.
        url = urlsplit(self.path)
        self.server.received.append(
            Received(self.headers["Host"].rpartition(":")[0], url.path, tuple(self.headers.items()))
        )
        asked = parse_qs(url.query)
        to, status = asked.get("to"), asked.get("status", ["302"])
        self.send_response(int(status[0]) if to else 200)
        if to:
            self.send_header("Location", to[0])
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None: ...


@contextmanager
def recording(address: str = "127.0.0.1", port: int = 0) -> Iterator[Recorder]:
    """Run a recorder in a thread."""
    server = Recorder(address, port)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def ours_here_others_there(host: Any, *args: Any, **options: Any) -> Any:
    """A resolver for which names of ours mean 127.0.0.1, and all others 127.0.0.2."""
    text = host.decode() if isinstance(host, bytes) else str(host)
    return _getaddrinfo("127.0.0.1" if text.endswith(".internal") else "127.0.0.2", *args, **options)


def all_names_are_here(host: Any, *args: Any, **options: Any) -> Any:
    """A resolver for which every name means this machine: clients do all the rest as they do with a real one."""
    text = host.decode() if isinstance(host, bytes) else host
    if text is not None and not text.replace(".", "").isdigit() and ":" not in text:
        host = "127.0.0.1"
    return _getaddrinfo(host, *args, **options)
