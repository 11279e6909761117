"""The user that a Starlette-like framework has resolved already; nothing is loaded."""

from __future__ import annotations

from .types import Scope


def user_in(scope: Scope) -> object:
    """Return the user that an outer middleware resolved (Starlette's ``scope["user"]``), None when nobody did."""
    user = scope.get("user")
    if user is None or not getattr(user, "is_authenticated", False):
        return None
    for name in ("identity", "username", "display_name"):
        value = _value_of(user, name)
        if value:
            return value
    return None


def _value_of(user: object, name: str) -> object:
    try:
        return getattr(user, name, None)
    except Exception:
        return None  # Starlette's BaseUser raises NotImplementedError for what a subclass leaves out
