"""LangSmith's OpenTelemetry mode: its runs are spans of the request's trace, made in a thread of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import json
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from langsmith import Client, traceable, tracing_context
from session_mw import SessionSettings, configure, instrument, session_context

kept, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
secret = "0123456789abcdef-a-secret-for-tests-only-0123456789"
configure(SessionSettings(secret_key=secret, dialects={"langsmith"}))
instrument()
client = Client()

@traceable(run_type="llm", client=client)
def plain(): return "ho"

@traceable(run_type="llm", client=client)
def named(): return "ho"

with session_context("chat-7"):
    plain()
    with tracing_context(metadata={"thread_id": "other"}):
        named()
client.flush()
print(json.dumps({s.name: dict(s.attributes) for s in kept.get_finished_spans() if s.name in ("plain", "named")}))
"""
MODE = {
    "LANGSMITH_OTEL_ENABLED": "true",
    "LANGSMITH_OTEL_ONLY": "true",
    "LANGSMITH_TRACING": "true",
    "LANGSMITH_API_KEY": "none",
    "LANGSMITH_ENDPOINT": "http://127.0.0.1:9",
}


@pytest.mark.slow
def test_runs_are_stamped() -> None:
    """Each run has the session; what a run's metadata calls its thread is that run's, and no other attribute."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        env={**os.environ, **MODE},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert 0 == done.returncode, done.stderr
    told = json.loads(done.stdout)
    thread = "langsmith.metadata.thread_id"
    assert ("chat-7", "chat-7") == (told["plain"]["session.id"], told["plain"][thread])
    assert ("chat-7", "other") == (told["named"]["session.id"], told["named"][thread])
