"""
What happens to sessions when a request begins and when it ends, as generators that ask for store operations.

One request costs one round trip: a turn touches its session before the application runs; what the turn brought is
added later, off the path. A request that is no turn stores nothing: its session is *provisional*, it lives in the
signed token only, and the first turn creates it under the id that the token holds, so that parallel first turns make
one session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from ..exceptions import StoreFull
from . import names
from .admission import Presented, conversation_of
from .facts import RequestFacts
from .initial import Initial, initial_attributes
from .ops import End, Flow, Touch, Touched, ask
from .policy import Policy
from .records import AttributeValue, Outcome
from .scope import SessionScope
from .tokens import Claim

MAX_HOPS = 8  # forwarding pointers followed: each is a session that ended, eight in one token's life is a loop


@dataclass(slots=True)
class Admitted:
    """
    The session of a request.

    Attributes:
        scope: What the request knows of it.
        outcome: What the touch did; ``provisional`` without one, ``remote`` when another service owns the session.
        token_due: Whether the response has to carry a token.
        turn_number: From 1; None when the request is no turn, or nobody could count it.
        conversation_turn: Number within the conversation, when its id was known.
    """

    scope: SessionScope
    outcome: Outcome | str
    token_due: bool
    turn_number: int | None = None
    conversation_turn: int | None = None


def open_request(
    facts: RequestFacts,
    found: Presented,
    policy: Policy,
    now_ms: int,
    given_user: str | None,
    *,
    turn: bool,
    failed: Callable[[Exception], None],
) -> Flow[Admitted]:
    """
    Admit a request: continue a remote session, begin a turn, or note a visitor.

    Args:
        facts: The request.
        found: What it presented.
        policy: Compiled settings.
        now_ms: The store's clock, as far as this worker knows it.
        given_user: Pseudonym that framework or application name for this request.
        turn: Whether the request is a turn.
        failed: Told what went wrong when the store fails: the request goes on without it.
    """
    if found.remote is not None:
        return open_remote(found.remote, now_ms)
    try:
        if not turn:
            return (yield from open_provisional(facts, found, policy, now_ms, given_user))
        first = first_touch(facts, found, policy, now_ms, given_user)
        touched: Touched = yield first
        if touched.outcome == "moved":
            touched = yield from follow(first, touched)
    except Exception as error:
        failed(error)
        return open_unstored(facts, found, policy, now_ms, given_user)
    if touched.outcome == "unstored":
        failed(StoreFull())
    return admitted_by(first, touched, found, policy)


def admitted_by(first: Touch, touched: Touched, found: Presented, policy: Policy) -> Admitted:
    """Return the admission of a turn whose touch has been answered."""
    scope = scope_of_touch(touched)
    if found.claim is not None and touched.outcome != "refused":
        scope.confirmed = True
    if touched.outcome == "recovered":
        scope.recovered = True
    if first.conversation_id is not None:
        scope.conversation_id = first.conversation_id
    due = token_due(found.claim, scope, policy, touched.now_ms, turn=scope.stored)
    if not scope.stored and found.claim is not None and not found.claim.provisional:
        due = found.claim.session_id != scope.session_id  # a session that may be found again keeps what its token says
    return Admitted(scope, touched.outcome, due, touched.turn_number, touched.conversation_turn)


def open_again(
    scope: SessionScope,
    policy: Policy,
    failed: Callable[[Exception], None],
    attributes: Mapping[str, AttributeValue],
    conversation_id: str | None = None,
    *,
    turn: bool = True,
) -> Flow[Admitted]:
    """
    Begin another turn of a session that is already open: of a connection, or of a script.

    Args:
        scope: Brought up to date in place, since handles on it are out.
        policy: Compiled settings.
        failed: Told what went wrong when the store fails.
        attributes: What a session made here starts with.
        conversation_id: Also count a turn of this conversation.
        turn: False begins none: somebody is there, no more.
    """
    op = Touch(
        scope.session_id,
        partial(policy.new_id, scope.session_id),
        policy.limits,
        turn=turn,
        own=not scope.stored,
        keep=scope.named,
        given_user=scope.user_id,
        previous_id=scope.session_id if scope.stored else scope.previous_id,
        origin_ms=scope.origin_ms,
        conversation_id=conversation_id,
        attributes=attributes,
    )
    try:
        touched = yield from ask(op)
        if touched.outcome == "moved":
            touched = yield from follow(op, touched)
    except Exception as error:
        failed(error)
        return Admitted(scope, "unstored", False)
    if touched.outcome == "unstored":
        failed(StoreFull())
    _update(scope, touched)
    if conversation_id is not None:
        scope.conversation_id = conversation_id
    number = touched.turn_number if turn else None
    return Admitted(scope, touched.outcome, False, number, touched.conversation_turn)


def _update(scope: SessionScope, touched: Touched) -> None:
    """Bring *scope* up to date: the session may have ended meanwhile and continue as another."""
    fresh = scope_of_touch(touched)
    if scope.session_id != fresh.session_id:
        scope.session_id, scope.previous_id = fresh.session_id, fresh.previous_id
        scope.started_ms, scope.origin_ms = fresh.started_ms, fresh.origin_ms
    scope.generation, scope.stored, scope.confirmed = fresh.generation, fresh.stored, True
    scope.started_ms, scope.opened_ms, scope.idle_ms = fresh.started_ms, fresh.opened_ms, fresh.idle_ms
    scope.user_id = fresh.user_id or scope.user_id
    scope.attributes = {**fresh.attributes, **{k: v for k, v in scope.changes.items() if v is not None}}


def first_touch(facts: RequestFacts, found: Presented, policy: Policy, now_ms: int, given_user: str | None) -> Touch:
    """Return what a turn asks of the store first: to extend the session that was presented, or to start one."""
    claim = found.claim
    attributes = Initial(facts, found, policy)
    if claim is None:
        base = Touch(found.bare_id, partial(_fresh_id, found, policy), policy.limits)
        base.given_user, base.attributes = given_user, attributes
        base.own = found.bare_id is not None
    else:
        fresh = now_ms - claim.issued_ms < policy.limits.idle_ms
        base = Touch(
            claim.session_id,
            partial(policy.new_id, claim.session_id),  # made only if it is needed, which is seldom
            policy.limits,
            own=claim.provisional and fresh,
            given_user=given_user,
            claimed_user=claim.user_id,
            previous_id=claim.previous_id if claim.provisional else claim.session_id,
            origin_ms=claim.started_ms,
            recover_turns=claim.turns if fresh and not claim.provisional else None,
            attributes=attributes,
            partial=claim.boot_id != policy.last_boot and claim.boot_id not in (None, policy.boot_id()),
        )
        if base.recover_turns is not None:
            base.previous_id = claim.previous_id
    if found.keeps:
        base.keep = True
    if facts.conversation or policy.conversation_of is not None:
        user = given_user or (claim.user_id if claim else None)
        base.conversation_id = conversation_of(facts, policy, user or base.session_id or base.new_id)
    return base


def open_visitor(
    facts: RequestFacts,
    found: Presented,
    policy: Policy,
    now_ms: int,
    given_user: str | None,
    attributes: Mapping[str, AttributeValue],
    failed: Callable[[Exception], None],
) -> Flow[Admitted]:
    """
    Admit somebody who has come to stay: a page that is open. The session begins, or goes on, with no turn.

    Args:
        facts: The request with which they came.
        found: What it presented; identity that another service handed on is not for this.
        policy: Compiled settings.
        now_ms: The store's clock, as far as this worker knows it.
        given_user: Pseudonym that framework or application name.
        attributes: What a session made here starts with.
        failed: Told what went wrong when the store fails.
    """
    first = first_touch(facts, found, policy, now_ms, given_user)
    first.turn, first.attributes = False, attributes
    try:
        touched = yield from ask(first)
        if touched.outcome == "moved":
            touched = yield from follow(first, touched)
    except Exception as error:
        failed(error)
        admitted = open_unstored(facts, found, policy, now_ms, given_user)
        admitted.scope.attributes = dict(attributes)
        return admitted
    if touched.outcome == "unstored":
        failed(StoreFull())
    admitted = admitted_by(first, touched, found, policy)
    admitted.turn_number = None
    return admitted


def _fresh_id(found: Presented, policy: Policy) -> str:
    """Return the id of a session that begins with a request."""
    return found.minted or policy.new_id(None)


def follow(first: Touch, touched: Touched) -> Flow[Touched]:
    """Follow the forwarding pointers of sessions that ended."""
    op = first
    for _ in range(MAX_HOPS):
        # The pointer's target may not be stored yet: a rotation names it before its first turn. What the old token
        # says of the user does not hold for it.
        op = op.onto(touched.session_id, own=True)
        touched = yield from ask(op)
        if touched.outcome != "moved":
            return touched
    return (yield from ask(first.onto(None, own=False)))


def scope_of_touch(touched: Touched) -> SessionScope:
    """Return the scope that a touch opened."""
    scope = SessionScope(touched.session_id, touched.started_ms, touched.user_id)
    if touched.generation != 1:
        scope.generation = touched.generation
    if touched.previous_id is not None:
        scope.previous_id = touched.previous_id
    scope.origin_ms = touched.origin_ms
    scope.opened_ms, scope.idle_ms = touched.now_ms, touched.idle_ms
    scope.attributes = dict(touched.attributes)
    scope.stored = touched.outcome != "unstored"
    return scope


def open_provisional(
    facts: RequestFacts, found: Presented, policy: Policy, now_ms: int, given_user: str | None
) -> Flow[Admitted]:
    """
    Admit a request that is no turn: no store operation, but for a user who took another's seat.

    A token that is older than an idle session can be belongs to a session that is over: a new id is minted, linked.
    """
    claim = found.claim
    if claim is None:
        scope = SessionScope(found.bare_id or _fresh_id(found, policy), now_ms, given_user)
        return _provisional(scope, facts, found, policy, now_ms)
    switched = given_user is not None and claim.user_id is not None and given_user != claim.user_id
    if switched or now_ms - claim.issued_ms >= policy.limits.idle_ms + policy.refresh_ms:
        scope = SessionScope(policy.new_id(claim.session_id), now_ms, given_user or claim.user_id)
        scope.previous_id = claim.previous_id if claim.provisional else claim.session_id
        if switched and not claim.provisional:
            yield from ask(_replaced(claim.session_id, scope.session_id, policy))
        return _provisional(scope, facts, found, policy, now_ms)
    scope = SessionScope(claim.session_id, claim.started_ms, given_user or claim.user_id)
    scope.previous_id, scope.stored, scope.confirmed = claim.previous_id, not claim.provisional, True
    return _provisional(scope, facts, found, policy, now_ms)


def _replaced(session_id: str, next_id: str, policy: Policy) -> End:
    return End(session_id, "replaced", next_id, ttl_of(policy), policy.limits.settle_ms)


def _provisional(scope: SessionScope, facts: RequestFacts, found: Presented, policy: Policy, now_ms: int) -> Admitted:
    scope.opened_ms = now_ms
    scope.attributes = initial_attributes(facts, found, policy)
    return Admitted(scope, "provisional", token_due(found.claim, scope, policy, now_ms, turn=False))


def open_remote(remote: Mapping[str, str], now_ms: int) -> Admitted:
    """Continue a session that another service owns: stamp with it, store nothing, issue nothing."""
    user = remote.get(names.USER_ID)
    scope = SessionScope(remote[names.SESSION_ID], now_ms, user)
    scope.remote = True
    scope.conversation_id = remote.get(names.GEN_AI_CONVERSATION_ID)
    scope.attributes = {k: remote[k] for k in names.EVERYWHERE if k in remote}
    scope.remote_turn = _number(remote.get(names.TURN_NUMBER, ""))
    scope.generation = _number(remote.get(names.SESSION_GENERATION, "")) or 1
    scope.opened_ms = now_ms
    return Admitted(scope, "remote", False)


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and text.isascii() and len(text) <= 9 else None


def open_unstored(
    facts: RequestFacts, found: Presented, policy: Policy, now_ms: int, given_user: str | None
) -> Admitted:
    """Admit a turn although no store answers: same id as the token's, no number."""
    claim = found.claim
    session_id = claim.session_id if claim else _fresh_id(found, policy)
    user = given_user or (claim.user_id if claim else None)
    scope = SessionScope(session_id, claim.started_ms if claim else now_ms, user)
    scope.unheard = True
    admitted = _provisional(scope, facts, found, policy, now_ms)
    return Admitted(scope, "unstored", admitted.token_due and claim is None)


def token_due(claim: Claim | None, scope: SessionScope, policy: Policy, now_ms: int, turn: bool) -> bool:
    """Return whether a token has to be written: new, rotated, re-keyed, bound to a user, or past its refresh."""
    if claim is None or claim.rekeyed or claim.session_id != scope.session_id:
        return True
    if claim.user_id != scope.user_id or (turn and claim.provisional):
        return True
    return now_ms - claim.issued_ms >= policy.refresh_ms


def ttl_of(policy: Policy) -> int:
    """Return how long tombstones are kept, milliseconds: while a token of the session can still count as fresh."""
    return policy.limits.idle_ms + policy.refresh_ms + policy.limits.skew_ms + 60_000
