"""What a sampler went by before the middleware had the request: taken over, and checked against what is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import get_current

from .._core.admission import Presented, admit
from .._core.facts import RequestFacts
from .._core.identity import sampling_key_of
from .._core.scope import present
from ..telemetry.early import early_in
from . import hints

if TYPE_CHECKING:
    from .parts import Parts


def read_early(carrier: Any) -> RequestFacts | None:
    """Return the facts of a scope or environ, where they were read for a sampler, and hold."""
    early = early_in(get_current())
    return None if early is None or early.taken else early.facts_of(carrier)


def presented(engine: Parts, facts: RequestFacts, now_ms: int) -> Presented:
    """Return what a request presents, as it was found for a sampler, where one has asked."""
    early = early_in(get_current())
    if early is not None:
        return early.hand_over(facts, engine.policy, now_ms)
    if engine.spans.by_session and present() is None and trace.get_current_span().get_span_context().is_valid:
        hints.sampled_blindly()
    return admit(facts, engine.policy, now_ms)


def check_decided(engine: Parts, decided: str, session_id: str) -> None:
    """Say once when a sampler went by another session's key than that of the session found."""
    if decided != session_id and sampling_key_of(decided) != sampling_key_of(session_id) and engine.spans.by_session:
        hints.sampled_apart()
