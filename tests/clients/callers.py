"""The HTTP clients as an application uses them: one way to call a list of URLs with each, redirects followed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import aiohttp
import httpx
import requests
import urllib3
from opentelemetry.instrumentation import httpx as otel_httpx
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor

from session_mw.clients import aiohttp as our_aiohttp
from session_mw.clients import httpx as our_httpx
from session_mw.clients import requests as our_requests

try:
    import httpx2
except ImportError:
    httpx2 = None  # type: ignore[assignment]

HTTPX2ClientInstrumentor = getattr(otel_httpx, "HTTPX2ClientInstrumentor", None)
Headers = dict[str, str] | None
Errors = tuple[type[Exception], ...]  # that do not keep the next URL from being called


def by_httpx(urls: Sequence[str], own: bool, headers: Headers = None, errors: Errors = (), method: str = "GET") -> None:
    with httpx.Client(follow_redirects=True, trust_env=False) as client:
        if own:
            our_httpx.instrument_client(client)
        for url in urls:
            with suppress(*errors):
                client.request(method, url, headers=headers)
        our_httpx.uninstrument_client(client)


def by_httpx_async(
    urls: Sequence[str], own: bool, headers: Headers = None, errors: Errors = (), method: str = "GET"
) -> None:
    async def run() -> None:
        async with httpx.AsyncClient(follow_redirects=True, trust_env=False) as client:
            if own:
                our_httpx.instrument_client(client)
            for url in urls:
                with suppress(*errors):
                    await client.request(method, url, headers=headers)
            our_httpx.uninstrument_client(client)

    asyncio.run(run())


def by_httpx2(urls: Sequence[str], own: bool, headers: Headers = None, method: str = "GET") -> None:
    with httpx2.Client(follow_redirects=True, trust_env=False) as client:
        for url in urls:
            client.request(method, url, headers=headers)


def by_requests(
    urls: Sequence[str], own: bool, headers: Headers = None, errors: Errors = (), method: str = "GET"
) -> None:
    with requests.Session() as session:
        session.trust_env = False
        if own:
            our_requests.instrument_client(session)
        for url in urls:
            with suppress(*errors):
                session.request(method, url, headers=headers, timeout=10)
        our_requests.uninstrument_client(session)


def by_urllib3(
    urls: Sequence[str], own: bool, headers: Headers = None, errors: Errors = (), method: str = "GET"
) -> None:
    with urllib3.PoolManager() as pool:
        for url in urls:
            with suppress(*errors):
                pool.request(method, url, headers=headers)


def by_aiohttp(
    urls: Sequence[str], own: bool, headers: Headers = None, errors: Errors = (), method: str = "GET"
) -> None:
    async def run() -> None:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver())
        ) as session:
            if own:
                our_aiohttp.instrument_client(session)
            for url in urls:
                with suppress(*errors):
                    async with session.request(method, url, headers=headers) as response:
                        await response.read()
            our_aiohttp.uninstrument_client(session)

    asyncio.run(run())


Caller = Callable[..., None]
WRAPPED = ("httpx", "httpx-async", "requests", "aiohttp")  # for these there is a wrapper of ours
CLIENTS: dict[str, tuple[Caller, Any]] = {
    "httpx": (by_httpx, otel_httpx.HTTPXClientInstrumentor),
    "httpx-async": (by_httpx_async, otel_httpx.HTTPXClientInstrumentor),
    "requests": (by_requests, RequestsInstrumentor),
    "urllib3": (by_urllib3, URLLib3Instrumentor),
    "aiohttp": (by_aiohttp, AioHttpClientInstrumentor),
}
MATRIX = dict(CLIENTS)
if httpx2 is not None and HTTPX2ClientInstrumentor is not None:  # newer clients of model vendors use it
    MATRIX["httpx2"] = (by_httpx2, HTTPX2ClientInstrumentor)
