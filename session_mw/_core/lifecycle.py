"""
All changes of a session's state.

Rule 1: everything that changes what state a session is in lives in this file.
Rule 2: this file does not know which store holds the record, nor what time it is.
Rule 3: an unknown cell of the table raises and changes nothing.

A session is PROVISIONAL while it exists in a signed cookie only: page loads cost no row. Its first turn makes it LIVE.
It is ENDED (frozen: no number in it changes any more) when its deadline has passed or somebody said so, CLAIMED while
one worker has the lease to report that, and GONE when a sink confirmed the report: what remains is a tombstone that
points to the successor. The deadline is not moved on each touch; it is computed when somebody looks:

    deadline = min(max(last + idle, open_until of an unfinished turn), origin + absolute)

Stores that keep records as values (memory, SQL in its slow path) call ``touch``, ``freeze`` and ``merge`` directly;
scripts in other languages are tested against them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ..exceptions import IllegalTransition
from .ops import Add, Touch, Touched
from .records import EndReason, Limits, Outcome, SessionRecord, Tombstone


class State(str, Enum):
    """Where a session is in its life."""

    PROVISIONAL = "provisional"
    LIVE = "live"
    ENDED = "ended"
    CLAIMED = "claimed"
    GONE = "gone"


class Event(str, Enum):
    """What can happen to a session."""

    TURN = "begin a turn of"
    RENEW = "renew"
    EXPIRE = "expire"
    END = "end"
    REPLACE = "replace"
    CLAIM = "claim"
    NACK = "hand back"
    ACK = "acknowledge the end of"


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.PROVISIONAL: {Event.TURN: State.LIVE, Event.END: State.GONE},
    State.LIVE: {
        Event.TURN: State.LIVE,
        Event.RENEW: State.LIVE,
        Event.EXPIRE: State.ENDED,
        Event.END: State.ENDED,
        Event.REPLACE: State.ENDED,
    },
    State.ENDED: {Event.CLAIM: State.CLAIMED},
    # A lease that ran out is taken over by the next claim: same cell, new fencing token.
    State.CLAIMED: {Event.CLAIM: State.CLAIMED, Event.NACK: State.ENDED, Event.ACK: State.GONE},
    State.GONE: {},
}


def step(state: State, event: Event) -> State:
    """
    Return the state that *event* leads to.

    Raises:
        IllegalTransition: The table has no such cell. Nothing is changed then.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition(state.value, event.value) from None


def state_of(record: SessionRecord) -> State:
    """Return the state a stored record is in."""
    if record.reason is None:
        return State.LIVE
    return State.ENDED if record.lease_token is None else State.CLAIMED


def diagram() -> str:
    """
    Draw the table as a Mermaid state diagram.

    Returns:
        Text for a ``mermaid`` code block. The README's drawing is compared with it by a test.
    """
    lines = ["stateDiagram-v2", "    [*] --> provisional: first request"]
    for state, row in TRANSITIONS.items():
        for event, target in row.items():
            lines.append(f"    {state.value} --> {target.value}: {event.name.lower()}")
    return "\n".join([*lines, "    gone --> [*]"])


def deadline(record: SessionRecord, limits: Limits) -> int:
    """Return when *record* ends if nothing happens any more, milliseconds since the epoch."""
    due = record.last_ms + limits.idle_ms
    if record.open_until_ms > due and record.turns > record.completed + record.failed:
        due = record.open_until_ms
    return min(due, record.origin_ms + limits.absolute_ms)


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
    events: dict[EndReason, Event] = {
        "idle_timeout": Event.EXPIRE,
        "max_lifetime": Event.EXPIRE,
        "replaced": Event.REPLACE,
    }
    step(state_of(record), events.get(reason, Event.END))
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
    step(state_of(record), Event.CLAIM)
    record.lease_token = lease_token
    record.lease_until_ms = until_ms
    record.attempts += 1


def release(record: SessionRecord, retry_ms: int) -> None:
    """Hand a claimed record back; it may be claimed again from *retry_ms* on."""
    step(state_of(record), Event.NACK)
    record.lease_token = None
    record.lease_until_ms = retry_ms


def bury(record: SessionRecord) -> Tombstone:
    """Return what is remembered of *record* once its end was reported."""
    step(state_of(record), Event.ACK)
    return Tombstone(record.next_id, record.generation, record.reason in CLOSING)


CLOSING: tuple[EndReason, ...] = ("user_exit", "replaced")


