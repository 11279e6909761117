"""
Names on the wire: attributes, events, headers. Nothing else may spell them out.

``session.id``, ``session.previous_id``, the events ``session.start`` and ``session.end``, ``user.id``, ``user.hash``,
``gen_ai.conversation.id`` and ``log.record.uid`` are OpenTelemetry semantic conventions
(https://opentelemetry.io/docs/specs/semconv/general/session/); conventions define no reason, totals or turns, so the
rest are this project's. Totals never stand under ``gen_ai.usage.*``, ``llm.token_count.*`` or ``llm.cost.*``: back
ends would add them to the sum of the spans. No name starts with ``input`` or ``output``: one back end takes any such
key for content.
"""

from __future__ import annotations

from typing import Final

SESSION_ID: Final = "session.id"
SESSION_PREVIOUS_ID: Final = "session.previous_id"
SESSION_NEXT_ID: Final = "session.next_id"
SESSION_TYPE: Final = "session.type"
SESSION_NAME: Final = "session.name"
SESSION_PROMPT_VERSION: Final = "session.prompt_version"
SESSION_CHANNEL: Final = "session.channel"
SESSION_CLIENT_VERSION: Final = "session.client_version"
SESSION_LOCALE: Final = "session.locale"
SESSION_START_TIME: Final = "session.start_time"
SESSION_END_TIME: Final = "session.end_time"
SESSION_END_REASON: Final = "session.end_reason"
SESSION_DURATION_MS: Final = "session.duration_ms"
SESSION_IDLE_TIME_MS: Final = "session.idle_time_ms"
SESSION_INACTIVE_TIMEOUT: Final = "session.inactive_timeout"
SESSION_TOTAL_TURNS: Final = "session.total_turns"
SESSION_COMPLETED_TURNS: Final = "session.completed_turns"
SESSION_FAILED_TURNS: Final = "session.failed_turns"
SESSION_TOTAL_TOKENS: Final = "session.total_tokens"
SESSION_TOTAL_INPUT_TOKENS: Final = "session.total_input_tokens"
SESSION_TOTAL_OUTPUT_TOKENS: Final = "session.total_output_tokens"
SESSION_TOTAL_COST_USD: Final = "session.total_cost_usd"
SESSION_AVG_TURN_LATENCY_MS: Final = "session.avg_turn_latency_ms"
SESSION_AVG_TURN_TOKENS: Final = "session.avg_turn_tokens"
SESSION_USER_SATISFACTION: Final = "session.user_satisfaction"
SESSION_OUTCOME: Final = "session.outcome"
SESSION_OUTCOME_SOURCE: Final = "session.outcome_source"
SESSION_STATUS: Final = "session.status"
SESSION_GENERATION: Final = "session.generation"
SESSION_EMIT_ATTEMPT: Final = "session.emit_attempt"
SESSION_RECOVERED: Final = "session.recovered"
SESSION_CONFIRMED: Final = "session.confirmed"
SESSION_PARTIAL: Final = "session.partial"
SESSION_SIG: Final = "session.sig"

USER_ID: Final = "user.id"
USER_HASH: Final = "user.hash"
USER_TIER: Final = "user.tier"
USER_ORG_ID: Final = "user.org_id"
USER_SESSIONS_TOTAL: Final = "user.sessions_total"
USER_AVG_SESSION_LENGTH: Final = "user.avg_session_length"
USER_RETENTION_DAYS: Final = "user.retention_days"

CONVERSATION_ID: Final = "conversation.id"
GEN_AI_CONVERSATION_ID: Final = "gen_ai.conversation.id"
CONVERSATION_SESSION_ID: Final = "conversation.session_id"
CONVERSATION_TOPIC: Final = "conversation.topic"
CONVERSATION_TURN_NUMBER: Final = "conversation.turn_number"
CONVERSATION_TOTAL_TURNS: Final = "conversation.total_turns"

TURN_ID: Final = "turn.id"
TURN_NUMBER: Final = "turn.number"
TURN_ROLE: Final = "turn.role"
TURN_INPUT_LENGTH: Final = "turn.input_length"
TURN_INPUT_TYPE: Final = "turn.input_type"
TURN_HAS_ATTACHMENTS: Final = "turn.has_attachments"
TURN_OUTPUT_LENGTH: Final = "turn.output_length"
TURN_OUTPUT_TYPE: Final = "turn.output_type"
TURN_AGENT_RUNS: Final = "turn.agent_runs"
TURN_TOOL_CALLS: Final = "turn.tool_calls"
TURN_ERRORS: Final = "turn.errors"
TURN_LATENCY_MS: Final = "turn.latency_ms"
TURN_TIME_TO_FIRST_CHUNK_MS: Final = "turn.time_to_first_chunk_ms"
TURN_INTENT: Final = "turn.intent"
TURN_ACTION: Final = "turn.action"

METADATA: Final = "metadata"

DROPOFF_DETECTED: Final = "dropoff.detected"
DROPOFF_LAST_TURN: Final = "dropoff.last_turn"
DROPOFF_LAST_INTENT: Final = "dropoff.last_intent"
DROPOFF_AGENT_LAST_ACTION: Final = "dropoff.agent_last_action"
DROPOFF_TIME_SINCE_LAST_TURN_MS: Final = "dropoff.time_since_last_turn_ms"

JOURNEY_CONVERTED: Final = "journey.converted"

LOG_RECORD_UID: Final = "log.record.uid"

EVENT_START: Final = "session.start"
EVENT_END: Final = "session.end"
EVENT_USAGE_LATE: Final = "session.usage_late"

# Internal: kept with the session, never shown under these names.
LAST_INTENT: Final = "_intent"
LAST_ACTION: Final = "_action"
LAST_TRACE: Final = "_trace"  # "<trace id>-<span id>-<flags>" of the last turn, as in traceparent

# Shown on every span and log record when set; the rest of a session's attributes stand on its span and its end.
EVERYWHERE: Final = (SESSION_TYPE, SESSION_NAME, SESSION_PROMPT_VERSION)
