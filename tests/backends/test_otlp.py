"""
Spans, events and metrics through the real OTLP/HTTP exporters, in both encodings, compressed, into a receiver that
decodes them by OpenTelemetry's own protobuf: what is on the wire is what the conventions say.
"""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.semconv.schemas import Schemas
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from session_mw import current_session, current_turn
from session_mw._core import names
from session_mw.asgi import SessionTrackingMiddleware
from session_mw.telemetry import metrics as ours
from session_mw.telemetry._library import SCHEMA_URL, library_version
from session_mw.testing import FakeClock
from tests.backends.receiving import Receiving

pytestmark = [
    pytest.mark.filterwarnings("ignore:LogRecord will be removed"),  # SDK 1.38 about itself
    pytest.mark.filterwarnings("ignore:LogData will be removed"),
]

SECRET = "otlp-tests-only-0123456789-abcdefghijklmnop"
PATHS = ("/v1/traces", "/v1/logs", "/v1/metrics")
OWN = ("session", "turn", "conversation", "context", "journey", "dropoff", "user", "metadata")  # our namespaces


@dataclass(frozen=True)
class Sent:
    """What arrived, decoded: pairs of a resource and its scopes' things, for each signal."""

    encoding: str
    headers: list[tuple[str, dict[str, str]]]
    traces: list[Any]
    logs: list[Any]
    metrics: list[Any]

    def scopes(self) -> list[Any]:
        """Return every scope of ours, of all signals, with what it holds."""
        found = [scope for one in self.traces for r in one.resource_spans for scope in r.scope_spans]
        found += [scope for one in self.logs for r in one.resource_logs for scope in r.scope_logs]
        found += [scope for one in self.metrics for r in one.resource_metrics for scope in r.scope_metrics]
        return [scope for scope in found if scope.scope.name == "session_mw"]

    def spans(self) -> list[Any]:
        """Return the spans of our scope."""
        return [span for scope in self.scopes() if hasattr(scope, "spans") for span in scope.spans]

    def events(self) -> dict[str, Any]:
        """Return the log records of our scope, by the name of the event."""
        found = [record for scope in self.scopes() if hasattr(scope, "log_records") for record in scope.log_records]
        return {record.event_name: record for record in found}

    def instruments(self) -> dict[str, Any]:
        """Return the metrics of our scope, the last export of each."""
        return {metric.name: metric for scope in self.scopes() if hasattr(scope, "metrics") for metric in scope.metrics}


def exporters(encoding: str, url: str) -> tuple[Any, Any, Any]:
    """Return the real exporters for spans, logs and metrics; gzip comes from the environment."""
    base = {"protobuf": "opentelemetry.exporter.otlp.proto.http", "json": "opentelemetry.exporter.otlp.json.http"}[
        encoding
    ]
    pytest.importorskip(base, reason="pip install opentelemetry-exporter-otlp-json-http")

    def made(module: str, name: str, path: str) -> Any:
        return getattr(importlib.import_module(f"{base}.{module}"), name)(endpoint=url + path)

    return (
        made("trace_exporter", "OTLPSpanExporter", PATHS[0]),
        made("_log_exporter", "OTLPLogExporter", PATHS[1]),
        made("metric_exporter", "OTLPMetricExporter", PATHS[2]),
    )


async def chat(request: Request) -> JSONResponse:
    """Say all that can be said of a session."""
    session, turn = current_session(), current_turn()
    assert session is not None and turn is not None
    session.set(type="chat", name="Booking", prompt_version="v2", device="mobile")
    session.journey("booking", "payment", 3, 4)
    session.score("helpfulness", 0.5)
    session.satisfaction(0.8)
    turn.set(intent="question", action="answered", input_length=3, output_length=4, has_attachments=False)
    turn.add_usage(input_tokens=120, output_tokens=40, cost_usd=0.0012, model="m")
    if "fail" in request.query_params:
        raise RuntimeError("the application failed")
    if "rotate" in request.query_params:
        session.rotate()
    return JSONResponse({})


