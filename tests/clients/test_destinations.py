"""Where a call really goes decides: proxies, ports, addresses, sockets, base URLs, misleading headers."""

from __future__ import annotations

import asyncio
import gc
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer
from typing import Any
from urllib.parse import quote

import aiohttp
import httpx
import pytest
import requests
import urllib3
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from session_mw import SessionBaggagePropagator
from session_mw._core.scope import current_scope
from session_mw.clients import aiohttp as our_aiohttp
from session_mw.clients import httpx as our_httpx
from session_mw.clients import requests as our_requests
from session_mw.telemetry.context import with_scope
from session_mw.telemetry.destination import destination_host
from session_mw.telemetry.install import instrument
from session_mw.telemetry.outgoing import hop
from tests.clients.callers import CLIENTS, WRAPPED
from tests.clients.recorder import Recorder, ours_here_others_there, recording
from tests.clients.test_matrix import ALLOWED, OURS, THEIRS, WAYS, set_up
from tests.telemetry.support import make_policy, make_scope

HIDDEN = trace.NoOpTracerProvider()  # spans of it tell nothing: the wrappers have to know


@contextmanager
def in_session(client: str, way: str = "otel-last") -> Iterator[None]:
    """Inside of a session, with OpenTelemetry's instrumentation of a client."""
    with set_up(WAYS[way], CLIENTS[client][1], HIDDEN):
        current_scope.set(make_scope())
        yield


def proxied(client: str, server: Recorder, url: str) -> None:
    proxy = f"http://127.0.0.1:{server.server_address[1]}"
    if client == "httpx":
        with httpx.Client(proxy=proxy) as sync:
            sync.get(url)
    elif client == "requests":
        with requests.Session() as session:
            session.get(url, proxies={"http": proxy}, timeout=10)
    elif client == "urllib3":
        with urllib3.ProxyManager(proxy) as pool:
            pool.request("GET", url)
    else:
        asyncio.run(_proxied_async(client, proxy, url))


async def _proxied_async(client: str, proxy: str, url: str) -> None:
    if client == "aiohttp":
        async with aiohttp.ClientSession() as session, session.get(url, proxy=proxy) as response:
            await response.read()
    else:
        async with httpx.AsyncClient(proxy=proxy) as client_:
            await client_.get(url)


@pytest.mark.parametrize("way", ["otel-first", "otel-last"])
@pytest.mark.parametrize("client", CLIENTS)
def test_behind_a_proxy_the_destination_decides(client: str, way: str, server: Recorder) -> None:
    """The proxy is on the way: whom the call is for decides, although the connection goes elsewhere."""
    with in_session(client, way):
        proxied(client, server, f"http://{OURS}:81/")
        proxied(client, server, f"http://{THEIRS}:81/")

    assert [(OURS, "s-1"), (THEIRS, None)] == [(one.host, one.session) for one in server.take()]


@pytest.mark.parametrize("way", ["otel-first", "otel-last"])
@pytest.mark.parametrize("client", [name for name in CLIENTS if name != "urllib3"])
def test_a_host_header_does_not_open_the_door(client: str, way: str, server: Recorder) -> None:
    """``Host`` may be copied from another request; the URL is where the call goes."""
    with in_session(client, way):
        CLIENTS[client][0]([server.url(THEIRS)], False, {"Host": f"{OURS}:80"})

    assert [(OURS, None)] == [(one.host, one.session) for one in server.take()]


@pytest.mark.parametrize("way", ["otel-first", "otel-last"])
def test_a_host_header_does_not_open_the_door_urllib3(way: str, server: Recorder) -> None:
    """The same where headers are the caller's own, which are not written into."""
    mine = {"Host": f"{OURS}:80", "Baggage": "tenant=acme"}
    with in_session("urllib3", way):
        CLIENTS["urllib3"][0]([server.url(THEIRS)], False, mine)

    assert [(OURS, None)] == [(one.host, one.session) for one in server.take()]
    assert {"Host": f"{OURS}:80", "Baggage": "tenant=acme"} == mine


@pytest.mark.parametrize("client", CLIENTS)
def test_addresses_and_ports(client: str, server: Recorder) -> None:
    """Networks in ``propagate_to`` are about addresses in URLs; a port changes nothing."""
    with in_session(client):
        instrument(make_policy(("10.0.0.0/8", "loopback")), processors=False)
        CLIENTS[client][0]([server.url("127.0.0.1"), server.url("localhost"), server.url(OURS)], False)

    assert ["s-1", "s-1", None] == [one.session for one in server.take()]


def test_ipv6_in_brackets() -> None:
    """An address in brackets is an address to every client."""
    seen: list[str | None] = []
    with in_session("httpx"):
        instrument(make_policy(("fd00::/8",)), processors=False)
        handler = httpx.MockTransport(
            lambda request: seen.append(request.headers.get("baggage")) or httpx.Response(200)
        )
        with our_httpx.instrument_client(httpx.Client(transport=handler)) as client:
            client.get("http://[fd00::1]:8080/")
            client.get("http://[2001:db8::1]/")

    assert [True, False] == ["session.id=s-1" in (header or "") for header in seen]


