"""One request on its way through the engine."""

from __future__ import annotations

import os

from opentelemetry.context import Context

from .._core.admission import Presented
from .._core.facts import RequestFacts
from .._core.scope import SessionScope


class Visit:
    """
    One request on its way through: what was presented, its session, and what remains to be done.

    Attributes:
        facts: The request.
        found: What it presented.
        scope: Its session.
        context: OpenTelemetry context for the application; None without an SDK.
        token_due: Whether the response has to carry a token.
        turn: Whether the request is a turn.
        admitted_ms: The time at admission, as far as this worker knows the store's.
        left: Whether the request's spans were ended.
    """

    scope: SessionScope
    context: Context | None = None
    token_due: bool = False
    left: bool = False

    def __init__(self, facts: RequestFacts, found: Presented, admitted_ms: int, turn: bool) -> None:
        self.facts = facts
        self.found = found
        self.admitted_ms = admitted_ms
        self.turn = turn


_ids: list[str] = []  # made in advance: asking the system for randomness costs more than most of a turn's steps


def new_turn_id() -> str:
    """Return a turn's id: 64 random bits, unique within any session."""
    try:
        return _ids.pop()
    except IndexError:
        drawn = os.urandom(8 * 256).hex()
        _ids.extend(drawn[at : at + 16] for at in range(16, len(drawn), 16))
        return drawn[:16]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ids.clear)  # or parent and child would give the same ids


def error_of(error: BaseException | None, status: int | None) -> str | None:
    """
    Return what made a turn fail: the exception's name, the status code from 500 up, or None.

    A client that left (cancellation, a closed generator) is no failure of the turn.
    """
    if error is not None:
        gone = isinstance(error, GeneratorExit) or type(error).__name__ in ("CancelledError", "ClientDisconnect")
        return None if gone else type(error).__name__
    return str(status) if status is not None and status >= 500 else None
