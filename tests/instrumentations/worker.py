"""
One row of the table, in a process of its own: instrumentations patch clients for the whole process.

``python -m tests.instrumentations.worker <row> <url of the model server>`` runs every case of the row as one turn of
one session behind the middleware, and prints as JSON what was reported on spans and what was counted.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

import httpx
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from session_mw import TokenUsage, current_session
from session_mw.asgi import SessionTrackingMiddleware
from session_mw.testing import FakeClock, RecordingSink

from .ground import Ground
from .rows import IN_MICROUSD, OUT_MICROUSD, ROWS, Row, book

SECRET = "instrumentations-tests-only-0123456789-abcdefghij"
OURS = "session_mw"


def price(model: str, provider: str | None, usage: TokenUsage) -> float:
    """Return what a call costs, by a price list that is the same for all models."""
    return (IN_MICROUSD * (usage.input_tokens or 0) + OUT_MICROUSD * (usage.output_tokens or 0)) / 1_000_000


class Application:
    """A web application whose only page runs a case, behind the middleware."""

    def __init__(self, row: Row, url: str, cases: dict[str, Callable[[Ground], Any]]) -> None:
        self.sink, self.clock = RecordingSink(), FakeClock()
        self.told: dict[str, dict[str, Any]] = {}
        self._row, self._url, self._cases = row, url, cases
        self._later: list[asyncio.Task[None]] = []
        inner = Starlette(routes=[Route("/{case}", self.page, methods=["POST"])])
        self.shell = SessionTrackingMiddleware(
            inner, secret_key=SECRET, event_sink=self.sink, price_for=price, lifecycle_spans="never", clock=self.clock
        )
        self.shell.engine.background.hold()

    async def page(self, request: Request) -> JSONResponse:
        """Run the case that the path names."""
        name = request.path_params["case"]
        session = current_session()
        assert session is not None
        ground = Ground(f"{self._url}/{book(self._row.name, name)}")
        told: dict[str, Any] = {"session": session.id, "failure": None}
        self.told[name] = told
        case = self._cases[name]
        try:
            await (case(ground) if inspect.iscoroutinefunction(case) else run_in_threadpool(case, ground))
        except Exception:
            told["failure"] = traceback.format_exc()
        told["executed"] = ground.executed
        self._later += [asyncio.create_task(work) for work in ground.later]
        return JSONResponse({})

    async def run(self) -> None:
        """Run every case, each in a session of its own, and end the sessions."""
        transport = httpx.ASGITransport(app=self.shell)
        for name in self._cases:
            async with httpx.AsyncClient(transport=transport, base_url="https://app.test") as browser:
                await browser.post("/" + name, json={})
            await asyncio.gather(*self._later)
        self.clock.advance(seconds=1801)
        self.shell.engine.background.step()


def result(application: Application, spans: tuple[ReadableSpan, ...]) -> dict[str, Any]:
    """Return what every case told, was seen as, and was counted as."""
    found = {}
    for name, told in application.told.items():
        own = [span for span in spans if (span.attributes or {}).get("session.id") == told["session"]]
        ends = [e.attributes for e in application.sink.named("session.end") if _of(e, told["session"])]
        late = [e.attributes for e in application.sink.named("session.usage_late") if _of(e, told["session"])]
        turns = [span.attributes for span in own if span.name == "turn"]
        seen = [_seen(span, spans) for span in own if _scope(span) != OURS]
        kept = _kept(application.shell.engine.history, told["session"])
        found[name] = {**told, "end": _plain(ends), "late": _plain(late), "turn": _plain(turns), "spans": seen, **kept}
    return found


def _kept(history: Any, session: str) -> dict[str, Any]:
    """Return what the history has of a turn and of its calls: kind, tokens, cost."""
    (turn,) = history.turns(session)
    rows = [(one.kind, one.input_tokens, one.output_tokens, one.cost_microusd) for one in history.usages(session)]
    return {"kept": (turn.input_tokens, turn.output_tokens, turn.cost_microusd), "calls": rows}


def _of(event: Any, session: str) -> bool:
    return bool(event.attributes["session.id"] == session)


def _scope(span: ReadableSpan) -> str:
    return span.instrumentation_scope.name if span.instrumentation_scope else ""


def _plain(attributes: list[Any]) -> list[dict[str, Any]]:
    return [dict(each) for each in attributes]


def _seen(span: ReadableSpan, spans: tuple[ReadableSpan, ...]) -> dict[str, Any]:
    parent = next((s for s in spans if span.parent and s.context.span_id == span.parent.span_id), None)
    return {
        "name": span.name,
        "scope": _scope(span),
        "parent": parent.name if parent else None,
        "error": span.status.status_code.name == "ERROR",
        "attributes": {k: v for k, v in (span.attributes or {}).items() if _telling(k)},
    }


def _telling(key: str) -> bool:
    """Whether *key* bears on counting; contents and settings do not."""
    if key.startswith(("gen_ai.usage.", "llm.usage.", "llm.token_count.", "gen_ai.aggregated_usage.")):
        return True
    return key in TELLING


TELLING = {
    "openinference.span.kind",
    "traceloop.span.kind",
    "gen_ai.operation.name",
    "gen_ai.response.id",
    "gen_ai.provider.name",
    "gen_ai.system",
    "gen_ai.response.model",
    "gen_ai.request.model",
    "llm.model_name",
    "llm.provider",
    "llm.system",
    "operation.cost",
    "error.type",
}


def stay_at_home(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse every connection that leaves this machine: an audit hook."""
    if event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][0] not in ("127.0.0.1", "::1"):
        raise OSError(f"a test may not connect to {arguments[1]}")


def main() -> None:
    """Run the row named on the command line."""
    sys.addaudithook(stay_at_home)
    row = next(row for row in ROWS if row.name == sys.argv[1])
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    for name in row.instrumentors:
        importlib.import_module("tests.instrumentations.instrumentors").__dict__[name]()
    cases = importlib.import_module(f"tests.instrumentations.{row.calls}").CASES
    application = Application(row, sys.argv[2], cases)
    asyncio.run(application.run())
    print(json.dumps(result(application, exporter.get_finished_spans())))


if __name__ == "__main__":
    main()
