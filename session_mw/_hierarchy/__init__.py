"""
What application code says with blocks and functions: sessions, conversations, turns, agent runs, model and tool calls.

    User (pseudonymous, persistent) > Session (one sitting) > Conversation (thread) > Turn (one exchange)
    > Agent run > Model call | Tool call

Inside a request they extend the session that the middleware opened; elsewhere (scripts, workers, notebooks, cron) they
open one of their own, in the store that ``configure`` names.
"""

from __future__ import annotations

from .calls import agent_run, llm_call, observe, tool_call
from .hosts import configure
from .imperative import clear_session, set_session, set_user
from .lifecycle import (
    end_session,
    end_session_async,
    session_metrics,
    session_metrics_async,
    start_session,
    start_session_async,
)
from .manager import SessionManager, session_manager
from .sessions import session_context
from .turns import conversation, turn
from .window import manage_context

__all__ = [
    "SessionManager",
    "agent_run",
    "clear_session",
    "configure",
    "conversation",
    "end_session",
    "end_session_async",
    "llm_call",
    "manage_context",
    "observe",
    "session_context",
    "session_manager",
    "session_metrics",
    "session_metrics_async",
    "set_session",
    "set_user",
    "start_session",
    "start_session_async",
    "tool_call",
    "turn",
]
