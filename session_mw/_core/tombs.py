"""
Tombstones: what is remembered of a session's id when the session is over, and for how long.

Nothing here changes a session's state; what does is in ``lifecycle``.
"""

from __future__ import annotations

from .records import EndReason, Limits, SessionRecord, Tombstone

# What its token says of the user does not hold any more after these ends.
CLOSING: tuple[EndReason, ...] = ("user_exit", "replaced")
CLOSED_MS = 48 * 3_600_000  # how long a closed session's token is remembered at least: longer than tokens are valid

_PLAIN = Tombstone()


def epitaph(record: SessionRecord) -> Tombstone:
    """Return what a frozen *record* says to those who present its id."""
    if record.next_id is None and record.generation == 1 and record.reason not in CLOSING:
        return _PLAIN  # nearly all say this: one object for them
    return Tombstone(record.next_id, record.generation, record.reason in CLOSING)


def remember(old: Tombstone | None, new: Tombstone) -> Tombstone:
    """
    Merge what is to be remembered of an id with what already is.

    The newest generation speaks for the id. Within one, a successor once named stays, so that nobody makes a second
    one, and closed stays closed.
    """
    if old is None or old.generation < new.generation:
        return new
    if old.generation > new.generation:
        return old
    next_id = new.next_id if old.next_id is None else old.next_id
    return Tombstone(next_id, old.generation, old.closed or new.closed)


def forward_ms(limits: Limits) -> int:
    """Return how long a touch's forwarding pointer is kept: while a token of the session may still count as fresh."""
    return 2 * limits.idle_ms + limits.skew_ms


def kept_ms(tomb: Tombstone, ttl_ms: int) -> int:
    """Return how long *tomb* is kept, when *ttl_ms* is asked for: what a closed session's token says stays void."""
    return max(ttl_ms, CLOSED_MS) if tomb.closed else ttl_ms


def known_of(record: SessionRecord | None, tomb: Tombstone | None) -> Tombstone | None:
    """Return what speaks for an ended session: its record, or a tombstone unless that is of an older generation."""
    if record is None or (tomb is not None and tomb.generation >= record.generation):
        return tomb
    return epitaph(record)
