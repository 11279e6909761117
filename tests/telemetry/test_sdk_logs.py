"""
Log records: stamped before anybody exports or queues them, with the SDK that is installed.

This file needs no more than the API, the SDK and pytest: run it in an environment with another SDK version to see
whether that one's internals are as known.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.context import Context
from opentelemetry.sdk import _logs as sdk_logs
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs._internal import ConcurrentMultiLogRecordProcessor
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, SimpleLogRecordProcessor
from opentelemetry.trace import set_span_in_context

from session_mw._core.scope import current_scope
from session_mw.telemetry._sdk_logs import add_log_processor, install_record_factory, put_first
from session_mw.telemetry.context import with_scope
from session_mw.telemetry.processors import SessionLogRecordProcessor
from tests.telemetry.support import LogKeeper, Spans, make_logger_provider, make_scope, stamped_spans

pytestmark = [
    pytest.mark.filterwarnings("ignore:LogRecord will be removed"),  # SDK 1.38 about itself
    pytest.mark.filterwarnings("ignore:LogData will be removed"),
]

STAMP = {
    "session.id": "s-1",
    "user.id": "u_1",
    "gen_ai.conversation.id": "s-1",
    "conversation.id": "s-1",
    "turn.number": 3,
}


@pytest.fixture
def keeper() -> LogKeeper:
    return LogKeeper()


@pytest.fixture
def python_logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("tests.telemetry.app")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield logger
    logger.handlers.clear()


def _stamped(exporter: Any) -> LoggerProvider:
    provider = make_logger_provider(SimpleLogRecordProcessor(exporter))
    assert put_first(provider, SessionLogRecordProcessor())
    return provider


def _emit(provider: LoggerProvider, **fields: Any) -> None:
    provider.get_logger("app").emit(LogRecord(**fields))


def test_on_emit_inside_a_session_stamps_the_record(keeper: LogKeeper) -> None:
    """A log record of a running request carries the same as its spans."""
    current_scope.set(make_scope())

    _emit(_stamped(keeper), body="hello")

    assert [STAMP] == keeper.attributes


def test_on_emit_outside_of_sessions_stamps_nothing(keeper: LogKeeper) -> None:
    """A record of no session has no attribute of ours."""
    _emit(_stamped(keeper), body="hello", attributes={"a": 1})

    assert [{"a": 1}] == keeper.attributes


def test_on_emit_uses_the_context_of_the_record(keeper: LogKeeper) -> None:
    """A record made for another context belongs to that context's session."""
    current_scope.set(make_scope("of-request"))

    _emit(_stamped(keeper), body="x", context=with_scope(make_scope("of-context"), Context()))

    assert "of-context" == keeper.attributes[0]["session.id"]


def test_on_emit_context_with_a_span_only_follows_the_span(keeper: LogKeeper) -> None:
    """A callback thread that logs inside a span of a session belongs to that session."""
    spans = stamped_spans()
    current_scope.set(make_scope("of-span"))
    span = spans.tracer.start_span("turn")
    current_scope.set(None)

    _emit(_stamped(keeper), body="x", context=set_span_in_context(span, Context()))

    assert "of-span" == keeper.attributes[0]["session.id"]


def test_on_emit_context_without_session_asks_the_running_request(keeper: LogKeeper) -> None:
    """A context that says nothing of sessions is no reason to lose the request's."""
    current_scope.set(make_scope())
    span = Spans().tracer.start_span("plain")

    _emit(_stamped(keeper), body="x", context=set_span_in_context(span, Context()))

    assert [STAMP] == keeper.attributes


def test_on_emit_keeps_what_the_record_was_made_with(keeper: LogKeeper) -> None:
    """What the application said itself stays."""
    current_scope.set(make_scope())

    _emit(_stamped(keeper), attributes={"session.id": "theirs", "x": 1})

    assert [{**STAMP, "session.id": "theirs", "x": 1}] == keeper.attributes


def test_on_emit_inactive_does_nothing(keeper: LogKeeper) -> None:
    """The SDK cannot remove a processor, so a flag switches it off."""
    processor = SessionLogRecordProcessor()
    provider = make_logger_provider(SimpleLogRecordProcessor(keeper))
    put_first(provider, processor)
    current_scope.set(make_scope())
    processor.active = False

    _emit(provider, body="x")

    assert [{}] == keeper.attributes


def test_on_emit_never_raises_into_the_application(keeper: LogKeeper, caplog: pytest.LogCaptureFixture) -> None:
    """Logging must not fail because of us; the cause is said once."""
    scope: Any = make_scope()
    scope.stamp = 5
    current_scope.set(scope)
    provider = _stamped(keeper)

    _emit(provider, body="one")
    _emit(provider, body="two")

    assert ["one", "two"] == [record.body for record in keeper.records]
    assert 1 == len([record for record in caplog.records if record.name == "session_mw"])


def test_enabled_alone_is_no_reason_to_make_a_record() -> None:
    """The SDK asks whether any processor wants a record: ours wants none for itself."""
    provider = make_logger_provider()
    put_first(provider, SessionLogRecordProcessor())
    logger: Any = provider.get_logger("app")

    assert SessionLogRecordProcessor().enabled() is False
    if hasattr(logger, "enabled"):
        assert logger.enabled() is False


