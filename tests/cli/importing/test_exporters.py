"""What exporters really write: OpenTelemetry's SDK with its encoders and its file exporter, under instrumentations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.cli.importing.support import bring, opened

Chat = Callable[[TracerProvider], None]


def plain(provider: TracerProvider) -> None:
    """Two exchanges by hand, as the GenAI conventions have them."""
    tracer = provider.get_tracer("app")
    for words in ("where is it?", "thank you"):
        whose = {"session.id": "s-1", "user.id": "ann"}
        with tracer.start_as_current_span("POST /chat", attributes=whose), tracer.start_as_current_span("chat") as span:
            span.set_attribute("gen_ai.operation.name", "chat")
            span.set_attribute("gen_ai.request.model", "gpt-4o")
            span.set_attribute("gen_ai.usage.input_tokens", len(words))
            span.set_attribute("gen_ai.response.finish_reasons", ["stop"])
            span.set_attribute("gen_ai.usage.output_tokens", 5)


def openinference(provider: TracerProvider) -> None:
    """Two exchanges inside OpenInference's own session, whose tracer stamps it."""
    instrumentation = pytest.importorskip("openinference.instrumentation")
    tracer = instrumentation.OITracer(provider.get_tracer("app"), instrumentation.TraceConfig())
    for words in ("where is it?", "thank you"):
        with (
            instrumentation.using_attributes(session_id="s-1", user_id="ann", metadata={"plan": "pro"}),
            tracer.start_as_current_span("agent", openinference_span_kind="agent"),
            tracer.start_as_current_span("llm", openinference_span_kind="llm") as span,
        ):
            span.set_attribute("llm.model_name", "gpt-4o")
            span.set_attribute("llm.token_count.prompt", len(words))
            span.set_attribute("llm.token_count.completion", 5)


def langfuse(provider: TracerProvider) -> None:
    """Two exchanges through Langfuse's own processor, which stamps and exports."""
    attributes = pytest.importorskip("langfuse._client.attributes")
    propagation = pytest.importorskip("langfuse")
    processor = pytest.importorskip("langfuse._client.span_processor")
    provider.add_span_processor(
        processor.LangfuseSpanProcessor(
            public_key="pk", secret_key="sk", base_url="http://127.0.0.1:9", span_exporter=InMemorySpanExporter()
        )
    )
    tracer = provider.get_tracer("app")
    for words in ("where is it?", "thank you"):
        with (
            propagation.propagate_attributes(session_id="s-1", user_id="ann", metadata={"plan": "pro"}),
            tracer.start_as_current_span("chat"),
            tracer.start_as_current_span("llm") as span,
        ):
            used = {"input": len(words), "output": 5}
            said = attributes.create_generation_attributes(model="gpt-4o", usage_details=used)
            span.set_attributes({key: value for key, value in said.items() if value is not None})


CHATS = [plain, openinference, langfuse]


def binary(chat: Chat, file: Path) -> None:
    """Write what the OTLP exporters send."""
    memory = InMemorySpanExporter()
    talk(chat, memory)
    file.write_bytes(encode_spans(memory.get_finished_spans()).SerializeToString())


def json_lines(chat: Chat, file: Path) -> None:
    """Write what OpenTelemetry's file exporter for Python writes."""
    exporters = pytest.importorskip("opentelemetry.exporter.otlp.json.file")
    talk(chat, exporters.FileSpanExporter(str(file)))


def talk(chat: Chat, exporter: SpanExporter) -> None:
    """Let an application's spans be exported."""
    provider = TracerProvider(resource=Resource({"service.name": "shop"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    chat(provider)
    provider.shutdown()


@pytest.mark.parametrize("chat", CHATS, ids=lambda chat: chat.__name__)
@pytest.mark.parametrize("write", [binary, json_lines], ids=lambda write: write.__name__)
def test_what_exporters_write_is_read(
    write: Callable[[Chat, Path], None], chat: Chat, url: str, tmp_path: Path
) -> None:
    """Two turns of one session, with what their calls used."""
    file = tmp_path / "exported"
    write(chat, file)
    result = bring(url, str(file), "--idle", "0s")
    row = opened(url).session("s-1")

    assert "imported 1 session (1 new), 2 turns (2 new) from 4 spans; skipped 0 lines" in result.stdout
    assert row is not None
    assert ("ann", 2, 21, 10, "shop") == (
        row.user_id, row.turns, row.input_tokens, row.output_tokens, row.attributes["service.name"]
    )  # fmt: skip
    assert [12, 9] == [turn.input_tokens for turn in opened(url).turns("s-1")]
    assert ["gpt-4o"] * 2 == [call.model for call in opened(url).usages("s-1") if call.kind == "model"]
