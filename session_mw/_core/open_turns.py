"""
The turns that run in this process, so that their sessions are kept alive while somebody works on them.

A touch keeps a session alive for ``turn_timeout`` from its turn's begin. Longer turns (an agent's hour of work, a
socket that is one turn) are renewed by whoever runs them; when that process dies, nobody does, and the session ends
``turn_timeout`` after the last renewal. Turns are held weakly: one that was forgotten half-way must not live for ever.
"""

from __future__ import annotations

import weakref

from .turn_state import TurnState


class OpenTurns:
    """Which turns have begun here and not ended. Adding and removing cost a dictionary's entry each."""

    def __init__(self) -> None:
        self._turns: dict[int, weakref.ref[TurnState]] = {}
        self._before: set[int] = set()

    def add(self, turn: TurnState) -> None:
        """Note that *turn* runs here; it knows the session that it belongs to (``owner``)."""
        self._turns[id(turn)] = weakref.ref(turn)

    def remove(self, turn: TurnState) -> None:
        """Note that *turn* has ended."""
        self._turns.pop(id(turn), None)

    def overdue(self) -> list[str]:
        """
        Return the sessions of the turns that were open when this was last asked, each once.

        So asked once an interval, it names those whose turn is older than the interval, and no young one.
        """
        sessions: dict[str, None] = {}
        turns = self._turns.copy()
        for key, ref in turns.items():
            turn = ref()
            if turn is None or turn.ended:
                self._turns.pop(key, None)
            elif key in self._before and turn.owner is not None:
                sessions[turn.owner[0]] = None
        self._before = turns.keys() & self._turns.keys()
        return list(sessions)
