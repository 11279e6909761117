"""The questions, as every ledger takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from ..filters.tree import Node
from .answers import DropOff, Engagement, FirstActions, Flows, Funnel, Overview, Paths, Resolution, Retention
from .asked import Analyzing
from .funnels import Funnelling
from .sources import Source
from .sums import Engaging, Overviewing, Retaining
from .trails import Beginning, Dropping, Flowing, Pathing, Resolving

T = TypeVar("T")
A_co = TypeVar("A_co", covariant=True)


class Question(Protocol[A_co]):
    """
    A question, while it is being answered.

    Attributes:
        asked: What is meant.
        tree: Which sessions.
        oldest_first: In which order parts of the history have to come.
    """

    asked: Analyzing
    tree: Node
    oldest_first: bool

    def take(self, source: Source) -> None:
        """Take another part of the history into account."""

    def answer(self, stopped: bool) -> A_co:
        """Return the answer over what was taken; *stopped*: there was no time for the rest."""


class Questions:
    """What can be asked about many sessions at once. See the answers for what each is."""

    def _analyze(self, make: Callable[[], Question[T]]) -> T:
        """Return the answer to a question; it is made anew when it has to be asked again."""
        raise NotImplementedError

    def overview(self, asked: Analyzing) -> Overview:
        """Return sums, in all and for each day."""
        return self._analyze(lambda: Overviewing(asked))

    def engagement(self, asked: Analyzing) -> Engagement:
        """Return how much people do in a session."""
        return self._analyze(lambda: Engaging(asked))

    def first_actions(self, asked: Analyzing) -> FirstActions:
        """Return what sessions begin with."""
        return self._analyze(lambda: Beginning(asked))

    def flows(self, asked: Analyzing) -> Flows:
        """Return which action follows which, step by step."""
        return self._analyze(lambda: Flowing(asked))

    def paths(self, asked: Analyzing) -> Paths:
        """Return the most frequent first three actions."""
        return self._analyze(lambda: Pathing(asked))

    def resolution(self, asked: Analyzing) -> Resolution:
        """Return what resolved sessions do, beside unresolved ones."""
        return self._analyze(lambda: Resolving(asked))

    def dropoff(self, asked: Analyzing) -> DropOff:
        """Return after how many turns sessions end."""
        return self._analyze(lambda: Dropping(asked))

    def funnel(self, asked: Analyzing, steps: Sequence[str]) -> Funnel:
        """
        Return how many sessions take each of some steps, in order.

        Args:
            asked: Which sessions.
            steps: Actions; others may occur between them.

        Raises:
            ValueError: There is no step, or more than 20.
        """
        return self._analyze(lambda: Funnelling(asked, steps))

    def retention(self, asked: Analyzing, weeks: int = 8) -> Retention:
        """
        Return users by the week of their first session.

        Args:
            asked: Which sessions. Earlier ones are read as well: they tell who is new.
            weeks: How many after the first one.
        """
        return self._analyze(lambda: Retaining(asked, weeks))
