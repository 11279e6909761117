"""
Whether somebody else makes spans of a LangChain run already.

LangChain asks a configure hook's class whether one of a run's handlers is an instance of it, and adds ours only where
none is. So the question is asked for each run, when all its handlers are there: the ones that instrumentations put into
every run, whichever was installed first, and the ones that the caller gave to this run alone.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from opentelemetry import trace

from ..._hierarchy.runs import here
from ..._hierarchy.step import tracer

# Where handlers keep their tracer: OpenInference and most others; OpenLLMetry.
_TRACERS = ("_tracer", "tracer")
_LANGSMITH = "langchain_core.tracers.langchain"
_MLFLOW = "mlflow"
_TRUE = ("1", "true")


class MakesSpans(type):
    """Type of a class whose instances are all handlers that make spans in the provider that ours are made in."""

    def __instancecheck__(cls, instance: object) -> bool:
        return bool(getattr(instance, "makes_session_spans", False)) or makes_spans(instance)


class SpanMaker(metaclass=MakesSpans):
    """Any handler that makes spans, ours among them. See ``MakesSpans``."""


def makes_spans(handler: object) -> bool:
    """Return whether *handler* makes OpenTelemetry spans where ours would be made; never raises."""
    try:
        module = type(handler).__module__
        if module == _LANGSMITH:
            return _langsmith_makes_spans()
        if module.partition(".")[0] == _MLFLOW:
            return os.environ.get("MLFLOW_USE_DEFAULT_TRACER_PROVIDER", "true").lower() not in _TRUE
        found = _tracer_of(handler)
        return found is not None and _is_of_our_provider(found)
    except Exception:  # a handler is anybody's object
        return False


def _tracer_of(handler: Any) -> trace.Tracer | None:
    client = getattr(handler, "_langfuse_client", None)
    found = (*(getattr(handler, name, None) for name in _TRACERS), getattr(client, "_otel_tracer", None))
    return next((one for one in found if isinstance(one, trace.Tracer)), None)


def _is_of_our_provider(theirs: Any) -> bool:
    """Return whether spans of *theirs* go where ours go: some keep a provider of their own, for their own back end."""
    mine, other = _processor(tracer(here())), _processor(theirs)
    return mine is None or other is None or mine is other


def _processor(tracer: Any) -> Any:
    real = getattr(tracer, "_real_tracer", None) or tracer  # the API's proxy, made before there was a provider
    return getattr(real, "span_processor", None)


def _langsmith_makes_spans() -> bool:
    from langsmith import utils

    return any(str(utils.get_env_var(name, default="")).lower() in _TRUE for name in ("OTEL_ENABLED", "OTEL_ONLY"))


def takes_session_from_metadata() -> bool:
    """
    Return whether OpenInference is here: it calls a session what a run's metadata names ``session_id``, and without
    that its thread, over what stands on the span already.
    """
    return "openinference.instrumentation.langchain" in sys.modules
