"""
Which providers are set up: the given ones, else the global ones, unless those are the API's place holders.

Without an SDK the API answers with proxies and no-ops. Telling them apart lets us do nothing at all then.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from opentelemetry import _logs, metrics, trace

_API = ("opentelemetry.trace", "opentelemetry.metrics", "opentelemetry._logs")


class _Global:
    """
    One of the API's global providers, looked up for every request.

    The API's function looks into the environment while no provider is set, which costs more than the rest of what we do
    then. The slot it reads is private: where it is not as we know it, the function is called.

    Args:
        module: Holds the slot.
        slot: Its name.
        get: The API's function.
        variable: Names a provider in the environment; where it is set, the function is called.
    """

    def __init__(self, module: Any, slot: str, get: Callable[[], Any], variable: str) -> None:
        self._module = module
        self._slot = slot
        self._get = get
        self._variable = variable
        self._place_holder: Any = None

    def provider(self) -> Any:
        """Return what the API's function would."""
        provider = getattr(self._module, self._slot, None)
        if provider is not None:
            return provider
        return self._place_holder if self._place_holder is not None else self._ask()

    def _ask(self) -> Any:
        provider = self._get()
        if hasattr(self._module, self._slot) and self._variable not in os.environ and _real(provider) is None:
            self._place_holder = provider
        return provider


global_tracer_provider = _Global(
    trace, "_TRACER_PROVIDER", lambda: trace.get_tracer_provider(), "OTEL_PYTHON_TRACER_PROVIDER"
).provider
global_meter_provider = _Global(
    getattr(metrics, "_internal", None),
    "_METER_PROVIDER",
    lambda: metrics.get_meter_provider(),
    "OTEL_PYTHON_METER_PROVIDER",
).provider
global_logger_provider = _Global(
    getattr(_logs, "_internal", None),
    "_LOGGER_PROVIDER",
    lambda: _logs.get_logger_provider(),
    "OTEL_PYTHON_LOGGER_PROVIDER",
).provider


def tracer_provider_of(given: Any = None) -> Any:
    """Return *given* or the global tracer provider; None when there is only a place holder."""
    return _real(given if given is not None else global_tracer_provider())


def meter_provider_of(given: Any = None) -> Any:
    """Return *given* or the global meter provider; None when there is only a place holder."""
    return _real(given if given is not None else global_meter_provider())


def logger_provider_of(given: Any = None) -> Any:
    """Return *given* or the global logger provider; None when there is only a place holder."""
    return _real(given if given is not None else global_logger_provider())


def behind(provider: Any) -> Any:
    """
    Return the provider that processors are added to: the one behind a proxy of another SDK, else *provider* itself.

    Logfire's proxies get a new one behind them with each ``logfire.configure()``.
    """
    inner = getattr(provider, "provider", None)
    return provider if inner is None or _real(inner) is None else inner


def _real(provider: Any) -> Any:
    """Place holders are the classes that the API itself defines; their names are private."""
    return None if type(provider).__module__.startswith(_API) else provider
