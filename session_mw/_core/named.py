"""
Sessions that application code opens by itself: scripts, workers, notebooks, or an id of its own inside a request.

The application vouches for such an id, as a verified token does for a client's: it is kept as given, extended while
it lives, and used again, as a new generation, after its end. A session never holds two users, so another user's turn
under the same id is a new generation too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from ..exceptions import StoreFull
from .flows import Admitted, follow, scope_of_touch
from .ops import Flow, Touch, ask
from .policy import Policy
from .records import AttributeValue
from .scope import SessionScope


def open_named(
    session_id: str | None,
    policy: Policy,
    now_ms: int,
    user: str | None,
    attributes: Mapping[str, AttributeValue],
    *,
    turn: bool,
    failed: Callable[[Exception], None],
) -> Flow[Admitted]:
    """
    Extend the session of that id if it is alive in the store, start it otherwise.

    Args:
        session_id: The application's; None makes one.
        policy: Compiled settings.
        now_ms: This process's clock.
        user: Pseudonym of its user; None when not known.
        attributes: What the session starts with, if it starts here.
        turn: Whether this begins a turn.
        failed: Told what went wrong when the store fails: the session goes on without it.
    """
    op = Touch(
        session_id,
        partial(policy.new_id, session_id),
        policy.limits,
        turn=turn,
        keep=session_id is not None,
        given_user=user,
        attributes=attributes,
    )
    try:
        touched = yield from ask(op)
        if touched.outcome == "moved":
            touched = yield from follow(op, touched)
    except Exception as error:
        failed(error)
        return Admitted(_unstored(session_id, policy, now_ms, user, attributes), "unstored", False)
    if touched.outcome == "unstored":
        failed(StoreFull())
    scope = scope_of_touch(touched)
    scope.named = session_id is not None
    scope.confirmed = True
    return Admitted(scope, touched.outcome, False, touched.turn_number if turn else None)


def _unstored(
    session_id: str | None,
    policy: Policy,
    now_ms: int,
    user: str | None,
    attributes: Mapping[str, AttributeValue],
) -> SessionScope:
    """Return the scope of a session that no store answers for: it is stamped on spans, and not counted."""
    scope = SessionScope(session_id or policy.new_id(None), now_ms, user)
    scope.named, scope.unheard = session_id is not None, True
    scope.attributes = dict(attributes)
    return scope
