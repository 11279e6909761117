"""
Turns whose usage is still to be told: LiteLLM logs a call a moment after the last byte of its answer.

The history takes a turn once, so its line waits here for its tokens: ``SECONDS`` at most, then it goes without, and
what is told later is the session's. Nothing that a client sees waits.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Final

from ..._core.ops import Add
from ..._core.records import TurnRecord
from ..._core.scope import SessionScope, Usage, plus
from ...asgi.types import Message, Receive

SECONDS: Final = 0.8  # an explicit end waits a second for counters


class Held:
    """The turns of one proxy that wait."""

    def __init__(self) -> None:
        self._waiting: set[Keeper] = set()

    def keep(self, scope: SessionScope) -> None:
        """Let the turn of *scope* wait when it ends, if nothing was reported by then."""
        turn = scope.turn
        if turn is not None and turn.owner is not None:
            session_id, generation, engine = turn.owner
            keeper = Keeper(engine, self._waiting)
            turn.keeper, turn.owner = keeper, (session_id, generation, keeper)

    def flush(self) -> None:
        """Hand on all that waits."""
        for keeper in list(self._waiting):
            keeper.release()

    def flushed_at_shutdown(self, receive: Receive) -> Receive:
        """Return *receive* such that nothing waits when the server says that it stops."""

        async def receiving() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self.flush()
            return message

        return receiving


class Keeper:
    """
    Keeps what one turn brings until its usage is told.

    Args:
        engine: To hand it on to.
        waiting: All that wait.
    """

    def __init__(self, engine: Any, waiting: set[Keeper]) -> None:
        self._engine = engine
        self._waiting = waiting
        self._lock = threading.Lock()  # LiteLLM logs some calls in threads
        self._kept: tuple[Add | None, TurnRecord | None] | None = None

    def turn(self, item: Add | None, record: TurnRecord | None) -> None:
        """Take an ended turn: on its way at once where its usage is known, or where no loop can wait."""
        with self._lock:
            self._kept = (item, record)
        self._waiting.add(self)
        try:
            if record is None or _complete(record):
                self.release()
            else:
                asyncio.get_running_loop().call_later(SECONDS, self.release)
        except RuntimeError:
            self.release()

    def late_usage(self, session_id: str, generation: int, used: Usage) -> None:
        """Take what was used: into the turn while it waits, else into the session. For any thread."""
        with self._lock:
            kept = self._kept
            if kept is not None and kept[0] is not None:
                _add(kept[0], used)
            if kept is not None and kept[1] is not None:
                self._kept = kept = (kept[0], _with(kept[1], used))
        if kept is None or kept[0] is None:
            self._engine.late_usage(session_id, generation, used)
        if kept is not None and (kept[1] is None or _complete(kept[1])):
            self.release()

    def release(self) -> None:
        """Hand on what waits, as it is."""
        with self._lock:
            kept, self._kept = self._kept, None
        if kept is not None:
            self._hand_on(*kept)

    def _hand_on(self, item: Add | None, record: TurnRecord | None) -> None:
        self._waiting.discard(self)
        self._engine.background.turn(item, record)


def _complete(record: TurnRecord) -> bool:
    """Return whether tokens and cost are known: LiteLLM's spans may say the former, and its log the latter."""
    return record.input_tokens is not None and record.cost_microusd is not None


def _with(record: TurnRecord, used: Usage) -> TurnRecord:
    into, out, cost = used
    return record._replace(
        input_tokens=plus(record.input_tokens, into),
        output_tokens=plus(record.output_tokens, out),
        cost_microusd=plus(record.cost_microusd, cost),
    )


def _add(item: Add, used: Usage) -> None:
    into, out, cost = used
    item.input_tokens = plus(item.input_tokens, into)
    item.output_tokens = plus(item.output_tokens, out)
    item.cost_microusd = plus(item.cost_microusd, cost)
