"""What was forgotten on demand: of a user who wants it, or a single session."""

from __future__ import annotations

from dataclasses import dataclass

from . import values
from .filters.fields import FIELDS
from .filters.tree import And, Equals, Node


@dataclass(frozen=True, slots=True)
class Forgotten:
    """
    How much was forgotten.

    Attributes:
        sessions: With their attributes.
        turns: Of these.
        late_usage: Reports of usage after the end.
        active: Sessions that had not ended: they are written again when they do.
    """

    sessions: int = 0
    turns: int = 0
    late_usage: int = 0
    active: int = 0

    def plus(self, more: Forgotten) -> Forgotten:
        """Return both together."""
        return Forgotten(
            self.sessions + more.sessions,
            self.turns + more.turns,
            self.late_usage + more.late_usage,
            self.active + more.active,
        )


def doomed(user_id: str | None, session_id: str | None) -> Node:
    """
    Return which sessions are to be forgotten.

    Raises:
        ValueError: Neither a user nor a session was named: that would be all.
    """
    asked = (("user_id", user_id), ("session_id", session_id))
    parts = tuple(Equals(FIELDS[name], values.text(text)) for name, text in asked if text)
    if not parts:
        raise ValueError("cannot forget: no user and no session was named. Give user_id, session_id, or both.")
    return And(parts)
