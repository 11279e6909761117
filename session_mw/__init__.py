"""
Session tracking for LLM and agent applications.

One line of middleware, and every span and log record says which user, session, conversation and turn it belongs to.
What is not in ``__all__`` may change without notice. Importing this loads no framework, no SDK and no driver.
"""

from __future__ import annotations

from ._core.usage import TokenUsage
from ._hierarchy import (
    SessionManager,
    agent_run,
    clear_session,
    configure,
    conversation,
    end_session,
    end_session_async,
    llm_call,
    manage_context,
    observe,
    session_context,
    session_manager,
    session_metrics,
    session_metrics_async,
    set_session,
    set_user,
    start_session,
    start_session_async,
    tool_call,
    turn,
)
from .context import (
    Conversation,
    Session,
    Turn,
    copy_context,
    current_conversation,
    current_session,
    current_turn,
    hash_user_id,
    turn_endpoint,
)
from .exceptions import (
    IllegalTransition,
    MissingDependency,
    SessionError,
    SessionNotFound,
    SettingsError,
    StoreError,
    StoreUnavailable,
)
from .settings import InsecureSettingsWarning, SessionSettings
from .telemetry.install import instrument
from .telemetry.processors import SessionLogRecordProcessor, SessionSpanProcessor
from .telemetry.propagator import SessionBaggagePropagator
from .telemetry.sampler import SessionRatioSampler
from .telemetry.sinks import CallableSink, ExporterSink, LoggerSink

__version__ = "0.1.0"

__all__ = [
    "CallableSink",
    "Conversation",
    "ExporterSink",
    "IllegalTransition",
    "InsecureSettingsWarning",
    "LoggerSink",
    "MissingDependency",
    "Session",
    "SessionBaggagePropagator",
    "SessionError",
    "SessionLogRecordProcessor",
    "SessionManager",
    "SessionNotFound",
    "SessionRatioSampler",
    "SessionSettings",
    "SessionSpanProcessor",
    "SettingsError",
    "StoreError",
    "StoreUnavailable",
    "TokenUsage",
    "Turn",
    "agent_run",
    "clear_session",
    "configure",
    "conversation",
    "copy_context",
    "current_conversation",
    "current_session",
    "current_turn",
    "end_session",
    "end_session_async",
    "hash_user_id",
    "instrument",
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
    "turn_endpoint",
]
