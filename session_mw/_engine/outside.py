"""
What an engine does for code that opens sessions and turns by itself: there is no request, and no response to write.

Flows, as everything that asks a store: a ``with`` block drives them with the synchronous store, an ``async with``
block with the asynchronous one.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import Link

from .._core import names
from .._core.admission import admit
from .._core.counting import write
from .._core.facts import RequestFacts
from .._core.flows import Admitted, open_again, ttl_of
from .._core.flows import open_visitor as open_visitor_in
from .._core.initial import initial_attributes
from .._core.lifecycle import CONVERSATION_MS
from .._core.named import open_named
from .._core.ops import CountConversation, End, Flow, Op, ask
from .._core.records import AttributeValue, EndReason
from .._core.scope import SessionScope
from ..telemetry.context import with_scope
from ..telemetry.spans import OUTSIDE
from .engine import NEW, Engine

Attributes = Mapping[str, AttributeValue]

# What a session is known by goes on with its successor; what happened in it (outcome, journey, scores) does not.
CARRIED = frozenset({*names.EVERYWHERE, names.SESSION_CHANNEL, names.SESSION_CLIENT_VERSION, names.SESSION_LOCALE})
METADATA = names.METADATA + "."


def open_session(
    engine: Engine, session_id: str | None, user: object, attributes: Attributes, *, turn: bool
) -> Flow[SessionScope]:
    """
    Return the scope of the session that the application names, extended or started.

    Args:
        engine: Whose store it is in.
        session_id: The application's; None makes one.
        user: The application's id of the user.
        attributes: What is said of the session, by wire name.
        turn: Whether this begins a turn.
    """
    engine.ensure_instrumented()
    policy, pseudonym = engine.policy, engine.hash_user(user)
    first = {names.SESSION_TYPE: policy.session_type or "batch", **policy.attributes}
    if policy.channel is not None:
        first[names.SESSION_CHANNEL] = policy.channel
    admitted = yield from open_named(
        session_id, policy, engine.clock(), pseudonym, {**first, **attributes}, turn=turn, failed=engine.failed
    )
    scope = admitted.scope
    scope.extra, scope.rules = engine, policy.rules
    engine.begin(scope, admitted, turn=turn)
    if not turn:
        engine.between_turns(scope)
    _arrived(engine, scope, admitted)
    if admitted.outcome == "extended":
        scope.change(attributes)
        scope.rebind = pseudonym is not None and scope.user_id == pseudonym
    return scope


def _arrived(engine: Engine, scope: SessionScope, admitted: Admitted) -> None:
    """Note that a session began here; its start is reported when its first span is open."""
    scope.fresh = admitted.outcome in NEW and scope.stored
    if scope.fresh:
        scope.end_reason, scope.ended, scope.successor = None, False, None
        engine.metrics.session_started()


def open_visitor(engine: Engine, facts: RequestFacts, user: object, attributes: Attributes) -> Flow[SessionScope]:
    """
    Return the scope of the session that a visitor's token names, or of one that begins; no turn begins with it.

    Args:
        engine: Whose store it is in.
        facts: The request with which they came: its cookie, its token.
        user: The application's id of the user.
        attributes: What is said of the session, by wire name.
    """
    engine.ensure_instrumented()
    policy, now_ms = engine.policy, engine.clock()
    found = admit(facts, policy, now_ms)
    for event in found.rejected:
        engine.rejected(event)
    pseudonym = engine.hash_user(user) if policy.user is None else engine.user_of(facts)
    channel: Attributes = {names.SESSION_CHANNEL: policy.channel or "web"}
    first = {**initial_attributes(facts, found, policy), **channel, **attributes}
    admitted = yield from open_visitor_in(facts, found, policy, now_ms, pseudonym, first, engine.failed)
    scope = admitted.scope
    scope.extra, scope.rules = engine, policy.rules
    _between(engine, scope, admitted)
    if admitted.outcome == "extended":
        scope.change(attributes)
    return scope


def go_on(engine: Engine, scope: SessionScope) -> Flow[None]:
    """Note that somebody is there between two turns: the session is extended, or the one that follows it begins."""
    if scope.successor is not None and scope.ended:
        _succeed(scope)
    _between(engine, scope, (yield from open_again(scope, engine.policy, engine.failed, known_of(scope), turn=False)))


def _between(engine: Engine, scope: SessionScope, admitted: Admitted) -> None:
    engine.begin(scope, admitted, turn=False)
    engine.between_turns(scope)
    _arrived(engine, scope, admitted)


def known_of(scope: SessionScope) -> dict[str, AttributeValue]:
    """Return what a session that follows *scope*'s is known by as well."""
    return {key: value for key, value in scope.attributes.items() if key in CARRIED or key.startswith(METADATA)}


def announce(engine: Engine, scope: SessionScope) -> None:
    """Report the start of a session that began here, once its first span is open."""
    if scope.fresh:
        scope.fresh = False
        engine.report_start(scope)


def open_turn(engine: Engine, line: SessionScope, conversation_id: str | None) -> Flow[None]:
    """
    Begin another turn of a session that is open.

    Args:
        engine: Whose session it is.
        line: The line of work that the turn belongs to.
        conversation_id: Also count a turn of this conversation.
    """
    if line.successor is not None and line.ended:
        _succeed(line)
    admitted = yield from open_again(line, engine.policy, engine.failed, known_of(line), conversation_id)
    engine.begin(line, admitted, turn=True)
    _arrived(engine, line, admitted)


def _succeed(line: SessionScope) -> None:
    """Go on as the session that follows: rotated, or another user's."""
    if not line.named:
        line.previous_id, line.session_id = line.session_id, line.successor or line.session_id
        line.stored = False
    line.user_id = line.successor_user


def count_conversation(engine: Engine, conversation_id: str) -> Flow[int | None]:
    """Count a turn of a conversation that was named after the turn began; None when the store cannot say."""
    try:
        return (yield from ask(CountConversation(conversation_id, CONVERSATION_MS)))
    except Exception as error:
        engine.failed(error)
        return None


def close(engine: Engine, scope: SessionScope, error: BaseException | None) -> Flow[None]:
    """End the turn of *scope* if one is open, and write what the application said."""
    news = engine.close_turn(scope, error, None)
    if news is None and scope.end_reason is None:
        return
    flow = engine.ending(scope, news)
    if flow is not None:
        yield from guarded(engine, flow)


def guarded(engine: Engine, flow: Generator[Op[Any], Any, bool]) -> Flow[bool]:
    """Go through *flow*; a failing store is logged, never raised."""
    try:
        return (yield from flow)
    except Exception as error:
        engine.failed(error)
        return False


def end_session(engine: Engine, session_id: str, reason: EndReason) -> Flow[bool]:
    """
    End a session by its id, everything that is queued for it written first.

    Returns:
        Whether it was ended here: False when it had ended, or was never stored.
    """
    yield from write(engine.background.take(session_id), engine.background.add)
    limits = engine.policy.limits
    ended = yield from ask(End(session_id, reason, None, ttl_of(engine.policy), limits.settle_ms))
    engine.background.kick()
    return ended


def inside(scope: SessionScope, parent: Context | None = None) -> Context:
    """Return a context in which spans are made for *scope*; None takes the current one."""
    return with_scope(scope, parent)


def own_root(span: Any) -> tuple[Context, list[Link]]:
    """Return an empty context and a link to *span*, if there is one: a trace of its own, with one turn in it."""
    context = None if span is None else span.get_span_context()
    return OUTSIDE, [Link(context)] if context is not None and context.is_valid else []
