"""Which of the turns that run here have to be renewed."""

from __future__ import annotations

import gc

from session_mw._core.open_turns import OpenTurns
from session_mw._core.turn_state import TurnState, Usage


class Taker:
    """Whoever takes late usage."""

    def late_usage(self, session_id: str, generation: int, used: Usage, /) -> None:
        raise AssertionError("nothing is reported here")


def turn_of(session_id: str) -> TurnState:
    made = TurnState(lambda: "id", 1, 0)
    made.owner = (session_id, 1, Taker())
    return made


def test_a_turn_is_named_from_the_second_look_on() -> None:
    """A turn younger than the interval between two looks needs no renewal: its touch keeps it."""
    held, turn = OpenTurns(), turn_of("s")
    held.add(turn)

    assert ([], ["s"], ["s"]) == (held.overdue(), held.overdue(), held.overdue())


def test_sessions_are_named_once_and_ended_turns_not_at_all() -> None:
    """Two turns of a session are one renewal; a turn that ended is none, removed or not."""
    held, turns = OpenTurns(), [turn_of(name) for name in ("a", "a", "b", "c")]
    for turn in turns:
        held.add(turn)
    held.overdue()
    held.remove(turns[2])
    turns[3].ended = True

    assert ["a"] == held.overdue()


def test_a_forgotten_turn_is_let_go() -> None:
    """A turn that nobody holds any more will never end by itself: it must not keep its session alive."""
    held, turn = OpenTurns(), turn_of("s")
    held.add(turn)
    held.overdue()
    del turn
    gc.collect()

    assert [] == held.overdue()


def test_a_turn_that_nobody_stored_is_not_renewed() -> None:
    """There is no session to renew."""
    held, turn = OpenTurns(), TurnState(lambda: "id", 1, 0)
    held.add(turn)
    held.overdue()

    assert [] == held.overdue()
