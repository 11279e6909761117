"""Blocks that ask the store: written once as flows, driven by ``with`` or ``async with``."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

from .._core.ops import Flow
from .._drive import run_async, run_sync
from .._engine import Engine
from .block import Block, check_unopened
from .hosts import engine_of

H = TypeVar("H")
Closer = Callable[["BaseException | None"], "Flow[None]"]


class FlowBlock(Block[H]):
    """
    A block whose opening and closing are flows.

    A subclass's ``opening`` returns what ``with`` gives, and how to close what it opened.
    """

    def __init__(self) -> None:
        self._open: list[tuple[Engine, Closer]] = []

    def opening(self, engine: Engine) -> Flow[tuple[H, Closer]]:
        """Open it; runs in the calling context from beginning to end."""
        raise NotImplementedError

    def fresh(self, arguments: Callable[[], dict[str, Any]] | None = None) -> FlowBlock[H]:
        """Return an unopened block of the same kind."""
        block = copy.copy(self)
        block._open = []
        return block

    def enter(self) -> H:
        """Open it."""
        check_unopened(self, self._open)
        engine = engine_of()
        handle, closer = run_sync(self.opening(engine), engine.store)
        self._open.append((engine, closer))
        return handle

    def leave(self, error: BaseException | None) -> None:
        """Close it."""
        engine, closer = self._open.pop()
        run_sync(closer(error), engine.store)

    async def enter_async(self) -> H:
        """Open it without blocking the event loop."""
        check_unopened(self, self._open)
        engine = engine_of()
        handle, closer = await run_async(self.opening(engine), engine.async_store)
        self._open.append((engine, closer))
        return handle

    async def leave_async(self, error: BaseException | None) -> None:
        """Close it without blocking the event loop."""
        engine, closer = self._open.pop()
        await run_async(closer(error), engine.async_store)


def _nothing(error: BaseException | None) -> Flow[None]:
    return
    yield


nothing: Closer = _nothing  # closes what was only joined
