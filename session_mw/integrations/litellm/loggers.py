"""
What LiteLLM calls back, and its Phoenix logger with sessions. The one module that imports LiteLLM.

No function of LiteLLM is replaced. Its registry is given one more ``CustomLogger``; its Phoenix logger is given a
subclass of its own class, which calls the original and then says what it did not know; its tracer providers are given
the span processor by the SDK's own method.

Phoenix (v1) makes two spans for a model call, and writes tokens and cost onto both, so that they count twice there.
The outer one keeps everything but usage, and is a ``CHAIN``: Phoenix adds up spans of kind ``LLM``.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Final

from ..._core import names
from ..._core.scope import SessionScope, present
from ..._core.usage import Reading, TokenUsage, count_of, microusd
from ...exceptions import MissingDependency
from ...telemetry.install import instrument
from ...telemetry.notices import once
from ...telemetry.rollup import count

try:
    import litellm
    from litellm.integrations.arize.arize_phoenix import ArizePhoenixLogger
    from litellm.integrations.custom_logger import CustomLogger
    from litellm.litellm_core_utils import litellm_logging
except ImportError as error:
    raise MissingDependency("session_mw.integrations.litellm", "litellm[proxy]", "litellm") from error

logger = logging.getLogger("session_mw")

OUTER_SPAN: Final = "litellm_proxy_request"
KIND: Final = "openinference.span.kind"
_USAGE: Final = ("llm.token_count.", "llm.cost.", "llm.response.cost", "gen_ai.usage.")
_IN_METADATA: Final = {
    "session_id": names.SESSION_ID,
    "session_type": names.SESSION_TYPE,
    "prompt_version": names.SESSION_PROMPT_VERSION,
    "session_name": names.SESSION_NAME,
}
_TELEMETRY: Final = {
    **{name: name for name in ("arize_phoenix", "otel", "arize", "langfuse_otel")},
    "ArizePhoenixLogger": "arize_phoenix",
    "SessionPhoenixLogger": "arize_phoenix",
    "OpenTelemetry": "otel",
    "ArizeLogger": "arize",
    "OpenTelemetryV2": "otel v2",
}
_entries = itertools.count(-1, -1)  # no span has such an id


class SessionLogger(CustomLogger):  # type: ignore[misc]  # LiteLLM need not be there when types are checked
    """Says in LiteLLM's metadata which session a request belongs to, and counts what its answer used."""

    async def async_pre_call_hook(self, user_api_key_dict: Any, cache: Any, data: Any, call_type: Any) -> Any:
        """Merge the session into ``metadata`` and ``requester_metadata``; everything else in them stays."""
        adopt()
        scope = present()
        if scope is not None and isinstance(data, MutableMapping):
            merge(data, scope)
        return data

    async def async_logging_hook(self, kwargs: Any, result: Any, call_type: Any) -> Any:
        """See to loggers that LiteLLM has made during this very request, before they are asked to log it."""
        adopt()
        return kwargs, result

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Count tokens and cost into the turn, once: LiteLLM's spans about the same answer have its id, too."""
        scope = present()
        payload = kwargs.get("standard_logging_object")
        if scope is not None and scope.turn is not None and isinstance(payload, Mapping):
            count((scope.turn, None, next(_entries)), reading_of(payload), False, 0)


class SessionPhoenixLogger(ArizePhoenixLogger):  # type: ignore[misc]
    """LiteLLM's Phoenix logger: session attributes have the last word, and usage stands on one span."""

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

    def _build_tracer_provider_for_project(self, project_name: str) -> Any:
        provider = super()._build_tracer_provider_for_project(project_name)
        instrument(tracer_provider=provider, propagator=False)
        return provider


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


callback = SessionLogger()


def merge(data: MutableMapping[str, Any], scope: SessionScope) -> None:
    """
    Merge the session into a request's metadata, in place.

    ``metadata`` of Anthropic's dialect goes to the model's provider, who refuses what it does not know: LiteLLM keeps
    its own in ``litellm_metadata`` there.
    """
    known = {key: scope.stamp[name] for key, name in _IN_METADATA.items() if name in scope.stamp}
    own = data.setdefault("litellm_metadata" if "litellm_metadata" in data else "metadata", {})
    if not isinstance(own, MutableMapping):
        return
    own.update(known)
    theirs = own.get("requester_metadata")
    own["requester_metadata"] = {**theirs, **known} if isinstance(theirs, Mapping) else dict(known)
    data["litellm_session_id"] = scope.session_id
    logger.debug("[LOGGING] Injected session metadata: %s", ", ".join(sorted(known)))


def reading_of(payload: Mapping[str, Any]) -> Reading:
    """Return what LiteLLM's standard logging payload says of a call."""
    tokens = TokenUsage(count_of(payload.get("prompt_tokens")) or None, count_of(payload.get("completion_tokens")))
    kind = "embedding" if "embedding" in str(payload.get("call_type")) else "model"
    provider, model, response_id = (_text(payload.get(key)) for key in ("custom_llm_provider", "model", "id"))
    return Reading(kind, tokens, microusd(payload.get("response_cost")), provider, model, response_id)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def adopt() -> None:
    """
    See to it that LiteLLM calls back, and that loggers it has made say sessions. Idempotent; a few comparisons.

    LiteLLM makes its loggers when the configuration is read, with the first request, or for a key or team that asks
    for one; reading the configuration may replace the list of callbacks.
    """
    try:
        if callback not in litellm.callbacks:
            litellm.logging_callback_manager.add_litellm_callback(callback)
        loggers = list(litellm_logging._in_memory_loggers)
        _warn_of_doubles(loggers)
        for one in loggers:
            if type(one) is ArizePhoenixLogger:
                _adopt_phoenix(one)
            elif hasattr(one, "tracer_provider"):  # v2's
                instrument(tracer_provider=one.tracer_provider, propagator=False)
        instrument(propagator=False)
    except Exception as error:
        once("litellm-adopt", logger.error, "cannot give LiteLLM's loggers their sessions: %r", error)


def _adopt_phoenix(one: Any) -> None:
    """Let LiteLLM's own instance be of our subclass, with the exporter and the providers that it has."""
    one.__class__ = SessionPhoenixLogger
    for provider in list(getattr(one, "_project_providers", {}).values()):
        instrument(tracer_provider=provider, propagator=False)
    logger.debug("LiteLLM's arize_phoenix logger says sessions from now on")


def state() -> dict[str, Any]:
    """Return what ``session-mw doctor`` wants to know of LiteLLM: its callbacks, and which of them export telemetry."""
    made = [type(one).__name__ for one in litellm_logging._in_memory_loggers]
    told = [one if isinstance(one, str) else type(one).__name__ for one in litellm.callbacks]
    return {"callbacks": sorted({*told, *made}), "telemetry": telemetry([*told, *made])}


def telemetry(callbacks: Sequence[str]) -> list[str]:
    """Return the callbacks that export spans, by LiteLLM's names for them: each tells of every answer."""
    return sorted({_TELEMETRY[name] for name in callbacks if name in _TELEMETRY})


def _warn_of_doubles(loggers: Sequence[Any]) -> None:
    found = telemetry([type(one).__name__ for one in loggers])
    if len(found) > 1:
        once(
            "litellm-doubles",
            logger.warning,
            "LiteLLM has the telemetry callbacks %s: into one back end, tokens and costs count twice there. Keep one, "
            "or give each a back end of its own. The proxy's own history counts once.",
            ", ".join(found),
        )
