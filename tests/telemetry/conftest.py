"""Global state that these tests touch is put back after each."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from opentelemetry import propagate

from session_mw._core.scope import current_scope
from session_mw.telemetry import install, notices, prices, rollup
from session_mw.telemetry.destination import destination_host


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    textmap, factory = propagate.get_global_textmap(), logging.getLogRecordFactory()
    notices.reset()
    current_scope.set(None)
    destination_host.set(None)
    rollup._open.clear()
    rollup._traces.clear()
    installed, install._installed = install._installed, install._Installed()
    yield
    prices.settle()  # a thread that loads the list would log into the next test
    install._installed = installed
    current_scope.set(None)
    destination_host.set(None)
    notices.reset()
    logging.setLogRecordFactory(factory)
    propagate.set_global_textmap(textmap)
