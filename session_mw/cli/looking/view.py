"""``session-mw view``: the history in a browser on this machine."""

from __future__ import annotations

import secrets
import socket
import threading
from contextlib import suppress
from typing import Any

import click
from starlette.requests import Request
from starlette.responses import RedirectResponse

from ...exceptions import MissingDependency
from ...ledger import Ledger
from .common import history_options, opened, pseudonym_maker, say

HOSTS = {"127.0.0.1": socket.AF_INET, "localhost": socket.AF_INET, "::1": socket.AF_INET6}


class OneTimeLink:
    """
    Lets the person in who sees the terminal: a link that works once gives the browser a cookie.

    The token leaves the address line with the redirect, so that it is in no history and in no copied address; the
    cookie is another secret. Other users of this machine reach the port, but see neither.

    Args:
        port: Of the server; cookies ignore ports, so it is in the cookie's name.
    """

    def __init__(self, port: int) -> None:
        self.cookie_name = f"session_mw_view_{port}"
        self.token: str | None = secrets.token_urlsafe(32)
        self._pass = secrets.token_urlsafe(32)
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Any:
        """Return whether a request is that person's, or the answer to the link."""
        given = request.query_params.get("token")
        if given is not None and request.method == "GET" and self._take(given):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(self.cookie_name, self._pass, httponly=True, samesite="strict", path="/")
            return answer
        return _same(request.cookies.get(self.cookie_name, ""), self._pass)

    def _take(self, given: str) -> bool:
        with self._lock:
            if self.token is None or not _same(given, self.token):
                return False
            self.token = None
            return True


def _same(given: str, wanted: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="127.0.0.1, localhost or ::1.")
@click.option("--port", default=0, type=click.IntRange(0, 65_535), help="Where to listen [a free one].")
@history_options
def view(host: str, port: int, store_url: str | None, ledger_url: str | None) -> None:
    """
    Look at sessions in a browser, on this machine only, until Ctrl-C.

    Prints a link that works once. It only reads. For others to look, mount SessionViewer in an application that knows
    who they are.

    \b
    Examples:
      session-mw view --ledger sqlite:///sessions.db
      session-mw view --port 8765
    """
    if host not in HOSTS:
        text = (
            f"{host!r} is not this machine: mount SessionViewer(ledger, auth=...) in an application for others to look"
        )
        raise click.UsageError(text)
    with opened(store_url, ledger_url, read_only=True) as ledger, _listener(host, port) as listener:
        _serve(ledger, host, listener)


def _listener(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=HOSTS[host])
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror}") from error


def _serve(ledger: Ledger, host: str, listener: socket.socket) -> None:
    try:
        import uvicorn
    except ModuleNotFoundError as error:
        raise MissingDependency("session-mw view", "uvicorn", "viewer") from error
    from ...viewer import SessionViewer  # not before it is asked for: it needs jinja2

    port = int(listener.getsockname()[1])
    link = OneTimeLink(port)
    app = SessionViewer(
        ledger,
        auth=link,
        allow_loopback=True,
        can_view_content=lambda actor: True,  # who reads the file can read what is in it
        pseudonym=pseudonym_maker(),
    )
    # Without proxy_headers=False uvicorn would believe a header about who the peer is.
    config = uvicorn.Config(app, log_config=None, access_log=False, proxy_headers=False, server_header=False)
    name = "[::1]" if host == "::1" else host
    say(f"open this link, it works once; Ctrl-C stops it\n  http://{name}:{port}/?token={link.token}")
    with suppress(KeyboardInterrupt):  # uvicorn raises it again when it has closed everything
        uvicorn.Server(config).run(sockets=[listener])
