"""
The wrappers around HTTP clients. Each is asked once for every message, so for every redirect too.

Where OpenTelemetry's instrumentations stand: httpx's on the transport, below ours; that of requests on
``Session.send``, as ours; urllib3's on ``HTTPConnectionPool.urlopen``, above ours; aiohttp's in trace configurations,
between our two.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from ..destination import Destination, destination_host, url_host
from ..propagator import HEADER
from .hop import Leaving, corrected, idle, prepare, text_of, told, was_injected
from .patches import Function, Patches, guarded


def httpx(patches: Patches, module: Any) -> None:
    """Cover httpx, or httpx2: redirects, authentication and transports all meet in the one function."""
    patches.cover(module.Client, "_send_single_request", _httpx_sync)
    patches.cover(module.AsyncClient, "_send_single_request", _httpx_async)


def _httpx_sync(original: Function) -> Function:
    def send(self: Any, request: Any) -> Any:
        if idle():
            return original(self, request)
        with Leaving(_httpx_host(request), request.headers, self):
            return original(self, request)

    return send


def _httpx_async(original: Function) -> Function:
    async def send(self: Any, request: Any) -> Any:
        if idle():
            return await original(self, request)
        with Leaving(_httpx_host(request), request.headers, self):
            return await original(self, request)

    return send


def _httpx_host(request: Any) -> Any:
    return told(lambda: request.url.raw_host.decode("ascii"))


def requests(patches: Patches, module: Any) -> None:
    """Cover requests: each redirect is sent with the same function, from inside the first."""
    patches.cover(module.Session, "send", _requests_send)


def _requests_send(original: Function) -> Function:
    def send(self: Any, request: Any, **options: Any) -> Any:
        if idle():
            return original(self, request, **options)
        host = told(lambda: urlsplit(request.url).hostname)
        with Leaving(host, request.headers, self):
            return original(self, request, **options)

    return send


def urllib3(patches: Patches, module: Any) -> None:
    """Cover urllib3 where it sends, retries and redirects too: below whatever injects, with the final headers."""
    patches.cover(module.HTTPConnectionPool, "_make_request", _urllib3_request)


def _urllib3_request(original: Function) -> Function:
    def request(self: Any, connection: Any, method: Any, url: Any, *args: Any, **options: Any) -> Any:
        headers = options.get("headers")
        if headers is not None and not idle():
            # A proxy that forwards is connected to instead, and gets the whole URL.
            host = url_host(url) if url.startswith("http") else self.host
            new = guarded("prepare a message", lambda: _urllib3_headers(headers, host))
            options["headers"] = headers if new is None else new
        return original(self, connection, method, url, *args, **options)

    return request


def _urllib3_headers(headers: Any, host: str | None) -> Any:
    """Return the headers put right, in a copy: they may be the pool's, and the caller's. None to leave them."""
    with Leaving(host) as to:
        to.asked = to.asked or was_injected(list(headers.items()))
        names = [name for name in headers if name.lower() == HEADER]
        wanted = corrected(text_of([text_of(headers[name]) for name in names]), to)
    if wanted is None:
        return None
    new = headers.copy() if hasattr(headers, "copy") else dict(headers)
    for name in names:
        del new[name]
    if wanted:
        new[HEADER] = wanted
    return new


def aiohttp_session(patches: Patches, module: Any) -> None:
    """Cover aiohttp where URLs come in: whoever traces the request is told from inside."""
    patches.cover(module.ClientSession, "_request", _aiohttp_outer)


def _aiohttp_outer(original: Function) -> Function:
    async def _request(self: Any, method: Any, str_or_url: Any, **options: Any) -> Any:
        if idle():
            return await original(self, method, str_or_url, **options)
        host = told(lambda: self._build_url(str_or_url).raw_host)
        with Leaving(host, None, self):
            return await original(self, method, str_or_url, **options)

    return _request


def aiohttp_request(patches: Patches, module: Any) -> None:
    """Cover aiohttp where it sends: each redirect is a request object of its own, with headers of its own."""
    patches.cover(module.ClientRequest, "send", _aiohttp_inner)


def _aiohttp_inner(original: Function) -> Function:
    async def send(self: Any, *args: Any, **options: Any) -> Any:
        if not idle():
            guarded("prepare a message", lambda: _aiohttp_headers(self))
        return await original(self, *args, **options)

    return send


def _aiohttp_headers(request: Any) -> None:
    around = destination_host.get()
    injected = isinstance(around, Destination) and around.asked  # with its own span: better than what is current here
    with Leaving(request.url.raw_host) as to:
        to.carries = to.carries and not injected
        prepare(request.headers, to)
