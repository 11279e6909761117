"""
The service behind the chat: it knows the orders.

    uvicorn examples.fastapi_chat.orders:app --port 8001
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Path

from session_mw.integrations.fastapi import SessionTracking

from ..shared import telemetry
from ..shared.settings import session_settings

STATUSES = ("packed", "on its way", "at the harbour", "with the courier")

stop_telemetry = telemetry.setup("orders")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Send the last spans before the worker ends."""
    yield
    await asyncio.to_thread(stop_telemetry)


app = FastAPI(title="Harbour Lamps orders", lifespan=lifespan)
SessionTracking(app, session_settings(issue="none"))  # <- the one added line; sessions come with the baggage


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that the service is up."""
    return {"status": "ok"}


@app.get("/orders/{number}")
async def order(number: Annotated[str, Path(pattern=r"^[0-9]{3,10}$")]) -> dict[str, Any]:
    """Tell where an order is. It follows from its number, so the answer never changes."""
    value = int(number)
    return {"number": number, "status": STATUSES[value % len(STATUSES)], "days": value % 3 + 2}
