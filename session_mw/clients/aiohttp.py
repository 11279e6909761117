"""Client sessions of aiohttp that carry our session to the services that ``propagate_to`` names."""

from __future__ import annotations

from ..exceptions import MissingDependency
from . import _carrying

try:
    import aiohttp
except ImportError as error:
    raise MissingDependency("session_mw.clients.aiohttp", "aiohttp", "aiohttp") from error


def instrument_client(session: aiohttp.ClientSession) -> aiohttp.ClientSession:
    """
    Send ``traceparent`` and our baggage with every request of *session*, websockets and redirects included.

    The trace goes wherever the client goes, as with OpenTelemetry's instrumentations; session and user go to the hosts
    that the setting ``propagate_to`` allows, each redirect decided anew. Nothing is sent where there is no session.

    Args:
        session: Its connector, resolver and base URL are left as they are.

    Returns:
        The same session.

    Raises:
        TypeError: *session* is something else.
    """
    _carrying.begin(session, (aiohttp.ClientSession,), "an aiohttp.ClientSession")
    return session


def uninstrument_client(session: aiohttp.ClientSession) -> None:
    """Undo it; a session that was never instrumented is left alone."""
    _carrying.end(session)
