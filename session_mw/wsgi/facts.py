"""
From a WSGI environ to the core's facts.

A WSGI server folds ``X_Session_Token`` and ``X-Session-Token`` into one key and joins repeated headers: what arrives
here cannot be told apart. Tokens are signed, so a spoofed spelling gains nothing; a proxy in front should drop header
names with underscores, as nginx does.
"""

from __future__ import annotations

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
        self._conversation = cgi_name(conversation_header)

    def read(self, environ: Environ) -> RequestFacts:
        """Return the facts of a request."""
        get = environ.get
        facts = RequestFacts(
            "http",
            get("REQUEST_METHOD", "GET"),
            get("SCRIPT_NAME", "") + get("PATH_INFO", ""),
            get("wsgi.url_scheme", "http"),
            get("REMOTE_ADDR", ""),
            environ,
        )
        facts.cookies = _lines(get("HTTP_COOKIE"))
        facts.tokens = _lines(get(self._token))
        facts.baggage = _lines(get("HTTP_BAGGAGE"))
        facts.conversation = _line(get(self._conversation))
        facts.bare_id = _line(get("HTTP_X_SESSION_ID"))
        facts.accept = _line(get("HTTP_ACCEPT"))
        facts.fetch_dest = _line(get("HTTP_SEC_FETCH_DEST"))
        facts.browser = bool(facts.fetch_dest) or "HTTP_SEC_FETCH_MODE" in environ or "HTTP_SEC_FETCH_SITE" in environ
        facts.client_version = _line(get("HTTP_X_CLIENT_VERSION"))
        facts.language = _line(get("HTTP_ACCEPT_LANGUAGE"))
        return facts


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


def _line(value: str | None) -> bytes:
    return value.encode("latin-1", "replace") if value else b""


def _lines(value: str | None) -> list[bytes]:
    return [value.encode("latin-1", "replace")] if value else []
