"""From an ASGI connection scope to the core's facts: one pass over the headers."""

from __future__ import annotations

from .._core.facts import RequestFacts
from .types import Scope

_ACCEPT, _LANGUAGE, _BROWSER, _DEST, _COOKIE, _TOKEN, _BAGGAGE, _CONVERSATION, _BARE_ID, _VERSION = range(10)


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
        slots = self._slots
        for name, value in scope["headers"]:
            if name in slots:
                slot = slots[name]  # in the order of how often they come
                if slot == _ACCEPT:
                    facts.accept = value
                elif slot == _LANGUAGE:
                    facts.language = value
                elif slot == _BROWSER:
                    facts.browser = True
                elif slot == _DEST:
                    facts.fetch_dest, facts.browser = value, True
                elif slot == _COOKIE:
                    facts.cookies = [*facts.cookies, value]
                else:
                    _put(facts, slot, value)
        return facts


def _put(facts: RequestFacts, slot: int, value: bytes) -> None:
    """Keep a header that comes seldom."""
    if slot == _TOKEN:
        facts.tokens = [*facts.tokens, value]
    elif slot == _BAGGAGE:
        facts.baggage = [*facts.baggage, value]
    elif slot == _CONVERSATION:
        facts.conversation = value
    elif slot == _BARE_ID:
        facts.bare_id = value
    else:
        facts.client_version = value


def without_ours(scope: Scope, foreign: str | None) -> Scope:
    """Return a copy of *scope* whose baggage holds foreign entries only, for whatever reads it inside."""
    headers = [(name, value) for name, value in scope["headers"] if name != b"baggage"]
    if foreign is not None:
        headers.append((b"baggage", foreign.encode("latin-1", "replace")))
    return {**scope, "headers": headers}
