"""What the integration tests share: an SDK that keeps what it gets, clients with cookies, ways to look at a trace."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs import export as log_export
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from session_mw import CallableSink, current_session, current_turn

SECRET = "0123456789abcdef-a-secret-for-tests-only-0123456789"
COOKIE = "__Host-session_mw"
BASE = "https://shop.example"  # https: the cookie is Secure
FORGED = "session.id=evil,user.id=admin,tenant=t1"
BROWSER = {
    "sec-fetch-site": "same-origin",
    "sec-fetch-mode": "navigate",
    "sec-fetch-dest": "document",
    "accept": "text/html",
}
InMemoryLogExporter: Any = getattr(log_export, "InMemoryLogRecordExporter", None) or log_export.InMemoryLogExporter


class BaggageOnSpans(SpanProcessor):
    """Copies all baggage to span attributes, as the processor of the contrib repository does when it may."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        span.set_attributes({key: str(value) for key, value in baggage.get_all(parent_context).items()})


class World:
    """
    One SDK with providers of its own, and what came out of it.

    Attributes:
        provider: Tracer provider; its spans are kept.
        logger_provider: Its records are kept; Python's logger ``shop`` goes there.
        events: Every session.start and session.end.
        stack: Closed at the end of the test.
        overrides: Settings that this test wants otherwise.
    """

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.overrides: dict[str, Any] = {}
        self.events: list[Any] = []
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(BaggageOnSpans())
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._records = InMemoryLogExporter()
        self.logger_provider = LoggerProvider(shutdown_on_exit=False)
        self.logger_provider.add_log_record_processor(log_export.SimpleLogRecordProcessor(self._records))
        self.tracer = self.provider.get_tracer("shop")
        self.logger = logging.getLogger("shop")
        self.logger.setLevel(logging.INFO)
        handler = LoggingHandler(logger_provider=self.logger_provider)
        self.logger.addHandler(handler)
        stack.callback(self.logger.removeHandler, handler)

    def environ(self, name: str, value: str) -> None:
        """Set an environment variable until the test ends."""
        self.stack.enter_context(pytest.MonkeyPatch.context()).setenv(name, value)

    @property
    def wiring(self) -> dict[str, Any]:
        """The providers, as every integration takes them."""
        return {"tracer_provider": self.provider, "logger_provider": self.logger_provider}

    def settings(self, **overrides: Any) -> dict[str, Any]:
        """
        Return settings for a test.

        No thread runs: what is due is done after each response (``sweep="request"``).
        """
        sink = CallableSink(self.events.extend)
        given = {"secret_key": SECRET, "sweep": "request", "lifecycle_spans": "never", "event_sink": sink}
        return {**given, **self.overrides, **overrides}

    def options(self, **overrides: Any) -> dict[str, Any]:
        """Return settings and providers together."""
        return {**self.settings(**overrides), **self.wiring}

    def look(self) -> dict[str, Any]:
        """Do what a handler does: open a span, log a line, and report what it sees of its session."""
        with self.tracer.start_as_current_span("work"):
            self.logger.info("at work")
        session, turn = current_session(), current_turn()
        return {
            "id": session.id if session else None,
            "turn": turn.number if turn else None,
            "user": session.user_id if session else None,
            "previous": session.previous_id if session else None,
            "baggage": {key: str(value) for key, value in baggage.get_all().items()},
        }

    def spans(self, name: str | None = None) -> list[Any]:
        """Return the finished spans, of one name if given."""
        return [span for span in self._exporter.get_finished_spans() if name is None or name == span.name]

    def records(self, name: str = "shop") -> list[Any]:
        """Return the log records of one logger."""
        return [found.log_record for found in self._records.get_finished_logs() if _logger_of(found) == name]

    def clear(self) -> None:
        """Forget spans and records."""
        self._exporter.clear()
        self._records.clear()

    def named(self, event_name: str) -> list[Any]:
        """Return the events of one name."""
        return [event for event in self.events if event.event_name == event_name]


