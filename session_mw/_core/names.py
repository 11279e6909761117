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
SESSION_IMPORTED: Final = "session.imported"  # in the history only: its end was made by an import, its sums are counted

AGENT_SESSION_ID: Final = "agent.session.id"  # a coding agent's own, where a proxy sees it
AGENT_TRACE_ID: Final = "agent.trace.id"  # what a client calls the trace of a call, of the same

USAGE_PARTIAL: Final = "usage.partial"

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
CONVERSATION_MESSAGES_IN_CONTEXT: Final = "conversation.messages_in_context"
CONVERSATION_CONTEXT_TOKENS: Final = "conversation.context_tokens"
CONVERSATION_CONTEXT_WINDOW_PCT: Final = "conversation.context_window_pct"

CONTEXT_TOKENS: Final = "context.tokens"
CONTEXT_CURRENT_TOKENS: Final = "context.current_tokens"
CONTEXT_NEW_TOKENS: Final = "context.new_tokens"
CONTEXT_LIMIT: Final = "context.limit"
CONTEXT_PRUNED: Final = "context.pruned"
CONTEXT_MESSAGES_PRUNED: Final = "context.messages_pruned"

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
TURN_CALLS_DROPPED: Final = "turn.calls_dropped"  # in the history only: calls of a turn beyond those that are kept
TURN_LATENCY_MS: Final = "turn.latency_ms"
TURN_TIME_TO_FIRST_CHUNK_MS: Final = "turn.time_to_first_chunk_ms"
TURN_INTENT: Final = "turn.intent"
TURN_ACTION: Final = "turn.action"
TURN_REQUEST_BODY_BYTES: Final = "turn.request_body_bytes"
TURN_RESPONSE_BODY_BYTES: Final = "turn.response_body_bytes"

# On the spans that ``session-mw export`` makes, so that an import gives back the same turn.
TURN_STATUS: Final = "turn.status"
TURN_INPUT_TOKENS: Final = "turn.input_tokens"
TURN_OUTPUT_TOKENS: Final = "turn.output_tokens"
TURN_COST_USD: Final = "turn.cost_usd"
ERROR_TYPE: Final = "error.type"
EXPORT_MADE_UP: Final = "export.made_up"  # what of the span is not the turn's own, names with blanks between

METADATA: Final = "metadata"
SESSION_SCORE: Final = "session.score"  # session.score.<name>

# Steps inside a turn: OpenTelemetry's GenAI conventions (https://github.com/open-telemetry/semantic-conventions-genai).
GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_RESPONSE_ID: Final = "gen_ai.response.id"
GEN_AI_AGENT_NAME: Final = "gen_ai.agent.name"
GEN_AI_AGENT_ID: Final = "gen_ai.agent.id"
GEN_AI_AGENT_VERSION: Final = "gen_ai.agent.version"
GEN_AI_AGENT_DESCRIPTION: Final = "gen_ai.agent.description"
GEN_AI_TOOL_NAME: Final = "gen_ai.tool.name"
GEN_AI_TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
GEN_AI_TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
GEN_AI_TOOL_RESULT: Final = "gen_ai.tool.call.result"
GEN_AI_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
GEN_AI_REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
# The conventions have no cost yet; several back ends read this name, on the span of the one call that it cost.
GEN_AI_COST: Final = "gen_ai.usage.cost"
OPENINFERENCE_KIND: Final = "openinference.span.kind"

# Steps told of after the fact (session_manager): they say lengths only unless content is captured.
STEP_TYPE: Final = "agent.step.type"
STEP_INPUT_LENGTH: Final = "agent.step.input_length"
STEP_OUTPUT_LENGTH: Final = "agent.step.output_length"
MCP_SERVER_NAME: Final = "mcp.server.name"
MCP_QUERY_LENGTH: Final = "mcp.query_length"
MCP_RESPONSE_LENGTH: Final = "mcp.response_length"

DROPOFF_DETECTED: Final = "dropoff.detected"
DROPOFF_LAST_TURN: Final = "dropoff.last_turn"
DROPOFF_LAST_INTENT: Final = "dropoff.last_intent"
DROPOFF_AGENT_LAST_ACTION: Final = "dropoff.agent_last_action"
DROPOFF_TIME_SINCE_LAST_TURN_MS: Final = "dropoff.time_since_last_turn_ms"

JOURNEY_NAME: Final = "journey.name"
JOURNEY_STAGE: Final = "journey.stage"
JOURNEY_STAGE_NUMBER: Final = "journey.stage_number"
JOURNEY_TOTAL_STAGES: Final = "journey.total_stages"
JOURNEY_TIME_IN_STAGE_MS: Final = "journey.time_in_stage_ms"
JOURNEY_CONVERTED: Final = "journey.converted"
JOURNEY_CONVERSION_TURN: Final = "journey.conversion_turn"
JOURNEY_CONVERSION_TIME_MS: Final = "journey.conversion_time_ms"

# What a launcher ran (session-mw run), and in which build: OpenTelemetry's process and CI/CD conventions.
PROCESS_EXECUTABLE_NAME: Final = "process.executable.name"
PROCESS_EXIT_CODE: Final = "process.exit.code"
CICD_PIPELINE_NAME: Final = "cicd.pipeline.name"
CICD_PIPELINE_RUN_ID: Final = "cicd.pipeline.run.id"
CICD_PIPELINE_RUN_URL: Final = "cicd.pipeline.run.url.full"

LOG_RECORD_UID: Final = "log.record.uid"

EVENT_START: Final = "session.start"
EVENT_END: Final = "session.end"
EVENT_USAGE_LATE: Final = "session.usage_late"

# In the history only: what was said in a turn, a JSON list of {"role", "type", "text", "name"}.
TURN_MESSAGES: Final = "turn.messages"

# Internal: kept with the session, never shown under these names.
LAST_INTENT: Final = "_intent"
LAST_ACTION: Final = "_action"
# "<trace id>-<span id>-<flags>", as in traceparent, "-", and when the last turn ended, the store's clock, hexadecimal.
LAST_TRACE: Final = "_trace"
STAGE_ENTERED: Final = "_stage_ms"  # when the journey's present stage was entered, the store's clock
FROZEN: Final = "_frozen"  # its end has been worked out: what was added to the record then is not worked out again
USER_TOTALS: Final = {  # as worked out then, and as shown
    "_user_sessions": USER_SESSIONS_TOTAL,
    "_user_length": USER_AVG_SESSION_LENGTH,
    "_user_days": USER_RETENTION_DAYS,
}

# Shown on every span and log record when set; the rest of a session's attributes stand on its span and its end.
EVERYWHERE: Final = (SESSION_TYPE, SESSION_NAME, SESSION_PROMPT_VERSION)