async def talk(app: Any) -> None:
    """Ask four times: the second fails, after the third the session goes on under another id. And forge a cookie."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="https://app.test") as browser:
        browser.headers["accept-language"] = "de"
        for query in ("", "?fail", "?rotate", ""):
            await browser.post(f"/chat{query}")
    async with httpx.AsyncClient(transport=transport, base_url="https://app.test") as other:
        await other.post("/chat", headers={"cookie": "__Host-session_mw=eyJmb3JnZWQiOjF9.c2lnbmF0dXJl"})


@pytest.fixture(scope="module", params=["protobuf", "json"])
def sent(request: pytest.FixtureRequest) -> Iterator[Sent]:
    """Five turns, three sessions, and their ends."""
    with Receiving() as receiver, pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        spans, logs, metrics = exporters(request.param, receiver.url)
        resource = Resource.create({"service.name": "chat", "service.version": "1.2.3"})
        tracing = TracerProvider(resource=resource, shutdown_on_exit=False)
        tracing.add_span_processor(BatchSpanProcessor(spans))
        logging = LoggerProvider(resource=resource, shutdown_on_exit=False)
        logging.add_log_record_processor(BatchLogRecordProcessor(logs))
        metering = MeterProvider([PeriodicExportingMetricReader(metrics)], resource=resource, shutdown_on_exit=False)
        clock = FakeClock()
        app = SessionTrackingMiddleware(
            Starlette(routes=[Route("/chat", chat, methods=["POST"])]),
            secret_key=SECRET,
            user=lambda facts: "jane",
            lifecycle_spans="always",
            clock=clock,
            tracer_provider=tracing,
            logger_provider=logging,
            meter_provider=metering,
        )
        app.engine.background.hold()
        asyncio.run(talk(app))
        clock.advance(seconds=1801)
        app.engine.background.step()
        for provider in (tracing, logging, metering):
            provider.shutdown()
        yield Sent(
            request.param,
            receiver.headers,
            receiver.messages(PATHS[0], ExportTraceServiceRequest),
            receiver.messages(PATHS[1], ExportLogsServiceRequest),
            receiver.messages(PATHS[2], ExportMetricsServiceRequest),
        )


def test_every_signal_came_compressed(sent: Sent) -> None:
    """Three paths, one encoding, gzip."""
    mime = {"protobuf": "application/x-protobuf", "json": "application/json"}[sent.encoding]

    assert set(PATHS) == {path for path, _ in sent.headers}
    assert {(mime, "gzip")} == {(h["content-type"], h["content-encoding"]) for _, h in sent.headers}


def test_resource_is_the_applications(sent: Sent) -> None:
    """Every signal names the service, and the SDK that sent it."""
    resources = [r.resource for one in sent.traces for r in one.resource_spans]
    resources += [r.resource for one in sent.logs for r in one.resource_logs]
    resources += [r.resource for one in sent.metrics for r in one.resource_metrics]
    said = [values(resource) for resource in resources]

    assert len(said) >= 3
    assert {("chat", "1.2.3", "python")} == {
        (one["service.name"], one["service.version"], one["telemetry.sdk.language"]) for one in said
    }


def test_scope_is_filled(sent: Sent) -> None:
    """Name, version and schema of each; the schema is one that the conventions have published."""
    found = {(scope.scope.name, scope.scope.version, scope.schema_url) for scope in sent.scopes()}

    assert {("session_mw", library_version(), SCHEMA_URL)} == found
    assert library_version()
    assert SCHEMA_URL in {schema.value for schema in Schemas}
    assert 3 == len({type(scope) for scope in sent.scopes()})


def test_spans(sent: Sent) -> None:
    """Session and turn spans, internal; the ends as spans of zero length in a turn's trace; a failed turn says so."""
    spans = sent.spans()
    turns = {span.trace_id: span for span in spans if span.name == "turn"}
    ends = [span for span in spans if span.name in ("session.start", "session.end")]

    assert {"session", "turn", "session.start", "session.end"} == {span.name for span in spans}
    assert {1} == {span.kind for span in spans}  # SPAN_KIND_INTERNAL
    assert 5 == len(turns) and {span.trace_id for span in ends} <= set(turns)
    assert all(span.end_time_unix_nano == span.start_time_unix_nano for span in ends)
    assert all(turns[span.trace_id].span_id == span.parent_span_id for span in ends)
    (failed,) = [span for span in turns.values() if span.status.code == 2]
    assert "500" == failed.status.message == values(failed)["error.type"]


def test_session_that_goes_on_under_another_id(sent: Sent) -> None:
    """It names the one before it, as the conventions for sessions say."""
    found = {values(span)["session.id"]: values(span) for span in sent.spans() if span.name == "session"}
    previous = {said["session.previous_id"] for said in found.values() if "session.previous_id" in said}

    assert 3 == len(found) and 1 == len(previous)
    assert previous <= set(found)


def test_events(sent: Sent) -> None:
    """Log records with an event's name, a severity and no body, at their time, in the trace of a turn."""
    events, spans = sent.events(), sent.spans()

    assert {"session.start", "session.end"} == set(events)
    for record in events.values():
        assert (9, "") == (record.severity_number, record.severity_text)  # SEVERITY_NUMBER_INFO
        assert record.body.WhichOneof("value") is None
        assert record.observed_time_unix_nano > 0 and record.time_unix_nano > 0
        assert {record.trace_id} <= {span.trace_id for span in spans if span.name == "turn"}
        assert values(record)["log.record.uid"].endswith(f"/{record.event_name}")


def conventions() -> set[str]:
    """Return every attribute that the installed conventions name."""
    found: set[str] = set()
    for package in ("opentelemetry.semconv.attributes", "opentelemetry.semconv._incubating.attributes"):
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
            constants = vars(importlib.import_module(f"{package}.{module.name}"))
            found |= {value for name, value in constants.items() if name.isupper() and isinstance(value, str)}
    return found


