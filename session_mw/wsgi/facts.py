"""
From a WSGI environ to the core's facts.

A WSGI server folds ``X_Session_Token`` and ``X-Session-Token`` into one key and joins repeated headers: what arrives
here cannot be told apart. Tokens are signed, so a spoofed spelling gains nothing; but ``X_Forwarded_For`` may stand
behind what a proxy of ours wrote. With ``trusted_proxies``, the proxy or the server has to drop header names with
underscores, as nginx, Apache and gunicorn do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._core.facts import RequestFacts
from .types import Environ


class FactsReader:
    """
    Reads facts off environs.

    Args:
        token_header: Name of the session token header, any case.
        conversation_header: Name of the conversation header, any case.
    """

    def __init__(self, token_header: str, conversation_header: str) -> None:
        self._token = cgi_name(token_header)
        self._single = (
            ("HTTP_ACCEPT", "accept"),
            ("HTTP_ACCEPT_LANGUAGE", "language"),
            ("HTTP_SEC_FETCH_DEST", "fetch_dest"),
            ("HTTP_X_CLIENT_VERSION", "client_version"),
            ("HTTP_X_SESSION_ID", "bare_id"),
            (cgi_name(conversation_header), "conversation"),
        )

    def read(self, environ: Environ) -> RequestFacts:
        """Return the facts of a request."""
        get = environ.get
        facts = RequestFacts(
            "http",
            get("REQUEST_METHOD", "GET"),
            get("SCRIPT_NAME", "") + get("PATH_INFO", ""),
            get("wsgi.url_scheme", "http"),
            _peer(environ),
            environ,
        )
        if "HTTP_COOKIE" in environ:
            facts.cookies = [_line(environ["HTTP_COOKIE"])]
        if self._token in environ:
            facts.tokens = [_line(environ[self._token])]
        if "HTTP_BAGGAGE" in environ:
            facts.baggage = [_line(environ["HTTP_BAGGAGE"])]
        for key, name in self._single:
            if key in environ:
                setattr(facts, name, environ[key].encode("latin-1", "replace"))
        facts.browser = bool(facts.fetch_dest) or "HTTP_SEC_FETCH_MODE" in environ or "HTTP_SEC_FETCH_SITE" in environ
        return facts


def _peer(environ: Environ) -> str:
    """Return the socket's address, also where werkzeug's ProxyFix has put the client's in its place."""
    before = environ.get("werkzeug.proxy_fix.orig")
    address = environ.get("REMOTE_ADDR") if before is None else before.get("REMOTE_ADDR")
    return address or ""


def routing_args(facts: RequestFacts) -> Mapping[str, Any]:
    """Return the parameters of the path that a router outside of the middleware has found (wsgi.org, routing_args)."""
    found = facts.raw.get("wsgiorg.routing_args")
    named = found[1] if isinstance(found, tuple) and len(found) == 2 else None
    return named if isinstance(named, dict) else {}


def cgi_name(header: str) -> str:
    """Return the environ key of a header (PEP 3333, RFC 3875)."""
    return "HTTP_" + header.upper().replace("-", "_")


def without_ours(environ: Environ, foreign: str | None) -> Environ:
    """Return a copy of *environ* whose baggage holds foreign entries only, for whatever reads it inside."""
    copy = dict(environ)
    if foreign is None:
        copy.pop("HTTP_BAGGAGE", None)
    else:
        copy["HTTP_BAGGAGE"] = foreign
    return copy


def _line(value: str) -> bytes:
    return value.encode("latin-1", "replace")
