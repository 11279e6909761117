"""Steps that happen in one session, in order."""

from __future__ import annotations

from collections.abc import Sequence

from ..filters.tree import Node
from .answers import Funnel, FunnelStep, Spread
from .asked import Analyzing
from .shares import share
from .sources import Mark, Source
from .spreads import spread

MOST_STEPS = 20


class Funnelling:
    """
    How many sessions take each step.

    Args:
        asked: Which sessions.
        steps: Actions, in order; others may occur between them.

    Raises:
        ValueError: There is no step, or more than 20.
    """

    oldest_first = False

    def __init__(self, asked: Analyzing, steps: Sequence[str]) -> None:
        if not 0 < len(steps) <= MOST_STEPS:
            hint = f"Name 1 to {MOST_STEPS} actions, in order."
            raise ValueError(f"cannot ask for a funnel of {len(steps)} steps. {hint}")
        self.asked = asked
        self.tree: Node = asked.within
        self._steps = tuple(steps)
        self._sessions = 0
        self._times: list[list[int]] = [[] for _ in steps]  # since the step before
        self._whole: list[int] = []

    def take(self, source: Source) -> None:
        sessions, found = source.size(), source.marks(sorted(set(self._steps)))
        self._sessions += sessions
        for marks in found:
            self._walk(marks)

    def _walk(self, marks: Sequence[Mark]) -> None:
        at, first, before = 0, 0, 0
        for action, began in marks:
            if action == self._steps[at]:
                first = began if at == 0 else first
                self._times[at].append(max(0, began - before) if at else 0)
                before, at = began, at + 1
                if at == len(self._steps):
                    self._whole.append(max(0, began - first))
                    return

    def answer(self, stopped: bool) -> Funnel:
        return Funnel(self._sessions, tuple(map(self._step, range(len(self._steps)))), self._all(), stopped)

    def _step(self, at: int) -> FunnelStep:
        taken = [len(times) for times in self._times]
        previous = None if at == 0 else share(taken[at], taken[at - 1])
        times = spread(sorted(self._times[at]) if at else [])
        return FunnelStep(self._steps[at], taken[at], previous, share(taken[at], taken[0]), times)

    def _all(self) -> Spread:
        return spread(sorted(self._whole))
