"""
Signals that end the demo, kept away from where an exception must not be raised.

A handler that raises does so wherever the main thread happens to be. Inside a task of asyncio the exception becomes
that task's, and asyncio tells of it although it goes on its way as well; between the start of a process and the
assignment that remembers it, nobody would end that process. So signals are noted there, and told afterwards.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")
Handler = Callable[[int, "FrameType | None"], Any]

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def leave(number: int, frame: FrameType | None) -> None:
    """Go the way of all exceptions, so that what was started is ended."""
    raise SystemExit(128 + number)  # as shells count


@contextmanager
def noted(note: Callable[[], Any] = lambda: None) -> Iterator[None]:
    """
    Note the signals that come meanwhile, and hand the first to its own handler when the block is over.

    Whoever sends a second one does not want to wait: that one goes to its handler at once.

    Args:
        note: Called in the main thread, between any two instructions, when the first comes. Must not raise.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[int, Handler] = {n: h for n in ENDING if callable(h := signal.getsignal(n))}
    came: list[int] = []

    def take(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1:
            handlers[number](number, frame)
        note()

    try:
        for number in handlers:
            signal.signal(number, take)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            handlers[came[0]](came[0], None)


def run(main: Coroutine[Any, Any, T]) -> T:
    """
    Run *main* as ``asyncio.run`` does. A signal cancels it; its handler is called when all tasks have ended.

    Args:
        main: Ends soon after it was cancelled.

    Source:
        ``asyncio.Runner`` (Python 3.11) does so for SIGINT, and for no other signal.
    """
    cancels: list[Callable[[], Any]] = []
    came = False

    def cancel() -> None:
        nonlocal came
        came = True
        for each in cancels:
            each()

    async def cancellable() -> T:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None
        cancels.append(lambda: loop.call_soon_threadsafe(task.cancel))
        if came:  # before there was anything to cancel
            task.cancel()
        return await main

    with noted(cancel):
        return asyncio.run(cancellable())
