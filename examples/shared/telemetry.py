"""
OpenTelemetry for the examples: spans, logs and metrics over OTLP/HTTP.

Without ``OTEL_EXPORTER_OTLP_ENDPOINT`` everything is recorded and nothing is sent. Call :func:`setup` while
the application's module is imported: under gunicorn that is in the worker, and with ``--preload`` the SDK
starts its threads again after the fork. All standard ``OTEL_*`` variables hold.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Any

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider

# Short, so that what you do shows at once, and so that little is lost when a worker is killed. Milliseconds.
DELAYS = {
    "OTEL_BSP_SCHEDULE_DELAY": "200",
    "OTEL_BLRP_SCHEDULE_DELAY": "200",
    "OTEL_METRIC_EXPORT_INTERVAL": "5000",
}


def setup(service_name: str) -> Callable[[], None]:
    """
    Install tracer, logger and meter providers, unless the process has them already.

    Args:
        service_name: ``service.name`` of everything sent; ``OTEL_SERVICE_NAME`` wins over it.

    Returns:
        A function that sends what is left and stops the exporters. Servers that end a worker by a signal
        (uvicorn) need it at lifespan shutdown; where the interpreter exits in order (gunicorn), the SDK's own
        ``atexit`` hooks do the same. It may be called twice.
    """
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if disabled or isinstance(trace.get_tracer_provider(), TracerProvider):
        return lambda: None
    sending = bool(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))
    for name in DELAYS.keys() - os.environ.keys() if sending else ():
        os.environ[name] = DELAYS[name]
    resource = Resource.create({SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME", service_name)})
    meters = _meter_provider(resource, sending)  # first: the other providers count themselves with it
    tracers = _tracer_provider(resource, sending)
    loggers = _logger_provider(resource, sending)
    stops = [tracers.shutdown, loggers.shutdown, meters.shutdown]

    def shutdown() -> None:
        while stops:
            stops.pop(0)()

    return shutdown


def stopping(app: Any, stop: Callable[[], None]) -> Any:
    """
    Answer the server's lifespan messages for an ASGI *app* that knows none (Django's), and call *stop* at the end.

    Source:
        ASGI specification, "Lifespan Protocol".
    """

    async def with_lifespan(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.to_thread(stop)
        await send({"type": "lifespan.shutdown.complete"})

    return with_lifespan


def _tracer_provider(resource: Resource, sending: bool) -> TracerProvider:
    provider = TracerProvider(resource=resource)
    if sending:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider


def _logger_provider(resource: Resource, sending: bool) -> LoggerProvider:
    provider = LoggerProvider(resource=resource)
    if sending:
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

        provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
        _send_log_lines(provider)
    _logs.set_logger_provider(provider)
    return provider


def _meter_provider(resource: Resource, sending: bool) -> MeterProvider:
    readers = []
    if sending:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

        readers.append(PeriodicExportingMetricReader(OTLPMetricExporter()))
    provider = MeterProvider(resource=resource, metric_readers=readers)
    metrics.set_meter_provider(provider)
    return provider


def _send_log_lines(provider: LoggerProvider) -> None:
    """Send what the examples write with :mod:`logging`, when the handler's package is installed."""
    try:
        from opentelemetry.instrumentation.logging.handler import LoggingHandler
    except ImportError:
        return
    logger = logging.getLogger("examples")
    logger.setLevel(logging.INFO)
    logger.addHandler(LoggingHandler(logger_provider=provider))
