"""
A chat on Flask.

    gunicorn examples.flask_chat.app:app --workers 4 --threads 8
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, jsonify, request
from pydantic import ValidationError

from session_mw import current_session, current_turn
from session_mw.integrations.flask import SessionTracking

from ..shared import telemetry
from ..shared.events import EVENT_STREAM, STREAM_HEADERS, done_event, word_event
from ..shared.local_model import LocalModel, Reply
from ..shared.messages import MAX_CONVERSATION_ID, ChatRequest, LoginRequest, problems
from ..shared.page import PAGE, PAGE_HEADERS
from ..shared.settings import session_settings
from ..shared.viewer import beside_wsgi, viewer_of

telemetry.setup("flask-chat")  # sends the last spans when the worker exits
log = logging.getLogger("examples.flask_chat")
model = LocalModel.from_environment()

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 1024 * 1024  # bytes; the longest history fits
settings = session_settings()
SessionTracking(app, settings)  # <- the one added line
app.wsgi_app = beside_wsgi(app.wsgi_app, viewer_of(settings))  # type: ignore[method-assign]


@app.get("/")
def page() -> Response:
    """Show the chat."""
    return Response(PAGE, mimetype="text/html", headers=PAGE_HEADERS)


@app.get("/health")
def health() -> Response:
    """Say that the service is up."""
    return jsonify(status="ok")


@app.get("/session")
def session_state() -> Response:
    """Tell the page which session it is in."""
    session = current_session()
    if session is None:
        return jsonify(session_id=None, turn_number=None, user=None)
    return jsonify(session_id=session.id, turn_number=session.turn_number, user=session.user_id)


@app.post("/login")
def login() -> Response:
    """Say who is there."""
    body = LoginRequest.model_validate_json(request.get_data())
    session = current_session()
    if session is None:
        return jsonify(session_id=None, user=None)
    session.identify(body.user)
    return jsonify(session_id=session.id, user=session.user_id)


@app.post("/logout")
def logout() -> Response:
    """End the session; the next request begins another."""
    session = current_session()
    if session is not None:
        session.end()
    return jsonify(status="ended")


@app.post("/chat")
def chat() -> Response:
    """Answer in one piece."""
    body = ChatRequest.model_validate_json(request.get_data())
    reply = model.complete(body.messages(), conversation())
    account_for(reply)
    return jsonify(answer=reply.text, **where())


@app.post("/chat/stream")
def chat_stream() -> Response:
    """Answer word by word."""
    body = ChatRequest.model_validate_json(request.get_data())
    key = conversation()

    def events() -> Iterator[str]:
        stream = model.stream(body.messages(), key)
        try:
            for word in stream:
                yield word_event(word)
        finally:  # also when the customer leaves in the middle
            account_for(stream.reply)
        yield done_event(where())

    return Response(events(), mimetype=EVENT_STREAM, headers=STREAM_HEADERS)


def conversation() -> str:
    """Return what the client calls the conversation."""
    return request.headers.get("X-Conversation-ID", "")[:MAX_CONVERSATION_ID]


def account_for(reply: Reply) -> None:
    """Tell the turn what it was about. Tokens and cost are counted from the model's spans; nothing here does."""
    turn = current_turn()
    if turn is not None:
        turn.set(intent=reply.intent, output_length=len(reply.text))
    log.info("answered, intent %s", reply.intent)


def where() -> dict[str, Any]:
    """Name the session and the turn we are in."""
    session, turn = current_session(), current_turn()
    return {"session_id": session and session.id, "turn_number": turn and turn.number}


@app.errorhandler(ValidationError)
def refuse(error: ValidationError) -> tuple[Response, int]:
    """Say what is wrong with a request."""
    return jsonify(detail=problems(error)), 422
