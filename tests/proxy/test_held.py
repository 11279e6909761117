"""A turn at the proxy waits for what its answer used, and no longer than it may."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from session_mw._core.ops import Add
from session_mw._core.records import TurnRecord
from session_mw._core.scope import SessionScope
from session_mw._core.turn_state import TurnState
from session_mw.integrations.litellm import held
from session_mw.integrations.litellm.held import Held

USED = (12, 5, 111)
RECORD = TurnRecord("s-1", 1, 1, 0, 40, "ok")


class Engine:
    """Takes what is handed on."""

    def __init__(self) -> None:
        self.background = self
        self.turns: list[tuple[Add | None, TurnRecord | None]] = []
        self.late: list[tuple[str, int, Any]] = []
        self.handed_on = asyncio.Event()

    def turn(self, item: Add | None, record: TurnRecord | None) -> None:
        self.turns.append((item, record))
        if record is not None:
            self.handed_on.set()

    def late_usage(self, session_id: str, generation: int, used: Any) -> None:
        self.late.append((session_id, generation, used))


def running(engine: Engine) -> tuple[Held, TurnState]:
    """Return a turn of *engine* that is kept."""
    scope = SessionScope("s-1", 0)
    scope.turn = TurnState(lambda: "t", 1, 0)
    scope.turn.owner = ("s-1", 1, engine)
    kept = Held()
    kept.keep(scope)
    return kept, scope.turn


def end(turn: TurnState, record: TurnRecord | None = RECORD, item: Add | None = None) -> Add | None:
    """End *turn*, as the engine does."""
    turn.ended = True
    turn.keeper.turn(item, record)
    return item


def test_usage_told_after_the_end_stands_on_the_turn() -> None:
    """LiteLLM logs a call after the last byte: the session and the history's line get it; counters have not waited."""
    engine = Engine()

    async def serve() -> None:
        _, turn = running(engine)
        end(turn, item=Add("s-1", 1, 9, 1))
        assert [None] == [record for _, record in engine.turns]
        turn.report(*USED)

    asyncio.run(serve())
    (item, nothing), (again, record) = engine.turns

    assert item is not None and nothing is None and again is None and record is not None
    assert USED == (record.input_tokens, record.output_tokens, record.cost_microusd)
    assert [("s-1", 1, USED)] == engine.late


def test_tokens_from_a_span_wait_for_the_cost_from_the_log() -> None:
    """Complete is a turn when both are known; each is counted once."""
    engine = Engine()

    async def serve() -> None:
        _, turn = running(engine)
        end(turn, RECORD._replace(input_tokens=12, output_tokens=5), Add("s-1", 1, 9, 1))
        turn.report(None, None, 111)

    asyncio.run(serve())
    *_, (_, record) = engine.turns

    assert record is not None
    assert USED == (record.input_tokens, record.output_tokens, record.cost_microusd)


def test_a_turn_that_knows_everything_does_not_wait() -> None:
    """Neither does one without a line in the history."""
    engine = Engine()

    async def serve() -> None:
        end(running(engine)[1], RECORD._replace(input_tokens=12, output_tokens=5, cost_microusd=0))
        end(running(engine)[1], None)

    asyncio.run(serve())

    assert 2 == len(engine.turns)


def test_what_nobody_tells_is_not_waited_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that failed is logged without usage. What comes later yet is the session's."""
    monkeypatch.setattr(held, "SECONDS", 0)
    engine = Engine()

    async def serve() -> None:
        _, turn = running(engine)
        end(turn)
        await engine.handed_on.wait()
        turn.report(*USED)

    asyncio.run(serve())

    assert [(None, None), (None, RECORD)] == engine.turns
    assert [("s-1", 1, USED)] == engine.late


def test_nothing_waits_when_the_server_stops() -> None:
    """At the shutdown's message, before the middleware drains."""
    engine = Engine()

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.shutdown"}

    async def serve() -> None:
        kept, turn = running(engine)
        end(turn)
        await kept.flushed_at_shutdown(receive)()

    asyncio.run(serve())

    assert [(None, None), (None, RECORD)] == engine.turns
