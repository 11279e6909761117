"""Sessions and turns at hand, as a part of a history: the reference for what databases answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..rows import SessionRow, TurnRow
from .bundles import ROW
from .sources import Mark, Trail, gaps_of


class Memory:
    """
    Some sessions.

    Args:
        sessions: Each with its turns in the order in which they began.
    """

    def __init__(self, sessions: Sequence[tuple[SessionRow, Sequence[TurnRow]]]) -> None:
        self._sessions = sessions

    def rows(self) -> Iterable[Sequence[Any]]:
        return [[getattr(row, column) for column in ROW] for row, _ in self._sessions]

    def gaps(self) -> Mapping[int, Sequence[int]]:
        times = ((row.pk, [(turn.started_ms, turn.latency_ms) for turn in turns]) for row, turns in self._sessions)
        return {pk: gaps_of(mine) for pk, mine in times}

    def trails(self, outcomes: Sequence[str] | None = None) -> Iterable[Trail]:
        for row, turns in self._sessions:
            if turns and (outcomes is None or row.outcome in outcomes):
                yield Trail(tuple(turn.action for turn in turns), row.outcome, row.status, 1)

    def marks(self, actions: Sequence[str]) -> Iterable[Sequence[Mark]]:
        for _, turns in self._sessions:
            named = ((turn.action, turn.started_ms) for turn in turns if turn.action is not None)
            yield [mark for mark in named if mark[0] in actions]

    def lengths(self) -> Mapping[int, int]:
        return Counter(row.turns for row, _ in self._sessions if row.status != "active")

    def size(self) -> int:
        return len(self._sessions)
