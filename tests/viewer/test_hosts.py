"""The viewer in each kind of application: its users may look, its prefix does not matter, nor does a proxy's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from starlette.testclient import TestClient

from tests.e2e.servers import ROOT, free_port
from tests.patience import PATIENCE
from tests.viewer import hosts
from tests.viewer.pages import PAGES
from tests.viewer.support import Element, read

BASE = "http://host.test"
PROXY = "/tools/observe"  # what a proxy has in front


class Stripped(httpx.BaseTransport):
    """A proxy that takes its prefix off the path, and says nothing of it."""

    def __init__(self, behind: Any) -> None:
        self._behind = behind

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on."""
        path = request.url.raw_path.removeprefix(PROXY.encode()) or b"/"
        request.url = request.url.copy_with(raw_path=path)
        answer: httpx.Response = self._behind.handle_request(request)
        return answer


def visitor(name: str, proxy: str = "") -> httpx.Client:
    """Return somebody's browser, and what stands between it and a host."""
    if name in hosts.WSGI:
        script = PROXY if proxy == "kept" else ""
        transport: Any = httpx.WSGITransport(_below(hosts.WSGI[name](), script))
        client = httpx.Client(transport=transport, base_url=BASE)
    else:
        root = PROXY if proxy == "kept" else ""
        client = TestClient(hosts.ASGI[name](), base_url=BASE, root_path=root, follow_redirects=False)
    if proxy == "stripped":
        client._transport = Stripped(client._transport)
    return client


def _below(app: Any, script: str) -> Any:
    """Return what a WSGI server with a prefix of its own makes of an application."""

    def application(environ: Any, start_response: Any) -> Any:
        environ["SCRIPT_NAME"] = script
        environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix(script)
        return app(environ, start_response)

    return application


@pytest.fixture(params=[*hosts.ASGI, *hosts.WSGI])
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A kind of host."""
    pytest.importorskip(request.param.partition("_")[0]) if request.param != "bare" else None
    if "django" not in request.param:
        yield request.param
        return
    hosts._django()
    from django.test import override_settings

    with override_settings(**hosts.DJANGO):
        yield request.param


def links_of(page: Element, address: str) -> set[str]:
    """Return where the links of a page lead, as a browser understands them; none names a host or a path of its own."""
    found = [one.attributes.get(name, "") for one in page.all() for name in ("href", "src", "action")]
    links = {link for link in found if link and not link.startswith(("data:", "#"))}
    assert not [link for link in links if urlsplit(link).scheme or link.startswith("/")]
    return {urljoin(address, link) for link in links}


def walk(get: Callable[[str], Any], base: str) -> set[str]:
    """Follow the links of every page; return the pages that were seen, each of which was answered well."""
    seen: dict[str, str] = {}
    for page in PAGES:
        address = f"{base}{page}"
        for link in links_of(read(get(address).text), address):
            assert link.startswith(base), (page, link)
            seen.setdefault(urlsplit(link).path, link)
    assert {200} == {get(link).status_code for link in seen.values()}
    return {path.removeprefix(urlsplit(base).path) for path in seen}


@pytest.mark.landing
@pytest.mark.parametrize("proxy", ["", "stripped", "kept"], ids=["alone", "stripped", "kept"])
def test_every_link_of_every_page_is_answered(name: str, proxy: str) -> None:
    """No link leads above the mount, to another host, or to a page that there is not."""
    someone = visitor(name, proxy)
    base = f"{BASE}{PROXY if proxy else ''}"
    someone.get(f"{base}/login")

    assert {"", "s", "help", "analytics", "groups", "export.csv"} <= walk(someone.get, f"{base}{hosts.AT}/")


def test_the_host_s_users_may_look(name: str) -> None:
    """Nobody sees anything; who is logged in to the host is named on the page; pages of the host are the host's."""
    someone = visitor(name)
    before = someone.get(f"{hosts.AT}/")
    login = someone.get("/login")
    page = someone.get(f"{hosts.AT}/s?id=chat-1")

    assert (403, 200, 200) == (before.status_code, login.status_code, page.status_code)
    assert "chat-1" not in before.text
    assert "signed in as ana" in read(page.text).text


def test_the_mount_without_its_slash(name: str) -> None:
    """A browser that asks for the folder's name is led into it, with what it asked for."""
    someone = visitor(name)
    someone.get("/login")
    answer = someone.get(f"{hosts.AT}?q=type:chat")

    assert 307 == answer.status_code
    assert f"{BASE}{hosts.AT}/?q=type:chat" == urljoin(f"{BASE}{hosts.AT}", answer.headers["location"])


def _command(name: str, port: int) -> list[str]:
    if name in hosts.WSGI:
        app = f"tests.viewer.hosts:application('{name}')"
        return [sys.executable, "-m", "gunicorn", "-w", "1", "-b", f"127.0.0.1:{port}", app]
    run = "import uvicorn; from tests.viewer.hosts import application; "
    return [sys.executable, "-c", f"{run}uvicorn.run(application({name!r}), port={port}, log_level='warning')"]


@contextmanager
def served(name: str) -> Iterator[str]:
    """Serve a host in a process of its own; give its address."""
    port = free_port()
    with subprocess.Popen(_command(name, port), cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10 * PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.landing
@pytest.mark.parametrize("kind", [*hosts.ASGI, *hosts.WSGI])
def test_on_a_real_server(kind: str) -> None:
    """uvicorn and gunicorn hand paths over in their own ways: every link is answered there too."""
    with served(kind) as base, httpx.Client(transport=httpx.HTTPTransport(retries=8), timeout=30) as someone:
        before = someone.get(f"{base}{hosts.AT}/").status_code
        someone.get(f"{base}/login")
        seen = walk(someone.get, f"{base}{hosts.AT}/")

    assert 403 == before
    assert {"", "s", "help", "analytics", "groups", "export.csv"} <= seen
