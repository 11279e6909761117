"""Where analytics read: a part of a history, a moment of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

Mark = tuple[str, int]  # an action, and when its turn began


class Trail(NamedTuple):
    """What sessions did that all did the same: the actions of their turns in order, and how many sessions these are."""

    actions: tuple[str | None, ...]
    outcome: str | None
    status: str
    sessions: int


class Source(Protocol):
    """Some sessions."""

    def rows(self) -> Iterable[Sequence[Any]]:
        """Return the columns ``bundles.ROW`` of each session, in no order."""

    def gaps(self) -> Mapping[int, Sequence[int]]:
        """Return the times between turns of sessions that have some, by ``pk``."""

    def trails(self, outcomes: Sequence[str] | None = None) -> Iterable[Trail]:
        """
        Return what sessions with turns did, in no order; the same trail may come several times.

        Args:
            outcomes: Only of sessions that came to one of these.
        """

    def marks(self, actions: Sequence[str]) -> Iterable[Sequence[Mark]]:
        """Return those turns of each session that did one of *actions*, in order; without sessions that have none."""

    def lengths(self) -> Mapping[int, int]:
        """Return how many of the sessions that have ended have so many turns."""

    def size(self) -> int:
        """Return how many sessions there are."""


def gaps_of(times: Sequence[tuple[int, int]]) -> list[int]:
    """Return the milliseconds between turns, given the begin and the latency of each in order."""
    return [max(0, after[0] - sum(before)) for before, after in pairwise(times)]