@pytest.mark.parametrize("kind", [SimpleLogRecordProcessor, BatchLogRecordProcessor], ids=["simple", "batch"])
def test_put_first_is_ahead_of_processors_added_before(kind: Any, keeper: LogKeeper) -> None:
    """Processors export at once or queue a copy, so the stamp has to be there before they look."""
    provider = make_logger_provider(kind(keeper))
    assert put_first(provider, SessionLogRecordProcessor())
    provider.add_log_record_processor(kind(late := LogKeeper()))
    current_scope.set(make_scope())

    _emit(provider, body="x")
    provider.force_flush()

    assert [[STAMP], [STAMP]] == [keeper.attributes, late.attributes]
    provider.shutdown()


def test_put_first_reaches_loggers_made_before(keeper: LogKeeper) -> None:
    """Applications make their loggers at import, long before the middleware."""
    provider = make_logger_provider(SimpleLogRecordProcessor(keeper))
    logger = provider.get_logger("app")
    put_first(provider, SessionLogRecordProcessor())
    current_scope.set(make_scope())

    logger.emit(LogRecord(body="x"))

    assert [STAMP] == keeper.attributes


@pytest.mark.parametrize("kind", [SimpleLogRecordProcessor, BatchLogRecordProcessor], ids=["simple", "batch"])
def test_python_logging_through_the_sdk_handler_is_stamped(
    kind: Any, keeper: LogKeeper, python_logger: logging.Logger
) -> None:
    """``logging.info()`` in a handler shows the session in the back end."""
    provider = make_logger_provider(kind(keeper))
    put_first(provider, SessionLogRecordProcessor())
    python_logger.addHandler(LoggingHandler(logger_provider=provider))
    current_scope.set(make_scope())

    python_logger.info("paid %s", 5, extra={"order": 7})
    provider.force_flush()

    assert "paid 5" == keeper.records[0].body
    assert {**STAMP, "order": 7}.items() <= keeper.attributes[0].items()
    provider.shutdown()


class _OtherInternals:
    """A provider as a future SDK might have it."""

    def __init__(self) -> None:
        self.added: list[Any] = []

    def add_log_record_processor(self, processor: Any) -> None:
        self.added.append(processor)


@pytest.mark.parametrize("internals", [None, object(), {"_lock": 1}], ids=["none", "unknown", "no-tuple"])
def test_add_log_processor_with_other_internals_warns_and_falls_back(
    internals: Any, caplog: pytest.LogCaptureFixture, python_logger: logging.Logger
) -> None:
    """Where the SDK's internals are not as known: added last, Python's own records stamped at birth, one warning."""
    processor, provider = SessionLogRecordProcessor(), _OtherInternals()
    provider._multi_log_record_processor = internals  # type: ignore[attr-defined]
    current_scope.set(make_scope())

    assert not add_log_processor(provider, processor)
    assert not add_log_processor(provider, processor)
    python_logger.addHandler(caplog.handler)
    python_logger.info("x")

    assert [processor, processor] == provider.added
    assert 1 == len([r for r in caplog.records if r.name == "session_mw" and "ahead of the processors" in r.message])
    assert STAMP.items() <= vars(caplog.records[-1]).items()


def test_add_log_processor_concurrent_provider_falls_back(keeper: LogKeeper, python_logger: logging.Logger) -> None:
    """Processors that run at the same time have no first one; Python's records are stamped all the same."""
    concurrent = ConcurrentMultiLogRecordProcessor()
    provider = LoggerProvider(shutdown_on_exit=False, multi_log_record_processor=concurrent)
    provider.add_log_record_processor(SimpleLogRecordProcessor(keeper))
    current_scope.set(make_scope())

    assert not add_log_processor(provider, SessionLogRecordProcessor())
    python_logger.addHandler(LoggingHandler(logger_provider=provider))
    python_logger.info("x")

    assert STAMP.items() <= keeper.attributes[0].items()
    concurrent._executor.shutdown()


def test_record_factory_keeps_the_one_before_it_and_is_installed_once() -> None:
    """Another library's factory goes on working, and two installations stamp once."""
    made: list[str] = []
    plain = logging.LogRecord

    def theirs(*args: Any, **kwargs: Any) -> logging.LogRecord:
        made.append("theirs")
        return plain(*args, **kwargs)

    logging.setLogRecordFactory(theirs)
    install_record_factory(one := SessionLogRecordProcessor())
    factory = logging.getLogRecordFactory()
    install_record_factory(two := SessionLogRecordProcessor())
    current_scope.set(make_scope())

    assert factory is logging.getLogRecordFactory()
    assert STAMP.items() <= vars(logging.makeLogRecord({})).items()
    one.active = two.active = False
    assert not STAMP.keys() & vars(logging.makeLogRecord({})).keys()
    assert 2 == len(made)


def test_record_factory_never_raises() -> None:
    """A broken stamp costs the stamp, not the application's log line."""
    install_record_factory(SessionLogRecordProcessor())
    scope: Any = make_scope()
    scope.stamp = 5
    current_scope.set(scope)

    assert "hello" == logging.makeLogRecord({"msg": "hello"}).msg


def test_processor_has_every_method_that_the_sdk_calls() -> None:
    """Met by shape, so every public name of the SDK's interface has to be there."""
    interface = {name for name in vars(sdk_logs.LogRecordProcessor) if not name.startswith("_")}

    assert [] == sorted(name for name in interface if not hasattr(SessionLogRecordProcessor(), name))
    assert SessionLogRecordProcessor().force_flush() is True