@pytest.mark.parametrize("base", [OURS, THEIRS])
def test_base_urls(base: str, server: Recorder) -> None:
    """What a client adds in front of a path is where the call goes."""
    root = server.url(base).removesuffix("a")

    async def with_aiohttp() -> None:
        async with our_aiohttp.instrument_client(aiohttp.ClientSession(root)) as session, session.get("/x") as response:
            await response.read()

    with in_session("aiohttp", "own"):
        with our_httpx.instrument_client(httpx.Client(base_url=root)) as client:
            client.get("/x")
        asyncio.run(with_aiohttp())

    assert ["s-1" if base == OURS else None] * 2 == [one.session for one in server.take()]


def test_unix_sockets_go_by_the_name_in_the_url(tmp_path: Path) -> None:
    """A socket in the file system has no host: the URL's name is what the application said."""
    seen: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["baggage"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: Any) -> None: ...

        def address_string(self) -> str:
            return ""

    path = str(tmp_path / "s")
    with UnixStreamServer(path, Handler) as unix, in_session("httpx", "own"):
        thread = threading.Thread(target=lambda: [unix.handle_request() for _ in range(2)])
        thread.start()
        for host in (OURS, THEIRS):
            with our_httpx.instrument_client(httpx.Client(transport=httpx.HTTPTransport(uds=path))) as client:
                client.get(f"http://{host}/")
        thread.join(10)

    assert [True, False] == ["session.id=s-1" in (header or "") for header in seen]


@pytest.mark.parametrize("way", ["otel-first", "otel-last"])
def test_urllib3_pools_without_a_manager(way: str, server: Recorder) -> None:
    """A pool is for one host, which it knows."""
    with in_session("urllib3", way):
        for host in (OURS, THEIRS):
            with urllib3.HTTPConnectionPool(host, server.server_address[1]) as pool:
                pool.request("GET", "/a", headers={"X": "1"})
                pool.urlopen("GET", "/a")

    assert ["s-1", "s-1", None, None] == [one.session for one in server.take()]


def test_requests_with_an_adapter_of_ones_own(server: Recorder) -> None:
    """An adapter that is no HTTPAdapter is told nothing either."""
    sent: list[requests.PreparedRequest] = []

    class Adapter(requests.adapters.BaseAdapter):
        def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
            sent.append(request)
            response = requests.Response()
            response.status_code, response.request, response.url = 200, request, request.url or ""
            response._content = b""
            return response

        def close(self) -> None: ...

    with in_session("requests"), requests.Session() as session:
        session.mount("http://", Adapter())
        session.send(session.prepare_request(requests.Request("GET", f"http://{OURS}/")))
        session.get(f"http://{THEIRS}/", timeout=1)

    assert [True, False] == ["session.id=s-1" in (one.headers.get("baggage") or "") for one in sent]


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
@pytest.mark.parametrize("url", ["http://[bad/", "http://"])
def test_a_url_that_is_none_is_the_clients_to_refuse(client: str, url: str, caplog: pytest.LogCaptureFixture) -> None:
    """The client's own error, and not a word from us."""
    with in_session(client), pytest.raises((ValueError, httpx.HTTPError, urllib3.exceptions.HTTPError, AssertionError)):
        CLIENTS[client][0]([url], client in WRAPPED)

    assert not [record for record in caplog.records if record.name == "session_mw"]


HOSTILE = (
    "http://{ours}\\@{theirs}:{port}/",
    "http://{theirs}\\@{ours}:{port}/",
    "http://{ours}:80@{theirs}:{port}/",
    "http://{theirs}#@{ours}:{port}/",
    "http://{theirs}:{port}#@{ours}/",
    "http://{theirs}:{port}?@{ours}/",
    "http://{theirs}:{port}/@{ours}/",
    "http://{ours}%2e{theirs}:{port}/",
    "http://{ours}%00.{theirs}:{port}/",
    "http://{ours}.{theirs}:{port}/",
    "http://{theirs}.{ours}:{port}/",
    "http://{ours}。{theirs}:{port}/",
    "http://{ours}\t.{theirs}:{port}/",
    "http:\\\\{theirs}:{port}/@{ours}",
    "http://[{ours}]@{theirs}:{port}/",
    "//{theirs}:{port}/",
)


@pytest.fixture
def foreign_server(server: Recorder, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """Whoever is not ours: another address, the same port."""
    monkeypatch.setattr(socket, "getaddrinfo", ours_here_others_there)
    try:
        with recording("127.0.0.2", server.server_address[1]) as other:
            yield other
    except OSError:
        pytest.skip("this system has one loopback address only")


@pytest.mark.parametrize("own", [False, True], ids=["otel", "own"])
@pytest.mark.parametrize("client", CLIENTS)
def test_urls_that_are_made_to_mislead(client: str, own: bool, server: Recorder, foreign_server: Recorder) -> None:
    """However a URL is read: who is not ours learns nothing, straight or redirected."""
    port, mine = server.server_address[1], own and client in WRAPPED
    urls = [pattern.format(ours=OURS, theirs=THEIRS, port=port) for pattern in HOSTILE]
    urls += [server.url(start, quote(url, safe="")) for url in urls for start in (THEIRS, OURS)]
    with in_session(client, "own" if mine else "otel-last"):
        CLIENTS[client][0](urls, mine, errors=(Exception,))

    ours, others = server.take(), foreign_server.take()
    assert len(ours) > len(HOSTILE) and len(others) > len(HOSTILE)
    assert [None] * len(others) == [one.session for one in others]


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
