"""Collectors for a doctor to send to, over HTTP and gRPC, with TLS or without; and their certificate."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from session_mw.cli.doctor.grpc import METHOD


class Certificate:
    """
    A certificate of 127.0.0.1 and localhost that only whoever is given its file trusts.

    Args:
        folder: Where its files are made.
    """

    def __init__(self, folder: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed here, which makes the certificate")
        self.file, self.key = folder / "collector.pem", folder / "collector.key"
        words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
        alternative = "subjectAltName=DNS:localhost,IP:127.0.0.1"
        files = ["-addext", alternative, "-keyout", str(self.key), "-out", str(self.file)]
        subprocess.run(["openssl", *words.split(), *files], check=True, capture_output=True)


@contextmanager
def http_collector(
    status: int = 200, body: bytes = b"", tls: Certificate | None = None
) -> Iterator[tuple[int, list[Any]]]:
    """Take exports over HTTP until the end of the block; give the port, and what comes: path, headers, body."""
    seen: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}, sent))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Stay quiet."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Who asks without TLS, or trusts nobody, is no error of the server."""

        def get_request(self) -> Any:
            connection, address = super().get_request()
            if tls is None:
                return connection, address
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(tls.file, tls.key)
            return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1], seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def grpc_collector(
    refuse: str = "", serves: bool = True, tls: Certificate | None = None
) -> Iterator[tuple[int, list[Any]]]:
    """
    Take exports over gRPC until the end of the block; give the port, and what comes: metadata, message.

    Args:
        refuse: Status that every call is refused with.
        serves: Whether the trace service is there.
        tls: Its certificate; None speaks no TLS.
    """
    grpc = pytest.importorskip("grpc", reason='grpcio is not installed: pip install "session-mw[grpc]"')
    seen: list[Any] = []

    def export(message: bytes, context: Any) -> bytes:
        seen.append((dict(context.invocation_metadata()), message))
        if refuse:
            context.abort(getattr(grpc.StatusCode, refuse), "no")
        return b""

    class Service(grpc.GenericRpcHandler):  # type: ignore[misc, name-defined]
        def service(self, call: Any) -> Any:
            if not serves or call.method != METHOD:
                return None
            return grpc.unary_unary_rpc_method_handler(export, request_deserializer=bytes, response_serializer=bytes)

    server = grpc.server(ThreadPoolExecutor(2), handlers=[Service()])
    if tls is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        pair = (tls.key.read_bytes(), tls.file.read_bytes())
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    try:
        yield port, seen
    finally:
        server.stop(None).wait()
