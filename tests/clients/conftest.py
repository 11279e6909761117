"""Global state that these tests touch is put back after each; the network is this machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from opentelemetry import context, propagate
from opentelemetry.context import Context

from session_mw._core.scope import current_scope
from session_mw.telemetry import install, notices, outgoing
from session_mw.telemetry.destination import destination_host, unplaced
from session_mw.telemetry.outgoing import hop
from tests.clients.recorder import Recorder, all_names_are_here, recording


@pytest.fixture(scope="session")
def _server() -> Iterator[Recorder]:
    with recording() as server:
        yield server


@pytest.fixture
def server(_server: Recorder) -> Recorder:
    _server.take()
    return _server


@pytest.fixture(autouse=True)
def _put_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(socket, "getaddrinfo", all_names_are_here)
    textmap, installed = propagate.get_global_textmap(), install._installed
    install._installed = install._Installed()
    hop.egress.carried.clear()
    outgoing.remove()
    propagator, hop.egress.propagator = hop.egress.propagator, None
    _forget()
    token = context.attach(Context())
    yield
    context.detach(token)
    hop.egress.carried.clear()
    outgoing.remove()
    hop.egress.propagator, install._installed = propagator, installed
    propagate.set_global_textmap(textmap)
    _forget()


def _forget() -> None:
    current_scope.set(None)
    destination_host.set(None)
    unplaced.set(None)
    notices.reset()
