"""What code sees of its session, and what is in the books afterwards."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.context import Context

from session_mw import (
    current_conversation,
    current_session,
    current_turn,
)

from .support import Script

NOBODY = (None, None, None, False)


def here() -> tuple[str | None, int | None, str | None, bool]:
    """Return session, turn, conversation, and whether a span is current, as code that runs here sees them."""
    session, exchange, thread = current_session(), current_turn(), current_conversation()
    return (
        None if session is None else session.id,
        None if exchange is None else exchange.number,
        None if thread is None else thread.id,
        trace.get_current_span().get_span_context().is_valid,
    )


def ask_model(tracer: trace.Tracer, tokens: int, context: Context | None = None) -> None:
    """Make the span of a model call, as any instrumentation would."""
    with tracer.start_as_current_span("chat m", context) as span:
        span.set_attributes({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": tokens})


def tokens_of(script: Script) -> dict[str, int | None]:
    """Return the tokens of every session, after all of them ended."""
    script.sweep(31)
    return {end.key[0]: dict(end.attributes).get("session.total_tokens") for end in script.ends()}
