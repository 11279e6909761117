"""``session-mw view``: a browser on this machine, let in by a link that works once."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from starlette.requests import Request

from session_mw.cli.app import command
from session_mw.cli.looking.view import OneTimeLink
from tests.cli.looking import history


def asked(link: OneTimeLink, query: str = "", cookie: str = "", method: str = "GET") -> Any:
    """Return what *link* says of a request."""
    headers = [(b"cookie", cookie.encode())] if cookie else []
    return link(
        Request({"type": "http", "method": method, "path": "/", "query_string": query.encode(), "headers": headers})
    )


def test_V2_the_link_works_once() -> None:
    """It gives a cookie that is not the token, and leads to an address without it; the second time it is nothing."""
    link = OneTimeLink(8765)
    token = link.token
    answer = asked(link, f"token={token}")
    cookie = answer.headers["set-cookie"]

    assert (303, "/") == (answer.status_code, answer.headers["location"])
    assert re.fullmatch(r"session_mw_view_8765=\S+; HttpOnly; Path=/; SameSite=strict", cookie)
    assert str(token) not in cookie
    assert asked(link, f"token={token}") is False
    assert asked(link, cookie=cookie.partition(";")[0]) is True


@pytest.mark.parametrize("cookie", ["", "session_mw_view_8765=", "session_mw_view_8765=x", "session_mw_view_1=x"])
def test_V2_without_the_cookie_nobody_gets_in(cookie: str) -> None:
    """Nothing, something else and another port's are nothing; a wrong token does not use the link up."""
    link = OneTimeLink(8765)

    assert asked(link, cookie=cookie) is False
    assert asked(link, "token=wrong") is False
    assert asked(link, f"token={link.token}", method="HEAD") is False
    assert 303 == asked(link, f"token={link.token}").status_code


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "example.test"])
def test_V2_other_machines_are_refused(host: str, tmp_path: Path) -> None:
    """It does not listen where others could reach it."""
    result = CliRunner().invoke(command, ["view", "--host", host, "--ledger", f"sqlite:///{tmp_path}/a.db"])

    assert 2 == result.exit_code
    assert "mount SessionViewer(ledger, auth=...)" in result.output


def test_a_port_in_use_is_told_in_a_line(tmp_path: Path) -> None:
    """Another program has the port."""
    url = f"sqlite:///{tmp_path}/sessions.db"
    history.fill(url)
    with socket.create_server(("127.0.0.1", 0)) as other:
        result = CliRunner().invoke(command, ["view", "--ledger", url, "--port", str(other.getsockname()[1])])

    assert 1 == result.exit_code
    assert "cannot listen on 127.0.0.1" in result.output


@pytest.mark.parametrize("package", ["jinja2", "uvicorn"])
def test_what_is_missing_is_told_in_a_line(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra it says how to get it."""
    url = f"sqlite:///{tmp_path}/sessions.db"
    history.fill(url)
    for name in [name for name in sys.modules if name.startswith("session_mw.viewer")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("session_mw.viewer", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    result = CliRunner().invoke(command, ["view", "--ledger", url])

    assert 1 == result.exit_code
    assert f"needs {package}: pip install 'session-mw[viewer]'" in result.output


@pytest.mark.landing
def test_V2_it_serves_the_history_until_it_is_stopped(tmp_path: Path) -> None:
    """The printed link shows the list; without it, or through a proxy, nobody sees anything; Ctrl-C ends it well."""
    url = f"sqlite:///{tmp_path}/sessions.db"
    history.fill(url)
    words = [sys.executable, "-m", "session_mw", "view", "--ledger", url]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stderr is not None
            process.stderr.readline()
            link = process.stderr.readline().strip()
            base = link.partition("?")[0]
            with httpx.Client(follow_redirects=True, transport=httpx.HTTPTransport(retries=5)) as browser:
                assert 403 == browser.get(base).status_code
                assert 403 == browser.get(base, headers={"x-forwarded-for": "127.0.0.1"}).status_code
                page = browser.get(link)
                assert (200, base) == (page.status_code, str(page.url))
                assert "chat-1" in page.text
                assert 403 == browser.get(base, headers={"host": "evil.test"}).status_code
            os.killpg(process.pid, signal.SIGINT)
            assert 0 == process.wait(20)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
