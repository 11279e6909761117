"""Plants personal data into every input that this package has, and collects everything that leaves the process."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from opentelemetry import propagate
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from session_mw import (
    LoggerSink,
    agent_run,
    conversation,
    current_session,
    current_turn,
    end_session,
    llm_call,
    manage_context,
    observe,
    session_context,
    session_manager,
    session_metrics,
    set_session,
    set_user,
    start_session,
    tool_call,
    turn,
)
from session_mw.testing import FakeClock, RecordingSink
from tests.telemetry.support import LogKeeper

SECRET = "0123456789abcdef-a-secret-for-tests-only-0123456789"
ADDRESS = "jane.doe@example.org"
CUSTOMER = "customer-4711"
PHONE = 4915112345678
# Beside the address as it stands: in the query of a URL, in a sentence, cut at the length of an attribute.
FORMS = (
    ADDRESS,
    f"asked by <{ADDRESS}>, yesterday",
    "https://shop.test/find?mail=jane.doe%40example.org&page=2",
    "x" * 190 + " " + ADDRESS,
    "x" * 790 + " " + ADDRESS + " " + "\x00" * 700,
    "jane.\u200bdoe@exam\u200bple.org",
)
TRACES = ("jane.doe", "jane%", "example.org", "customer-47", "4915112345678")  # what may not be left


class Outlets:
    """
    Everything that leaves the process, or stays on disk.

    Args:
        folder: For the store and the history, in one file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spans, self.logs, self.metrics = InMemorySpanExporter(), LogKeeper(), InMemoryMetricReader()
        self.meters = MeterProvider([self.metrics], shutdown_on_exit=False)
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.loggers = LoggerProvider(shutdown_on_exit=False)
        self.loggers.add_log_record_processor(SimpleLogRecordProcessor(self.logs))
        self.sink, self.clock = RecordingSink(), FakeClock()
        self.lines: list[str] = []
        self.errors: list[str] = []
        self.sent: list[Any] = []
        self.handles: list[Any] = []

    def settings(self, **more: Any) -> dict[str, Any]:
        """Return what a middleware or ``configure`` takes."""
        return {
            "secret_key": SECRET,
            "store": f"sqlite:///{self.folder / 'sessions.db'}",
            "tracer_provider": self.tracers,
            "meter_provider": self.meters,
            "logger_provider": self.loggers,
            "event_sink": [self.sink, LoggerSink(self.loggers)],
            "lifecycle_spans": "always",
            "issue": "both",
            "cookie_secure": False,
            "cookie_name": "sid",
            "clock": self.clock,
            "propagate_to": ("*.internal",),
            "session_name": ADDRESS,
            "prompt_version": ADDRESS,
            **more,
        }

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Keep the lines of our logger, as a handler writes them."""
        handler, ours = _Lines(self.lines), logging.getLogger("session_mw")
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        ours.addHandler(handler)
        try:
            yield
        finally:
            ours.removeHandler(handler)

    def finish(self, engine: Any) -> None:
        """Let every session end and be reported, and history be written."""
        for minutes in (0, 31, 31):
            self.clock.advance(seconds=minutes * 60)
            engine.background.step()

    def everything(self) -> dict[str, str]:
        """Return all of it as text, by where it was found."""
        found = {f"span {n}: {span.name}": shown(span) for n, span in enumerate(self.spans.get_finished_spans())}
        for n, record in enumerate(self.logs.records):
            found[f"log record {n}"] = f"{record.body} {dict(record.attributes or {})} {record.event_name}"
        for event in self.sink.records:
            found[f"event {event.event_name} {event.key}"] = f"{event.key} {dict(event.attributes)} {event.trace}"
        for path in sorted(self.folder.iterdir()):
            found[f"file {path.name}"] = path.read_bytes().decode("latin-1")
        found["metrics"] = str(self.metrics.get_metrics_data())
        for name in ("lines", "errors", "sent", "handles"):
            for n, text in enumerate(getattr(self, name)):
                found[f"{name} {n}"] = str(text)
        return found

    def leaks(self) -> list[str]:
        """Return where something personal was found, and what."""
        places = {where: text.lower().replace("\u200b", "") for where, text in self.everything().items()}
        found = [(where, trace, text) for where, text in places.items() for trace in TRACES if trace in text]
        return [f"{where}: {trace}: {_around(text, trace)}" for where, trace, text in found]

    def refused(self, function: Callable[..., Any], *args: Any, **given: Any) -> None:
        """Call what raises for its arguments, and keep the message."""
        try:
            function(*args, **given)
        except (ValueError, TypeError, LookupError) as error:
            self.errors.append(str(error))
        else:
            raise AssertionError(f"{function} took {args} {given}")


class _Lines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))


def shown(span: Any) -> str:
    """Return all of a span that an exporter sends; of OpenTelemetry's server span not the URL, which is not ours."""
    attributes = {key: value for key, value in (span.attributes or {}).items() if not key.startswith(("http.", "url."))}
    events = [(event.name, dict(event.attributes or {})) for event in span.events]
    links = [dict(link.attributes or {}) for link in span.links]
    return f"{span.name} {attributes} {events} {links} {span.status.description} {dict(span.resource.attributes)}"


