"""
A chat with an agent, on FastAPI.

    uvicorn examples.agent_chat.app:app --workers 2
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.background import BackgroundTask

from session_mw import current_conversation, current_session, current_turn
from session_mw.integrations.fastapi import SessionDep, SessionTracking

from ..shared import telemetry
from ..shared.events import EVENT_STREAM, STREAM_HEADERS, done_event, tool_event, word_event
from ..shared.local_model import intent_of
from ..shared.messages import MAX_CONVERSATION_ID, ChatRequest, LoginRequest, describe
from ..shared.page import PAGE, PAGE_HEADERS
from ..shared.settings import session_settings
from ..shared.viewer import viewer_of
from .agent import Assistant, ToolUsed, take_notes
from .journey import follow
from .model import Client, price

stop_telemetry = telemetry.setup("agent-chat")
log = logging.getLogger("examples.agent_chat")
router = APIRouter()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Send the last spans before the worker ends."""
    yield
    await asyncio.to_thread(stop_telemetry)


def make_app(client: Client | None = None, **options: Any) -> FastAPI:
    """
    Make the application.

    Args:
        client: Of the models. None reads the environment.
        options: Of ``SessionTracking``.
    """
    app = FastAPI(title="Harbour Lamps agent", lifespan=lifespan)
    settings = session_settings(price_for=price)
    SessionTracking(app, settings, **options)  # <- the one added line
    if (viewer := viewer_of(settings)) is not None:
        app.mount("/sessions", viewer)
    app.state.client = client or Client.from_environment()
    app.include_router(router)
    app.add_exception_handler(RequestValidationError, refuse)
    return app


@router.get("/", response_class=HTMLResponse)
async def page() -> HTMLResponse:
    """Show the chat."""
    return HTMLResponse(PAGE, headers=PAGE_HEADERS)


@router.get("/health")
async def health() -> dict[str, str]:
    """Say that the service is up."""
    return {"status": "ok"}


@router.get("/session")
async def session_state(session: SessionDep) -> dict[str, Any]:
    """Tell the page which session it is in."""
    return {"session_id": session.id, "turn_number": session.turn_number, "user": session.user_id}


@router.post("/login")
async def login(body: LoginRequest, session: SessionDep) -> dict[str, Any]:
    """Say who is there."""
    session.identify(body.user)
    return {"session_id": session.id, "user": session.user_id}


@router.post("/logout")
async def logout(session: SessionDep) -> dict[str, str]:
    """End the session; the next request begins another."""
    session.end()
    return {"status": "ended"}


@router.post("/chat/stream")
async def chat(
    body: ChatRequest, request: Request, x_conversation_id: Annotated[str, Header()] = ""
) -> StreamingResponse:
    """Answer word by word, and name the tools that were called."""
    client: Client = request.app.state.client
    label, messages = x_conversation_id[:MAX_CONVERSATION_ID], body.messages()
    intent = announce(messages)
    notes = BackgroundTask(take_notes, client, label, messages) if intent == "complaint" else None
    answer = events(Assistant(client, label), messages)
    return StreamingResponse(answer, media_type=EVENT_STREAM, headers=STREAM_HEADERS, background=notes)


def announce(messages: list[dict[str, str]]) -> str:
    """Say what the turn and its conversation are about, and return the intent."""
    question = messages[-1]["content"]
    intent = follow(question)
    turn, conversation = current_turn(), current_conversation()
    if turn is not None:
        turn.set(intent=intent, input_type="question" if "?" in question else "message", input_length=len(question))
    if conversation is not None:
        conversation.set(topic=intent_of(messages[0]["content"]))
    return intent


async def events(assistant: Assistant, messages: list[dict[str, str]]) -> AsyncIterator[str]:
    """Write the answer as an event stream."""
    turn, length = current_turn(), 0
    *history, new = messages
    async with aclosing(assistant.answer(history, new["content"])) as answer:
        async for piece in answer:
            if isinstance(piece, ToolUsed):
                yield tool_event(piece.name)
                continue
            length += len(piece)
            yield word_event(piece)
    if turn is not None:
        turn.set(output_type="answer", output_length=length)
    log.info("answered in %d characters", length)
    yield done_event(where())


def where() -> dict[str, Any]:
    """Name the session and the turn we are in."""
    session, turn = current_session(), current_turn()
    return {"session_id": session and session.id, "turn_number": turn and turn.number}


async def refuse(request: Request, error: Exception) -> JSONResponse:
    """Say what is wrong with a request, without repeating what was sent (see ``problems``)."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    return JSONResponse({"detail": [describe(item["loc"], item["msg"]) for item in found]}, status_code=422)


app = make_app()
