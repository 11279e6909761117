"""
What each back end reads, by its own word: constants of its package where it ships them, else its server's source or
documentation, cited.

``conformance`` holds the bytes of the real exporter against it; the README shows the table.
"""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SAID = "device"  # what the application says of the session, beside type and version


def _plain(text: str) -> str:
    return text


def _json(value: Any) -> str:
    return json.dumps(value)


@dataclass(frozen=True)
class Need:
    """
    What a back end reads from spans.

    Attributes:
        backend: Its name.
        dialects: The setting it takes; empty where the conventions' names are all that it reads.
        session: What it groups by.
        holds: What stands there: ``session``, or the conversation, where it shows threads.
        user: What it takes for the user; empty where it knows none.
        asked: What the user wrote; empty where it shows none.
        answered: What was answered.
        text: How these two are written.
        said: Where it looks for what the application says of the session; empty for nowhere of its own.
        said_text: How that is written.
        turn: What marks a turn, and how; empty where every trace is one.
        source: Where these names are from.
    """

    backend: str
    dialects: tuple[str, ...]
    session: str
    source: str
    holds: str = "session"
    user: str = ""
    asked: str = ""
    answered: str = ""
    text: Callable[[str], str] = _plain
    said: str = ""
    said_text: Callable[[str], str] = _plain
    turn: tuple[str, Any] | None = field(default=None)


def package(name: str) -> Any:
    """Import a vendor's module, whatever it warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


def phoenix() -> Need:
    attributes = package("openinference.semconv.trace").SpanAttributes
    return Need(
        "Phoenix, Arize",
        ("openinference",),
        attributes.SESSION_ID,
        "`openinference.semconv`",
        user=attributes.USER_ID,
        asked=attributes.INPUT_VALUE,
        answered=attributes.OUTPUT_VALUE,
        said=attributes.METADATA,
        said_text=lambda value: _json({SAID: value}),
    )


def mlflow() -> Need:
    """Its package is large: ``test_mlflow`` and ``tests/telemetry/test_dialects_vendors.py`` compare where it is."""
    return Need(
        "MLflow",
        ("mlflow",),
        "session.id",
        "`mlflow.tracing.constant`",
        user="user.id",
        asked="mlflow.spanInputs",
        answered="mlflow.spanOutputs",
        text=_json,
        said=f"mlflow.traceTag.{SAID}",
    )


def langfuse() -> Need:
    """The trace's input and output are the server's names: ``OtelIngestionProcessor.ts``, snapshot of 2026-08-22."""
    attributes = package("langfuse._client.attributes").LangfuseOtelSpanAttributes
    return Need(
        "Langfuse",
        ("langfuse",),
        attributes.TRACE_SESSION_ID,
        "`langfuse._client.attributes`",
        user=attributes.TRACE_USER_ID,
        asked="langfuse.trace.input",
        answered="langfuse.trace.output",
        said=f"{attributes.TRACE_METADATA}.{SAID}",
    )


def langsmith() -> Need:
    exporter = package("langsmith._internal.otel._otel_exporter")
    return Need(
        "LangSmith",
        ("langsmith",),
        f"{exporter.LANGSMITH_METADATA}.thread_id",
        "`langsmith._internal.otel`",
        holds="conversation",
        user=f"{exporter.LANGSMITH_METADATA}.user_id",
        asked=exporter.GENAI_PROMPT,
        answered=exporter.GENAI_COMPLETION,
        said=f"{exporter.LANGSMITH_METADATA}.{SAID}",
    )


def opik() -> Need:
    return Need(
        "Opik",
        ("opik",),
        "thread_id",
        "comet-ml/opik @ 4e4e66b, `GeneralMappingRules.java`",
        holds="conversation",
        asked="input.value",
        answered="output.value",
        said=f"opik.metadata.{SAID}",
    )


def weave() -> Need:
    return Need(
        "Weave",
        ("weave",),
        "wandb.thread_id",
        "wandb/weave @ 011d7ff, `opentelemetry/constants.py`",
        holds="conversation",
        asked="input.value",
        answered="output.value",
        turn=("wandb.is_turn", True),
    )


def posthog() -> Need:
    """Its users are whom one of ``IDENTITY_ATTRIBUTES`` names; sessions of AI have a name beside the replay's."""
    context = package("posthog.ai.otel._request_context")
    (user,) = [name for name in context.IDENTITY_ATTRIBUTES if name.startswith("user.")]
    return Need(
        "PostHog",
        ("posthog",),
        "$ai_session_id",
        "`posthog.ai.otel`, `posthog.ai.openai_agents`",
        user=user,
    )


def traceloop() -> Need:
    attributes = package("opentelemetry.semconv_ai").SpanAttributes
    properties = attributes.TRACELOOP_ASSOCIATION_PROPERTIES
    return Need(
        "Traceloop",
        ("traceloop",),
        f"{properties}.session_id",
        "`opentelemetry.semconv_ai`",
        user=f"{properties}.user_id",
        asked=attributes.TRACELOOP_ENTITY_INPUT,
        answered=attributes.TRACELOOP_ENTITY_OUTPUT,
        text=_json,
        said=f"{properties}.{SAID}",
        turn=(attributes.TRACELOOP_SPAN_KIND, "workflow"),
    )


def laminar() -> Need:
    return Need(
        "Laminar",
        ("laminar",),
        "lmnr.association.properties.session_id",
        "`lmnr.opentelemetry_lib.tracing.attributes`",
        user="lmnr.association.properties.user_id",
        asked="lmnr.span.input",
        answered="lmnr.span.output",
        text=_json,
        said=f"lmnr.association.properties.metadata.{SAID}",
    )


def logfire() -> Need:
    """It has no sessions of its own: it finds spans by any attribute, in SQL."""
    conventions = package("opentelemetry.semconv._incubating.attributes.session_attributes")
    return Need("Logfire", (), conventions.SESSION_ID, "OpenTelemetry's conventions", user=_user_id())


def tempo() -> Need:
    """TraceQL finds spans by any attribute: ``{ span.session.id = "..." }``."""
    conventions = package("opentelemetry.semconv._incubating.attributes.session_attributes")
    return Need("Grafana Tempo", (), conventions.SESSION_ID, "OpenTelemetry's conventions", user=_user_id())


def datadog() -> Need:
    """Its own SDK writes a session under this name, too; what its OTLP intake takes for one, no public text says."""
    conventions = package("opentelemetry.semconv._incubating.attributes.gen_ai_attributes")
    return Need(
        "Datadog",
        (),
        conventions.GEN_AI_CONVERSATION_ID,
        "`ddtrace/llmobs/_utils.py`, 4.16",
        holds="conversation",
        user=_user_id(),
    )


def _user_id() -> str:
    return str(package("opentelemetry.semconv._incubating.attributes.user_attributes").USER_ID)


NEEDS = (
    phoenix,
    mlflow,
    langfuse,
    langsmith,
    opik,
    weave,
    posthog,
    traceloop,
    laminar,
    logfire,
    tempo,
    datadog,
)
