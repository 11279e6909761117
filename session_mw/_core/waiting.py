"""
Requests of which nobody knows yet whether they are turns: the application has still to let them in.

A proxy that checks keys and budgets itself refuses some of what it is asked. Until it has decided, spans say the id
that the request presents, and that is all: no session is begun or extended, nothing is asked of the store, no token is
issued. Once it has let the request in, the turn begins by the usual flow, and the scope is brought up to date in place.
"""

from __future__ import annotations

from .admission import Presented
from .facts import RequestFacts
from .flows import Admitted
from .initial import initial_attributes
from .ops import Flow
from .policy import Policy
from .scope import SessionScope

_TOLD = (
    *("session_id", "generation", "previous_id", "started_ms", "origin_ms", "opened_ms", "idle_ms"),
    *("conversation_id", "stored", "unheard", "confirmed", "recovered"),
)


def open_waiting(
    facts: RequestFacts, found: Presented, policy: Policy, now_ms: int, given_user: str | None
) -> Flow[Admitted]:
    """Admit a request that waits, under the id that it presents."""
    claim = found.claim
    if claim is None:
        scope = SessionScope(found.bare_id or found.minted or policy.new_id(None), now_ms, given_user)
    else:
        scope = SessionScope(claim.session_id, claim.started_ms, given_user or claim.user_id)
    scope.opened_ms = now_ms
    scope.waiting = []
    scope.attributes = initial_attributes(facts, found, policy)
    return Admitted(scope, "waiting", False)
    yield  # a flow, as all admissions are


def let_in(scope: SessionScope, fresh: SessionScope) -> None:
    """Bring the scope of a request that waited up to date, in place; *fresh* is what its turn's touch has told."""
    for name in _TOLD:
        setattr(scope, name, getattr(fresh, name))
    scope.user_id = fresh.user_id or scope.user_id
    scope.attributes = {**fresh.attributes, **{k: v for k, v in scope.changes.items() if v is not None}}
