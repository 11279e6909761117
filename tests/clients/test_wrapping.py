"""How clients are wrapped: coming and going, failing, side by side; and what becomes of headers that are there."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from typing import Any

import aiohttp
import httpx
import pytest
import requests
import urllib3
from opentelemetry import baggage, context, propagate

from session_mw import SessionBaggagePropagator
from session_mw._core.scope import current_scope
from session_mw.clients import httpx as our_httpx
from session_mw.telemetry.context import with_scope
from session_mw.telemetry.destination import destination_host
from session_mw.telemetry.install import instrument
from tests.clients.callers import CLIENTS, WRAPPED
from tests.clients.inside import in_session
from tests.clients.recorder import Recorder
from tests.clients.test_matrix import ALLOWED, OURS, THEIRS
from tests.telemetry.support import make_policy, make_scope


def test_headers_injected_by_hand_are_put_right_too(server: Recorder) -> None:
    """``propagate.inject`` into a dict does not know where it goes; whoever sends that very dict does."""
    with in_session("httpx", "neither"):
        headers: dict[str, str] = {}
        propagate.inject(headers)
        assert {} == headers
        with urllib3.HTTPConnectionPool(OURS, server.server_address[1]) as pool:
            pool.request("GET", "/a", headers=headers)

    assert ["s-1"] == [one.session for one in server.take()]


@pytest.mark.parametrize("client", CLIENTS)
def test_what_the_application_wrote_itself_stays_outside_of_sessions(client: str, server: Recorder) -> None:
    """A header of one's own is not ours to change where no session is."""
    with in_session(client, "neither"):
        current_scope.set(None)
        CLIENTS[client][0]([server.url(THEIRS)], False, {"baggage": "session.id=mine,a=1"})

    assert ["mine"] == [one.session for one in server.take()]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_stale_header_of_ours_goes_to_no_other_host(client: str, server: Recorder) -> None:
    """Headers that were kept from another call (a default header, a copied request) do not leave either."""
    with in_session(client, "neither"):
        CLIENTS[client][0]([server.url(THEIRS)], False, {"baggage": "session.id=s-1,a=1;p=2"})

    assert [["a=1;p=2"]] == [one.all("baggage") for one in server.take()]


@pytest.mark.parametrize("client", CLIENTS)
def test_foreign_entries_give_way_last_in_first(client: str, server: Recorder) -> None:
    """At the limits ours are whole, and of the others those that came first."""
    with in_session(client):
        token = None
        for number in range(300):
            token = context.attach(baggage.set_baggage(f"k{number}", "x" * 40)) and token
        CLIENTS[client][0]([server.url(OURS)], False)

    (line,) = server.take()[0].all("baggage")
    members = line.split(",")
    kept = [member.partition("=")[0] for member in members if member.startswith("k")]
    assert members[0] == "session.id=s-1" and len(line) <= 8192 and len(members) <= 180
    assert [f"k{number}" for number in range(len(kept))] == kept and len(kept) > 100


def test_uninstrument_leaves_libraries_as_they_were(server: Recorder) -> None:
    """In whatever order things come and go, at the end nothing is left of anybody."""
    send, single = requests.Session.send, httpx.Client._send_single_request
    for way in ("otel-first", "otel-last", "own"):
        with in_session("requests", way):
            assert requests.Session.send is not send
        assert requests.Session.send is send or way == "otel-last"
        assert httpx.Client._send_single_request is single
        instrument(processors=False)()  # what was below theirs when we left is found, and put right

    assert requests.Session.send is send


def test_instrument_again_and_again_wraps_once() -> None:
    """Every middleware calls it."""
    with in_session("requests"):
        before = requests.Session.send
        for _ in range(3):
            instrument(make_policy(ALLOWED), processors=False)

        assert requests.Session.send is before


def test_a_failure_of_ours_never_reaches_the_call(
    server: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The call is made, and one line is logged."""

    def broken(self: Any) -> dict[str, str]:
        raise RuntimeError("broken")

    with in_session("requests", "own"):
        monkeypatch.setattr(SessionBaggagePropagator, "entries", broken)
        for client in CLIENTS:
            CLIENTS[client][0]([server.url(OURS)], client in WRAPPED, {"baggage": "a=1"})

    assert 5 == len(server.take())
    assert 1 == sum("cannot prepare a message" in line for line in caplog.messages)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_failing_call_fails_as_without_us(client: str) -> None:
    """The client's own error, and nothing stays published."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with in_session(client, "own"):
        with pytest.raises(
            (httpx.HTTPError, requests.RequestException, urllib3.exceptions.HTTPError, aiohttp.ClientError)
        ):
            CLIENTS[client][0]([f"http://{OURS}:{port}/"], client in WRAPPED)

        assert destination_host.get() is None


def test_calls_side_by_side_do_not_see_each_others_destination(server: Recorder) -> None:
    """The destination is the task's."""

    async def run() -> None:
        async with our_httpx.instrument_client(httpx.AsyncClient()) as client:
            await asyncio.gather(*(client.get(server.url((OURS, THEIRS)[number % 2])) for number in range(20)))

    with in_session("httpx", "own"):
        asyncio.run(run())

    received = server.take()
    assert 20 == len(received)
    assert all((one.session == "s-1") == (one.host == OURS) for one in received)


@pytest.mark.parametrize("client", CLIENTS)
def test_threads_that_got_opentelemetrys_context_alone(client: str, server: Recorder) -> None:
    """Instrumentations of threads hand on no other: the session in it counts as much as the one around."""
    urls = [server.url(OURS, server.url(THEIRS)), server.url(THEIRS, server.url(OURS))]

    def run() -> None:
        token = context.attach(handed_on)
        CLIENTS[client][0](urls, False)
        context.detach(token)

    with in_session(client):
        handed_on = with_scope(make_scope())
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(20)

    assert ["s-1", None, None, "s-1"] == [one.session for one in server.take()]


LATE = """
import sys
import session_mw
undo = session_mw.instrument()
assert not {"httpx", "requests", "urllib3", "aiohttp", "grpc"} & set(sys.modules)
import requests
assert requests.Session.send.__wrapped__
undo()
import httpx, requests
assert not hasattr(requests.Session.send, "__wrapped__")
assert not hasattr(httpx.Client._send_single_request, "__wrapped__")
session_mw.instrument()
assert requests.Session.send.__wrapped__ and httpx.Client._send_single_request.__wrapped__
"""


def test_libraries_that_are_imported_later() -> None:
    """None is imported for us; each is wrapped when it comes, unless we have left by then."""
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, timeout=60, check=False)

    assert (0, "") == (done.returncode, done.stderr)
