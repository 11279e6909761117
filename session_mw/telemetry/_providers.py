"""
Which providers are set up: the given ones, else the global ones, unless those are the API's place holders.

Without an SDK the API answers with proxies and no-ops. Telling them apart lets us do nothing at all then.
"""

from __future__ import annotations

import os
from typing import Any

from opentelemetry import _logs, metrics, trace

_API = ("opentelemetry.trace", "opentelemetry.metrics", "opentelemetry._logs")


def global_tracer_provider() -> Any:
    """
    Return the global tracer provider, as ``trace.get_tracer_provider`` does, for every request.

    That function looks into the environment while no provider is set, which costs more than the rest of what we do
    then. The slot it reads is private: without it, the function is called.
    """
    provider = getattr(trace, "_TRACER_PROVIDER", None)
    if provider is None:
        provider = _PLACE_HOLDERS.get("trace")
        if provider is None:
            provider = _hold("trace", trace.get_tracer_provider(), "OTEL_PYTHON_TRACER_PROVIDER")
    return provider


def global_logger_provider() -> Any:
    """Return the global logger provider; the same for logs."""
    provider = getattr(_internal_logs, "_LOGGER_PROVIDER", None)
    if provider is None:
        provider = _PLACE_HOLDERS.get("logs")
        if provider is None:
            provider = _hold("logs", _logs.get_logger_provider(), "OTEL_PYTHON_LOGGER_PROVIDER")
    return provider


def global_meter_provider() -> Any:
    """Return the global meter provider; the same for metrics."""
    provider = getattr(_internal_metrics, "_METER_PROVIDER", None)
    if provider is None:
        provider = _PLACE_HOLDERS.get("metrics")
        if provider is None:
            provider = _hold("metrics", metrics.get_meter_provider(), "OTEL_PYTHON_METER_PROVIDER")
    return provider


_internal_metrics: Any = getattr(metrics, "_internal", None)
_internal_logs: Any = getattr(_logs, "_internal", None)
_PLACE_HOLDERS: dict[str, Any] = {}
_SLOTS = {
    "trace": (trace, "_TRACER_PROVIDER"),
    "logs": (_internal_logs, "_LOGGER_PROVIDER"),
    "metrics": (_internal_metrics, "_METER_PROVIDER"),
}


def _hold(kind: str, provider: Any, variable: str) -> Any:
    """Remember a place holder, where the slot is as we know it and the environment names no provider."""
    module, name = _SLOTS[kind]
    if hasattr(module, name) and variable not in os.environ and _real(provider) is None:
        _PLACE_HOLDERS[kind] = provider
    return provider


def tracer_provider_of(given: Any = None) -> Any:
    """Return *given* or the global tracer provider; None when there is only a place holder."""
    return _real(given if given is not None else global_tracer_provider())


def meter_provider_of(given: Any = None) -> Any:
    """Return *given* or the global meter provider; None when there is only a place holder."""
    return _real(given if given is not None else global_meter_provider())


def logger_provider_of(given: Any = None) -> Any:
    """Return *given* or the global logger provider; None when there is only a place holder."""
    return _real(given if given is not None else global_logger_provider())


def _real(provider: Any) -> Any:
    """Place holders are the classes that the API itself defines; their names are private."""
    return None if type(provider).__module__.startswith(_API) else provider
