"""
A chat on Django, in one file.

    gunicorn examples.django_chat.app:app --workers 4 --threads 8
    uvicorn examples.django_chat.app:asgi_app --workers 4
"""

from __future__ import annotations

import functools
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.handlers.asgi import ASGIRequest
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import path
from django.views.decorators.http import require_GET, require_POST
from pydantic import ValidationError

from session_mw import current_session, current_turn

from ..shared import telemetry
from ..shared.events import EVENT_STREAM, STREAM_HEADERS, done_event, word_event
from ..shared.local_model import LocalModel, Reply, ReplyStream
from ..shared.messages import MAX_CONVERSATION_ID, ChatRequest, LoginRequest, problems
from ..shared.page import PAGE, PAGE_HEADERS
from ..shared.settings import given, session_settings
from ..shared.viewer import beside_asgi, beside_wsgi, viewer_of

OURS = session_settings()
SETTINGS: dict[str, Any] = {
    "ALLOWED_HOSTS": ["localhost", "127.0.0.1", "[::1]"],
    "SECRET_KEY": os.environ.get("DJANGO_SECRET_KEY") or secrets.token_hex(32),  # nothing here signs with it
    "ROOT_URLCONF": __name__,
    "MIDDLEWARE": [
        "session_mw.integrations.django.SessionTrackingMiddleware",  # <- the one added line
        "django.middleware.common.CommonMiddleware",
    ],
    "SESSION_MW": given(OURS),
}

stop_telemetry = telemetry.setup("django-chat")
log = logging.getLogger("examples.django_chat")
model = LocalModel.from_environment()


def refusing(view: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Say what is wrong with a request that the view cannot read."""

    @functools.wraps(view)
    def checked(request: HttpRequest) -> HttpResponseBase:
        try:
            return view(request)
        except ValidationError as error:
            return JsonResponse({"detail": problems(error)}, status=422)

    return checked


@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """Show the chat."""
    return HttpResponse(PAGE, headers=PAGE_HEADERS)


@require_GET
def health(request: HttpRequest) -> HttpResponse:
    """Say that the service is up."""
    return JsonResponse({"status": "ok"})


@require_GET
def session_state(request: HttpRequest) -> HttpResponse:
    """Tell the page which session it is in."""
    session = current_session()
    if session is None:
        return JsonResponse({"session_id": None, "turn_number": None, "user": None})
    return JsonResponse({"session_id": session.id, "turn_number": session.turn_number, "user": session.user_id})


@require_POST
@refusing
def login(request: HttpRequest) -> HttpResponse:
    """Say who is there."""
    body = LoginRequest.model_validate_json(request.body)
    session = current_session()
    if session is None:
        return JsonResponse({"session_id": None, "user": None})
    session.identify(body.user)
    return JsonResponse({"session_id": session.id, "user": session.user_id})


@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    """End the session; the next request begins another."""
    session = current_session()
    if session is not None:
        session.end()
    return JsonResponse({"status": "ended"})


@require_POST
@refusing
def chat(request: HttpRequest) -> HttpResponse:
    """Answer in one piece."""
    body = ChatRequest.model_validate_json(request.body)
    reply = model.complete(body.messages(), conversation(request))
    account_for(reply)
    return JsonResponse({"answer": reply.text, **where()})


@require_POST
@refusing
def chat_stream(request: HttpRequest) -> StreamingHttpResponse:
    """Answer word by word, with the iterator the server can take."""
    body = ChatRequest.model_validate_json(request.body)
    stream = model.stream(body.messages(), conversation(request))
    events = async_events(stream) if isinstance(request, ASGIRequest) else sync_events(stream)
    return StreamingHttpResponse(events, content_type=EVENT_STREAM, headers=STREAM_HEADERS)


def sync_events(stream: ReplyStream) -> Iterator[str]:
    """Write the events of a stream, for WSGI."""
    try:
        for word in stream:
            yield word_event(word)
    finally:  # also when the customer leaves in the middle
        account_for(stream.reply)
    yield done_event(where())


async def async_events(stream: ReplyStream) -> AsyncIterator[str]:
    """Write the events of a stream, for ASGI."""
    try:
        async for word in stream:
            yield word_event(word)
    finally:
        account_for(stream.reply)
    yield done_event(where())


def conversation(request: HttpRequest) -> str:
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


urlpatterns = [
    path("", page),
    path("health", health),
    path("session", session_state),
    path("login", login),
    path("logout", logout),
    path("chat", chat),
    path("chat/stream", chat_stream),
]

if not settings.configured:
    settings.configure(**SETTINGS)
app = beside_wsgi(get_wsgi_application(), viewer_of(OURS))
asgi_app = telemetry.stopping(beside_asgi(get_asgi_application(), viewer_of(OURS)), stop_telemetry)
