"""What the telemetry tests share: sessions, a policy, and exporters that keep what they get."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk import _logs as sdk_logs
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs import export as sdk_export
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider, sampling
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from session_mw._core import baggage as wire
from session_mw._core.baggage import BaggageSigner
from session_mw._core.facts import PathSet, TurnRule
from session_mw._core.hosts import HostPolicy
from session_mw._core.policy import Policy
from session_mw._core.records import Limits
from session_mw._core.scope import SessionScope, current_scope
from session_mw._core.turn_state import TurnState
from session_mw.telemetry.content import note
from session_mw.telemetry.processors import SessionSpanProcessor

SIGNER = BaggageSigner(b"k" * 32)
OURS = ("loopback", "single-label", "*.internal")
LOG_SUCCESS: Any = getattr(sdk_export, "LogRecordExportResult", None) or sdk_export.LogExportResult  # up to 1.38
READABLE = hasattr(sdk_logs, "ReadableLogRecord")  # from SDK 1.39 on


def make_scope(
    session_id: str = "s-1", user_id: str | None = "u_1", turn: int | None = 3, **shown: Any
) -> SessionScope:
    scope = SessionScope(session_id, 1_000, user_id)
    if turn is not None:
        scope.turn = TurnState("t-1", turn, 0)
    scope.attributes.update(shown)
    scope.restamp()
    return scope


def make_policy(hosts: Sequence[str] = OURS, signer: BaggageSigner | None = SIGNER) -> Policy:
    return Policy(
        limits=Limits(1_800_000, 86_400_000, 600_000, 60_000),
        refresh_ms=300_000,
        cookie=None,
        cookie_name=b"sid",
        cookie_codec=None,  # type: ignore[arg-type]
        header_codec=None,
        token_header=b"x-session-token",
        excluded=PathSet(()),
        turns=TurnRule(),
        signer=signer,
        hosts=HostPolicy(hosts),
        hash_user=lambda user: None,
        new_id=lambda keep: "new",
    )


class Spans:
    """A tracer provider that keeps what it made."""

    def __init__(self, *processors: Any, sampler: Any = sampling.ALWAYS_ON) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        for processor in processors:
            self.provider.add_span_processor(processor)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("app")

    def finished(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def attributes(self, name: str) -> dict[str, Any]:
        return dict(next(span for span in self.finished() if span.name == name).attributes or {})


def stamped_spans() -> Spans:
    return Spans(SessionSpanProcessor())


class SpanExporterStub(InMemorySpanExporter):
    """A span exporter that answers as told."""

    def __init__(self, answer: SpanExportResult = SpanExportResult.SUCCESS) -> None:
        super().__init__()
        self.answer = answer

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        super().export(spans)
        return self.answer


class LogKeeper:
    """A log exporter that keeps records, as they are when exported, and answers as told."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = LOG_SUCCESS.SUCCESS if answer is None else answer
        self.batches: list[list[Any]] = []
        self.attributes: list[dict[str, Any]] = []

    @property
    def records(self) -> list[Any]:
        return [data.log_record for batch in self.batches for data in batch]

    def export(self, batch: Sequence[Any]) -> Any:
        self.batches.append(list(batch))
        self.attributes += [dict(data.log_record.attributes or {}) for data in batch]
        return self.answer

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def make_logger_provider(*processors: Any) -> LoggerProvider:
    provider = LoggerProvider(shutdown_on_exit=False)
    for processor in processors:
        provider.add_log_record_processor(processor)
    return provider


def sent_by(propagator: Any, context: Context | None = None, **headers: str) -> dict[str, str]:
    """Return the members that were sent, decoded, and nothing else."""
    carrier: dict[str, str] = dict(headers)
    propagator.inject(carrier, context)
    return {entry.key: entry.value for entry in wire.parse([carrier.get("baggage", "")]).entries}


class Noting:
    """A span processor that does what the roll-up does with content: hands each finished span to ``note``."""

    def on_start(self, span: Any, parent_context: Context | None = None) -> None: ...

    def _on_ending(self, span: Any) -> None: ...

    def on_end(self, span: ReadableSpan) -> None:
        scope = current_scope.get()
        if scope is not None and scope.turn is not None:
            note(scope.turn, scope.rules, span)

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True
