"""
All changes of a session's state.

Rule 1: everything that changes what state a session is in lives in this file; the table of steps is in ``states``.
Rule 2: this file does not know which store holds the record, nor what time it is.
Rule 3: a step that the table does not have raises and changes nothing.

A session is PROVISIONAL while it exists in a signed cookie only: page loads cost no row. Its first turn makes it LIVE.
It is ENDED (frozen: no number in it changes any more) when its deadline has passed or somebody said so, CLAIMED while
one worker has the lease to report that, and GONE when a sink confirmed the report: what remains is a tombstone that
points to the successor. The deadline is not moved on each touch; it is computed when somebody looks:

    deadline = min(max(last + idle, open_until of an unfinished turn), origin + absolute)

Stores that keep records as values (memory, SQL in its slow path) call ``touch``, ``freeze`` and ``merge`` directly;
scripts in other languages are tested against them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .counting import annotate as annotate  # part of what stores call; they change no state
from .counting import merge as merge
from .ops import End, Touch, Touched
from .records import EndReason, Limits, Outcome, SessionRecord, Tombstone
from .states import Event, State, state_of, step
from .tombs import CLOSED_MS as CLOSED_MS
from .tombs import CLOSING as CLOSING
from .tombs import epitaph as epitaph
from .tombs import forward_ms as forward_ms
from .tombs import kept_ms as kept_ms
from .tombs import known_of
from .tombs import remember as remember

# Nobody was there when these ends came: they are no activity of the session's.
PASSIVE: tuple[EndReason, ...] = (
    "idle_timeout",
    "max_lifetime",
    "disconnected",
    "shutdown",
    "replaced",
    "store_lost",
)
_EVENTS: dict[EndReason, Event] = {
    "idle_timeout": Event.EXPIRE,
    "max_lifetime": Event.EXPIRE,
    "replaced": Event.REPLACE,
}

MAX_ATTEMPTS = 20  # reports of one end; a session tried more often is set aside, kept and counted
CONVERSATION_MS = 30 * 24 * 3_600_000  # how long a conversation's turn counter outlives its last turn


def deadline(record: SessionRecord, limits: Limits) -> int:
    """Return when *record* ends if nothing happens any more, milliseconds since the epoch."""
    due = record.last_ms + limits.idle_ms
    if record.open_until_ms > due and record.turns > record.completed + record.failed:
        due = record.open_until_ms
    return min(due, record.origin_ms + limits.absolute_ms)


def next_look(record: SessionRecord, limits: Limits, now_ms: int) -> int:
    """
    Return when a store has to look at live *record* again: never later than its deadline can become.

    Activity only postpones the deadline, with one exception: a turn that kept its session alive beyond
    ``last + idle`` may end early. So an open turn is looked at once an idle time.
    """
    return min(deadline(record, limits), max(now_ms, record.last_ms) + limits.idle_ms)


def freeze(record: SessionRecord, reason: EndReason, at_ms: int, next_id: str | None = None) -> None:
    """
    End *record*: from here on no number in it changes.

    Args:
        record: Changed in place.
        reason: Why it ended.
        at_ms: When.
        next_id: The session that continues it.

    Raises:
        IllegalTransition: It had ended before. Nothing is changed then.
    """
    if record.reason is not None:  # LIVE has all three cells; no other state has any (a sweep asks 10,000 times)
        step(state_of(record), _EVENTS.get(reason, Event.END))
    record.reason = reason
    record.ended_ms = at_ms
    record.next_id = next_id


def expire(record: SessionRecord, limits: Limits, now_ms: int) -> bool:
    """
    Freeze *record* if its deadline has passed.

    Returns:
        Whether it was frozen here. ``ended_ms`` is the deadline, so that every worker writes the same.
    """
    due = deadline(record, limits)
    if now_ms < due:
        return False
    absolute = record.origin_ms + limits.absolute_ms <= due
    freeze(record, "max_lifetime" if absolute else "idle_timeout", due)
    return True


def lease(record: SessionRecord, lease_token: str, until_ms: int) -> None:
    """Give the right to report the end of *record* to the holder of *lease_token*."""
    if record.reason is None:  # ENDED and CLAIMED have this cell, LIVE has not
        step(State.LIVE, Event.CLAIM)
    record.lease_token = lease_token
    record.lease_until_ms = until_ms
    record.attempts += 1


def release(record: SessionRecord, retry_ms: int) -> None:
    """Hand a claimed record back; it may be claimed again from *retry_ms* on."""
    step(state_of(record), Event.NACK)
    record.lease_token = None
    record.lease_until_ms = retry_ms


def dead(record: SessionRecord, now_ms: int) -> bool:
    """Return whether *record* was set aside: its end was tried too often, and nobody is trying at present."""
    return record.attempts > MAX_ATTEMPTS and record.lease_until_ms <= now_ms


def revive(record: SessionRecord) -> None:
    """
    Let a *record* that was set aside be claimed ``MAX_ATTEMPTS`` times more.

    Counting begins anew, at 1: at 0 the record would take numbers again, after parts of its report may have been
    delivered. So ``session.emit_attempt``, in which alone reports of one end may differ, may name a number twice.
    """
    record.attempts = 1


def renew(record: SessionRecord, limits: Limits, now_ms: int) -> bool:
    """
    Keep a live *record* with an open turn alive for another ``turn_ms``: somebody still works on it.

    Returns:
        False when it has ended, or its deadline has passed; nothing is changed then.
    """
    now_ms = max(now_ms, record.last_ms)
    if record.reason is not None or now_ms >= deadline(record, limits):
        return False
    step(State.LIVE, Event.RENEW)
    record.open_until_ms = max(record.open_until_ms, now_ms + limits.turn_ms)
    return True


def bury(record: SessionRecord) -> Tombstone:
    """Return what is remembered of *record* once its end was reported."""
    step(state_of(record), Event.ACK)
    return epitaph(record)


@dataclass
class Ended:
    """
    What an explicit end did, for a store to write down.

    Attributes:
        ended: The record was frozen here, in place.
        tomb: What the id says from now on; None: nothing new.
    """

    ended: bool
    tomb: Tombstone | None = None


def end(record: SessionRecord | None, tomb: Tombstone | None, ask: End, now_ms: int) -> Ended:
    """
    End a session because somebody said so.

    An id of which the store knows nothing (provisional: it lives in a signed token) gets a closed tombstone, so that
    the token cannot start it later. One that had ended keeps its numbers and its reason, but learns that it was closed.

    Args:
        record: The session's newest record, changed in place; None when the store has none.
        tomb: Its tombstone, if there is one.
        ask: What is asked.
        now_ms: The store's clock.
    """
    if record is not None and record.reason is None:
        now_ms = max(now_ms, record.last_ms)
        freeze(record, ask.reason, now_ms, ask.next_id)
        record.lease_until_ms = now_ms + ask.settle_ms
        if ask.reason not in PASSIVE:
            record.last_ms = now_ms
        return Ended(True, epitaph(record) if ask.next_id is not None else None)
    known = known_of(record, tomb)
    if known is None:
        return Ended(False, Tombstone(ask.next_id, 1, closed=True))
    closed = replace(known, closed=known.closed or ask.reason in CLOSING, next_id=known.next_id or ask.next_id)
    return Ended(False, closed if closed != known else None)


@dataclass
class Change:
    """
    What a touch changed, for a store to write down.

    Attributes:
        touched: The answer.
        made: A record to insert.
        extended: The presented record was extended in place.
        frozen: The presented record was frozen in place by this touch.
        forward_to: The presented id now points to this id.
        tomb: What the presented id says from now on; write it over any tombstone there is. None: nothing new.
    """

    touched: Touched
    made: SessionRecord | None = None
    extended: bool = False
    frozen: bool = False
    forward_to: str | None = None
    tomb: Tombstone | None = None


def touch(record: SessionRecord | None, tomb: Tombstone | None, ask: Touch, now_ms: int, full: bool = False) -> Change:
    """
    Decide what a touch does, and do it to *record*.

    In a full store nothing begins, with one exception: a session that ends by this very touch (its deadline had
    passed, another user came) makes room for the one that follows it. What lives goes on, full or not.

    Args:
        record: The presented session's newest record, changed in place; None when the store has none.
        tomb: Its tombstone, if there is one. It is written as soon as an ended session gets a successor, because
            the frozen record itself must not change any more.
        ask: What is asked.
        now_ms: The store's clock. A clock that steps back shortens no session.
        full: The store holds ``limits.max_live`` live sessions, or more.

    Returns:
        The answer and what to write; nothing at all when the outcome is ``unstored``.
    """
    change = _decide(record, tomb, ask, now_ms)
    if full and change.made is not None and not change.frozen:
        return Change(answer(change.made, "unstored", change.touched.now_ms))
    return change


def _decide(record: SessionRecord | None, tomb: Tombstone | None, ask: Touch, now_ms: int) -> Change:
    """Decide what a touch does where there is room."""
    if ask.session_id is None:
        return _make(ask, now_ms, ask.new_id, "started", None)
    if record is not None and record.reason is None:
        change = _touch_live(record, ask, max(now_ms, record.last_ms))
        if change is None:
            change = _after_end(ask, now_ms, Tombstone(None, record.generation), frozen=True)
            record.next_id = change.forward_to
        known = epitaph(record) if change.frozen else None
    else:
        known = known_of(record, tomb)
        change = _unknown(ask, now_ms) if known is None else _after_end(ask, now_ms, known)
    if change.forward_to is not None:
        change.tomb = replace(known or Tombstone(), next_id=change.forward_to)
    return change


def _touch_live(record: SessionRecord, ask: Touch, now_ms: int) -> Change | None:
    """Extend a live record, or refuse or replace; None when it turns out to have expired (now frozen)."""
    if expire(record, ask.limits, now_ms):
        return None
    user = ask.given_user or ask.claimed_user
    if record.user_id is None or record.user_id == user:
        return Change(extend(record, ask, now_ms), extended=True)
    if user is None:
        # A token may be planted, an id that the application chose may not.
        if ask.keep or record.bound_ms is None or now_ms < record.bound_ms + ask.limits.skew_ms:
            return Change(extend(record, ask, now_ms), extended=True)
        return _make(ask, now_ms, ask.new_id, "refused", None)
    if ask.keep:
        freeze(record, "replaced", now_ms)
        record.lease_until_ms = now_ms + ask.limits.settle_ms
        return _after_end(ask, now_ms, Tombstone(None, record.generation), frozen=True)
    freeze(record, "replaced", now_ms, ask.new_id)
    record.lease_until_ms = now_ms + ask.limits.settle_ms
    change = _make(ask, now_ms, ask.new_id, "rotated", ask.session_id, user=user)
    change.frozen, change.forward_to = True, ask.new_id
    return change


def extend(record: SessionRecord, ask: Touch, now_ms: int) -> Touched:
    """Count a turn (or activity) of a live record, in place."""
    user = ask.given_user or ask.claimed_user
    record.user_id = record.user_id or user
    if record.bound_ms is None and ask.claimed_user is not None and ask.claimed_user == record.user_id:
        record.bound_ms = now_ms
    idle_ms, record.last_ms = now_ms - record.last_ms, now_ms
    record.confirmed = True
    if ask.turn:
        record.turns += 1
        record.open_until_ms = now_ms + ask.limits.turn_ms
    touched = answer(record, "extended", now_ms)
    touched.idle_ms = idle_ms
    return touched


def answer(record: SessionRecord, outcome: Outcome, now_ms: int) -> Touched:
    """Tell what a touch left in *record*, or would have."""
    return Touched(
        outcome,
        record.session_id,
        None if outcome == "unstored" else record.turns,
        record.started_ms,
        now_ms,
        record.origin_ms,
        record.generation,
        record.previous_id,
        record.user_id,
        None,
        record.attributes,
    )


def _after_end(ask: Touch, now_ms: int, tomb: Tombstone, frozen: bool = False) -> Change:
    """Follow the successor of an ended session, or make one."""
    assert ask.session_id is not None
    if ask.keep:
        change = _make(ask, now_ms, ask.session_id, "renewed", None, generation=tomb.generation + 1)
    elif tomb.next_id is not None:
        return Change(Touched("moved", tomb.next_id, None, now_ms, now_ms))
    else:
        user = ask.given_user if tomb.closed else None
        change = _make(ask, now_ms, ask.new_id, "rotated", ask.session_id, user=user, carry=not tomb.closed)
        change.forward_to = ask.new_id
    change.frozen = frozen
    return change


def _unknown(ask: Touch, now_ms: int) -> Change:
    """Touch an id of which the store knows nothing: new, lost, or forgotten long ago."""
    assert ask.session_id is not None
    if ask.own or ask.keep:
        # Its token came back, or the application vouches for the id: no bot that never comes again.
        origin = ask.origin_ms
        return _make(ask, now_ms, ask.session_id, "started", ask.previous_id, origin_ms=origin, confirmed=True)
    if ask.recover_turns is not None:
        return _recover(ask, now_ms, ask.recover_turns)
    change = _make(ask, now_ms, ask.new_id, "rotated", ask.previous_id)
    change.forward_to = ask.new_id
    return change


def _recover(ask: Touch, now_ms: int, turns: int) -> Change:
    """Continue a session that its store lost, under its own id, from what its token says."""
    assert ask.session_id is not None
    origin_ms = min(ask.origin_ms or now_ms, now_ms)
    change = _make(ask, now_ms, ask.session_id, "recovered", ask.previous_id, origin_ms=origin_ms, confirmed=True)
    made = change.made
    assert made is not None
    made.started_ms, made.recovered = origin_ms, True
    made.turns += turns
    made.completed = turns  # what became of them is not known; they are not open
    change.touched = answer(made, "recovered", now_ms)
    return change


def _make(
    ask: Touch,
    now_ms: int,
    session_id: str,
    outcome: Outcome,
    previous_id: str | None,
    *,
    user: str | None = None,
    carry: bool = True,
    origin_ms: int | None = None,
    generation: int = 1,
    confirmed: bool = False,
) -> Change:
    """Make a record for a session that begins here."""
    if carry and outcome != "refused":
        user = user or ask.given_user or ask.claimed_user
    elif outcome == "refused":
        user = ask.given_user
    made = SessionRecord(
        session_id,
        started_ms=now_ms,
        last_ms=now_ms,
        generation=generation,
        origin_ms=now_ms if origin_ms is None else min(origin_ms, now_ms),
        open_until_ms=now_ms + ask.limits.turn_ms if ask.turn else 0,
        turns=1 if ask.turn else 0,
        user_id=user,
        bound_ms=now_ms if user is not None and user == ask.claimed_user and session_id == ask.session_id else None,
        previous_id=previous_id if previous_id != session_id else None,
        # A client that presents the token of a session before this one keeps what it is given.
        confirmed=confirmed or outcome in ("rotated", "renewed"),
        partial=ask.partial,
        attributes=dict(ask.attributes),
    )
    return Change(answer(made, outcome, now_ms), made=made)
