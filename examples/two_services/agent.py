"""
The agent service, on FastAPI. Sessions come with the baggage; it starts none, and gives no cookies.

    uvicorn examples.two_services.agent:app --port 8001
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from httpx import HTTPError

from session_mw import agent_run
from session_mw.integrations.fastapi import SessionTracking

from ..shared import telemetry
from ..shared.messages import ChatRequest
from ..shared.settings import session_settings
from .model import ask, make_client

stop_telemetry = telemetry.setup("agent")
log = logging.getLogger("examples.two_services.agent")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one client of the vendor, and send the last spans before the worker ends."""
    async with make_client() as app.state.vendor:
        yield
    await asyncio.to_thread(stop_telemetry)


app = FastAPI(title="Harbour Lamps agent", lifespan=lifespan)
SessionTracking(app, session_settings(issue="none"))  # <- the one added line


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that the service is up."""
    return {"status": "ok"}


@app.post("/answer")
async def answer(body: ChatRequest, request: Request) -> dict[str, str]:
    """Answer a customer."""
    with agent_run("assistant"):
        text = await ask(request.app.state.vendor, body.messages())
    log.info("answered in %d characters", len(text))
    return {"text": text}


@app.exception_handler(HTTPError)
async def unavailable(request: Request, error: HTTPError) -> JSONResponse:
    """Say that the vendor does not answer."""
    log.warning("the vendor does not answer: %s", type(error).__name__)
    return JSONResponse({"detail": "the model does not answer"}, status_code=503)
