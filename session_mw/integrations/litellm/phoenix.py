"""
LiteLLM's Phoenix logger (v1) with sessions.

A subclass of LiteLLM's own class, which calls the original and then says what it did not know; what it overrides is
public there. Phoenix gets two spans for a model call, and LiteLLM writes tokens and cost onto both, so that they count
twice. The outer one keeps everything but usage, and is a ``CHAIN``: Phoenix adds up spans of kind ``LLM``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from ..._core.scope import present
from ...telemetry.install import instrument
from .offered import PHOENIX, find

logger = logging.getLogger("session_mw")

OUTER_SPAN: Final = "litellm_proxy_request"
KIND: Final = "openinference.span.kind"
_USAGE: Final = ("llm.token_count.", "llm.cost.", "llm.response.cost", "gen_ai.usage.")

ArizePhoenixLogger: Any = find(PHOENIX) or type("NoPhoenixLogger", (), {})


class SessionPhoenixLogger(ArizePhoenixLogger):  # type: ignore[misc]  # LiteLLM need not be there when types are checked
    """Session attributes have the last word, and usage stands on one span."""

    def set_attributes(self, span: Any, kwargs: Any, response_obj: Any) -> None:
        """Let LiteLLM write its attributes, then say the session's."""
        outer = getattr(span, "name", "") == OUTER_SPAN
        super().set_attributes(_WithoutUsage(span) if outer else span, kwargs, response_obj)
        if outer:
            span.set_attribute(KIND, "CHAIN")
        scope = present()
        if scope is not None:
            logger.debug("[PHOENIX DEBUG] Setting session.id = %s", scope.session_id)
            span.set_attributes(dict(scope.stamp))

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Stamp what is traced for the project of this very key, too: LiteLLM makes a provider for each."""
        stamp(self, kwargs)
        await super().async_log_success_event(kwargs, response_obj, start_time, end_time)

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """The same for calls that failed."""
        stamp(self, kwargs)
        await super().async_log_failure_event(kwargs, response_obj, start_time, end_time)


class _WithoutUsage:
    """A span that takes everything but usage."""

    def __init__(self, span: Any) -> None:
        self._span = span

    def __getattr__(self, name: str) -> Any:
        return getattr(self._span, name)

    def set_attribute(self, key: str, value: Any) -> None:
        if not key.startswith(_USAGE):
            self._span.set_attribute(key, value)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        for key, value in attributes.items():
            self.set_attribute(key, value)


def stamp(one: Any, kwargs: Any) -> None:
    """Give the provider for the project of a request the span processor, by the SDK's own method."""
    tracer = one.get_tracer_to_use_for_request(kwargs)
    processors = getattr(tracer, "span_processor", None)  # of the provider: all of its tracers share them
    if processors is not None:
        instrument(tracer_provider=processors, propagator=False)


def take_over(one: Any) -> bool:
    """Let LiteLLM's own instance be of our subclass, with all that it has; return whether it is one of these."""
    if type(one) is not ArizePhoenixLogger:
        return False
    one.__class__ = SessionPhoenixLogger
    stamp(one, {})
    logger.debug("LiteLLM's arize_phoenix logger says sessions from now on")
    return True
