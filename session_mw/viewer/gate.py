"""
Who may look, and what every answer says to browsers.

Rule 1: nobody looks without ``auth``, except on the machine itself and only where that was asked for.
Rule 2: "on the machine itself" takes three checks. The peer is loopback; no header speaks of a proxy, since one on this
    machine looks like loopback too; and ``Host`` is a name of this machine, since any web page can give a name of its
    own this address (DNS rebinding).
Rule 3: what ``auth`` returns is an actor only if it is not None, False or a user who is not logged in.
"""

from __future__ import annotations

import inspect
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

Auth: TypeAlias = Callable[[Request], Any] | Callable[[Request], Awaitable[Any]]

HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "private, no-store",
}

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
FORWARDED = ("forwarded", "via", "x-real-ip")


def dressed(response: Response) -> Response:
    """Return *response* with the headers that it does not have yet."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def is_local(request: Request) -> bool:
    """Return whether a request was made on this machine, by somebody who meant this machine."""
    return _peer_is_loopback(request) and not _was_forwarded(request) and _host_is_local(request)


def _peer_is_loopback(request: Request) -> bool:
    environ = request.scope.get("wsgi_environ", {})  # some WSGI servers tell no port, and a2wsgi then no peer
    peer = request.client.host if request.client else environ.get("REMOTE_ADDR", "")
    try:
        return ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return False


def _was_forwarded(request: Request) -> bool:
    return any(name in FORWARDED or name.startswith("x-forwarded") for name in request.headers)


def _host_is_local(request: Request) -> bool:
    hosts = request.headers.getlist("host")
    if len(hosts) != 1:
        return False
    name, _, port = hosts[0].lower().rpartition(":")
    whole = hosts[0].lower()
    return whole in LOCAL_NAMES or (name in LOCAL_NAMES and port.isascii() and port.isdigit())


async def actor_of(auth: Auth, request: Request) -> Any:
    """
    Return what *auth* says of a request: an actor, a Response, or None for nobody.

    Args:
        auth: Called in a thread when it is no coroutine function: it may look into a database.
        request: As it came, with the host's own path, session and user.
    """
    told = await auth(request) if inspect.iscoroutinefunction(auth) else await run_in_threadpool(auth, request)
    if inspect.isawaitable(told):  # an object whose __call__ is async, or a partial
        told = await told
    nobody = told is None or told is False or getattr(told, "is_authenticated", True) is False
    return None if nobody else told