def _around(text: str, trace: str) -> str:
    at = text.index(trace)
    return repr(text[max(0, at - 100) : at + 100])


def say_of_session(out: Outlets, text: str) -> None:
    """Say *text* in everything that the handles of session, conversation and turn take."""
    session, exchange = current_session(), current_turn()
    assert session is not None and exchange is not None
    session.identify(ADDRESS, tier=text, org_id=text)
    session.set(type=text, name=text, prompt_version=text, channel=text, client_version=text, locale=text)
    session.set(note=text, **{text: "as a key"})
    session.journey(text, text)
    session.score("mood", text)
    session.outcome("resolved")
    session.conversation.set(topic=text)
    exchange.set(role=text, input_type=text, output_type=text, intent=text, action=text)
    exchange.add_usage(input_tokens=1, model=text)
    out.handles += [session, session.metadata, session.user_id, exchange.id, session_metrics(), session.metrics()]
    for refuse in (session.outcome, session.end, session.satisfaction):
        out.refused(refuse, text)
    out.refused(session.outcome, "resolved", source=text)
    out.refused(session.score, text, 1)
    out.refused(session.score, "mood", [text])
    out.refused(session.journey, [text], "stage")
    out.refused(session.journey, "name", "stage", text)
    for block in (session_context, conversation, set_session):
        out.refused(block, text)
    out.refused(start_session, session_id=text)
    out.refused(end_session, reason=text)
    out.refused(session_metrics, text)


def say_in_steps(text: str) -> None:
    """Say *text* in everything that conversations, turns and steps take."""
    with conversation("support-42", topic=text), turn(role=text, input_type=text, intent=text):
        _agents(text)
        with observe(text, note=text) as step:
            step.set(note=text, **{text: text})
            step.set_attributes({"app.note": text})
            step.content("app.content", text)  # content is not captured
        with session_manager.trace_span(text, {"note": text, "deep": {"mail": [text]}, text: 1}):
            session_manager.trace_agent_step(text, text, {"said": text})
            session_manager.trace_mcp_call(text, text, text)
        answer(text)
        manage_context(count=len, limit=10, prune=lambda history: history[1:])([text] * 20, [text])


def _agents(text: str) -> None:
    agent = agent_run(text, id=text, version=text, description=text, note=text)
    with agent, tool_call(text, id=text, note=text) as tool:
        tool.arguments({"mail": text})
        tool.result(text)
        tool.set(note=text)
    with llm_call(text, provider=text, operation=text, note=text) as call:
        call.response(id=text, model=text)
        call.messages(input=text, output=[text])
        call.usage(input_tokens=1, output_tokens=1)


@observe
def answer(question: str) -> str:
    """Be observed."""
    return question


@agent_run(ADDRESS, note=ADDRESS)
def fails(text: str) -> None:
    """Fail inside of three steps; the error names somebody in its message, its cause, and its traceback."""
    with tool_call("crm"), observe("look up"):
        try:
            raise KeyError(text)
        except KeyError as error:
            raise RuntimeError(f"no account of {text}") from error


def say_by_calls() -> None:
    """Name users in every call that takes one, their raw ids again in what is said with them."""
    for number, user in enumerate((ADDRESS, CUSTOMER, PHONE)):
        said = {"who": user, "note": f"the account of {user}: {user}.", "deep": {"ids": [user, "x"]}}
        with session_context(f"sess-{number}", user, said, type="chat", name=ADDRESS, channel=ADDRESS):
            answer("question")
        begun = start_session(user, ADDRESS, ADDRESS, metadata=said)
        with session_context(begun, metadata={"note": ADDRESS}, prompt_version=ADDRESS), turn():
            session_manager.set_user(user)
        end_session(begun, reason="completed")
        set_session(f"set-{number}", user, said)
        set_user(user)
        with session_manager.trace_span("exchange", {"mail": ADDRESS}):
            session = current_session()
            assert session is not None
            session.identify(user, tier=f"{user}", org_id=f"org of {user}")
        session_manager.clear_session()


def sent_from_here() -> dict[str, str]:
    """Return the headers that a call to a service of ours carries."""
    carrier = {"host": "orders.internal"}
    propagate.inject(carrier)
    return carrier
