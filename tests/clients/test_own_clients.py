"""The wrappers of ``session_mw.clients``: put on, taken off, beside others."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import aiohttp
import httpx
import pytest
import requests
from opentelemetry import baggage, context, propagate
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from session_mw._core.scope import current_scope
from session_mw.clients import aiohttp as our_aiohttp
from session_mw.clients import httpx as our_httpx
from session_mw.clients import requests as our_requests
from session_mw.telemetry.install import instrument
from session_mw.telemetry.outgoing import hop
from tests.clients.callers import CLIENTS, WRAPPED
from tests.clients.inside import in_session
from tests.clients.recorder import Recorder
from tests.clients.test_matrix import ALLOWED, OURS, THEIRS
from tests.telemetry.support import make_policy, make_scope


@pytest.mark.parametrize("client", WRAPPED)
def test_own_wrapper_keeps_what_the_application_wrote(client: str, server: Recorder) -> None:
    """Error trackers write baggage by themselves; it stays, behind ours, once, whatever is redirected."""
    with in_session(client, "own"):
        token = context.attach(baggage.set_baggage("tenant", "acme"))
        urls = [server.url(OURS, server.url(THEIRS)), server.url(THEIRS, server.url(OURS))]
        CLIENTS[client][0](urls, True, {"baggage": "sentry-release=1;p=2"})
        context.detach(token)

    received = server.take()
    foreign = [one.all("baggage")[0].split(",")[-2:] for one in received]
    assert ["s-1", None, None, "s-1"] == [one.session for one in received]
    assert all({"tenant=acme", "sentry-release=1;p=2"} == set(of) for of in foreign)
    assert [7, 2, 2, 7] == [len(one.all("baggage")[0].split(",")) for one in received]


@pytest.mark.parametrize("client", ["httpx", "requests"])
def test_own_wrapper_twice_is_once_and_taken_off_is_off(client: str, server: Recorder) -> None:
    """Idempotent, and undone; a client beside it is never touched."""
    make: dict[str, Callable[[], Any]] = {"httpx": httpx.Client, "requests": requests.Session}
    if client not in make:
        pytest.skip("the synchronous ones stand for all: one registry")
    ours: Any = our_httpx if client == "httpx" else our_requests
    with in_session(client, "neither"), make[client]() as mine, make[client]() as other:
        ours.instrument_client(ours.instrument_client(mine))
        mine.get(server.url(OURS))
        other.get(server.url(OURS))
        ours.uninstrument_client(mine)
        ours.uninstrument_client(mine)
        mine.get(server.url(OURS))

    assert ["s-1", None, None] == [one.session for one in server.take()]


def test_own_wrapper_works_where_the_global_propagator_has_no_place_for_baggage(server: Recorder) -> None:
    """``OTEL_PROPAGATORS=tracecontext``: who wraps a client has said what they want."""
    with in_session("httpx", "neither"):
        only: TextMapPropagator = TraceContextTextMapPropagator()
        propagate.set_global_textmap(only)
        instrument(make_policy(ALLOWED), processors=False)
        current_scope.set(make_scope())
        with our_httpx.instrument_client(httpx.Client()) as client:
            client.get(server.url(OURS))
            client.get(server.url(THEIRS))
        our_httpx.uninstrument_client(client)

    assert ["s-1", None] == [one.session for one in server.take()]


def test_websockets_of_aiohttp(server: Recorder) -> None:
    """A handshake is a request like any other."""

    async def run() -> None:
        async with our_aiohttp.instrument_client(aiohttp.ClientSession()) as session:
            for host in (OURS, THEIRS):
                with pytest.raises(aiohttp.WSServerHandshakeError):
                    await session.ws_connect(server.url(host))

    with in_session("aiohttp", "own"):
        asyncio.run(run())

    assert ["s-1", None] == [one.session for one in server.take()]


def test_clients_that_are_gone_are_forgotten() -> None:
    """The registry keeps nothing alive."""
    before = len(hop.egress.carried)
    for _ in range(10):
        our_requests.instrument_client(requests.Session()).close()
    gc.collect()

    assert before == len(hop.egress.carried)


@pytest.mark.parametrize("module", ["httpx", "requests", "aiohttp"])
def test_something_else_is_refused(module: str) -> None:
    """A mistake is told at once."""
    ours = {"httpx": our_httpx, "requests": our_requests, "aiohttp": our_aiohttp}[module]
    with pytest.raises(TypeError, match=f"cannot instrument a client: 'object' found. Give an? {module}"):
        ours.instrument_client(object())  # type: ignore[attr-defined]


MISSING = """
import sys
from importlib import import_module
for module, package in {
    "clients.httpx": "httpx", "clients.requests": "requests", "clients.aiohttp": "aiohttp",
    "integrations.celery": "celery", "integrations.arq": "arq",
}.items():
    sys.modules[package] = None
    try:
        import_module("session_mw." + module)
    except ImportError as error:
        assert str(error) == f"session_mw.{module} needs {package}: pip install 'session-mw[{package}]'", error
    else:
        raise AssertionError(module)
"""


def test_a_missing_package_is_named() -> None:
    """With the line that installs it."""
    done = subprocess.run([sys.executable, "-c", MISSING], capture_output=True, text=True, timeout=60, check=False)

    assert (0, "") == (done.returncode, done.stderr)
