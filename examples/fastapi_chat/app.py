"""
A chat on FastAPI.

    uvicorn examples.fastapi_chat.app:app --workers 4
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
from fastapi import FastAPI, Header, Request, WebSocket, WebSocketDisconnect
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from pydantic import ValidationError

from session_mw import current_session, current_turn
from session_mw.integrations.fastapi import SessionDep, SessionTracking

from ..shared import telemetry
from ..shared.events import EVENT_STREAM, STREAM_HEADERS, done_event, word_event
from ..shared.local_model import LocalModel, Reply, order_to_look_up
from ..shared.messages import MAX_CONVERSATION_ID, MAX_HISTORY, ChatRequest, LoginRequest, describe, problems
from ..shared.page import PAGE, PAGE_HEADERS
from ..shared.settings import session_settings
from ..shared.viewer import viewer_of
from .tools import look_up_order

stop_telemetry = telemetry.setup("fastapi-chat")
log = logging.getLogger("examples.fastapi_chat")
model = LocalModel.from_environment()
tools_url = os.environ.get("CHAT_TOOLS_URL")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one HTTP client for the tools, and send the last spans before the worker ends."""
    async with httpx.AsyncClient(timeout=5) as app.state.http:
        yield
    await asyncio.to_thread(stop_telemetry)


app = FastAPI(title="Harbour Lamps chat", lifespan=lifespan)
settings = session_settings()
SessionTracking(app, settings)  # <- the one added line
if (viewer := viewer_of(settings)) is not None:
    app.mount("/sessions", viewer)


@app.get("/", response_class=HTMLResponse)
async def page() -> HTMLResponse:
    """Show the chat."""
    return HTMLResponse(PAGE, headers=PAGE_HEADERS)


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that the service is up."""
    return {"status": "ok"}


@app.get("/session")
async def session_state(session: SessionDep) -> dict[str, Any]:
    """Tell the page which session it is in."""
    return {"session_id": session.id, "turn_number": session.turn_number, "user": session.user_id}


@app.post("/login")
async def login(body: LoginRequest, session: SessionDep) -> dict[str, Any]:
    """Say who is there."""
    session.identify(body.user)
    return {"session_id": session.id, "user": session.user_id}


@app.post("/logout")
async def logout(session: SessionDep) -> dict[str, str]:
    """End the session; the next request begins another."""
    session.end()
    return {"status": "ended"}


@app.post("/chat")
async def chat(body: ChatRequest, request: Request, x_conversation_id: Annotated[str, Header()] = "") -> dict[str, Any]:
    """Answer in one piece."""
    messages = await with_tools(request.app, body.messages())
    reply = model.complete(messages, x_conversation_id[:MAX_CONVERSATION_ID])
    account_for(reply)
    return {"answer": reply.text, **where()}


@app.post("/chat/stream")
async def chat_stream(
    body: ChatRequest, request: Request, x_conversation_id: Annotated[str, Header()] = ""
) -> StreamingResponse:
    """Answer word by word."""

    async def events() -> AsyncIterator[str]:
        messages = await with_tools(request.app, body.messages())
        stream = model.stream(messages, x_conversation_id[:MAX_CONVERSATION_ID])
        try:
            async for word in stream:
                yield word_event(word)
        finally:  # also when the customer leaves in the middle
            account_for(stream.reply)
        yield done_event(where())

    return StreamingResponse(events(), media_type=EVENT_STREAM, headers=STREAM_HEADERS)


@app.websocket("/ws")
async def chat_socket(socket: WebSocket, conversation: str = "") -> None:
    """Answer each text message with its words, one a frame, and a JSON frame at the end."""
    await socket.accept()
    history: deque[dict[str, str]] = deque(maxlen=MAX_HISTORY)
    try:
        while (text := (await socket.receive()).get("text")) is not None:
            await answer_on(socket, text, history, conversation[:MAX_CONVERSATION_ID])
        await socket.close(code=1003, reason="text messages only")
    except (WebSocketDisconnect, RuntimeError):  # the customer has left; Starlette says so in either way
        return


async def answer_on(socket: WebSocket, text: str, history: deque[dict[str, str]], conversation: str) -> None:
    """Answer one message of a WebSocket."""
    try:
        message = {"role": "user", "content": ChatRequest(message=text).message}
    except ValidationError as error:
        await socket.send_json({"detail": problems(error)})
        return
    stream = model.stream(await with_tools(socket.app, [*history, message]), conversation)
    try:
        async for word in stream:
            await socket.send_text(word)
    finally:
        account_for(stream.reply)
    history.extend([message, {"role": "assistant", "content": stream.reply.text}])
    await socket.send_json({"answer": stream.reply.text, **where()})


async def with_tools(app: FastAPI, messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """Add what the order service knows, if there is one and the customer asks about an order."""
    number = order_to_look_up(messages)
    if tools_url is None or number is None:
        return messages
    found = await look_up_order(app.state.http, tools_url, number)
    return [*messages, {"role": "tool", "content": found}]


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


@app.exception_handler(RequestValidationError)
async def refuse(request: Request, error: RequestValidationError) -> JSONResponse:
    """Say what is wrong with a request, without repeating what was sent (see ``problems``)."""
    return JSONResponse({"detail": [describe(item["loc"], item["msg"]) for item in error.errors()]}, status_code=422)
