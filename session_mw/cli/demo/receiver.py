"""A small OTLP/HTTP receiver: it keeps what arrives, byte for byte, and says that it has."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TYPE_CHECKING

from .otlp import Record, Span, records_of, spans_of

if TYPE_CHECKING:
    from typing_extensions import Self

TRACES = "/v1/traces"
LOGS = "/v1/logs"
Batch = tuple[str, bytes]


class Receiver:
    """
    Receive traces, logs and metrics on a free port of this machine, from entering the context to leaving it.

    Attributes:
        on_batch: Called with each path and body, from the thread of the connection. None calls nobody.
        keeping: Whether what arrives is kept.
    """

    def __init__(self) -> None:
        self.on_batch: Callable[[str, bytes], None] | None = None
        self.keeping = True
        self._lock = threading.Lock()
        self._batches: list[Batch] = []

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """What exporters are given as ``OTEL_EXPORTER_OTLP_ENDPOINT``."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def take(self, path: str, body: bytes) -> None:
        """Take one request's *body*."""
        if self.keeping:
            with self._lock:
                self._batches.append((path, body))
        if self.on_batch is not None:
            self.on_batch(path, body)

    def bodies(self, path: str) -> list[bytes]:
        """Return what arrived at *path* so far."""
        with self._lock:
            return [body for at, body in self._batches if at == path]

    def spans(self) -> list[Span]:
        """Decode the spans that arrived so far."""
        return [span for body in self.bodies(TRACES) for span in spans_of(body)]

    def records(self) -> list[Record]:
        """Decode the log records that arrived so far."""
        return [record for body in self.bodies(LOGS) for record in records_of(body)]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        take = self.take

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                packed = self.headers.get("Content-Encoding") == "gzip"
                take(self.path, gzip.decompress(body) if packed else body)
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")  # an empty message says "all taken"
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Stay quiet: the terminal belongs to the demo."""

        return Handler