@dataclass
class Change:
    """
    What a touch changed, for a store to write down.

    Attributes:
        touched: The answer.
        made: A record to insert.
        extended: The presented record was extended in place.
        frozen: The presented record was frozen in place by this touch.
        forward_to: The presented id now points to this id: write a tombstone, replacing one without successor.
    """

    touched: Touched
    made: SessionRecord | None = None
    extended: bool = False
    frozen: bool = False
    forward_to: str | None = None


def touch(record: SessionRecord | None, tomb: Tombstone | None, ask: Touch, now_ms: int) -> Change:
    """
    Decide what a touch does, and do it to *record*.

    Args:
        record: The presented session's newest record, changed in place; None when the store has none.
        tomb: Its tombstone, if there is one. It is written as soon as an ended session gets a successor, because
            the frozen record itself must not change any more.
        ask: What is asked.
        now_ms: The store's clock. A clock that steps back shortens no session.

    Returns:
        The answer and what to write.
    """
    if ask.session_id is None:
        return _make(ask, now_ms, ask.new_id, "started", None)
    if record is not None and record.reason is None:
        change = _touch_live(record, ask, max(now_ms, record.last_ms))
        if change is None:
            change = _after_end(ask, now_ms, Tombstone(None, record.generation), frozen=True)
            record.next_id = change.forward_to
        return change
    if record is not None and tomb is None:
        tomb = Tombstone(record.next_id, record.generation, record.reason in CLOSING)
    if tomb is not None:
        return _after_end(ask, now_ms, tomb)
    return _unknown(ask, now_ms)


def _touch_live(record: SessionRecord, ask: Touch, now_ms: int) -> Change | None:
    """Extend a live record, or refuse or replace; None when it turns out to have expired (now frozen)."""
    if expire(record, ask.limits, now_ms):
        return None
    user = ask.given_user or ask.claimed_user
    if record.user_id is None or record.user_id == user:
        return Change(extend(record, ask, now_ms), extended=True)
    if user is None:
        if record.bound_ms is None or now_ms < record.bound_ms + ask.limits.skew_ms:
            return Change(extend(record, ask, now_ms), extended=True)
        return _make(ask, now_ms, ask.new_id, "refused", None)
    freeze(record, "replaced", now_ms, ask.new_id)
    change = _make(ask, now_ms, ask.new_id, "rotated", ask.session_id, user=user)
    change.frozen, change.forward_to = True, ask.new_id
    return change


def extend(record: SessionRecord, ask: Touch, now_ms: int) -> Touched:
    """Count a turn (or activity) of a live record, in place."""
    user = ask.given_user or ask.claimed_user
    record.user_id = record.user_id or user
    if record.bound_ms is None and ask.claimed_user is not None and ask.claimed_user == record.user_id:
        record.bound_ms = now_ms
    record.last_ms = now_ms
    record.confirmed = True
    if ask.turn:
        record.turns += 1
        record.open_until_ms = now_ms + ask.limits.turn_ms
    return answer(record, "extended", now_ms)


def answer(record: SessionRecord, outcome: Outcome, now_ms: int) -> Touched:
    """Tell what a touch left in *record*."""
    return Touched(
        outcome,
        record.session_id,
        record.turns,
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
        origin, again = ask.origin_ms, ask.own
        return _make(ask, now_ms, ask.session_id, "started", ask.previous_id, origin_ms=origin, confirmed=again)
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
        confirmed=confirmed,
        partial=ask.partial,
        attributes=dict(ask.attributes),
    )
    return Change(answer(made, outcome, now_ms), made=made)


def merge(record: SessionRecord, item: Add) -> bool:
    """
    Add what a turn brought to a live record, in place.

    Returns:
        False when the record is frozen: the caller reports the item as late.
    """
    if record.reason is not None:
        return False
    record.last_ms = max(record.last_ms, item.at_ms)
    record.completed += item.completed
    record.failed += item.failed
    record.latency_ms += item.latency_ms
    record.input_tokens = _sum(record.input_tokens, item.input_tokens)
    record.output_tokens = _sum(record.output_tokens, item.output_tokens)
    record.cost_microusd = _sum(record.cost_microusd, item.cost_microusd)
    record.user_id = record.user_id or item.user_id
    for key, value in item.attributes.items():
        if value is None:
            record.attributes.pop(key, None)
        else:
            record.attributes[key] = value
    return True


def _sum(total: int | None, more: int | None) -> int | None:
    """Add what is known: unknown plus unknown stays unknown."""
    if more is None:
        return total
    return more if total is None else total + more
