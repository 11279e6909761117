"""Each snippet of the README's "Your back end", run: the program with that environment, against a receiver of ours."""

from __future__ import annotations

import re
import shlex
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from fastapi.testclient import TestClient
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from session_mw.cli.demo.otlp import Span, spans_of
from session_mw.telemetry.install import instrument
from tests.backends import needs
from tests.backends.receiving import Receiving
from tests.readme import README

SECTION = README.read_text(encoding="utf-8").split("\n## Your back end\n")[1].split("\n## ")[0]
(PROGRAM,) = re.findall(r"```python\n(.*?)```", SECTION, re.S)
SNIPPETS = dict(re.findall(r"\*\*([\w ]+?)\*\*[:,].*?```sh\n(.*?)```", SECTION, re.S))
WANTED = {
    "Phoenix": needs.phoenix,
    "MLflow": needs.mlflow,
    "Langfuse": needs.langfuse,
    "LangSmith": needs.langsmith,
    "Opik": needs.opik,
    "Weave": needs.weave,
    "PostHog": needs.posthog,
    "Traceloop": needs.traceloop,
    "Logfire": needs.logfire,
    "OpenTelemetry Collector": needs.tempo,
}


def exported(snippet: str) -> dict[str, str]:
    """Return the variables that a snippet sets."""
    return dict(shlex.split(line)[1].split("=", 1) for line in snippet.strip().splitlines())


def pairs(text: str) -> dict[str, str]:
    """Return headers or resource attributes as their variable writes them."""
    found = (item.split("=", 1) for item in text.split(",") if item)
    return {name: unquote(value) for name, value in found}


@pytest.fixture
def receiver() -> Any:
    """Stand for the back end."""
    with Receiving() as receiver:
        yield receiver


def run(variables: dict[str, str], receiver: Receiving, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], str]:
    """Run the program with *variables*, its spans to *receiver*; return the answer, and the path it should come to."""
    name = next(name for name in variables if name.endswith("ENDPOINT"))
    wanted = urlsplit(variables[name]).path
    for key, value in {**variables, name: receiver.url + wanted}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("SESSION_MW_CAPTURE_CONTENT", "true")
    monkeypatch.setattr(trace, "set_tracer_provider", lambda provider: None)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: space["provider"])
    space: dict[str, Any] = {}
    with pytest.warns(UserWarning, match="development"):
        exec(compile(PROGRAM, "README.md", "exec"), space)
    with TestClient(space["app"]) as client:
        client.get("/docs", headers={"sec-fetch-mode": "navigate", "accept": "text/html"})
        answer = client.post("/chat", json={"message": "where?"}, headers={"x-conversation-id": "thread-1"}).json()
    instrument(None)()
    space["provider"].shutdown()
    return answer, wanted + ("" if "TRACES" in name else "/v1/traces")


def test_every_back_end_has_a_snippet() -> None:
    """None is left out, and none is here alone."""
    assert list(WANTED) == list(SNIPPETS)


@pytest.mark.parametrize("name", WANTED)
def test_snippet(name: str, receiver: Receiving, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Spans come to the back end's path, with its headers and resource, and say what it reads."""
    monkeypatch.setenv("HOME", str(tmp_path))
    variables = exported(SNIPPETS[name])
    answer, path = run(variables, receiver, monkeypatch)
    need = WANTED[name]()
    spans = [span for body in receiver.bodies(path) for span in spans_of(body)]
    turn = next(span for span in spans if span.name == "turn")
    trace_spans = [span for span in spans if span.trace_id == turn.trace_id]

    assert {path} == {at for at, _ in receiver.headers}
    wanted = {key.lower(): value for key, value in pairs(variables.get("OTEL_EXPORTER_OTLP_HEADERS", "")).items()}
    assert wanted.items() <= receiver.headers[0][1].items()
    assert set(need.dialects) <= set(variables.get("SESSION_MW_DIALECTS", "openinference").split(","))
    # A session begins in no conversation: its session.start is in no thread.
    grouped = [span for span in trace_spans if need.holds == "session" or not span.name.startswith("session.")]
    assert {turn.attributes[need.session]} == {span.attributes.get(need.session) for span in grouped}
    assert turn.attributes[need.session] != "" and turn.attributes["session.id"] == answer["session"]
    _said(need, trace_spans)
    turns_only = variables.get("SESSION_MW_STAMP_SPANS") == "turns"
    assert (1 if turns_only else 2) == len({span.trace_id for span in spans if "session.id" in span.attributes})


def _said(need: needs.Need, spans: list[Span]) -> None:
    """Check what was said, on the root."""
    (root,) = [span for span in spans if not span.parent_id]
    if need.asked:
        assert (need.text("where?"), need.text("here")) == (root.attributes[need.asked], root.attributes[need.answered])


@pytest.mark.parametrize("name", [name for name in SNIPPETS if "OTEL_RESOURCE" in SNIPPETS[name]])
def test_resource_of_a_snippet(name: str, receiver: Receiving, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The project that the resource names is on the wire."""
    monkeypatch.setenv("HOME", str(tmp_path))
    variables = exported(SNIPPETS[name])
    _, path = run(variables, receiver, monkeypatch)
    (sent, *_) = receiver.messages(path, ExportTraceServiceRequest)
    resource = {item.key: item.value.string_value for item in sent.resource_spans[0].resource.attributes}

    assert pairs(variables["OTEL_RESOURCE_ATTRIBUTES"]).items() <= resource.items()
