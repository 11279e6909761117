"""The server says that it stops: time to write what is queued."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from .._engine import Engine
from .._worker import DRAIN_SECONDS
from .types import Message, Receive, Send

GRACE = 0.1  # seconds that a thread may be late


class Lifespan:
    """
    Passes lifespan messages on; drains the engine before the application shuts down, and once more after it.

    Before: what we report goes through the application's providers and sinks, which it may close then. After: its
    shutdown may have ended turns. Both together take no more than ``DRAIN_SECONDS``.

    Args:
        engine: To drain.
        receive: The server's.
        send: The server's.
    """

    def __init__(self, engine: Engine, receive: Receive, send: Send) -> None:
        self._engine = engine
        self._receive = receive
        self._send = send
        self._left = DRAIN_SECONDS

    async def receive(self) -> Message:
        """Hand the application the server's next message."""
        message = await self._receive()
        if message["type"] == "lifespan.shutdown":
            await self._drain(self._engine.shut_down)
        return message

    async def send(self, message: Message) -> None:
        """Hand the server the application's next message."""
        if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            await self._drain(self._engine.drain)
        await self._send(message)

    async def _drain(self, drain: Callable[[float], None]) -> None:
        """Drain in a thread: other requests may still be served."""
        began = time.monotonic()
        try:
            # All threads may be taken by what the application does there: then nobody drains, and nothing waits.
            await asyncio.wait_for(asyncio.to_thread(drain, self._left), self._left + GRACE)
        except asyncio.TimeoutError:
            pass
        except RuntimeError:  # no loop of asyncio's, or no more threads
            drain(self._left)
        self._left = max(0.0, self._left - (time.monotonic() - began))