def _logger_of(found: Any) -> str:
    return str(found.instrumentation_scope.name)


@dataclass
class Site:
    """
    An application to be asked.

    Attributes:
        target: ASGI or WSGI callable.
        asgi: Which of the two.
    """

    target: Any
    asgi: bool


@dataclass
class Client:
    """A client with a cookie jar of its own. What the application raises is a 500 here, as behind a server."""

    site: Site
    cookies: httpx.Cookies = field(default_factory=httpx.Cookies)

    def ask(
        self, method: str = "POST", path: str = "/chat", *, raise_errors: bool = False, **request: Any
    ) -> httpx.Response:
        """Send a request; an ASGI application runs in an event loop of its own."""
        if self.site.asgi:
            return asyncio.run(self.ask_async(method, path, raise_errors=raise_errors, **request))
        transport = httpx.WSGITransport(app=self.site.target, raise_app_exceptions=raise_errors)
        with httpx.Client(transport=transport, base_url=BASE, cookies=self.cookies) as client:
            try:
                response = client.request(method, path, **request)
            except RuntimeError:  # of a bare application: the transport knows only errors told to start_response
                if raise_errors:
                    raise
                return httpx.Response(500)
            self.cookies = client.cookies
        return response

    async def ask_async(
        self, method: str = "POST", path: str = "/chat", *, raise_errors: bool = False, **request: Any
    ) -> httpx.Response:
        """Send a request to an ASGI application, in the current task."""
        transport = httpx.ASGITransport(app=self.site.target, raise_app_exceptions=raise_errors)
        async with httpx.AsyncClient(transport=transport, base_url=BASE, cookies=self.cookies) as client:
            response = await client.request(method, path, **request)
            self.cookies = client.cookies
        return response

    def seen(self, method: str = "POST", path: str = "/chat", **request: Any) -> Any:
        """Send a request, and return what the handler reports."""
        response = self.ask(method, path, **request)
        assert 200 == response.status_code, response.text
        return response.json()


def current_id() -> str:
    """Return the id of the current session; there has to be one."""
    session = current_session()
    assert session is not None
    return session.id


def traceparent(trace_id: int, span_id: int) -> str:
    """Return the header of a caller whose trace is sampled."""
    return f"00-{trace_id:032x}-{span_id:016x}-01"


def server_spans(spans: Iterable[ReadableSpan]) -> list[ReadableSpan]:
    """Return the spans of kind SERVER."""
    return [span for span in spans if span.kind is SpanKind.SERVER]


def id_of(span: ReadableSpan) -> int:
    """Return a span's id."""
    return int(span.context.span_id)


def parent_of(span: ReadableSpan) -> int | None:
    """Return the id of a span's parent; None for a root."""
    return None if span.parent is None else int(span.parent.span_id)


def ancestors(span: ReadableSpan, spans: Sequence[ReadableSpan]) -> list[str]:
    """Return the names of a span's ancestors, nearest first."""
    by_id = {id_of(other): other for other in spans}
    names: list[str] = []
    found = by_id.get(parent_of(span) or 0)
    while found is not None:
        names.append(found.name)
        found = by_id.get(parent_of(found) or 0)
    return names


def session_ids(spans: Iterable[ReadableSpan]) -> set[Any]:
    """Return every session id on *spans*; None among them when one has none."""
    return {(span.attributes or {}).get("session.id") for span in spans}


def only(spans: Sequence[ReadableSpan], name: str) -> Any:
    """Return the only span of *name*."""
    found = [span for span in spans if span.name == name]
    assert 1 == len(found), f"{len(found)} spans {name!r} among {[s.name for s in spans]}"
    return found[0]


def is_clean(context: Context) -> bool:
    """Return whether *context* holds neither span nor baggage."""
    return trace.get_current_span(context) is trace.INVALID_SPAN and not baggage.get_all(context)
