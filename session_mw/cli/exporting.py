"""The exporters that the environment, or an option, names for the ends of sessions; a receipt comes with each batch."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any, Literal

import click

from ..telemetry.sinks import ExporterSink, Sink

Signal = Literal["logs", "traces"]
_EXPORTERS = {
    "logs": ("_log_exporter", "OTLPLogExporter"),
    "traces": ("trace_exporter", "OTLPSpanExporter"),
}


def sinks(endpoint: str | None, spans: bool) -> list[Sink]:
    """
    Return what tells the exporters of ``exporters``, and names the service that this process's environment names.

    Nothing here sets up telemetry, so providers are not asked for the resource: those of a host that runs a command
    inside of itself are another service's.

    Raises:
        click.ClickException: As ``exporters``.
    """
    found = exporters(endpoint, spans)
    if not found:
        return []
    from opentelemetry.sdk.resources import Resource

    resource = Resource.create()
    return [ExporterSink(exporter, resource) for exporter in found]


def exporters(endpoint: str | None, spans: bool) -> list[Any]:
    """
    Return the OTLP exporters of what was named: events as log records, and as spans where *spans* are wanted too.

    Args:
        endpoint: Of OTLP over HTTP, without ``/v1/logs``. None: what OpenTelemetry's variables say.
        spans: For back ends that take no logs.

    Raises:
        click.ClickException: One was named and its package is not installed. Ends that nobody exports must not be
            taken for delivered.
    """
    signals: list[Signal] = ["logs", "traces"] if spans else ["logs"]
    found = [_exporter(endpoint, signal) for signal in signals if _wanted(endpoint, signal)]
    if endpoint is not None and not found:
        raise click.ClickException("nothing would go to --endpoint: OTEL_LOGS_EXPORTER is none. Unset it")
    return found


def _exporter(endpoint: str | None, signal: Signal) -> Any:
    grpc = endpoint is None and _first("PROTOCOL", signal) == "grpc"
    module, name = _EXPORTERS[signal]
    transport = "grpc" if grpc else "http"
    try:
        exporter: Any = getattr(import_module(f"opentelemetry.exporter.otlp.proto.{transport}.{module}"), name)
    except ImportError as error:
        given = "--endpoint" if endpoint is not None else "OTEL_EXPORTER_OTLP_ENDPOINT"
        hint = "" if endpoint is not None else f", or set OTEL_{signal.upper()}_EXPORTER=none"
        package = f"opentelemetry-exporter-otlp-proto-{transport}"
        text = f"{given} names where to send the ends of sessions: pip install {package}"
        raise click.ClickException(text + hint) from error
    return exporter() if endpoint is None else exporter(endpoint=f"{endpoint}/v1/{signal}")


def _wanted(endpoint: str | None, signal: Signal) -> bool:
    """Return whether an endpoint was named, and nobody says that it is not for this signal."""
    named = os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip().lower() or "otlp"
    off = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return named != "none" and (
        endpoint is not None or (not off and named == "otlp" and bool(_first("ENDPOINT", signal)))
    )


def _first(what: str, signal: Signal) -> str:
    """Return what a variable says of the signal, or of all."""
    names = (f"OTEL_EXPORTER_OTLP_{signal.upper()}_{what}", f"OTEL_EXPORTER_OTLP_{what}")
    return next((text for name in names if (text := os.environ.get(name, "").strip())), "")
