"""
The names of our dialects against the vendors' own constants and parsers, not against our table.

A vendor whose package is installed is asked; the small ones are part of the ``dev`` extra. What a vendor's server reads
and no package of theirs says is quoted here, with the file it was read in.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import pytest

from session_mw._core import names
from session_mw._core.dialects import (
    DIALECTS,
    INPUT_MIME_TYPE,
    INPUT_VALUE,
    OUTPUT_MIME_TYPE,
    OUTPUT_VALUE,
    PLAIN,
    Dressing,
    fit,
)


def vendor(module: str) -> Any:
    """Import a vendor's module, whatever it warns of; skip the test where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(module)
        except ImportError as error:
            pytest.skip(f"{module} is not installed: {error}")


def source_of(package: str, *parts: str) -> str:
    """Return the text of a vendor's file; skip the test where it is not installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed")
    return Path(spec.origin).parent.joinpath(*parts).read_text()


# -- OpenInference (Phoenix, Arize)


def test_openinference_constants() -> None:
    """The conventions' package names what we write."""
    trace = vendor("openinference.semconv.trace")
    attributes, row = trace.SpanAttributes, DIALECTS["openinference"]

    assert (attributes.SESSION_ID, attributes.USER_ID) == (names.SESSION_ID, names.USER_ID)
    assert (attributes.INPUT_VALUE, attributes.OUTPUT_VALUE) == (INPUT_VALUE, OUTPUT_VALUE)
    assert (attributes.INPUT_MIME_TYPE, attributes.OUTPUT_MIME_TYPE) == (INPUT_MIME_TYPE, OUTPUT_MIME_TYPE)
    assert trace.OpenInferenceMimeTypeValues.TEXT.value == PLAIN
    assert attributes.METADATA == row.metadata_json
    assert {attributes.OPENINFERENCE_SPAN_KIND: trace.OpenInferenceSpanKindValues.CHAIN.value} == row.own


# -- Langfuse


def test_langfuse_constants() -> None:
    """Session and user are read under the common names; metadata under the trace's prefix."""
    attributes = vendor("langfuse._client.attributes").LangfuseOtelSpanAttributes

    assert (attributes.TRACE_SESSION_ID, attributes.TRACE_USER_ID) == (names.SESSION_ID, names.USER_ID)
    assert attributes.TRACE_METADATA + "." == DIALECTS["langfuse"].metadata


def test_langfuse_limit(caplog: pytest.LogCaptureFixture) -> None:
    """Its own check drops what is longer than our limit, and takes what we made of it."""
    propagation = vendor("langfuse._client.propagation")
    longest = DIALECTS["langfuse"].longest
    assert longest is not None
    caplog.set_level(logging.ERROR, "langfuse")

    def dropped(value: str) -> bool:
        return propagation._validate_propagated_value(value=value, key="session_id") is None

    assert dropped("x" * (longest + 1))
    assert not dropped(fit("x" * (longest + 1), longest, True))


# langfuse/langfuse, packages/shared/src/server/otel/OtelIngestionProcessor.ts (snapshot of 2026-08-22): for the session
# the first of these that is set; the same for the user; and the trace's input and output.
LANGFUSE_SESSION = ("langfuse.session.id", "session.id", "gen_ai.conversation.id")
LANGFUSE_USER = ("langfuse.user.id", "user.id")
LANGFUSE_TRACE_IO = ("langfuse.trace.input", "langfuse.trace.output")


def test_langfuse_server_prefers_the_aliases() -> None:
    """A value made fit stands where the server looks before it looks at the common name."""
    row = DIALECTS["langfuse"]

    assert {names.SESSION_ID: LANGFUSE_SESSION[0], names.USER_ID: LANGFUSE_USER[0]} == row.aliases
    assert (names.SESSION_ID, names.USER_ID) == (LANGFUSE_SESSION[1], LANGFUSE_USER[1])
    assert LANGFUSE_TRACE_IO == (row.asked, row.answered)


# -- LangSmith


def test_langsmith_constants() -> None:
    """Its exporter writes metadata, prompt and completion under these names; a session there is a project."""
    exporter, row = vendor("langsmith._internal.otel._otel_exporter"), DIALECTS["langsmith"]

    assert exporter.LANGSMITH_METADATA + "." == row.metadata
    assert (exporter.GENAI_PROMPT, exporter.GENAI_COMPLETION) == (row.asked, row.answered)
    assert {exporter.LANGSMITH_RUN_TYPE: "chain"} == row.own
    assert exporter.LANGSMITH_SESSION_ID not in {*row.every.values(), *row.aliases.values()}


def test_langsmith_threads_are_found_by_thread_id() -> None:
    """Its client asks for the runs of a thread by ``thread_id``, which is a key of their metadata."""
    client = source_of("langsmith", "client.py")

    assert "eq(thread_id, " in client
    assert "langsmith.metadata.thread_id" == DIALECTS["langsmith"].every[names.GEN_AI_CONVERSATION_ID]


# -- Traceloop


def test_traceloop_constants() -> None:
    """The semantic conventions' package names kind, input, output and association properties."""
    semconv, row = vendor("opentelemetry.semconv_ai"), DIALECTS["traceloop"]
    attributes = semconv.SpanAttributes

    assert attributes.TRACELOOP_ASSOCIATION_PROPERTIES + "." == row.metadata
    assert (attributes.TRACELOOP_ENTITY_INPUT, attributes.TRACELOOP_ENTITY_OUTPUT) == (row.asked, row.answered)
    assert {attributes.TRACELOOP_SPAN_KIND: semconv.TraceloopSpanKindValues.WORKFLOW.value} == row.turn


