"""``session-mw view``: a browser on this machine, let in by a link that works once."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from starlette.requests import Request

from session_mw.cli.app import command
from session_mw.cli.looking.view import OneTimeLink
from session_mw.viewer.passwords import Users, add, hashed
from tests.cli.looking import history

PASSWORD = "correct horse battery"


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
    """It does not listen where others could reach it, unless it is told who may look."""
    result = CliRunner().invoke(command, ["view", "--host", host, "--ledger", f"sqlite:///{tmp_path}/a.db"])

    assert 2 == result.exit_code
    assert "--auth-file" in result.output and "mount SessionViewer(ledger, auth=...)" in result.output


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


def add_user(path: Path, name: str, *answers: str) -> Any:
    """Run ``--add-user`` for somebody who types *answers*."""
    return CliRunner().invoke(command, ["view", "--add-user", str(path), name], input="\n".join((*answers, "")))


def test_V2_a_password_is_typed_twice_and_shown_nowhere(tmp_path: Path) -> None:
    """It is no argument; the file is the caller's alone, and lets that person in."""
    path = tmp_path / "viewers.txt"
    result = add_user(path, "ana", PASSWORD, "typed wrong", PASSWORD, PASSWORD)

    assert 0 == result.exit_code, result.output
    assert "ana may look now" in result.output and PASSWORD not in result.output
    assert 0o600 == path.stat().st_mode & 0o777
    assert Users(path).check("ana", PASSWORD)


def test_V2_a_short_password_is_told_in_a_line(tmp_path: Path) -> None:
    """Nothing is written."""
    result = add_user(tmp_path / "viewers.txt", "ana", "short", "short")

    assert 1 == result.exit_code
    assert "a password has 12 to 1,024 characters" in result.output
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(("mode", "told"), [(None, "no such file"), (0o644, "chmod 600")])
def test_V2_a_file_that_cannot_be_used_is_told_in_a_line(mode: int | None, told: str, tmp_path: Path) -> None:
    """Before anybody could look."""
    url, path = f"sqlite:///{tmp_path}/sessions.db", tmp_path / "viewers.txt"
    history.fill(url)
    if mode is not None:
        path.write_text(f"ana:{hashed(PASSWORD, (16, 8, 1))}\n")
        path.chmod(mode)
    result = CliRunner().invoke(command, ["view", "--ledger", url, "--host", "0.0.0.0", "--auth-file", str(path)])

    assert 1 == result.exit_code
    assert told in result.output


@contextmanager
def viewing(*words: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run ``session-mw view``; give its process and its first two lines, and see that Ctrl-C ends it well."""
    command = [sys.executable, "-m", "session_mw", "view", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stderr is not None
            yield process, [process.stderr.readline().strip() for _ in range(2)]
            os.killpg(process.pid, signal.SIGINT)
            assert 0 == process.wait(20)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.landing
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_V2_it_serves_the_history_until_it_is_stopped(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The printed link shows the list; without it, or through a proxy, nobody sees anything."""
    url = f"sqlite:///{tmp_path}/sessions.db" if kind == "sqlite" else request.getfixturevalue("pg_emptied")
    history.fill(url)
    with viewing("--ledger", url) as (_, (_, link)):
        base = link.partition("?")[0]
        with httpx.Client(follow_redirects=True, transport=httpx.HTTPTransport(retries=5)) as browser:
            assert 403 == browser.get(base).status_code
            assert 403 == browser.get(base, headers={"x-forwarded-for": "127.0.0.1"}).status_code
            page = browser.get(link)
            assert (200, base) == (page.status_code, str(page.url))
            assert "chat-1" in page.text
            assert 403 == browser.get(base, headers={"host": "evil.test"}).status_code


@pytest.mark.landing
def test_V2_others_look_with_a_password(tmp_path: Path) -> None:
    """On every address of the machine: a browser by the page, a program by HTTP Basic; it warns of plain http."""
    url, path = f"sqlite:///{tmp_path}/sessions.db", tmp_path / "viewers.txt"
    history.fill(url)
    add(path, "ana", PASSWORD, (16, 8, 1))
    with viewing("--ledger", url, "--host", "0.0.0.0", "--auth-file", str(path)) as (process, (told, address)):
        assert process.stderr is not None
        assert "viewers.txt may look" in told
        assert "travel unencrypted" in process.stderr.readline()
        base = address.replace("0.0.0.0", "127.0.0.1")
        headers = {"accept": "text/html"}
        with httpx.Client(
            follow_redirects=True, transport=httpx.HTTPTransport(retries=5), headers=headers, base_url=base
        ) as browser:
            assert 403 == browser.get("/").status_code
            page = browser.post("login", data={"name": "ana", "password": PASSWORD, "to": "s?id=chat-1"})
            assert (200, f"{base}s?id=chat-1") == (page.status_code, str(page.url))
            assert "signed in as" in page.text
        assert 401 == httpx.get(f"{base}api/sessions").status_code
        assert 200 == httpx.get(f"{base}api/sessions", auth=("ana", PASSWORD)).status_code
