"""
What application code calls: handles on the current session, conversation and turn.

``current_session()`` never raises and never does I/O. What it returns may be written to from any thread, task,
generator or background work of the request; changes stamp the spans that are still open, go to the store after the
response, and show in the next request's spans.
"""

from __future__ import annotations

from .current import current_conversation, current_session, current_turn
from .marks import turn_endpoint
from .session import Session
from .threads import copy_context
from .turn import Conversation, Turn
from .users import hash_user_id

__all__ = [
    "Conversation",
    "Session",
    "Turn",
    "copy_context",
    "current_conversation",
    "current_session",
    "current_turn",
    "hash_user_id",
    "turn_endpoint",
]
