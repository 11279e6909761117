"""Usage in a session that another service owns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.turn_state import Usage

if TYPE_CHECKING:
    from .engine import Engine


class Guest:
    """
    Takes the usage of a session that another service owns.

    Args:
        engine: Whose store may know the session.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def late_usage(self, session_id: str, generation: int, used: Usage) -> None:
        """Count it; see ``Engine.late_usage``."""
        self._engine.late_usage(session_id, generation, used, remote=True)
