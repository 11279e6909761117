"""One request through FastAPI or Flask with both SDKs in the process, and what each of them exported."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import _logs, trace
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs import export as log_export
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from session_mw import SessionSettings, agent_run, current_session
from session_mw._core.dialects import DIALECTS
from session_mw._engine.parts import latest_engine
from session_mw.testing import RecordingSink

from .sdks import NOT_USED, SDKS, Sdk

SECRET = "0123456789abcdef-a-secret-for-tests-only-0123456789"
SHELLS = ("fastapi", "flask")
ORDERS = ("theirs first", "ours first")
HELPS = ("helped", "alone")
COST_USD = 0.25
InMemoryLogs: Any = getattr(log_export, "InMemoryLogRecordExporter", None) or log_export.InMemoryLogExporter


class Process:
    """
    A process with both SDKs.

    Args:
        vendor: The other SDK.
        order: Which of the two is set up first.
        own: Whether the global providers may be set: it is a process of its own.
        options: Of the other SDK.
    """

    def __init__(self, vendor: str, order: str, own: bool, **options: Any) -> None:
        self.ours, self.theirs = InMemorySpanExporter(), InMemorySpanExporter()
        self.records = InMemoryLogs()
        self.sink = RecordingSink()
        self.said: list[str] = []
        self._start, self._own = SDKS[vendor], own
        self.sdk: Any = None
        self.provider: Any = None if own else TracerProvider(shutdown_on_exit=False)
        self._logs: Any = LoggerProvider(shutdown_on_exit=False)
        self._logs.add_log_record_processor(log_export.SimpleLogRecordProcessor(self.records))
        if own and vendor != "logfire":  # which brings one
            _logs.set_logger_provider(self._logs)
        keeps = SimpleSpanProcessor(self.ours)
        if not own:
            self.provider.add_span_processor(keeps)
        if order == "ours first":
            self.post("fastapi", lambda: None)  # its first request: by then ours is all set up, if without an SDK
        with self._listening():
            self.sdk: Sdk = self._start(self.theirs, self.provider, self.records, **options)
            if vendor == "logfire":
                self._logs = _logs.get_logger_provider()
        if own:
            self.tracers.add_span_processor(keeps)

    @property
    def tracers(self) -> Any:
        return trace.get_tracer_provider() if self._own else self.provider

    def forget(self) -> None:
        """Begin anew."""
        self.ours.clear()
        self.theirs.clear()
        self.records.clear()
        self.sink.records.clear()

    def run(self, shell: str, helps: bool) -> dict[str, Any]:
        """Serve a request in which the helper is used or not, then one in which it is not; say what came out."""
        self.forget()
        seen: dict[str, Any] = {}

        def work() -> None:
            session = current_session()
            assert session is not None
            seen["session"], seen["user"] = session.id, session.user_id
            self._work(session, helps)
            session.end("completed")

        with self._listening():
            self.post(shell, work)
            self.post(shell, lambda: self._span("next"))
            self.sdk.flush()
        ends = [
            record for record in self.sink.named("session.end") if record.attributes["session.id"] == seen["session"]
        ]
        return {
            **seen,
            "ours": [shown(span) for span in self.ours.get_finished_spans()],
            "theirs": [shown(span) for span in self.theirs.get_finished_spans()],
            "records": [
                {"body": str(each.log_record.body), **(each.log_record.attributes or {})}
                for each in self.records.get_finished_logs()
            ],
            "ends": [dict(end.attributes) for end in ends],
            "said": self.said,
            "wins": helps and self.sdk.names_spans,
        }

    def post(self, shell: str, work: Callable[[], None]) -> None:
        """Serve one request in a new application, and write what came of it."""
        (_fastapi if shell == "fastapi" else _flask)(work, self._settings(), self._wiring())
        engine: Any = latest_engine()
        engine.drain()

    def _settings(self) -> SessionSettings:
        return SessionSettings(
            secret_key=SECRET,
            event_sink=self.sink,
            dialects=frozenset(DIALECTS),
            user=lambda request: "ada",
            price_for=lambda model, provider, usage: COST_USD,
        )

    def _wiring(self) -> dict[str, Any]:
        return {} if self._own else {"tracer_provider": self.provider, "logger_provider": self._logs}

    def _work(self, session: Any, helps: bool) -> None:
        self._span("before")
        self._log("before")
        with self.sdk.helper() if helps else NOT_USED():
            self._span("inside")
            with self.sdk.call():
                self._span("inside the call")
            with agent_run("reader"):
                session.set(type="research")  # stamps the spans that are open
            self._log("inside")
        if helps:
            return  # not every helper has an end within the request
        self._span("after")

    def _span(self, name: str) -> None:
        with self.tracers.get_tracer("shop").start_as_current_span(name):
            pass

    def _log(self, where: str) -> None:
        self._logs.get_logger("shop").emit(LogRecord(timestamp=time.time_ns(), body=where))
        logger = logging.getLogger("shop.vendors")
        handler = LoggingHandler(logger_provider=self._logs)
        logger.addHandler(handler)
        logger.propagate = False
        logger.warning(where)
        logger.removeHandler(handler)
        self.sdk.log(where)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Note every warning, and every log line that is one."""
        handler = _Noting(self.said)
        logging.getLogger().addHandler(handler)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        logging.getLogger().removeHandler(handler)
        self.said += [str(each.message) for each in caught if not _of_no_concern(each)]


class _Noting(logging.Handler):
    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.said = said

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(f"{record.name}: {record.getMessage()}")


def _of_no_concern(caught: warnings.WarningMessage) -> bool:
    """Deprecations are for whoever uses the old names; resource warnings come from what others collect."""
    return issubclass(caught.category, (DeprecationWarning, PendingDeprecationWarning, ResourceWarning, ImportWarning))


def shown(span: Any) -> dict[str, Any]:
    """Return a span as JSON."""
    return {
        "name": span.name,
        "id": f"{span.context.trace_id:032x}{span.context.span_id:016x}",
        "parent": None if span.parent is None else f"{span.parent.trace_id:032x}{span.parent.span_id:016x}",
        "kind": span.attributes.get("logfire.span_type", "span"),
        "attributes": {
            key: list(value) if isinstance(value, tuple) else value for key, value in span.attributes.items()
        },
    }


def _fastapi(work: Callable[[], None], settings: SessionSettings, wiring: dict[str, Any]) -> None:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from session_mw.integrations.fastapi import SessionTracking

    app = FastAPI()
    SessionTracking(app, settings, **wiring)

    @app.post("/chat")
    async def chat() -> dict[str, str]:
        work()
        return {}

    with TestClient(app, base_url="https://shop.example") as client:
        assert 200 == client.post("/chat").status_code


def _flask(work: Callable[[], None], settings: SessionSettings, wiring: dict[str, Any]) -> None:
    from flask import Flask

    from session_mw.integrations.flask import SessionTracking

    app = Flask("shop")
    SessionTracking(app, settings, **wiring)

    @app.post("/chat")
    def chat() -> dict[str, str]:
        work()
        return {}

    with app.test_client() as client, client.post("/chat", base_url="https://shop.example") as response:
        assert 200 == response.status_code


def every_case(process: Process) -> dict[str, dict[str, Any]]:
    """Run both shells, with the helper and without, and shut the other SDK down."""
    cases = {f"{shell} {helps}": process.run(shell, helps == "helped") for shell in SHELLS for helps in HELPS}
    process.sdk.close()
    return cases
