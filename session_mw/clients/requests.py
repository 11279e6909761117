"""Sessions of requests that carry our session to the services that ``propagate_to`` names."""

from __future__ import annotations

from ..exceptions import MissingDependency
from . import _carrying

try:
    import requests
except ImportError as error:
    raise MissingDependency("session_mw.clients.requests", "requests", "requests") from error


def instrument_client(session: requests.Session) -> requests.Session:
    """
    Send ``traceparent`` and our baggage with every request of *session*, redirects included.

    The trace goes wherever the client goes, as with OpenTelemetry's instrumentations; session and user go to the hosts
    that the setting ``propagate_to`` allows, each redirect decided anew. Nothing is sent where there is no session.

    Args:
        session: Its adapters, proxies and hooks are left as they are. ``requests.get`` makes one of its own.

    Returns:
        The same session.

    Raises:
        TypeError: *session* is something else.
    """
    _carrying.begin(session, (requests.Session,), "a requests.Session")
    return session


def uninstrument_client(session: requests.Session) -> None:
    """Undo it; a session that was never instrumented is left alone."""
    _carrying.end(session)
