"""
Connections for event loops that wait as ``_core.patience`` says, instead of by the driver's own deadlines.

The driver is told no timeout at all; each of its three ways of waiting is bounded here.
"""

from __future__ import annotations

import asyncio
from typing import Any

from .._core.patience import Patience


class Limit:
    """
    Cancel what a task waits for when patience is over; ``async with`` raises ``asyncio.TimeoutError`` then.

    Args:
        seconds: Of patience.
    """

    __slots__ = ("_cancelling", "_handle", "_loop", "_over", "_patience", "_seconds", "_task")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._over = False

    async def __aenter__(self) -> None:
        self._loop = loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._task: asyncio.Task[Any] = task
        self._cancelling = _cancelling(task)
        self._patience = Patience(self._seconds, loop.time())
        self._handle = loop.call_later(self._patience.pause, self._look)

    def _look(self) -> None:
        if self._patience.over(self._loop.time()):
            self._over = True
            self._task.cancel()
        else:
            self._handle = self._loop.call_later(self._patience.pause, self._look)

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self._handle.cancel()
        if not self._over:
            return
        uncancel = getattr(self._task, "uncancel", None)  # from Python 3.11 on
        others = uncancel is not None and uncancel() > self._cancelling  # somebody else cancelled the task, too
        if kind is not None and issubclass(kind, asyncio.CancelledError) and not others:
            raise asyncio.TimeoutError from None


def _cancelling(task: asyncio.Task[Any]) -> int:
    asked = getattr(task, "cancelling", None)
    return 0 if asked is None else int(asked())


def patient(kind: Any, connect_seconds: float, seconds: float) -> Any:
    """
    Return a class of connections.

    Args:
        kind: The driver's class; what it calls itself is what is called here.
        connect_seconds: Patience with a connection's beginning.
        seconds: Patience with one answer.
    """

    class Patient(kind):  # type: ignore[misc]  # a class of the driver's, which differs between versions
        async def _connect(self) -> None:
            async with Limit(connect_seconds):
                await super()._connect()

        async def send_packed_command(self, *args: Any, **more: Any) -> None:
            if not self.is_connected:  # what connects has its own limits
                await super().send_packed_command(*args, **more)
                return
            try:
                async with Limit(seconds):
                    await super().send_packed_command(*args, **more)
            except asyncio.TimeoutError:
                raise TimeoutError from None  # another class before Python 3.11

        async def read_response(self, *args: Any, **more: Any) -> Any:
            try:
                async with Limit(seconds):
                    return await super().read_response(*args, **more)
            except asyncio.TimeoutError:
                raise TimeoutError from None

    return Patient
