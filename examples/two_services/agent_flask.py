"""
The same agent service on Flask.

    gunicorn examples.two_services.agent_flask:app -b 127.0.0.1:8001 --threads 4
"""

from __future__ import annotations

import logging

import httpx
from flask import Flask, Response, jsonify, request
from pydantic import ValidationError

from session_mw import agent_run
from session_mw.clients.httpx import instrument_client
from session_mw.integrations.flask import SessionTracking

from ..shared import telemetry
from ..shared.messages import ChatRequest, problems
from ..shared.settings import session_settings
from .model import OPTIONS, ask_sync

telemetry.setup("agent")  # sends the last spans when the worker exits
log = logging.getLogger("examples.two_services.agent")
vendor = instrument_client(httpx.Client(**OPTIONS))

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 1024 * 1024  # bytes; the longest history fits
SessionTracking(app, session_settings(issue="none"))  # <- the one added line


@app.get("/health")
def health() -> Response:
    """Say that the service is up."""
    return jsonify(status="ok")


@app.post("/answer")
def answer() -> Response:
    """Answer a customer."""
    body = ChatRequest.model_validate_json(request.get_data())
    with agent_run("assistant"):
        text = ask_sync(vendor, body.messages())
    log.info("answered in %d characters", len(text))
    return jsonify(text=text)


@app.errorhandler(ValidationError)
def refuse(error: ValidationError) -> tuple[Response, int]:
    """Say what is wrong with a request."""
    return jsonify(detail=problems(error)), 422


@app.errorhandler(httpx.HTTPError)
def unavailable(error: httpx.HTTPError) -> tuple[Response, int]:
    """Say that the vendor does not answer."""
    log.warning("the vendor does not answer: %s", type(error).__name__)
    return jsonify(detail="the model does not answer"), 503
