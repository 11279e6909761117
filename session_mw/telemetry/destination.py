"""
To which host an outgoing call goes. Baggage goes along with every call, so the answer decides who learns of a session.

Rule 1: unknown is not allowed.
Rule 2: nothing is interpreted: a URL whose host another parser might read differently has no host here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

# Set by the wrappers around HTTP clients: an unsampled span has no attributes, and not every client passes a Host.
destination_host: ContextVar[str | None] = ContextVar("session_mw_destination_host", default=None)

_HOST_HEADERS = ("Host", "host", "HOST")
_HOST_ATTRIBUTES = ("server.address", "net.peer.name", "http.host")  # new conventions first
_URL_ATTRIBUTES = ("url.full", "http.url")
# No user name, no backslash (a slash to some parsers), no blanks: "http://evil.example\\@localhost/".
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#@\\\s]+)(?:[/?#][^\\\s]*)?")


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
