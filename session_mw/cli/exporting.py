"""The exporter that the environment, or an option, names for the ends of sessions; a receipt comes with each batch."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import click

HTTP, GRPC = "http/protobuf", "grpc"
_MODULES = {
    HTTP: ("opentelemetry.exporter.otlp.proto.http._log_exporter", "opentelemetry-exporter-otlp-proto-http"),
    GRPC: ("opentelemetry.exporter.otlp.proto.grpc._log_exporter", "opentelemetry-exporter-otlp-proto-grpc"),
}
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def log_exporter(endpoint: str | None) -> Any | None:
    """
    Return an OTLP log exporter; None when nobody named an endpoint for it.

    Args:
        endpoint: Of OTLP over HTTP, without ``/v1/logs``. None: what OpenTelemetry's variables say.

    Raises:
        click.ClickException: One was named and its package is not installed. Ends that nobody exports must not be
            taken for delivered.
    """
    if endpoint is None and not _wanted():
        return None
    protocol = HTTP if endpoint is not None else _first(_PROTOCOLS) or HTTP
    module, package = _MODULES[GRPC if protocol == GRPC else HTTP]
    try:
        exporter: Any = import_module(module).OTLPLogExporter
    except ImportError as error:
        named = "--endpoint" if endpoint is not None else next(name for name in _ENDPOINTS if os.environ.get(name))
        hint = "" if endpoint is not None else ", or set OTEL_LOGS_EXPORTER=none"
        text = f"{named} names where to send the ends of sessions: pip install {package}{hint}"
        raise click.ClickException(text) from error
    return exporter() if endpoint is None else exporter(endpoint=f"{endpoint}/v1/logs")


def _wanted() -> bool:
    """Return whether the environment names an endpoint, and does not say that it is not for logs."""
    off = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return not off and os.environ.get("OTEL_LOGS_EXPORTER", "otlp").strip() == "otlp" and bool(_first(_ENDPOINTS))


def _first(names: tuple[str, ...]) -> str:
    return next((text for name in names if (text := os.environ.get(name, "").strip())), "")
