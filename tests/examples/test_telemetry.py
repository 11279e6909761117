"""The examples' OpenTelemetry set-up, seen from the process that receives."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

ROOT = Path(__file__).parents[2]


class Receiver:
    """An OTLP/HTTP receiver that keeps what it gets, as (path, body)."""

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes]] = []
        got = self.got

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Stay quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def spans(self) -> list[tuple[str, str]]:
        """List (service.name, span name) of all spans received."""
        found = []
        for path, body in self.got:
            if path == "/v1/traces":
                for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                    names = {item.key: item.value.string_value for item in group.resource.attributes}
                    found += [(names["service.name"], span.name) for scope in group.scope_spans for span in scope.spans]
        return found


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def run(code: str, **environment: str) -> str:
    """Run *code* in a process of its own; providers are global and set once."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    process = subprocess.run(
        [sys.executable, "-c", "from opentelemetry import trace\nfrom examples.shared.telemetry import setup\n" + code],
        cwd=ROOT,
        env={**clean, "NO_PROXY": "127.0.0.1", **environment},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (0, "") == (process.returncode, process.stderr)
    return process.stdout


ONE_SPAN = "trace.get_tracer('t').start_span('hello').end()\n"


def test_setup_sends_what_is_left_when_the_interpreter_exits(receiver: Receiver) -> None:
    """Nobody has to call anything under a server that exits in order."""
    run("setup('shop')\n" + ONE_SPAN, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)

    assert [("shop", "hello")] == receiver.spans()


def test_shutdown_sends_what_is_left_at_once(receiver: Receiver) -> None:
    """A worker killed right after lifespan shutdown has lost nothing; calling twice is harmless."""
    code = "import os\nstop = setup('shop')\n" + ONE_SPAN + "stop(); stop(); os._exit(0)"
    run(code, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)

    assert [("shop", "hello")] == receiver.spans()


def test_setup_before_a_fork_works_in_the_child(receiver: Receiver) -> None:
    """Under gunicorn --preload the exporters' threads start again in each worker."""
    code = (
        "import os, sys, warnings\nwarnings.simplefilter('ignore')\nstop = setup('shop')\n"
        "child = os.fork()\n"
        "if child == 0:\n    " + ONE_SPAN + "    stop(); os._exit(0)\n"
        "os.waitpid(child, 0)"
    )
    run(code, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)

    assert [("shop", "hello")] == receiver.spans()


def test_service_name_of_the_environment_wins(receiver: Receiver) -> None:
    """OpenTelemetry specification, "SDK environment variables": OTEL_SERVICE_NAME."""
    run("setup('shop')\n" + ONE_SPAN, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_SERVICE_NAME="other")

    assert [("other", "hello")] == receiver.spans()


def test_log_lines_of_the_examples_are_sent(receiver: Receiver) -> None:
    """What the examples log reaches the back end, and comes with the other signals."""
    pytest.importorskip("opentelemetry.instrumentation.logging.handler")
    run(
        "import logging\nsetup('shop')\nlogging.getLogger('examples.x').info('answered')",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
    )

    assert any(path == "/v1/logs" and b"answered" in body for path, body in receiver.got)


def test_setup_without_an_endpoint_records_and_sends_nothing() -> None:
    """No endpoint: spans are real, no thread runs, nothing is printed."""
    code = "setup('shop')\nimport threading\n" + (
        "print(trace.get_tracer('t').start_span('x').is_recording(), threading.active_count())"
    )

    assert "True 1\n" == run(code)


def test_setup_leaves_providers_that_are_there_already() -> None:
    """Under opentelemetry-instrument the process has its own set-up, and it stays."""
    code = (
        "from opentelemetry.sdk.trace import TracerProvider\nmine = TracerProvider()\n"
        "trace.set_tracer_provider(mine)\nsetup('shop')()\n"
        "print(trace.get_tracer_provider() is mine, trace.get_tracer('t').start_span('x').is_recording())"
    )

    assert "True True\n" == run(code)


def test_setup_obeys_the_switch_that_turns_the_sdk_off() -> None:
    """OpenTelemetry specification, "SDK environment variables": OTEL_SDK_DISABLED."""
    code = "setup('shop')()\nprint(trace.get_tracer('t').start_span('x').is_recording())"

    assert "False\n" == run(code, OTEL_SDK_DISABLED="true")
