"""
Puts the log processor ahead of every other one of an SDK logger provider.

The SDK has no way to say "first", and later is too late: processors export at once or queue a copy. So this module,
and no other, touches what is private in the SDK. Where the internals are not as known, the processor is added last,
Python's own log records are stamped at their birth instead, and one warning says so.

Known: SDK 1.38 to 1.45 keep a tuple ``_log_record_processors`` and a ``_lock`` in ``_multi_log_record_processor``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from .notices import once
from .processors import SessionLogRecordProcessor, stamp_of

logger = logging.getLogger("session_mw")

_factory_lock = threading.Lock()


def add_log_processor(provider: Any, processor: SessionLogRecordProcessor) -> bool:
    """
    Add *processor* to *provider*, first if that is possible.

    Returns:
        Whether it is first. If not, a warning was logged and Python's log records are stamped at their birth.
    """
    if put_first(provider, processor):
        return True
    provider.add_log_record_processor(processor)
    install_record_factory(processor)
    once(
        "log-order",
        logger.warning,
        "cannot put the session on log records ahead of the processors of %s.%s: records logged through Python's "
        "logging carry it, others only if they are exported later. Add SessionLogRecordProcessor() to the provider "
        "before any other processor.",
        type(provider).__module__,
        type(provider).__name__,
    )
    return False


def put_first(provider: Any, processor: SessionLogRecordProcessor) -> bool:
    """Put *processor* before all others; return False, with nothing changed, if the internals are not as known."""
    holder = getattr(provider, "_multi_log_record_processor", None)
    lock = getattr(holder, "_lock", None)
    # One that calls its processors concurrently keeps no order.
    if holder is None or lock is None or hasattr(holder, "_executor"):
        return False
    with lock:
        others = getattr(holder, "_log_record_processors", None)
        if not isinstance(others, tuple):
            return False
        holder._log_record_processors = (processor, *others)
    return True


def install_record_factory(processor: SessionLogRecordProcessor) -> None:
    """
    Put the session on Python's own log records when they are made.

    Handlers that turn them into OpenTelemetry's take every extra attribute along.

    Args:
        processor: While it is not active, neither is this.
    """
    with _factory_lock:
        before = logging.getLogRecordFactory()
        if getattr(before, "_session_mw", None) is not None:
            before._session_mw.append(processor)  # type: ignore[attr-defined]
            return
        logging.setLogRecordFactory(_stamping(before, [processor]))


def _stamping(
    before: Callable[..., logging.LogRecord], processors: list[SessionLogRecordProcessor]
) -> Callable[..., logging.LogRecord]:
    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = before(*args, **kwargs)
        if any(processor.active for processor in processors):
            _stamp_python_record(record)
        return record

    factory._session_mw = processors  # type: ignore[attr-defined]
    return factory


def _stamp_python_record(record: logging.LogRecord) -> None:
    try:
        for key, value in stamp_of(None).items():
            record.__dict__.setdefault(key, value)
    except Exception as error:  # logging about it would come back here
        record.__dict__.setdefault("session_mw.error", type(error).__name__)
