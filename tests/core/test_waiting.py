"""A request that waits says an id and asks nothing; once it is let in, its scope is the turn's, in place."""

from __future__ import annotations

import pytest

from session_mw import SessionSettings
from session_mw._core.admission import Presented
from session_mw._core.facts import RequestFacts
from session_mw._core.scope import SessionScope
from session_mw._core.tokens import Claim
from session_mw._core.waiting import let_in, open_waiting
from session_mw._engine.compiled import compile_policy

SETTINGS = SessionSettings(_env_file=None, secret_key="0123456789abcdef-a-secret-for-tests-only-0123456789")
FACTS = RequestFacts("http", "POST", "/v1/messages", "http", "127.0.0.1", {"headers": []})


def waiting(**presented: object) -> SessionScope:
    """Return the scope of a request that waits; its flow asks for nothing."""
    found = Presented()
    for name, value in presented.items():
        setattr(found, name, value)
    flow = open_waiting(FACTS, found, compile_policy(SETTINGS, lambda: None), 5_000, None)
    with pytest.raises(StopIteration) as stopped:
        next(flow)
    admitted = stopped.value.value
    assert ("waiting", False, None) == (admitted.outcome, admitted.token_due, admitted.turn_number)
    scope: SessionScope = admitted.scope
    scope.restamp()  # as the engine does with each that it admits
    return scope


def test_a_token_names_it_however_old_it_is() -> None:
    """Whether its session is over is found out when the turn begins."""
    scope = waiting(claim=Claim("s-1", 0, 0, turns=3, user_id=f"u_{7:032x}"))

    assert ("s-1", f"u_{7:032x}", False, []) == (scope.session_id, scope.user_id, scope.stored, scope.waiting)


def test_an_id_of_a_trusted_peer_names_it_and_what_is_said_stands_in_it() -> None:
    """As for any session that begins with a request."""
    scope = waiting(bare_id="cr-1", said={"session.type": "code-review"})

    assert ("cr-1", "code-review") == (scope.session_id, scope.stamp["session.type"])


def test_once_it_is_let_in_it_is_what_the_store_has_told() -> None:
    """Handles on it are out: nothing but the object itself stays, and what the request has changed meanwhile."""
    scope, fresh = waiting(bare_id="cr-1"), SessionScope("cr-2", 1_000, "u_1")
    fresh.generation, fresh.previous_id, fresh.stored = 2, "cr-1", True
    fresh.attributes = {"session.type": "debugging", "session.name": "old"}
    scope.change({"session.name": "mine"})
    let_in(scope, fresh)
    scope.restamp()

    assert ("cr-2", 2, "cr-1", True) == (scope.session_id, scope.generation, scope.previous_id, scope.stored)
    assert ("u_1", 1_000) == (scope.user_id, scope.started_ms)
    assert {"session.id": "cr-2", "session.type": "debugging", "session.name": "mine"}.items() <= scope.stamp.items()