def test_names_are_the_conventions_or_in_our_namespaces(sent: Sent) -> None:
    """Nothing of ours stands where the conventions might put something tomorrow, beside what they put there today."""
    known = conventions()
    written = {key for span in sent.spans() for key in values(span)}
    written |= {key for record in sent.events().values() for key in values(record)}
    written |= {key for metric in sent.instruments().values() for p in points(metric) for key in values(p)}
    theirs = {"openinference.span.kind"}  # OpenInference's
    labels = {"reason", "source", "op", "store"}  # of our metrics
    others = written - known - theirs - labels

    assert {name for name in others if name.split(".")[0] not in OWN} == set()
    assert {
        names.SESSION_ID,
        names.SESSION_PREVIOUS_ID,
        names.USER_ID,
        names.USER_HASH,
        names.GEN_AI_CONVERSATION_ID,
        names.LOG_RECORD_UID,
        names.ERROR_TYPE,
    } <= known & written


KINDS = [
    (r"user\.avg_session_length|.*_usd|session\.user_satisfaction|session\.score\.\w+", "double"),
    (r".*_(ms|turns|tokens|length)|turn\.number|session\.(generation|emit_attempt)", "int"),
    (r"journey\.\w*stage(s|_number)|user\.(sessions_total|retention_days)", "int"),
    (r".*\.(confirmed|detected|inactive_timeout|has_attachments|converted)", "bool"),
    (r".*\.id|.*_time|.*_reason|session\.(type|name|prompt_version|status|outcome)|user\.hash", "string"),
]


def test_values_have_the_types_of_their_names(sent: Sent) -> None:
    """A back end that made a column of integers of the first value takes all that come."""
    wrong, seen = [], set()
    for thing in (*sent.spans(), *sent.events().values()):
        for item in thing.attributes:
            kind = item.value.WhichOneof("value").removesuffix("_value")
            wanted = next((k for pattern, k in KINDS if re.fullmatch(pattern, item.key)), kind)
            seen.add(wanted)
            if kind != wanted:
                wrong.append((item.key, kind, wanted))

    assert [] == wrong
    assert {"int", "double", "bool", "string"} == seen


COUNTER, UP_DOWN, HISTOGRAM, GAUGE = "counter", "up_down_counter", "histogram", "gauge"
INSTRUMENTS: dict[str, tuple[str, str, tuple[float, ...]]] = {
    ours.ACTIVE: (UP_DOWN, "{session}", ()),
    ours.STARTED: (COUNTER, "{session}", ()),
    ours.ENDED: (COUNTER, "{session}", ()),
    ours.TOKEN_REJECTED: (COUNTER, "{token}", ()),
    ours.SESSION_DURATION: (HISTOGRAM, "s", ours.SESSION_SECONDS),
    ours.TURN_DURATION: (HISTOGRAM, "s", ours.TURN_SECONDS),
    ours.SWEEP_LAG: (HISTOGRAM, "s", ours.LAG_SECONDS),
}
# The Unified Code for Units of Measure, as far as the conventions use it: seconds, and annotations for things counted.
UCUM = re.compile(r"s|1|\{[a-z]+\}")


def points(metric: Any) -> list[Any]:
    """Return a metric's data points."""
    return list(getattr(metric, metric.WhichOneof("data")).data_points)


def shape(metric: Any) -> tuple[str, str, tuple[float, ...]]:
    """Return kind, unit and boundaries of a metric."""
    data = metric.WhichOneof("data")
    bounds = tuple(points(metric)[0].explicit_bounds) if data == "histogram" else ()
    summed = {True: COUNTER, False: UP_DOWN}[metric.sum.is_monotonic] if data == "sum" else data
    return summed, metric.unit, bounds


def test_metrics(sent: Sent) -> None:
    """Kind, unit and boundaries of each instrument; cumulative, as the exporters do by default."""
    found = sent.instruments()

    assert INSTRUMENTS == {name: shape(found[name]) for name in INSTRUMENTS}
    assert all(UCUM.fullmatch(metric.unit) and metric.description for metric in found.values())
    summed = [getattr(metric, metric.WhichOneof("data")) for metric in found.values()]
    assert {2} == {data.aggregation_temporality for data in summed if hasattr(data, "aggregation_temporality")}


def test_metric_values(sent: Sent) -> None:
    """Three sessions began and ended, five turns were measured, one token was refused."""
    found = sent.instruments()

    def total(name: str) -> float:
        return sum(p.as_int or p.as_double for p in points(found[name]))

    assert [3, 3, 0, 1] == [total(name) for name in (ours.STARTED, ours.ENDED, ours.ACTIVE, ours.TOKEN_REJECTED)]
    assert 5 == sum(point.count for point in points(found[ours.TURN_DURATION]))
    assert {"error.type": "_OTHER"} in [values(point) for point in points(found[ours.TURN_DURATION])]


def test_metrics_name_nobody(sent: Sent) -> None:
    """No id is an attribute of a metric: each would be a series of its own."""
    ids = {value for span in sent.spans() for key, value in values(span).items() if key.endswith(".id")}
    all_points = [point for metric in sent.instruments().values() for point in points(metric)]
    said = {str(value) for point in all_points for value in values(point).values()}

    assert ids and not ids & said


def values(thing: Any) -> dict[str, Any]:
    """Return attributes as Python's values."""
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in thing.attributes}
