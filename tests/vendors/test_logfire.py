"""What is Logfire's alone: scrubbing, pending spans, its own log lines, its propagator, being configured again."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from session_mw.integrations.logfire import keep_session

ROOT = Path(__file__).parents[2]

PROGRAM = """
import json, sys, logging, warnings
import logfire
from logfire.testing import TestExporter
from opentelemetry import propagate
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from flask import Flask
from session_mw import SessionSettings, current_session
from session_mw.integrations.flask import SessionTracking
from session_mw.integrations.logfire import keep_session
from session_mw.telemetry.destination import destination_host

said, seen = [], {}
handler = logging.Handler(logging.WARNING)
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger().addHandler(handler)

def configure():
    kept = TestExporter()
    logfire.configure(send_to_logfire=False, console=False, additional_span_processors=[SimpleSpanProcessor(kept)],
                      scrubbing=logfire.ScrubbingOptions(callback=keep_session))
    return kept

def make():
    app = Flask("shop")
    SessionTracking(app, SessionSettings(secret_key="0123456789abcdef-a-secret-for-tests-only-0123456789"))
    @app.post("/chat")
    def chat():
        seen["id"] = current_session().id
        with logfire.span("work", password="p"):
            logfire.info("line")
        destination_host.set("localhost")
        propagate.inject(seen.setdefault("sent", {}))
        return {}
    def post():
        seen.pop("sent", None)
        app.test_client().post("/chat", base_url="https://shop.example").close()
    return post

if sys.argv[1] == "theirs":
    kept = configure(); post = make()
else:
    post = make(); kept = configure()
out = {}
for round in ("first", "again"):
    post()
    logfire.force_flush()
    out[round] = {"id": seen["id"], "sent": seen["sent"].get("baggage", ""),
        "spans": [{"name": s.name, "kind": s.attributes.get("logfire.span_type"), "id": s.attributes.get("session.id"),
                   "password": s.attributes.get("password")} for s in kept.exported_spans]}
    kept = configure()
print(json.dumps({**out, "said": said}))
"""


def test_keep_session() -> None:
    """What we write stays, by its full path; a secret that an application calls after a session does not."""

    def asked(*path: str) -> Any:
        return keep_session(SimpleNamespace(path=path, value="v"))

    assert ["v"] * 3 == [
        asked("attributes", key) for key in ("session.id", "conversation.session_id", "$ai_session_id")
    ]
    assert [None] * 3 == [
        asked(*path)
        for path in (("attributes", "session_token"), ("attributes", "body", "session.id"), ("session.id",))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("first", ["theirs", "ours"])
def test_configured_again(first: str) -> None:
    """Every span, pending ones and log lines too, has the session, also after ``logfire.configure()`` came again."""
    python = os.environ.get("SESSION_MW_TEST_SDKS_PYTHON")
    if python is None:
        pytest.skip("SESSION_MW_TEST_SDKS_PYTHON is not set: no Python with logfire")

    done = subprocess.run(
        [python, "-W", "ignore", "-c", PROGRAM, first], cwd=ROOT, capture_output=True, text=True, timeout=100
    )

    assert 0 == done.returncode, done.stderr
    told = json.loads(done.stdout)
    assert [] == told["said"]
    for each in (told["first"], told["again"]):
        assert {each["id"]} == {span["id"] for span in each["spans"]}
        assert {"span", "log", "pending_span"} <= {span["kind"] for span in each["spans"]}
        assert {None, "[Scrubbed due to 'password']"} == {span["password"] for span in each["spans"]}
        assert f"session.id={each['id']}" in each["sent"]
