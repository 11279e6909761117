"""
The vendor: a model behind HTTP, on a host that is not ours.

It runs on this machine, as the proxy that the agent service is told to use, so that it can be called by a public name
without a network. It keeps two lists: what it bills (``CHAT_BOOKS``), and every header that reached it
(``VENDOR_HEADERS``, a line of JSON a request).

    python -m examples.two_services.vendor 8002
"""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from ..shared.books import Books, Entry, append_line
from ..shared.local_model import MODEL, SYSTEM_PROMPT, think

URL = "http://api.vendor.example/v1/chat"
MAX_BODY = 1024 * 1024  # bytes; the longest history fits


class Handler(BaseHTTPRequestHandler):
    """Answers ``POST /v1/chat`` with text and what it took."""

    books = Books.from_environment()
    headers_file = os.environ.get("VENDOR_HEADERS")

    def do_GET(self) -> None:
        """Say that the service is up."""
        self._answer(200 if self.path == "/health" else 404, {"status": "ok"})

    def do_POST(self) -> None:
        """Answer a list of messages."""
        body = self.rfile.read(min(int(self.headers.get("Content-Length", "0")), MAX_BODY))
        if self.headers_file is not None:
            append_line(Path(self.headers_file), json.dumps(self.headers.items()))
        if urlsplit(self.path).path != urlsplit(URL).path:
            self._answer(404, {"error": "no such model"})
            return
        messages = json.loads(body)["messages"]
        reply = think(messages)
        used = reply.usage
        chars = len(SYSTEM_PROMPT) + sum(len(message["content"]) for message in messages)
        self.books.add(Entry(reply.call_id, "", MODEL, *used, chars, len(reply.text)))
        usage = {"input_tokens": used.input_tokens, "output_tokens": used.output_tokens}
        self._answer(200, {"id": reply.call_id, "model": MODEL, "text": reply.text, "usage": usage})

    def _answer(self, status: int, said: object) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
