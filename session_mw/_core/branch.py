"""
One line of work inside a session: its own conversation and turn, everything else shared.

A session may hold several conversations and turns at a time (``asyncio.gather``, threads). What belongs to the session
(its user, its attributes, that it ended) is said once and seen by all; what belongs to the line (conversation, turn,
open spans) must not be seen by the others.
"""

from __future__ import annotations

from typing import Any

from .scope import SessionScope

# What the application says of the session, whichever line it says it in.
_SHARED = (
    "session_id",
    "generation",
    "previous_id",
    "user_id",
    "started_ms",
    "origin_ms",
    "idle_ms",
    "attributes",
    "changes",
    "session_span",
    "stored",
    "remote",
    "named",
    "fresh",
    "confirmed",
    "accessed",
    "rebind",
    "recovered",
    "replied",
    "ended",
    "end_reason",
    "successor",
    "successor_user",
    "rules",
    "extra",
)


class Branch(SessionScope):
    """
    A scope for one line of work.

    Args:
        trunk: The scope it grows from, itself perhaps a branch.

    Attributes:
        trunk: The session's own scope.
    """

    aside = True

    def __init__(self, trunk: SessionScope) -> None:
        self.trunk: SessionScope = trunk.trunk if isinstance(trunk, Branch) else trunk
        self.spans: list[Any] = []
        self.opened_ms, self.clock_ms = trunk.opened_ms, trunk.clock_ms
        self.conversation_id, self.topic = trunk.conversation_id, trunk.topic
        self.conversation_turn = trunk.conversation_turn
        self.turn, self.remote_turn = trunk.turn, trunk.remote_turn
        self._stamp = None
        self.trunk.branches = [*self.trunk.branches, self]

    def close(self) -> None:
        """Let the session forget this line: it has ended."""
        self.trunk.branches = [branch for branch in self.trunk.branches if branch is not self]

    def restamp(self) -> None:
        """Let every line's stamp be worked out anew."""
        self._stamp = None
        self.trunk.restamp()

    def lines(self) -> list[SessionScope]:
        """Return the session's scope and all its lines."""
        return self.trunk.lines()


def _shared(name: str) -> property:
    def get(self: Branch) -> Any:
        return getattr(self.trunk, name)

    def put(self: Branch, value: Any) -> None:
        setattr(self.trunk, name, value)

    return property(get, put)


for _name in _SHARED:
    setattr(Branch, _name, _shared(_name))
