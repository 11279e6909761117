"""Where a call really goes decides: proxies, ports, addresses, sockets, base URLs, misleading headers and URLs."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
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

from session_mw.clients import aiohttp as our_aiohttp
from session_mw.clients import httpx as our_httpx
from session_mw.telemetry.install import instrument
from tests.clients.callers import CLIENTS, WRAPPED
from tests.clients.inside import in_session
from tests.clients.recorder import Recorder, ours_here_others_there, recording
from tests.clients.test_matrix import OURS, THEIRS
from tests.telemetry.support import make_policy


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
