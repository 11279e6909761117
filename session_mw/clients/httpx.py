"""Clients of httpx, sync and async, that carry the session to the services that ``propagate_to`` names."""

from __future__ import annotations

from typing import TypeVar

from ..exceptions import MissingDependency
from . import _carrying

try:
    import httpx
except ImportError as error:
    raise MissingDependency("session_mw.clients.httpx", "httpx", "httpx") from error

_Client = TypeVar("_Client", httpx.Client, httpx.AsyncClient)


def instrument_client(client: _Client) -> _Client:
    """
    Send ``traceparent`` and our baggage with every request of *client*, redirects included.

    The trace goes wherever the client goes, as with OpenTelemetry's instrumentations; session and user go to the hosts
    that the setting ``propagate_to`` allows, each redirect decided anew. Nothing is sent where there is no session.

    Args:
        client: Its transports, proxies and base URL are left as they are.

    Returns:
        The same client.

    Raises:
        TypeError: *client* is something else.
    """
    _carrying.begin(client, (httpx.Client, httpx.AsyncClient), "an httpx.Client or httpx.AsyncClient")
    return client


def uninstrument_client(client: httpx.Client | httpx.AsyncClient) -> None:
    """Undo it; a client that was never instrumented is left alone."""
    _carrying.end(client)
