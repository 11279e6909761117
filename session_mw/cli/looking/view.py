"""``session-mw view``: the history in a browser, on this machine, or for those who are in a file."""

from __future__ import annotations

import ipaddress
import secrets
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from starlette.requests import Request
from starlette.responses import RedirectResponse

from ...exceptions import MissingDependency, SettingsError
from ...ledger import Ledger
from .common import history_options, opened, pseudonym_maker, say

if TYPE_CHECKING:
    from ...viewer.login import Login

NAMES = ("localhost",)


class OneTimeLink:
    """
    Lets the person in who sees the terminal: a link that works once gives the browser a cookie.

    The token leaves the address line with the redirect, so that it is in no history and in no copied address; the
    cookie is another secret. Other users of this machine reach the port, but see neither.

    Args:
        port: Of the server; cookies ignore ports, so it is in the cookie's name.
    """

    def __init__(self, port: int) -> None:
        self.cookie_name = cookie_name(port)
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


def cookie_name(port: int) -> str:
    """Return the name of the cookie of a server on *port*."""
    return f"session_mw_view_{port}"


def _same(given: str, wanted: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


@dataclass(frozen=True, slots=True)
class Server:
    """
    Where it listens, and for whom.

    Attributes:
        host: A name or an address.
        listener: The socket.
        auth_file: Of names and passwords; None is whoever sees the terminal.
        certfile: For TLS; None is plain http.
        keyfile: Its key, None when it is in the same file.
    """

    host: str
    listener: socket.socket
    auth_file: Path | None = None
    certfile: str | None = None
    keyfile: str | None = None

    @property
    def port(self) -> int:
        """Of the socket."""
        return int(self.listener.getsockname()[1])

    @property
    def url(self) -> str:
        """As somebody at this machine would name it."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.certfile else 'http'}://{name}:{self.port}/"


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Another one than this machine needs --auth-file.")
@click.option("--port", default=0, type=click.IntRange(0, 65_535), help="Where to listen [a free one].")
@click.option("--auth-file", type=click.Path(path_type=Path), help="Names and passwords of those who may look.")
@click.option("--add-user", type=(click.Path(path_type=Path), str), metavar="FILE NAME", help="Write a password down.")
@click.option("--certfile", type=click.Path(exists=True), help="A certificate, to speak https.")
@click.option("--keyfile", type=click.Path(exists=True), help="Its key, where it is not in the same file.")
@history_options
def view(
    host: str,
    port: int,
    auth_file: Path | None,
    add_user: tuple[Path, str] | None,
    certfile: str | None,
    keyfile: str | None,
    store_url: str | None,
    ledger_url: str | None,
) -> None:
    """
    Look at sessions in a browser until Ctrl-C.

    On this machine it prints a link that works once. For others it asks for a name and a password, and needs a file of
    those. It only reads. In an application that knows who its users are, mount SessionViewer instead.

    \b
    Examples:
      session-mw view --ledger sqlite:///sessions.db
      session-mw view --add-user viewers.txt ana
      session-mw view --host 0.0.0.0 --port 8765 --auth-file viewers.txt --ledger postgresql://app@db/app
    """
    if add_user is not None:
        _add_user(*add_user)
        return
    if auth_file is None and not _is_loopback(host):
        text = f"{host!r} is not this machine: others need a name and a password (--auth-file FILE, made by "
        raise click.UsageError(text + "--add-user FILE NAME), or mount SessionViewer(ledger, auth=...)")
    if keyfile and not certfile:
        raise click.UsageError("--keyfile needs --certfile")
    with opened(store_url, ledger_url, read_only=True) as ledger, _listener(host, port) as listener:
        _serve(ledger, Server(host, listener, auth_file, certfile, keyfile))


def _add_user(path: Path, name: str) -> None:
    """Ask for a password and write it down; it is never an argument, where other users of the machine would see it."""
    from ...viewer.passwords import SHORTEST, add

    prompt = f"Password of {name}, {SHORTEST} characters or more"
    try:
        changed = add(path, name, click.prompt(prompt, hide_input=True, confirmation_prompt=True, err=True))
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    say(f"{name} has a new password in {path}" if changed else f"{name} may look now: {path}")


def _is_loopback(host: str) -> bool:
    try:
        return host in NAMES or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listener(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror}") from error


def _serve(ledger: Ledger, where: Server) -> None:
    try:
        import uvicorn
    except ModuleNotFoundError as error:
        raise MissingDependency("session-mw view", "uvicorn", "viewer") from error

    app, told = _for_known(ledger, where) if where.auth_file else _for_me(ledger, where)
    # Without proxy_headers=False uvicorn would believe a header about who the peer is.
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ssl_certfile=where.certfile,
        ssl_keyfile=where.keyfile,
    )
    say(told)
    with suppress(KeyboardInterrupt):  # uvicorn raises it again when it has closed everything
        uvicorn.Server(config).run(sockets=[where.listener])


def _viewer(ledger: Ledger, **more: Any) -> Any:
    from ...viewer import SessionViewer  # not before it is asked for: it needs jinja2

    # Who has the file, or was let in by who has it, can read what is in it.
    return SessionViewer(ledger, can_view_content=lambda actor: True, pseudonym=pseudonym_maker(), **more)


def _for_me(ledger: Ledger, where: Server) -> tuple[Any, str]:
    link = OneTimeLink(where.port)
    told = f"open this link, it works once; Ctrl-C stops it\n  {where.url}?token={link.token}"
    return _viewer(ledger, auth=link, allow_loopback=True), told


def _for_known(ledger: Ledger, where: Server) -> tuple[Login, str]:
    from ...viewer.login import Login
    from ...viewer.passwords import Users

    assert where.auth_file is not None
    try:
        users = Users(where.auth_file)
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    login = Login(users, cookie_name(where.port), secure=where.certfile is not None)
    plain = not (where.certfile or _is_loopback(where.host))
    warning = "\npasswords and sessions travel unencrypted: give --certfile, or put a proxy that speaks https in front"
    told = f"whoever is in {where.auth_file} may look; Ctrl-C stops it\n  {where.url}{warning if plain else ''}"
    return login.guard(_viewer(ledger, auth=login.auth)), told
