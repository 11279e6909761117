"""Sessions begun and ended by hand, and their totals while they last and afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._core import names
from .._core.ops import Flow
from .._core.records import END_REASONS, EndReason
from .._core.scope import SessionScope, present
from .._drive import run_async, run_sync
from .._engine import Engine, outside
from .._engine.totals import SessionMetrics, read_totals
from ..context import Session
from ..context.values import quoted
from ..exceptions import SessionNotFound
from .hosts import engine_of
from .imperative import place
from .runs import here
from .sessions import Said, checked_id


def start_session(
    user_id: object = None,
    channel: str | None = None,
    type: str | None = None,
    *,
    session_id: object = None,
    metadata: Mapping[str, Any] | None = None,
) -> str:
    """
    Start a session, and return its id: for ``session_context(session_id=...)`` and ``end_session(...)``.

    Where no session is current it also becomes that, for the rest of the calling thread or task.

    Args:
        user_id: Your id of the user; it leaves the process as a pseudonym only.
        channel: Where the user is: ``web``, ``mobile``, ``api``, ``slack`` ...
        type: Category of work; ``batch`` by default.
        session_id: Your id for it; None makes one.
        metadata: Kept as ``metadata.<key>``. E-mail addresses in it become pseudonyms, and so does *user_id* where it
            is repeated.

    Raises:
        ValueError: *session_id* cannot be one.
    """
    engine = engine_of()
    return _begun(engine, run_sync(_start(engine, user_id, channel, type, session_id, metadata), engine.store))


async def start_session_async(
    user_id: object = None,
    channel: str | None = None,
    type: str | None = None,
    *,
    session_id: object = None,
    metadata: Mapping[str, Any] | None = None,
) -> str:
    """As ``start_session``, without blocking the event loop."""
    engine = engine_of()
    flow = _start(engine, user_id, channel, type, session_id, metadata)
    return _begun(engine, await run_async(flow, engine.async_store))


def _start(
    engine: Engine, user_id: object, channel: str | None, type: str | None, session_id: object, metadata: Any
) -> Flow[SessionScope]:
    said = {names.SESSION_CHANNEL: channel, names.SESSION_TYPE: type}
    attributes = Said(said, metadata).attributes(engine.policy.rules.hide, user_id)
    return outside.open_session(engine, checked_id(session_id), user_id, attributes, turn=False)


def _begun(engine: Engine, scope: SessionScope) -> str:
    outside.announce(engine, scope)
    if here() is None:
        place(scope)
    return scope.session_id


def end_session(session_id: object = None, reason: EndReason = "user_exit") -> bool:
    """
    End a session: ``session.end`` follows with its totals.

    Args:
        session_id: None ends the current one; inside a request that is done with its response.
        reason: Why: ``user_exit``, ``completed``, ``escalated`` ...

    Returns:
        Whether this call ended it (or the request's end will): False when it had ended, or nobody knows it.

    Raises:
        ValueError: *reason* is not one of the end reasons.
        StoreError: The store could not be asked.
    """
    engine, wanted = _asked(session_id, reason)
    if wanted is None or _with_request(wanted, reason):
        return wanted is not None
    return run_sync(_end(engine, wanted, reason), engine.store)


async def end_session_async(session_id: object = None, reason: EndReason = "user_exit") -> bool:
    """As ``end_session``, without blocking the event loop."""
    engine, wanted = _asked(session_id, reason)
    if wanted is None or _with_request(wanted, reason):
        return wanted is not None
    return await run_async(_end(engine, wanted, reason), engine.async_store)


def _asked(session_id: object, reason: EndReason) -> tuple[Engine, str | None]:
    if reason not in END_REASONS:
        raise ValueError(f"cannot end the session: {quoted(reason)} is not one of {', '.join(END_REASONS)}")
    scope = here()
    if session_id is not None:
        return engine_of(scope), str(session_id)
    return engine_of(scope), None if scope is None else scope.session_id


def _with_request(session_id: str, reason: EndReason) -> bool:
    """Let the request end its session: its client's token has to go, too, and its turn is not over yet."""
    scope = present()
    if scope is None or scope.session_id != session_id or scope.turn is None or scope.turn.ended:
        return False
    Session(scope).end(reason)
    return True


def _end(engine: Engine, session_id: str, reason: EndReason) -> Flow[bool]:
    ended = yield from outside.end_session(engine, session_id, reason)
    scope = present()
    if ended and scope is not None and scope.session_id == session_id:
        scope.ended, scope.end_reason = True, reason
    return ended


def session_metrics(session_id: object = None) -> SessionMetrics:
    """
    Return a session's totals: of one that lives, as the store has them and this process has yet to write; of one that
    ended, as ``session.end`` said.

    Args:
        session_id: None takes the current one.

    Raises:
        SessionNotFound: Neither store nor history knows it.
        StoreError: They could not be asked.
    """
    engine, flow = _totals(session_id)
    return run_sync(flow, engine.store)


async def session_metrics_async(session_id: object = None) -> SessionMetrics:
    """As ``session_metrics``, without blocking the event loop for the store."""
    engine, flow = _totals(session_id)
    return await run_async(flow, engine.async_store)


def _totals(session_id: object) -> tuple[Engine, Flow[SessionMetrics]]:
    scope = here()
    if session_id is None and scope is None:
        raise SessionNotFound("cannot tell the totals: no session is current. Give its id, or open one first.")
    engine = engine_of(scope)
    wanted = scope.session_id if session_id is None and scope is not None else str(session_id)
    return engine, read_totals(engine, wanted, scope)
