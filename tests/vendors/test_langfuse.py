"""What is Langfuse's alone: its filter, a provider of its own, and shutting down."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from session_mw import instrument, session_context
from session_mw.integrations.langfuse import model_spans
from tests.vendors.checks import SESSIONS, by_name, spans_of
from tests.vendors.ground import ORDERS, SHELLS, Process
from tests.vendors.sdks import OTHER, langfuse

APP_ROOT = "langfuse.internal.is_app_root"


@pytest.fixture(params=ORDERS)
def process(request: Any) -> Any:
    """Both SDKs, with our filter."""
    process = Process("langfuse", request.param, own=False, should_export_span=model_spans)
    yield process
    process.sdk.close()


@pytest.mark.parametrize("shell", SHELLS)
def test_model_spans(process: Process, shell: str) -> None:
    """With the filter Langfuse gets session, turn and model call, the session as the application's root."""
    sent = spans_of(process.run(shell, helps=False), "before", ("theirs",))

    assert ["call", "invoke_agent reader", "session", "turn"] == sorted(span["name"] for span in sent)
    assert ["session"] == [span["name"] for span in sent if APP_ROOT in span["attributes"]]


def test_closed_before_ours(process: Process) -> None:
    """Requests after Langfuse's shutdown are served, stamped and counted as ever."""
    process.sdk.close()

    case = process.run("flask", helps=True)

    assert {OTHER} == by_name(spans_of(case, "before", ("ours",)), SESSIONS)["inside"]
    assert 10 == case["ends"][0]["session.total_input_tokens"]


def test_uninstrumented_before_theirs() -> None:
    """After ours is taken out Langfuse works on, and its spans say what its own helper says and nothing of ours."""
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = _exporter()
    sdk = langfuse(exporter, provider, None)
    instrument(tracer_provider=provider)()

    with sdk.helper(), sdk.call():
        pass
    sdk.close()

    (span,) = exporter.get_finished_spans()
    assert {OTHER} == {span.attributes[key] for key in SESSIONS if key in span.attributes}


def test_provider_of_its_own() -> None:
    """``instrument(tracer_provider=...)`` stamps the spans of a provider that Langfuse keeps to itself."""
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = _exporter()
    sdk = langfuse(exporter, provider, None)
    undo = instrument(tracer_provider=provider)

    with session_context("chat-7"), sdk.call():
        pass
    sdk.close()
    undo()

    assert {"chat-7"} == {span.attributes["session.id"] for span in exporter.get_finished_spans()}


def _exporter() -> Any:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    return InMemorySpanExporter()
