"""
Each SDK as its documentation sets it up: with an exporter in memory in place of its back end, its context helper, and
one model call of 10 and 5 tokens as its users would record it.

With a provider given everything stays in the test's process; without one it is the global one, in a process of its own.
``exporter`` and ``records`` keep spans and log records.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

OTHER, THEM = "theirs-7", "them"
CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "small-1",
    "gen_ai.usage.input_tokens": 10,
    "gen_ai.usage.output_tokens": 5,
}
NOWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Sdk:
    """
    One that is set up.

    Attributes:
        helper: Names session ``OTHER`` and user ``THEM`` for what is inside.
        call: A model call, current while it lasts.
        flush: Has it export what it holds.
        close: Shuts it down.
        log: Logs a line in its own way.
        names_spans: Whether its helper says anything on spans, or in a place of its own only.
    """

    helper: Callable[[], AbstractContextManager[Any]]
    call: Callable[[], AbstractContextManager[Any]]
    flush: Callable[[], Any]
    close: Callable[[], Any]
    log: Callable[[str], Any] = lambda text: None
    names_spans: bool = True


def langfuse(exporter: Any, provider: Any, records: Any, **options: Any) -> Sdk:
    os.environ["LANGFUSE_MEDIA_UPLOAD_ENABLED"] = "false"
    from langfuse import Langfuse, propagate_attributes

    client = Langfuse(
        public_key=f"pk-{uuid.uuid4().hex}",  # a client a key, for the whole process
        secret_key="sk",
        base_url=NOWHERE,
        tracer_provider=provider,
        span_exporter=exporter,
        **options,
    )

    @contextmanager
    def call() -> Iterator[None]:
        with client.start_as_current_observation(name="call", as_type="generation", model="small-1") as generation:
            generation.update(usage_details={"input": 10, "output": 5})
            yield

    def close() -> None:
        client.shutdown()
        if provider is None:
            trace.get_tracer_provider().shutdown()  # type: ignore[attr-defined]

    return Sdk(lambda: propagate_attributes(session_id=OTHER, user_id=THEM), call, client.flush, close)


def openinference(exporter: Any, provider: Any, records: Any) -> Sdk:
    from openinference.instrumentation import OITracer, TraceConfig, using_attributes

    if provider is None:
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer: Any = OITracer(provider.get_tracer("openinference.instrumentation.test"), TraceConfig())
    said = {
        "llm.model_name": "small-1",
        "llm.token_count.prompt": 10,
        "llm.token_count.completion": 5,
        "openinference.span.kind": "LLM",
    }
    return Sdk(
        lambda: using_attributes(session_id=OTHER, user_id=THEM, metadata={"k": "v"}),
        lambda: tracer.start_as_current_span("call", attributes=said),
        provider.force_flush,
        provider.shutdown,
    )


def logfire(exporter: Any, provider: Any, records: Any) -> Sdk:
    import logfire as sdk

    from session_mw.integrations.logfire import keep_session

    sdk.configure(
        send_to_logfire=False,
        console=False,
        additional_span_processors=[SimpleSpanProcessor(exporter)],
        scrubbing=sdk.ScrubbingOptions(callback=keep_session),
        distributed_tracing=True,
        advanced=sdk.AdvancedOptions(log_record_processors=[SimpleLogRecordProcessor(records)]),
    )
    return Sdk(
        lambda: sdk.set_baggage(**{"session.id": OTHER, "user.id": THEM}),
        lambda: sdk.span("call", **CALL),
        sdk.force_flush,
        sdk.shutdown,
        sdk.info,
    )


def traceloop(exporter: Any, provider: Any, records: Any) -> Sdk:
    from traceloop.sdk import Traceloop
    from traceloop.sdk.decorators import task, workflow

    Traceloop.init(
        app_name="shop", exporter=exporter, disable_batch=True, telemetry_enabled=False, api_endpoint=NOWHERE
    )

    @task(name="step")
    def step() -> None: ...

    @workflow(name="flow")
    def flow() -> None:
        step()

    @contextmanager
    def helper() -> Iterator[None]:
        """It has no end: it lasts as long as the request does."""
        Traceloop.set_association_properties({"session_id": OTHER, "user_id": THEM})
        yield

    @contextmanager
    def call() -> Iterator[None]:
        with trace.get_tracer("opentelemetry.instrumentation.test").start_as_current_span("call", attributes=CALL):
            flow()
            yield

    real: Any = trace.get_tracer_provider()
    return Sdk(helper, call, real.force_flush, real.shutdown)


def mlflow(exporter: Any, provider: Any, records: Any) -> Sdk:
    """In the mode in which it shares the global provider; it sends OTLP to a server that takes anything."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Taker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    there = f"http://127.0.0.1:{server.server_port}"
    os.environ |= {
        "MLFLOW_USE_DEFAULT_TRACER_PROVIDER": "false",
        "MLFLOW_TRACKING_URI": there,
        "MLFLOW_EXPERIMENT_ID": "1",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{there}/v1/traces",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
    }
    import mlflow as sdk

    if not hasattr(trace.get_tracer_provider(), "add_span_processor"):
        trace.set_tracer_provider(TracerProvider())
    real: Any = trace.get_tracer_provider()
    real.add_span_processor(SimpleSpanProcessor(exporter))

    with sdk.start_span("first"):
        pass  # it adds its processors now; in the middle of a trace it would know nothing of the trace's root

    @contextmanager
    def helper() -> Iterator[None]:
        with sdk.tracing.context(session_id=OTHER, user=THEM):
            yield

    @contextmanager
    def call() -> Iterator[None]:
        with sdk.start_span("call", span_type="LLM") as span:
            used = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
            span.set_attributes({"mlflow.chat.tokenUsage": used, "mlflow.llm.model": "small-1"})
            yield

    return Sdk(helper, call, real.force_flush, real.shutdown, names_spans=False)


class _Taker(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.do_GET()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


SDKS: dict[str, Callable[..., Sdk]] = {
    "langfuse": langfuse,
    "openinference": openinference,
    "logfire": logfire,
    "traceloop": traceloop,
    "mlflow": mlflow,
}
NOT_USED = nullcontext
