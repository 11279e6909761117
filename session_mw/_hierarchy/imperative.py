"""
A session made current by a call, not by a block: ``set_session``, ``set_user``, ``clear_session``.

Rule 1: what is set holds for the calling thread or task and what it starts from then on; never for another's. Inside a
    request it ends with the request, cleared or not.
Rule 2: where the host runs the same script again and again for one user (Streamlit), what was set in one run is found
    by the next (``runs``).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from opentelemetry import context as otel_context

from .._core.scope import SessionScope, current_scope
from .._drive import run_sync
from .._engine import outside
from ..context import Session
from ..telemetry.context import SCOPE_KEY, with_scope
from ..telemetry.notices import once
from ..telemetry.unclaimed import claim_open_spans
from .hosts import engine_of
from .runs import here, remember
from .sessions import Said, checked_id, tell

logger = logging.getLogger("session_mw")


def set_session(session_id: object, user_id: object = None, metadata: Mapping[str, Any] | None = None) -> None:
    """
    Let everything that follows in this thread or task belong to a session.

    It is extended if it is alive in the store, and started otherwise. Set it early: spans that are open already are
    stamped late, which samplers and some back ends do not see, and a warning says so once.

    Args:
        session_id: Your id, kept as given: 1 to 200 characters of ``A-Z a-z 0-9 . _ -``.
        user_id: Your id of the user; it leaves the process as a pseudonym only. "anonymous" names nobody.
        metadata: Kept as ``metadata.<key>``. E-mail addresses in it become pseudonyms, and so does *user_id* where it
            is repeated.

    Raises:
        ValueError: *session_id* cannot be one.
    """
    wanted = checked_id(session_id)
    if wanted is None:
        raise ValueError("cannot set the session: its id is None. clear_session() leaves the current one.")
    said, current = Said(metadata=metadata), here()
    if current is not None and current.session_id == wanted and not _switches(current, user_id):
        tell(Session(current), user_id, said)
        return
    engine = engine_of()
    attributes = said.attributes(engine.policy.rules.hide, user_id)
    scope = run_sync(outside.open_session(engine, wanted, user_id, attributes, turn=False), engine.store)
    place(scope)
    outside.announce(engine, scope)


def _switches(scope: SessionScope, user_id: object) -> bool:
    """Return whether *user_id* is another user than the session's, in a session that no request owns."""
    user = engine_of(scope).hash_user(user_id)
    return scope.named and user is not None and scope.user_id is not None and user != scope.user_id


def set_user(user_id: object) -> None:
    """
    Say who the user of the current session is.

    The first one keeps the session; another one ends it (``replaced``) and begins it anew: a session never holds two.
    Without a session nothing is kept, and a warning says so once: give the user to ``set_session``.

    Args:
        user_id: Your id of the user; it leaves the process as a pseudonym only. "anonymous" names nobody.
    """
    scope = here()
    if scope is None:
        once("user-without-session", logger.warning, "set_user() was called and no session is current: set one first.")
    elif _switches(scope, user_id):
        set_session(scope.session_id, user_id)
    else:
        Session(scope).identify(user_id)


def clear_session() -> None:
    """
    Let what follows in this thread or task belong to no session. The session itself goes on: ``end_session`` ends it.

    Not needed for safety inside a request: nothing set there outlives it.
    """
    current_scope.set(None)
    otel_context.attach(otel_context.set_value(SCOPE_KEY, None))
    remember(None)


def place(scope: SessionScope) -> None:
    """Make *scope* current for the rest of the calling context, and claim the spans that are open in it."""
    current_scope.set(scope)
    claimed = claim_open_spans(scope)
    otel_context.attach(with_scope(scope))
    if claimed:
        once(
            "late-session",
            logger.warning,
            "a session was set while %d spans were open: they are stamped now, which samplers and back ends that look "
            "at a span's start do not see. Set the session before the first span.",
            claimed,
        )
    remember(scope)
