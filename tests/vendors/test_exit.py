"""Providers that are made after ours was set up: what is still queued at exit is written before they shut down."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from flask import Flask
from session_mw import SessionSettings
from session_mw.integrations.flask import SessionTracking

app = Flask("shop")
secret = "0123456789abcdef-a-secret-for-tests-only-0123456789"
SessionTracking(app, SessionSettings(secret_key=secret, lifecycle_spans="always"))

@app.post("/chat")
def chat():
    return {}

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=lambda span: span.name + chr(10))))
trace.set_tracer_provider(provider)
app.test_client().post("/chat", base_url="https://shop.example").close()
"""


@pytest.mark.landing
def test_provider_made_after_ours() -> None:
    """The start of a session that was queued when the process ended is exported, and nobody complains."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, timeout=60)

    assert 0 == done.returncode, done.stderr
    assert "session.start" in done.stdout.split()
    assert "already shutdown" not in done.stderr
