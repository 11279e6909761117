"""
What a shell reads off a request, and what the core concludes from it: is this ours to look at, is it a turn.

A *turn* is one exchange that the user waits for. POST, PUT, PATCH and DELETE always are; a GET is one when it asks for
an event stream, or when it comes from no browser (no ``Sec-Fetch-*``, ``Accept`` does not prefer HTML): API clients
read answers with GET, browsers load pages and poll with it. HEAD and OPTIONS never are. Assets are told from pages by
``Sec-Fetch-Dest`` (W3C Fetch Metadata), and by ``Accept`` where a client sends none.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

ALWAYS_TURN = frozenset({"POST", "PUT", "PATCH", "DELETE"})
NEVER_TURN = frozenset({"HEAD", "OPTIONS", "TRACE", "CONNECT"})
ASSET_DESTS = frozenset(
    {b"script", b"style", b"image", b"font", b"manifest", b"audio", b"video", b"track", b"worker", b"serviceworker"}
    | {b"sharedworker", b"audioworklet", b"paintworklet", b"xslt", b"object", b"embed", b"report", b"webidentity"}
)
ASSET_ACCEPTS = (b"image/", b"text/css", b"font/", b"application/font", b"audio/", b"video/")


class RequestFacts:
    """
    A request as far as sessions are concerned. Header values are bytes, as they came.

    Attributes:
        kind: ``http`` or ``websocket``.
        method: In upper case.
        path: Decoded, without query.
        scheme: ``http``, ``https``, ``ws`` or ``wss``, as the server (or a configured proxy) says.
        peer: Address of the socket's other end, as the server has it; empty when unknown, as of a unix socket.
        cookies: Every Cookie header.
        tokens: Every session token header.
        baggage: Every baggage header, in order.
        conversation: Conversation header.
        bare_id: ``X-Session-ID``.
        accept: Accept header.
        fetch_dest: ``Sec-Fetch-Dest``; empty when the client sends none.
        browser: Whether any ``Sec-Fetch-*`` header came.
        client_version: ``X-Client-Version``.
        language: Accept-Language.
        raw: The ASGI scope or WSGI environ itself.
    """

    # Defaults stand on the class: most requests bring few of these.
    cookies: Sequence[bytes] = ()
    tokens: Sequence[bytes] = ()
    baggage: Sequence[bytes] = ()
    conversation: bytes = b""
    bare_id: bytes = b""
    accept: bytes = b""
    fetch_dest: bytes = b""
    client_version: bytes = b""
    language: bytes = b""
    browser: bool = False

    def __init__(self, kind: str, method: str, path: str, scheme: str, peer: str, raw: Any) -> None:
        self.kind = kind
        self.method = method
        self.path = path
        self.scheme = scheme
        self.peer = peer
        self.raw = raw

    def header(self, name: str) -> str | None:
        """
        Return a request header of any name, for settings that are callables.

        Args:
            name: In any case, with hyphens.

        Returns:
            The first such header, decoded as Latin-1; None when there is none.
        """
        found = self.lines(name)
        return found[0] if found else None

    def lines(self, name: str) -> list[str]:
        """Return every request header of *name*, in order, decoded as Latin-1. WSGI servers have joined them."""
        headers = self.raw.get("headers")
        if headers is None or isinstance(headers, str):
            value = self.raw.get("HTTP_" + name.upper().replace("-", "_"))
            return [value] if isinstance(value, str) else []
        wanted = name.lower().encode("latin-1", "replace")
        return [bytes(v).decode("latin-1") for k, v in headers if k == wanted]


class PathSet:
    """
    A set of paths: exact ones, prefixes (ending in ``/`` or ``*``) and shell patterns, compiled once.

    Args:
        patterns: ``/health``, ``/static/``, ``/api/*``, ``*/events``.
    """

    __slots__ = ("_exact", "_pattern", "_prefixes")

    def __init__(self, patterns: Sequence[str]) -> None:
        exact, prefixes, globs = set(), [], []
        for text in patterns:
            if not any(c in text.rstrip("*") for c in "*?[") and text.endswith(("*", "/")) and text != "/":
                prefixes.append(text.rstrip("*"))
            elif any(c in text for c in "*?["):
                globs.append(fnmatch.translate(text))
            else:
                exact.add(text)
        self._exact = frozenset(exact)
        self._prefixes = tuple(prefixes)
        self._pattern = re.compile("|".join(globs)) if globs else None

    def __contains__(self, path: str) -> bool:
        if path in self._exact or path.startswith(self._prefixes):
            return True
        return self._pattern is not None and self._pattern.match(path) is not None


@dataclass(frozen=True)
class TurnRule:
    """
    Which requests are turns. All None: the rule at the top of this file; any given one replaces it.

    Attributes:
        methods: Only these, in upper case.
        paths: Only these.
        when: Asked last; gets the facts.
        endpoint: Looks up the mark that ``@turn_endpoint`` left on the handler; None when it has none.
    """

    methods: frozenset[str] | None = None
    paths: PathSet | None = None
    when: Callable[[RequestFacts], bool] | None = None
    endpoint: Callable[[RequestFacts], bool | None] | None = None

    @property
    def replaced(self) -> bool:
        """Whether the application gave a rule of its own."""
        return not (self.methods is None and self.paths is None and self.when is None)


def is_preflight(facts: RequestFacts) -> bool:
    """
    Return whether a browser asks for itself if a page of another origin may ask: it passes as assets do.

    It brings no cookie and keeps none, so that a session opened for it would be nobody's. (Fetch Standard,
    "CORS-preflight request".)
    """
    return facts.method == "OPTIONS" and facts.header("access-control-request-method") is not None


def is_asset(facts: RequestFacts) -> bool:
    """Return whether a request fetches an asset of a page: it passes with no span, no cookie, no ``Vary``."""
    if facts.fetch_dest:
        return facts.fetch_dest in ASSET_DESTS
    return facts.method == "GET" and facts.accept.startswith(ASSET_ACCEPTS)


def is_turn(facts: RequestFacts, rule: TurnRule) -> bool:
    """Return whether a request is a turn, by *rule*."""
    if rule.endpoint is not None:
        mark = rule.endpoint(facts)
        if mark is not None:
            return mark
    if rule.replaced:
        return _by_rule(facts, rule)
    if facts.method in ALWAYS_TURN:
        return True
    if facts.method != "GET":
        return False
    if b"text/event-stream" in facts.accept:
        return True
    return not facts.browser and not prefers_html(facts.accept)


def _by_rule(facts: RequestFacts, rule: TurnRule) -> bool:
    if rule.methods is not None and facts.method not in rule.methods:
        return False
    if rule.paths is not None and facts.path not in rule.paths:
        return False
    if rule.when is not None:
        return bool(rule.when(facts))
    return rule.methods is not None or facts.method not in NEVER_TURN


def prefers_html(accept: bytes) -> bool:
    """Return whether ``text/html`` (or XHTML) is named no later than any other type: browsers put it first."""
    first = accept.split(b",", 1)[0].split(b";", 1)[0].strip().lower()
    return first in (b"text/html", b"application/xhtml+xml")


def channel_of(facts: RequestFacts, source: str | None) -> str:
    """Return ``web`` for browsers and clients with cookies, else ``api``."""
    return "web" if facts.browser or source == "cookie" else "api"


def locale_of(language: bytes) -> str | None:
    """Return the first language of an Accept-Language header (RFC 9110, 12.5.4), None when it is not one."""
    tag = language.split(b",", 1)[0].split(b";", 1)[0].strip()
    if not 1 <= len(tag) <= 35 or tag == b"*" or not re.fullmatch(rb"[A-Za-z0-9-]+", tag):
        return None
    return tag.decode("ascii")
