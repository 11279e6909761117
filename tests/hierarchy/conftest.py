"""Each test begins and ends outside of any session, in a process that nobody has configured."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from opentelemetry import context as otel_context
from opentelemetry import propagate
from opentelemetry.context import Context

from session_mw._core.scope import current_scope
from session_mw._engine import parts
from session_mw._hierarchy import hosts
from session_mw.context import users
from session_mw.telemetry import install, notices

from .support import Script


@pytest.fixture(autouse=True)
def _outside() -> Iterator[None]:
    textmap, factory = propagate.get_global_textmap(), logging.getLogRecordFactory()
    installed, install._installed = install._installed, install._Installed()
    _forget()
    yield
    _forget()
    install._installed = installed
    logging.setLogRecordFactory(factory)
    propagate.set_global_textmap(textmap)


def _forget() -> None:
    current_scope.set(None)
    otel_context.attach(Context())
    notices.reset()
    for known in (hosts._own, parts._latest, users._hashers):
        known.clear()


@pytest.fixture
def script(request: pytest.FixtureRequest) -> Script:
    """A configured process with an SDK; parametrised indirectly, with these settings."""
    return Script(**getattr(request, "param", {}))
