"""
Turns whose usage is still to be told: LiteLLM logs a call a moment after the last byte of its answer.

The history takes a turn once, so its line waits here for tokens and cost: ``SECONDS`` at most, then it goes with what
is known. Counters do not wait, the session's totals neither, and nothing that a client sees.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Final

from ..._core.ops import Add
from ..._core.records import TurnRecord
from ..._core.scope import SessionScope
from ..._core.turn_state import Usage, plus
from ...asgi.types import Message, Receive

# A hundred times what LiteLLM's queue of logs takes when it has time; a call that failed waits as long.
SECONDS: Final = 5.0


class Held:
    """The turns of one proxy that wait."""

    def __init__(self) -> None:
        self._waiting: set[Keeper] = set()

    def keep(self, scope: SessionScope) -> None:
        """Let the turn of *scope* wait when it ends, unless all is known by then."""
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
    Keeps the history's line of one turn until its usage is told.

    Args:
        engine: To hand it on to.
        waiting: All that wait.
    """

    def __init__(self, engine: Any, waiting: set[Keeper]) -> None:
        self._engine = engine
        self._waiting = waiting
        self._lock = threading.Lock()  # LiteLLM logs some calls in threads
        self._kept: TurnRecord | None = None

    def turn(self, item: Add | None, record: TurnRecord | None) -> None:
        """Take an ended turn, where a loop runs that can wait."""
        if record is None or _complete(record):
            self._engine.background.turn(item, record)
            return
        self._engine.background.turn(item, None)
        with self._lock:
            self._kept = record
        self._waiting.add(self)
        try:
            asyncio.get_running_loop().call_later(SECONDS, self.release)
        except RuntimeError:
            self.release()

    def late_usage(self, session_id: str, generation: int, used: Usage) -> None:
        """Count what was used into the session, and into the turn's line while it waits. For any thread."""
        self._engine.late_usage(session_id, generation, used)
        with self._lock:
            record = self._kept
            if record is not None:
                self._kept = record = _with(record, used)
        if record is not None and _complete(record):
            self.release()

    def release(self) -> None:
        """Hand on what waits, as it is."""
        with self._lock:
            record, self._kept = self._kept, None
        if record is not None:
            self._waiting.discard(self)
            self._engine.background.turn(None, record)


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
