"""The whole way: events through the real OTLP/HTTP exporter into a server that reads the bytes."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from session_mw._core.events import end_event, start_event
from session_mw._core.records import SessionRecord
from session_mw.telemetry.sinks import ExporterSink

pytestmark = [
    pytest.mark.filterwarnings("ignore:LogRecord will be removed"),  # SDK 1.38 about itself
    pytest.mark.filterwarnings("ignore:LogData will be removed"),
]

RECORD = SessionRecord("s-1", 1_000, 61_000, turns=2, completed=2, reason="user_exit", ended_ms=61_000)
EVENTS = [start_event(RECORD), end_event(RECORD)]


class Collector:
    """An OTLP/HTTP receiver on a free port."""

    def __init__(self) -> None:
        self.status = 200
        self.bodies: list[tuple[str, bytes]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.bodies.append((self.path, body))
                self.send_response(collector.status)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def test_log_exporter_delivers_events(collector: Collector) -> None:
    """What arrives at the collector are two events, at their times, under their names."""
    exporter = OTLPLogExporter(endpoint=collector.url + "/v1/logs", timeout=5)

    assert ExporterSink(exporter).emit(EVENTS) is True
    ((path, body),) = collector.bodies
    records = ExportLogsServiceRequest.FromString(body).resource_logs[0].scope_logs[0].log_records
    assert "/v1/logs" == path
    assert [("session.start", 1_000_000_000), ("session.end", 61_000_000_000)] == [
        (record.event_name, record.time_unix_nano) for record in records
    ]
    exporter.shutdown()


def test_span_exporter_delivers_events(collector: Collector) -> None:
    """A back end without logs gets two spans of zero length."""
    exporter = OTLPSpanExporter(endpoint=collector.url + "/v1/traces", timeout=5)

    assert ExporterSink(exporter).emit(EVENTS) is True
    ((path, body),) = collector.bodies
    spans = ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans
    assert "/v1/traces" == path
    assert [("session.start", 0), ("session.end", 0)] == [
        (span.name, span.end_time_unix_nano - span.start_time_unix_nano) for span in spans
    ]
    exporter.shutdown()


def test_exporter_whose_back_end_refuses_did_not_deliver(collector: Collector) -> None:
    """A 400 is final for the exporter, so the events stay ours to send again."""
    collector.status = 400
    exporter = OTLPLogExporter(endpoint=collector.url + "/v1/logs", timeout=5)

    assert ExporterSink(exporter).emit(EVENTS) is False
    exporter.shutdown()
