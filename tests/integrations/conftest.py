"""Global state that frameworks and instrumentations touch is put back after each test; the SDK's complaints fail it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from opentelemetry import context as otel_context
from opentelemetry import propagate

from session_mw._core import pace
from session_mw._core.scope import current_scope
from session_mw.telemetry import install, notices
from tests.integrations.support import World, is_clean

COMPLAINTS = ("opentelemetry", "asyncio", "session_mw")


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    textmap, factory = propagate.get_global_textmap(), logging.getLogRecordFactory()
    notices.reset()
    installed, install._installed = install._installed, install._Installed()
    yield
    install._installed = installed
    notices.reset()
    logging.setLogRecordFactory(factory)
    propagate.set_global_textmap(textmap)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is due is reported after each response, whatever the one before took."""
    monkeypatch.setattr(pace, "SHARE", 0)


@pytest.fixture(autouse=True)
def _nothing_left_behind(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After every test: no session and no span in this thread, and no context that could not be detached."""
    yield
    assert current_scope.get() is None
    assert is_clean(otel_context.get_current())
    assert [] == [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.levelno >= logging.WARNING and record.name.startswith("opentelemetry")
    ]


@pytest.fixture
def world() -> Iterator[World]:
    """An SDK with providers of its own."""
    with ExitStack() as stack:
        yield World(stack)
