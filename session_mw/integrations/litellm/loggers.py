"""
What LiteLLM calls back.

No function of LiteLLM is replaced. Its list of callbacks is given one more ``CustomLogger``, the last: what LiteLLM and
others refuse before a model is called, they have refused by then. Its Phoenix logger is given a subclass of its own
class (``phoenix``); its tracer providers are given the span processor by the SDK's own method. What of LiteLLM is used
for it stands in ``offered``.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import Any, Final

from ..._core import names
from ..._core.scope import SessionScope, present
from ...exceptions import MissingDependency
from ...telemetry.install import instrument
from ...telemetry.notices import once
from ...telemetry.rollup import count
from .calls import current_call
from .offered import IN_MEMORY, find, missing
from .payloads import reading_of, span_of

try:
    import litellm
    from litellm.integrations.custom_logger import CustomLogger
except ImportError as error:
    raise MissingDependency("session_mw.integrations.litellm", "litellm[proxy]", "litellm") from error

from .phoenix import take_over

logger = logging.getLogger("session_mw")

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
_PASSED_ON: Final = "pass_through_endpoint"  # LiteLLM's word for calls that it hands on as they are
_entries = itertools.count(-1, -1)  # no span has such an id


class SessionLogger(CustomLogger):  # type: ignore[misc]  # LiteLLM need not be there when types are checked
    """Begins turns, says in LiteLLM's metadata which session a request belongs to, and counts what its answer used."""

    async def async_pre_call_hook(self, user_api_key_dict: Any, cache: Any, data: Any, call_type: Any) -> Any:
        """Merge the session into ``metadata`` and ``requester_metadata``; everything else in them stays."""
        adopt()
        call = current_call.get()
        try:
            if call is not None:
                await call.let_in()
                if isinstance(data, MutableMapping):
                    merge(data, call.scope, call.trace_id)
        except Exception as error:
            once("litellm-pre-call", logger.error, "cannot begin a turn at LiteLLM's proxy: %r", error)
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
            count((scope.turn, None, next(_entries)), reading_of(payload), False, span_of(payload))

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Note an answer that broke off. A call that fails before may yet be answered by another deployment."""
        call = current_call.get()
        if call is not None and call.answering:
            call.failed(type(kwargs.get("exception")).__name__)


callback = SessionLogger()


def merge(data: MutableMapping[str, Any], scope: SessionScope, trace_id: str | None = None) -> None:
    """
    Merge the session into a request's metadata, in place.

    ``metadata`` of Anthropic's dialect goes to the model's provider, who refuses what it does not know: LiteLLM keeps
    its own in ``litellm_metadata`` there. A client's own trace id is kept as ``client_trace_id``: what LiteLLM calls
    the trace id is the ``session_id`` of its spend logs.
    """
    known = {key: scope.stamp[name] for key, name in _IN_METADATA.items() if name in scope.stamp}
    own = data.setdefault("litellm_metadata" if "litellm_metadata" in data else "metadata", {})
    if not isinstance(own, MutableMapping):
        return
    if trace_id is not None:
        known["client_trace_id"] = trace_id
    own.update(known)
    for part in ("requester_metadata", "spend_logs_metadata"):  # the latter is all that the spend logs keep
        theirs = own.get(part)
        own[part] = {**theirs, **known} if isinstance(theirs, Mapping) else dict(known)
    data["litellm_session_id"] = scope.session_id
    logger.debug("[LOGGING] Injected session metadata: %s", ", ".join(sorted(known)))


def adopt() -> None:
    """
    See to it that LiteLLM calls back, and that loggers it has made say sessions. Idempotent; a few comparisons.

    LiteLLM makes its loggers when the configuration is read, with the first request, or for a key or team that asks
    for one; reading the configuration may replace the list of callbacks.
    """
    try:
        _be_called_last()
        made = _made()
        _warn_of_doubles(made)
        for one in made:
            if not take_over(one) and hasattr(one, "tracer_provider"):  # v2's
                instrument(tracer_provider=one.tracer_provider, propagator=False)
        instrument(propagator=False)
    except Exception as error:
        once("litellm-adopt", logger.error, "cannot give LiteLLM's loggers their sessions: %r", error)


def _be_called_last() -> None:
    """Stand at the end of LiteLLM's callbacks. In a new list: a request may be going through the old one."""
    others = litellm.callbacks
    if not others or others[-1] is not callback:
        litellm.callbacks = [*(one for one in others if one is not callback), callback]


def _made() -> list[Any]:
    """Return the loggers that LiteLLM has made: configured ones, and those that keys and teams have asked for."""
    more: Iterable[Any] = find(IN_MEMORY) or ()
    found = [one for one in litellm.callbacks if not isinstance(one, str) and one is not callback]
    return found + [one for one in list(more) if not any(one is other for other in found)]


def state() -> dict[str, Any]:
    """Return what ``session-mw doctor`` wants to know of LiteLLM: its callbacks, and which of them export telemetry."""
    told = [one if isinstance(one, str) else type(one).__name__ for one in [*litellm.callbacks, *_made()]]
    return {"callbacks": sorted(set(told)), "telemetry": telemetry(told), "missing": [use.path for use in missing()]}


def telemetry(callbacks: Sequence[str]) -> list[str]:
    """Return the callbacks that export spans, by LiteLLM's names for them: each tells of every answer."""
    return sorted({_TELEMETRY[name] for name in callbacks if name in _TELEMETRY})


def say_what_is_missing() -> None:
    """Tell, once, what of LiteLLM is not as it is known here, and what goes without."""
    for use in missing():
        once(
            "litellm-missing:" + use.path,
            logger.warning,
            "this LiteLLM has no %s as session_mw knows it: %s. Requests are served all the same.",
            use.path,
            use.without,
        )


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


say_what_is_missing()
