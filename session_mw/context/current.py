"""What is current: the session, turn and conversation of the request that this code runs in."""

from __future__ import annotations

from collections.abc import Callable

from .._core.scope import SessionScope, present
from .session import Session
from .turn import Conversation, Turn

_finders: list[Callable[[], SessionScope | None]] = []


def use_finder(finder: Callable[[], SessionScope | None]) -> None:
    """Let *finder* be asked where nothing is current: it knows hosts that run one script again and again."""
    _finders[:] = [finder]


def _elsewhere() -> SessionScope | None:
    return _finders[0]() if _finders else None


def current_session() -> Session | None:
    """
    Return the session of the current request, or None outside of one. Never raises.

    Reading it makes the response vary by the session (``Vary``), as it should for anything that depends on who asks.
    """
    scope = present() or _elsewhere()
    if scope is None:
        return None
    scope.accessed = True
    return Session(scope)


def current_turn() -> Turn | None:
    """
    Return the current turn, or None outside of one. Never raises.

    In a service behind the one that owns the session it is the turn there: usage is counted, the rest stays here.
    """
    scope = present() or _elsewhere()
    if scope is None or scope.turn is None or (scope.turn.loose and not scope.remote):
        return None
    return Turn(scope, scope.turn)


def current_conversation() -> Conversation | None:
    """Return the current conversation, or None outside of a session. Never raises."""
    scope = present() or _elsewhere()
    return None if scope is None else Conversation(scope)
