"""Sessions begun and ended by hand, and totals that nobody has to count."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from session_mw import (
    SessionNotFound,
    current_session,
    current_turn,
    end_session,
    end_session_async,
    hash_user_id,
    session_context,
    session_metrics,
    session_metrics_async,
    start_session,
    start_session_async,
    turn,
)

from .support import Script


def test_start_session_is_reported_and_current(script: Script) -> None:
    """It returns the id; what follows belongs to it, and its start is an event."""
    session_id = start_session("user-1", "web", "chat", metadata={"plan": "pro"})
    script.work()
    script.sweep()

    (start,) = script.sink.named("session.start")
    expected = {
        "session.id": session_id,
        "user.id": hash_user_id("user-1"),
        "session.channel": "web",
        "session.type": "chat",
        "metadata.plan": "pro",
        "session.start_time": "2025-01-01T00:00:00.000Z",
    }
    assert expected == {key: start.attributes[key] for key in expected}
    assert session_id == script.shown("work")["session.id"]


def test_start_session_leaves_the_current_one(script: Script) -> None:
    """Inside another session it only starts one."""
    with session_context("s-1"):
        other = start_session()
        assert "s-1" == current_session().id  # type: ignore[union-attr]
    with session_context(session_id=other):
        pass

    assert {"s-1", other} == {event.key[0] for event in _swept(script)}


def _swept(script: Script) -> list[Any]:
    script.sweep(31)
    return script.ends()


def test_end_session_by_id_says_why_and_how_much(script: Script) -> None:
    """Everything that was said before is in the numbers, however late it was going to be written."""
    session_id = start_session("user-1")
    with session_context(session_id), turn() as mine:
        mine.add_usage(input_tokens=100, output_tokens=50, cost_usd=0.002)
    script.clock.advance(seconds=10)

    assert end_session(session_id, reason="completed")
    script.sweep()

    (end,) = script.ends()
    expected = {
        "session.id": session_id,
        "session.end_reason": "completed",
        "session.duration_ms": 10_000,
        "session.total_turns": 1,
        "session.total_tokens": 150,
        "session.total_cost_usd": 0.002,
    }
    assert expected == {key: end.attributes[key] for key in expected}
    assert not end_session(session_id)


@pytest.mark.parametrize("ask", [session_metrics, end_session])
def test_what_came_after_the_end_is_reported_whoever_writes_it(script: Script, ask: Any) -> None:
    """Asking for totals, or for an end, writes what is queued; what the ended session refuses is its late usage."""
    session_id = start_session()
    with session_context(session_id), turn():
        late = script.tracer.start_span("chat m")
    assert end_session(session_id)
    script.sweep(1)
    assert 1 == len(script.ends())

    late.set_attributes({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 11})
    late.end()
    ask(session_id)
    script.sweep()

    assert [11] == [event.attributes["session.total_tokens"] for event in script.sink.named("session.usage_late")]


def test_end_session_without_an_id_ends_the_current_one(script: Script) -> None:
    """Inside a block that happens at the end of its turn; what a script has set is ended at once."""
    with session_context("s-1"):
        assert end_session()
    start_session(session_id="s-2")
    assert end_session()
    script.sweep()

    assert {"s-1": "user_exit", "s-2": "user_exit"} == {
        event.key[0]: event.attributes["session.end_reason"] for event in script.ends()
    }
    assert [1, 0] == [event.attributes["session.total_turns"] for event in sorted(script.ends(), key=lambda e: e.key)]


def test_end_session_that_nobody_knows(script: Script) -> None:
    """False, and nothing is reported."""
    assert not end_session("never-heard-of")
    assert not end_session()
    script.sweep()

    assert [] == script.ends()


def test_end_session_for_no_known_reason_raises(script: Script) -> None:
    """Reasons are a closed set."""
    with pytest.raises(ValueError, match="'bored' is not one of"):
        end_session("s-1", reason="bored")  # type: ignore[arg-type]


def test_session_goes_on_after_its_end(script: Script) -> None:
    """A script that goes on with the same id is in its next generation."""
    start_session(session_id="s-1")
    end_session()
    with turn() as again:
        pass

    assert 1 == again.number
    assert [1, 2] == sorted(event.key[1] for event in _swept(script))


def test_session_metrics_while_it_lives_and_after(script: Script) -> None:
    """The same totals: the store's and the running turn's, then those of the history."""
    with session_context("s-1"), turn() as mine:
        mine.add_usage(input_tokens=10, output_tokens=5, cost_usd=0.01)
        during = session_metrics()
    script.clock.advance(seconds=5)
    with session_context("s-1"):
        pass
    between = session_metrics("s-1")
    script.sweep(31)
    after = session_metrics("s-1")

    assert (0, 1, 15, 0.01) == tuple(during[key] for key in ("duration_ms", "turns", "tokens", "cost"))  # type: ignore[literal-required]
    assert (5000, 2, 15, 0.01) == tuple(between[key] for key in ("duration_ms", "turns", "tokens", "cost"))  # type: ignore[literal-required]
    assert ("active", "ended") == (between["status"], after["status"])
    assert {**between, "status": "ended"} == after


def test_session_metrics_unknown_is_none(script: Script) -> None:
    """Nobody reported tokens or a price: that is no zero."""
    with session_context("s-1"):
        pass

    totals = session_metrics("s-1")
    assert (None, None, 1) == (totals["tokens"], totals["cost"], totals["turns"])


def test_session_metrics_stand_on_the_handle(script: Script) -> None:
    """The handle has the same."""
    with session_context("s-1") as session, turn() as mine:
        mine.add_usage(input_tokens=10, output_tokens=5)
        assert session_metrics("s-1") == session.metrics()


def test_session_metrics_of_nobody_raise(script: Script) -> None:
    """A wrong id is an error with a name of its own."""
    with pytest.raises(SessionNotFound, match="neither the store nor the history"):
        session_metrics("never-heard-of")
    with pytest.raises(LookupError, match="no session is current"):
        session_metrics()


def test_lifecycle_in_async_code(script: Script) -> None:
    """The same functions for event loops."""

    async def main() -> tuple[Any, bool]:
        session_id = await start_session_async("user-1", type="chat")
        async with session_context(session_id), turn():
            current_turn().add_usage(input_tokens=1, output_tokens=1)  # type: ignore[union-attr]
        return await session_metrics_async(session_id), await end_session_async(session_id)

    totals, ended = asyncio.run(main())

    assert (2, True) == (totals["tokens"], ended)


def test_usage_between_turns_is_the_sessions(script: Script) -> None:
    """What is reported while no turn is open is counted all the same."""
    with session_context("s-1"), turn() as mine:
        pass
    mine.add_usage(input_tokens=7, output_tokens=1)

    assert 8 == script.ended()["session.total_tokens"]
