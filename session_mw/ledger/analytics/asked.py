"""What is asked about many sessions at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timezone, tzinfo

from .. import values
from ..filters import Filter, counted
from ..filters.fields import FIELDS
from ..filters.tree import And, Node, Range


@dataclass(frozen=True, slots=True)
class Analyzing:
    """
    Which sessions are looked at, and for how long.

    Attributes:
        where: Only those that fit it.
        include_unconfirmed: Also those that nobody confirmed: bots, webhooks.
        tz: Whose days and weeks are meant. The daily sums are kept by days of UTC: other days take longer.
        since_ms: Only sessions that started then or later, milliseconds since the epoch.
        until_ms: Only sessions that started before.
        seconds: How long it may take. Then the answer is that of the sessions looked at until then, and says so.
    """

    where: Filter | None = None
    include_unconfirmed: bool = False
    tz: tzinfo = timezone.utc
    since_ms: int | None = None
    until_ms: int | None = None
    seconds: float = 5.0

    @property
    def tree(self) -> Node:
        """Which sessions are meant, whenever they started."""
        return counted(self.where, self.include_unconfirmed)

    @property
    def within(self) -> Node:
        """Which sessions are meant."""
        low, high = (None if ms is None else values.bounded(ms) for ms in (self.since_ms, self.until_ms))
        if low is None and high is None:
            return self.tree
        return And((self.tree, Range(FIELDS["started"], low, high)))
