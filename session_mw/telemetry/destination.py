"""
To which host an outgoing call goes. Baggage goes along with every call, so the answer decides who learns of a session.

Rule 1: unknown is not allowed.
Rule 2: nothing is interpreted: a URL whose host another parser might read differently has no host here.
Rule 3: who sends knows better than who injects: see ``session_mw.telemetry.outgoing``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind


class Destination(str):
    """
    Where the message goes that is being sent now: a host, or what is no host and never allowed.

    Attributes:
        asked: Somebody injects into this message, or into the one that it was redirected from.
        carries: The client is one of ours: we inject.
        vouched: Not a host: a queue or a child process that the application has said may know the session.
    """

    __slots__ = ("asked", "carries", "vouched")

    asked: bool
    carries: bool
    vouched: bool

    def __new__(cls, host: str, *, asked: bool = False, carries: bool = False, vouched: bool = False) -> Destination:
        made = super().__new__(cls, host)
        made.asked, made.carries, made.vouched = asked, carries, vouched
        return made


# Set by the wrappers around clients: an unsampled span has no attributes, and not every client passes a Host.
destination_host: ContextVar[str | None] = ContextVar("session_mw_destination_host", default=None)
# What was injected into last while nobody knew where it goes: the wrapper that sends it does.
unplaced: ContextVar[object] = ContextVar("session_mw_unplaced", default=None)

_HOST_HEADERS = ("Host", "host", "HOST")
_HOST_ATTRIBUTES = ("server.address", "net.peer.name", "http.host")  # new conventions first
_URL_ATTRIBUTES = ("url.full", "http.url")
# No user name, no backslash (a slash to some parsers), no blanks: "http://evil.example\\@localhost/".
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#@\\\s]+)(?:[/?#][^\\\s]*)?")


def asked_for(carrier: object) -> None:
    """Note that somebody injects into *carrier*, for the wrapper around the client that sends it."""
    to = destination_host.get()
    if isinstance(to, Destination):
        to.asked = True
    else:
        unplaced.set(carrier)


def host_of(carrier: Any, context: Context | None) -> str | None:
    """
    Return the host that a carrier is about to be sent to.

    Args:
        carrier: What headers are injected into.
        context: Holds the client's span; None means the current one.

    Returns:
        What a client wrapper said, else the Host header, else what the CLIENT span says; None when unknown. A port
        may be in it.
    """
    return destination_host.get() or _host_header(carrier) or _span_host(trace.get_current_span(context))


def _host_header(carrier: Any) -> str | None:
    """Carriers of messages and calls that are no mappings have no Host."""
    if not isinstance(carrier, Mapping) and not hasattr(carrier, "keys"):
        return None
    for name in _HOST_HEADERS:
        value = carrier.get(name)
        if isinstance(value, bytes):
            value = value.decode("latin-1")
        if isinstance(value, str) and value:
            return value
    return None


def _span_host(span: Any) -> str | None:
    if getattr(span, "kind", None) is not SpanKind.CLIENT:
        return None
    attributes = getattr(span, "attributes", None) or {}
    for name in _HOST_ATTRIBUTES:
        value = attributes.get(name)
        if isinstance(value, str) and value:
            return value
    return next((host for name in _URL_ATTRIBUTES if (host := url_host(attributes.get(name)))), None)


def url_host(url: object) -> str | None:
    """Return host and port of *url* as they stand in it; None if it is no absolute URL or leaves room for doubt."""
    match = _URL.fullmatch(url) if isinstance(url, str) else None
    return match[1] if match is not None else None
