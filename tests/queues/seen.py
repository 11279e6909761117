"""What the processes of these tests share: telemetry that ends up in files, and the work that a job does."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opentelemetry import _logs, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from session_mw import current_session, llm_call, session_context, turn
from tests.telemetry.support import LOG_SUCCESS

FOLDER = "SESSION_MW_TEST_SEEN"
KEY = "0123456789-a-secret-that-sender-and-worker-share-0123456789"


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    """Return the settings of both sides."""
    store = f"sqlite:///{folder}/sessions.db"
    return {"secret_key": KEY, "store": store, "lifecycle_spans": "never", "sweep": "off", **more}


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return what a worker is started with."""
    made = {"SESSION_MW_" + name.upper(): str(value) for name, value in settings(folder).items()}
    return {**os.environ, **made, FOLDER: str(folder), **more}


class _Spans(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            write({"span": span.name, "trace": format(span.context.trace_id, "032x"), **dict(span.attributes or {})})
        return SpanExportResult.SUCCESS


class _Logs:
    def export(self, batch: Sequence[Any]) -> Any:
        for data in batch:
            write({"log": str(data.log_record.body), **dict(data.log_record.attributes or {})})
        return LOG_SUCCESS.SUCCESS

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def set_up_telemetry() -> None:
    """Set the global providers of a worker; what they get is written into files, one a process."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(_Spans()))
    trace.set_tracer_provider(provider)
    logs = LoggerProvider()
    logs.add_log_record_processor(SimpleLogRecordProcessor(_Logs()))  # type: ignore[arg-type]
    _logs.set_logger_provider(logs)


def write(line: dict[str, Any]) -> None:
    with (Path(os.environ[FOLDER]) / f"seen-{os.getpid()}.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def read(folder: Path) -> list[dict[str, Any]]:
    """Return everything that was written, by whatever process."""
    files = sorted(folder.glob("seen-*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def work(name: str) -> str | None:
    """Do what a job does: a span, a log record, a model call, a turn and a session that are there already."""
    with trace.get_tracer("job").start_as_current_span(name):
        _logs.get_logger("job").emit(_logs.LogRecord(body=f"log of {name}"))
        logging.getLogger("job").info("plain")
        with session_context(), turn(), llm_call("no-such-model") as call:
            call.usage(input_tokens=10, output_tokens=5)
    session = current_session()
    return None if session is None else session.id


def identity(seen: Sequence[dict[str, Any]], name: str) -> list[tuple[Any, ...]]:
    """Return who span and log record of a job say they belong to."""
    keys = ("session.id", "user.id", "gen_ai.conversation.id", "turn.number")
    found = [line for line in seen if line.get("span") == name or line.get("log") == f"log of {name}"]
    return [tuple(line.get(key) for key in keys) for line in found]


def sessions(seen: Sequence[dict[str, Any]], *names: str) -> set[Any]:
    """Return the sessions of jobs that are nobody's: the ones that they have begun themselves."""
    found = {name: identity(seen, name) for name in names}
    assert all(found.values()), found
    return {of[0] for lines in found.values() for of in lines}
