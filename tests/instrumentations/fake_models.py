"""
A model server for tests: real HTTP on a loopback port, as much of two providers' interfaces as their clients use.

OpenAI: ``/v1/chat/completions``, ``/v1/responses``, ``/v1/embeddings``; Anthropic: ``/v1/messages`` (also
``/count_tokens``); each plain and, where there is such a thing, as server-sent events. Shapes follow the providers'
public reference pages.

Rules:
    1. The base URL names a book: ``http://127.0.0.1:<port>/<book>``. Every call is written there before it is answered.
    2. The same request gives the same answer and the same numbers; only response ids count on.
    3. The last user message says what shall happen: ``[429]`` or ``[500]`` fails, ``[429 once]`` fails the first time;
       a request with tools that has no tool's result yet gets a call of each tool.
    4. A token is a run of word characters, or one other character that is no space.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from . import anthropic_wire, openai_wire
from .accounts import Accounts, Entry
from .wire import Answer, Request

_TOKEN = re.compile(r"\w+|[^\w\s]")
_FAIL = re.compile(r"\[(429|500)( once)?\]")
_BUILDERS = {
    "v1/chat/completions": ("chat", openai_wire.chat),
    "v1/responses": ("responses", openai_wire.responses),
    "v1/embeddings": ("embeddings", openai_wire.embeddings),
    "v1/messages": ("messages", anthropic_wire.messages),
    "v1/messages/count_tokens": ("count_tokens", anthropic_wire.count_tokens),
}


class ModelServer(ThreadingHTTPServer):
    """
    The server.

    Attributes:
        accounts: Its books.
    """

    daemon_threads = True
    request_queue_size = 64  # parallel calls open a connection each

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.accounts = Accounts()

    @property
    def url(self) -> str:
        """Where it listens; a book's name follows."""
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving_models() -> Iterator[ModelServer]:
    """Serve until the end of the block."""
    server = ModelServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="models")
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # an answer is several small writes: each would wait for the client's ACK
    server: ModelServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        book, _, path = self.path.partition("?")[0].lstrip("/").partition("/")
        api, build = _BUILDERS[path]
        failure = self._failure(book, body)
        if failure:
            self.server.accounts.add(book, Entry(api, status=failure))
            self._send_failure(failure)
            return
        number = self.server.accounts.count(book) + 1
        answer = build(Request(f"{book}-{number}", body, len(_TOKEN.findall(json.dumps(body)))))
        self.server.accounts.add(book, answer.entry)
        if answer.entry.streamed:
            self._send_events(answer)
        else:
            self._send_json(200, answer.payload)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the books say it all."""

    def _failure(self, book: str, body: dict[str, Any]) -> int:
        wanted = _FAIL.search(json.dumps(body))
        if wanted is None or (wanted[2] and self.server.accounts.count(book)):
            return 0
        return int(wanted[1])

    def _send_failure(self, status: int) -> None:
        error = {"type": "rate_limit_error" if status == 429 else "api_error", "message": f"asked to fail: {status}"}
        self._send_json(status, {"type": "error", "error": error}, {"retry-after-ms": "1"})

    def _send_json(self, status: int, payload: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(payload).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": len(data), **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(data)

    def _send_events(self, answer: Answer) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")  # the end of the answer is the end of the connection
        self.end_headers()
        try:
            for event in answer.events:
                self.wfile.write(event)
        except OSError:
            pass  # the client left early, as one of the cases does; what was used is in the books
