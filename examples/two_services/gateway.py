"""
The gateway, on FastAPI: what customers talk to. It owns the sessions, and has the agent service answer.

    AGENT_URL=http://127.0.0.1:8001 uvicorn examples.two_services.gateway:app
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from session_mw import current_turn
from session_mw.clients.httpx import instrument_client
from session_mw.integrations.fastapi import SessionDep, SessionTracking

from ..shared import telemetry
from ..shared.local_model import intent_of
from ..shared.messages import ChatRequest, LoginRequest, describe
from ..shared.settings import session_settings
from ..shared.viewer import viewer_of

stop_telemetry = telemetry.setup("gateway")
log = logging.getLogger("examples.two_services.gateway")
agent_url = os.environ.get("AGENT_URL", "http://127.0.0.1:8001")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one client of the agent service, and send the last spans before the worker ends."""
    client = instrument_client(httpx.AsyncClient(base_url=agent_url, trust_env=False, timeout=30))  # <- and this one
    async with client as app.state.agent:
        yield
    await asyncio.to_thread(stop_telemetry)


app = FastAPI(title="Harbour Lamps", lifespan=lifespan)
settings = session_settings()
SessionTracking(app, settings)  # <- the one added line
if (viewer := viewer_of(settings)) is not None:
    app.mount("/sessions", viewer)


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that the service is up."""
    return {"status": "ok"}


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
async def chat(body: ChatRequest, request: Request, session: SessionDep) -> dict[str, Any]:
    """Have the agent service answer."""
    turn, agent = current_turn(), request.app.state.agent
    if turn is not None:
        turn.set(intent=intent_of(body.message))
    response = await agent.post("/answer", json=body.model_dump())
    response.raise_for_status()
    log.info("answered")
    return {"answer": response.json()["text"], "session_id": session.id, "turn_number": session.turn_number}


@app.exception_handler(httpx.HTTPError)
async def unavailable(request: Request, error: httpx.HTTPError) -> JSONResponse:
    """Say that the agent service does not answer."""
    log.warning("the agent service does not answer: %s", type(error).__name__)
    return JSONResponse({"detail": "nobody can answer right now"}, status_code=503)


@app.exception_handler(RequestValidationError)
async def refuse(request: Request, error: RequestValidationError) -> JSONResponse:
    """Say what is wrong with a request, without repeating what was sent (see ``problems``)."""
    return JSONResponse({"detail": [describe(item["loc"], item["msg"]) for item in error.errors()]}, status_code=422)
