"""From an ASGI connection scope to the core's facts: one pass over the headers."""

from __future__ import annotations

from .._core.facts import RequestFacts
from .types import Scope

_COOKIE, _TOKEN, _BAGGAGE = range(3)  # may come several times
_CONVERSATION, _BARE_ID, _ACCEPT, _DEST, _BROWSER, _VERSION, _LANGUAGE = range(3, 10)
_NONE = (b"",) * 10


class FactsReader:
    """
    Reads facts off connection scopes.

    Args:
        token_header: Name of the session token header, any case.
        conversation_header: Name of the conversation header, any case.
    """

    def __init__(self, token_header: str, conversation_header: str) -> None:
        # Names with an underscore are other headers (CVE-2026-3902): exact bytes only.
        self._slots = {
            b"cookie": _COOKIE,
            b"baggage": _BAGGAGE,
            b"x-session-id": _BARE_ID,
            b"accept": _ACCEPT,
            b"sec-fetch-dest": _DEST,
            b"sec-fetch-mode": _BROWSER,
            b"sec-fetch-site": _BROWSER,
            b"x-client-version": _VERSION,
            b"accept-language": _LANGUAGE,
            conversation_header.lower().encode("latin-1"): _CONVERSATION,
            token_header.lower().encode("latin-1"): _TOKEN,
        }

    def read(self, scope: Scope) -> RequestFacts:
        """Return the facts of a connection."""
        client = scope.get("client")
        facts = RequestFacts(
            scope["type"],
            scope.get("method", "GET"),
            scope["path"],
            scope.get("scheme", "http"),
            client[0] if client else "",
            scope,
        )
        slots, single = self._slots, None
        for name, value in scope["headers"]:
            if name not in slots:
                continue
            slot = slots[name]
            if slot >= _CONVERSATION:
                if single is None:
                    single = [*_NONE]
                single[slot] = value
            elif slot == _COOKIE:
                facts.cookies = [*facts.cookies, value]
            elif slot == _TOKEN:
                facts.tokens = [*facts.tokens, value]
            else:
                facts.baggage = [*facts.baggage, value]
        if single is not None:
            facts.conversation, facts.bare_id, facts.accept, facts.fetch_dest = single[3:7]
            facts.client_version, facts.language = single[8:10]
            facts.browser = bool(single[_BROWSER] or single[_DEST])
        return facts


def without_ours(scope: Scope, foreign: str | None) -> Scope:
    """Return a copy of *scope* whose baggage holds foreign entries only, for whatever reads it inside."""
    headers = [(name, value) for name, value in scope["headers"] if name != b"baggage"]
    if foreign is not None:
        headers.append((b"baggage", foreign.encode("latin-1", "replace")))
    return {**scope, "headers": headers}
