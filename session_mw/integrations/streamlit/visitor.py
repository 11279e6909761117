"""
Who is there: what Streamlit tells of a browser and its user, through what it publishes (``st.context``, ``st.user``).

Nothing here raises: a page is not to fail because of us, and in tests (``AppTest``) much of this is a stand-in.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from ..._core.facts import RequestFacts
from ...asgi.facts import FactsReader
from ...settings import SessionSettings

CLAIMS = ("email", "preferred_username", "sub", "oid")
# Streamlit's own, for everybody: in earlier versions on any local machine, in AppTest still.
PLACEHOLDERS = ("test@example.com", "test@test.com")


def facts_of_browser(settings: SessionSettings) -> RequestFacts:
    """
    Return the request by which the browser connected: its cookies, language and client.

    What it says in ``baggage`` is left out: a page belongs to the visitor, not to another service's turn.
    """
    address = _context("ip_address")
    scope = {
        "type": "websocket",
        "path": "/_stcore/stream",
        "headers": [(name, value) for name, value in _headers() if name != b"baggage"],
        "client": (address, 0) if isinstance(address, str) else None,
    }
    return FactsReader(settings.token_header, settings.conversation_header).read(scope)


def _context(name: str) -> Any:
    try:
        return getattr(st.context, name)
    except Exception:
        return None


def _headers() -> list[tuple[bytes, bytes]]:
    try:
        found = _context("headers")
        return [
            (name.lower().encode("latin-1", "replace"), value.encode("latin-1", "replace"))
            for name in found
            for value in found.get_all(name)
        ]
    except Exception:
        return []


def user_of_host() -> str | None:
    """Return the id of the user whom Streamlit knows, None when it knows none."""
    claims = _claims()
    if claims.get("is_logged_in") is False:
        return None
    found = (claims.get(name) for name in CLAIMS)
    return next((text for text in found if isinstance(text, str) and text not in ("", *PLACEHOLDERS)), None)


def nobody_is_logged_in() -> bool:
    """Return whether Streamlit has a login, and nobody has used it."""
    return _claims().get("is_logged_in") is False


def _claims() -> dict[str, Any]:
    try:
        return dict(getattr(st, "user", None) or getattr(st, "experimental_user", None) or {})
    except Exception:
        return {}