def test_traceloop_associations() -> None:
    """The SDK's own associations are a session and a user under the same properties."""
    associations = vendor("traceloop.sdk.associations.associations").AssociationProperty
    row = DIALECTS["traceloop"]

    assert {
        names.SESSION_ID: row.metadata + associations.SESSION_ID.value,
        names.USER_ID: row.metadata + associations.USER_ID.value,
    } == row.every


# -- MLflow


def test_mlflow_constants() -> None:
    """Session and user are read under the common names; inputs, outputs, type and tags under its own."""
    constant, row = vendor("mlflow.tracing.constant"), DIALECTS["mlflow"]
    keys = constant.SpanAttributeKey

    assert (keys.SESSION_ID, keys.USER_ID) == (names.SESSION_ID, names.USER_ID)
    assert (keys.INPUTS, keys.OUTPUTS) == (row.asked, row.answered)
    assert keys.TRACE_TAG_PREFIX == row.metadata
    assert constant.MAX_CHARS_IN_TRACE_INFO_METADATA == row.longest
    assert {keys.SPAN_TYPE: json.dumps(vendor("mlflow.entities.span").SpanType.CHAIN)} == row.own


PARSERS = [
    ("open_inference", "OpenInferenceTranslator", "openinference", "hi", "CHAIN"),
    ("traceloop", "TraceloopTranslator", "traceloop", '"hi"', "WORKFLOW"),
    ("laminar", "LaminarTranslator", "laminar", '"hi"', None),
]


@pytest.mark.parametrize(("module", "cls", "dialect", "found", "kind"), PARSERS)
def test_mlflow_reads_our_other_dialects(module: str, cls: str, dialect: str, found: str, kind: str | None) -> None:
    """MLflow's server understands other vendors' spans: its parsers find in ours what we put there."""
    translator = getattr(vendor(f"mlflow.tracing.otel.translation.{module}"), cls)()
    dressing = Dressing({dialect})
    attributes = {**dressing.own, **dressing.turn, **dressing.content("hi", "ho")}

    assert found == translator.get_input_value(attributes)
    assert found.replace("hi", "ho") == translator.get_output_value(attributes)
    assert kind == translator.translate_span_type(attributes)


# -- Laminar


def test_laminar_constants() -> None:
    """Its SDK writes session, user, metadata, input and output under these names."""
    attributes, row = vendor("lmnr.opentelemetry_lib.tracing.attributes"), DIALECTS["laminar"]
    properties = attributes.ASSOCIATION_PROPERTIES

    assert {
        names.SESSION_ID: f"{properties}.{attributes.SESSION_ID}",
        names.USER_ID: f"{properties}.{attributes.USER_ID}",
    } == row.every
    assert f"{properties}.{attributes.METADATA}." == row.metadata
    assert (attributes.SPAN_INPUT, attributes.SPAN_OUTPUT) == (row.asked, row.answered)


# -- PostHog


def test_posthog_identity() -> None:
    """It takes the user from ``user.id``; its sessions of AI have a name of their own beside the replay's."""
    context = vendor("posthog.ai.otel._request_context")
    agents = source_of("posthog", "ai", "openai_agents", "processor.py")

    assert names.USER_ID in context.IDENTITY_ATTRIBUTES
    assert {names.SESSION_ID: "$ai_session_id"} == DIALECTS["posthog"].every
    assert 'properties["$ai_session_id"] = group_id' in agents
    assert context.SESSION_ID_ATTRIBUTE not in DIALECTS["posthog"].every.values()


# -- Opik and Weave: no package of theirs has the names, their servers' sources do

# comet-ml/opik @ 4e4e66b, apps/opik-backend/.../domain/mapping/otel/GeneralMappingRules.java
OPIK_RULES = {"thread_id": "THREAD_ID", "opik.metadata": "METADATA"}
OPIK_CONTENT_PREFIXES = ("input", "output")
# wandb/weave @ 011d7ff, weave/trace_server/opentelemetry/constants.py: WB_KEYS, INPUT_KEYS, OUTPUT_KEYS
WEAVE_KEYS = {"thread_id": "wandb.thread_id", "is_turn": "wandb.is_turn"}
WEAVE_INPUT, WEAVE_OUTPUT = ("gen_ai.prompt", "input.value"), ("gen_ai.completion", "output.value")


def test_opik_rules() -> None:
    """Threads and metadata by name, content by prefix: only question and answer begin with it."""
    row = DIALECTS["opik"]

    assert {"THREAD_ID": "thread_id"} == {OPIK_RULES[key]: key for key in row.every.values()}
    assert row.metadata.startswith("opik.metadata.")
    assert INPUT_VALUE.startswith(OPIK_CONTENT_PREFIXES[0]) and OUTPUT_VALUE.startswith(OPIK_CONTENT_PREFIXES[1])
    own = {value for key, value in vars(names).items() if key.isupper() and isinstance(value, str)}
    assert not [name for name in own if name.startswith(OPIK_CONTENT_PREFIXES)]


def test_weave_keys() -> None:
    """A thread, its turns, and their content are found."""
    row = DIALECTS["weave"]

    assert {names.GEN_AI_CONVERSATION_ID: WEAVE_KEYS["thread_id"]} == row.every
    assert {WEAVE_KEYS["is_turn"]: True} == row.turn
    assert INPUT_VALUE in WEAVE_INPUT and OUTPUT_VALUE in WEAVE_OUTPUT
