"""
Which providers are set up: the given ones, else the global ones, unless those are the API's place holders.

Without an SDK the API answers with proxies and no-ops. Telling them apart lets us do nothing at all then.
"""

from __future__ import annotations

from typing import Any

from opentelemetry import metrics, trace

_API = ("opentelemetry.trace", "opentelemetry.metrics", "opentelemetry._logs")


def tracer_provider_of(given: Any = None) -> Any:
    """Return *given* or the global tracer provider; None when there is only a place holder."""
    return _real(given if given is not None else trace.get_tracer_provider())


def meter_provider_of(given: Any = None) -> Any:
    """Return *given* or the global meter provider; None when there is only a place holder."""
    return _real(given if given is not None else metrics.get_meter_provider())


def logger_provider_of(given: Any = None) -> Any:
    """Return *given* or the global logger provider; None when there is only a place holder."""
    if given is None:
        from opentelemetry._logs import get_logger_provider  # the module is still private by name

        given = get_logger_provider()
    return _real(given)


def _real(provider: Any) -> Any:
    """Place holders are the classes that the API itself defines; their names are private."""
    return None if type(provider).__module__.startswith(_API) else provider
