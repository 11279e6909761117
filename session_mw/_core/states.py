"""
The states of a session and every step between them, in one table.

Rule 1: an unknown cell raises and changes nothing.
Rule 2: what a step does to a record is in ``lifecycle``, nowhere else.

The state diagram of the documentation is generated from the table.
"""

from __future__ import annotations

from enum import Enum

from ..exceptions import IllegalTransition
from .records import SessionRecord


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
