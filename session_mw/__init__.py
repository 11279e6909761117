"""
Session tracking for LLM and agent applications.

One line of middleware, and every span and log record says which user, session, conversation and turn it belongs to.
What is not in ``__all__`` may change without notice. Importing this loads no framework, no SDK and no driver.
"""

from __future__ import annotations

from ._core.usage import TokenUsage
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
from .exceptions import IllegalTransition, MissingDependency, SessionError, SettingsError, StoreError, StoreUnavailable
from .settings import InsecureSettingsWarning, SessionSettings
from .telemetry.install import instrument
from .telemetry.processors import SessionLogRecordProcessor, SessionSpanProcessor
from .telemetry.propagator import SessionBaggagePropagator
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
    "SessionSettings",
    "SessionSpanProcessor",
    "SettingsError",
    "StoreError",
    "StoreUnavailable",
    "TokenUsage",
    "Turn",
    "copy_context",
    "current_conversation",
    "current_session",
    "current_turn",
    "hash_user_id",
    "instrument",
    "turn_endpoint",
]
