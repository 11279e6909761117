"""
What the SQLite store does with one connection.

Whatever is decided about a session is decided by ``lifecycle``, on records; here it is read and written down.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

from .._core import lifecycle
from .._core.ops import UNHELD, Add, Claim, Claimed, End, Key, Note, StoreStats, Touch, Touched
from .._core.records import Limits, SessionRecord, Tombstone
from .._core.store_clock import StoreClock
from .._sqlite import writing
from ..exceptions import StoreError
from . import _columns as columns
from . import _live_sql as sql
from . import _timing
from ._census import Census

LOOKS = 4  # live sessions a claim looks at, for each that it may return: those that were touched since are filed again


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables, or bring them to the present version, if nobody has."""
    version = sql.schema_version(connection)
    if version > sql.SCHEMA_VERSION:
        text = f"cannot use the session store: found tables of version {version} (known: {sql.SCHEMA_VERSION})."
        raise StoreError(f"{text} Use the newer session-mw that made them, or another file.")
    if version < sql.SCHEMA_VERSION:
        with writing(connection):
            # Whoever had the lock before may have done it.
            for statement in sql.MIGRATIONS.get(sql.schema_version(connection), sql.SCHEMA):
                connection.execute(statement)


def extend(connection: sqlite3.Connection, ask: Touch, now_ms: int) -> Touched | None:
    """Count a turn (or activity) of a live session whose user is the same; None when that is not the case."""
    limits, claimed = ask.limits, ask.claimed_user
    rows = connection.execute(
        sql.EXTEND,
        {
            "now": now_ms,
            "user": ask.given_user or claimed,
            "claimed": claimed,
            "turn": 1 if ask.turn else 0,
            "turn_ms": limits.turn_ms,
            "id": ask.session_id,
            "idle": limits.idle_ms,
            "absolute": limits.absolute_ms,
            "skew": limits.skew_ms,
        },
    ).fetchall()  # all: the statement ends, and with it the transaction
    if not rows:
        return None
    session_id, turns, started_ms, last_ms, origin_ms, generation, previous_id, user_id, attributes, idle_ms = rows[0]
    return Touched(
        "extended",
        session_id,
        turns,
        started_ms,
        last_ms,
        origin_ms,
        generation,
        previous_id,
        user_id,
        None,
        json.loads(attributes),
        idle_ms,
    )


def touch(connection: sqlite3.Connection, ask: Touch, clock: StoreClock, census: Census) -> Touched:
    """Begin a turn, or note activity: one statement in the usual case."""
    if ask.session_id is not None and ask.conversation_id is None:
        now_ms = clock()
        touched = extend(connection, ask, now_ms)
        if touched is not None:
            return touched if touched.now_ms <= now_ms else _in_time(connection, ask, touched, clock)
    with writing(connection):
        now_ms = _timing.now(connection, clock)
        touched = extend(connection, ask, now_ms) or _touch_slowly(connection, ask, now_ms, census)
        if ask.conversation_id is not None and ask.turn and touched.outcome not in UNHELD:
            ttl_ms = lifecycle.CONVERSATION_MS
            touched.conversation_turn = _count(connection, ask.conversation_id, ttl_ms, now_ms)
    return touched


def _in_time(connection: sqlite3.Connection, ask: Touch, touched: Touched, clock: StoreClock) -> Touched:
    """
    See to it that a touch counts as activity where the file's time is ahead of ours.

    Usually another process was active in between; perhaps the time was set, and we had not heard.
    """
    before_ns, now_ms = clock.ahead_ns, _timing.now(connection, clock)
    if clock.ahead_ns == before_ns:
        return touched
    again = copy(ask)
    again.turn = False  # it has been counted
    return extend(connection, again, now_ms) or touched


def _touch_slowly(connection: sqlite3.Connection, ask: Touch, now_ms: int, census: Census) -> Touched:
    """Let the core decide, and write down what it says."""
    record = None if ask.session_id is None else newest(connection, ask.session_id)
    tomb = None if ask.session_id is None else _tomb(connection, ask.session_id, record, now_ms)
    change = lifecycle.touch(record, tomb, ask, now_ms, census.full(ask.limits.max_live))
    if record is not None and change.extended:
        connection.execute(sql.UPDATE_LIVE, (*columns.live_values(record)[1:], record.session_id))
    elif record is not None and change.frozen:
        _freeze(connection, record)
    if change.tomb is not None and ask.session_id is not None:
        _bury(connection, ask.session_id, change.tomb, now_ms, lifecycle.forward_ms(ask.limits))
    if change.made is not None:
        if change.made.session_id == ask.session_id:  # it lives: what is still remembered of it is void
            connection.execute(sql.DELETE_TOMB, (ask.session_id,))
        due_ms = lifecycle.next_look(change.made, ask.limits, now_ms)
        connection.execute(sql.INSERT_LIVE, (*columns.live_values(change.made), due_ms))
    census.changed((change.made is not None) - change.frozen)
    return change.touched


def newest(connection: sqlite3.Connection, session_id: str) -> SessionRecord | None:
    """Return the newest record of *session_id*: the live one, or the last that ended and is not reported."""
    rows = connection.execute(sql.READ_LIVE, (session_id,)).fetchall()
    if rows:
        return columns.live_record(rows[0])
    rows = connection.execute(sql.READ_ENDED, (session_id,)).fetchall()
    return columns.ended_record(rows[0]) if rows else None


def _tomb(
    connection: sqlite3.Connection, session_id: str, record: SessionRecord | None, now_ms: int
) -> Tombstone | None:
    """Return the tombstone of *session_id*; it does not expire while the end has not been reported."""
    rows = connection.execute(sql.READ_TOMB, (session_id,)).fetchall()
    if not rows:
        return None
    next_id, generation, closed, expires_ms = rows[0]
    return Tombstone(next_id, generation, bool(closed)) if record is not None or expires_ms > now_ms else None


def _bury(connection: sqlite3.Connection, session_id: str, tomb: Tombstone, now_ms: int, ttl_ms: int) -> None:
    expires_ms = now_ms + lifecycle.kept_ms(tomb, ttl_ms)
    connection.execute(sql.WRITE_TOMB, (session_id, tomb.next_id, tomb.generation, tomb.closed, expires_ms))


def _freeze(connection: sqlite3.Connection, record: SessionRecord) -> None:
    """Move a frozen record from the living to those whose end has to be reported."""
    connection.execute(sql.DELETE_LIVE, (record.session_id,))
    connection.execute(sql.INSERT_ENDED, columns.ended_values(record))


def add_all(connection: sqlite3.Connection, items: Sequence[Add]) -> list[bool]:
    """Add what turns brought, in one transaction."""
    with writing(connection):
        return [_add(connection, item) for item in items]


def _add(connection: sqlite3.Connection, item: Add) -> bool:
    rows = connection.execute(sql.READ_LIVE, (item.session_id,)).fetchall()
    record = columns.live_record(rows[0]) if rows else None
    if record is not None and record.generation == item.generation:
        lifecycle.merge(record, item)
        connection.execute(sql.UPDATE_LIVE, (*columns.live_values(record)[1:], record.session_id))
        return True
    rows = connection.execute(sql.READ_UNREPORTED, (item.session_id, item.generation)).fetchall()
    record = columns.ended_record(rows[0]) if rows else None
    if record is None or not lifecycle.merge(record, item):
        return False
    connection.execute(sql.REPLACE_ENDED, columns.ended_values(record))
    return True


def end(connection: sqlite3.Connection, ask: End, clock: StoreClock, census: Census) -> bool:
    """End a session now."""
    with writing(connection):
        now_ms = _timing.now(connection, clock)
        record = newest(connection, ask.session_id)
        done = lifecycle.end(record, _tomb(connection, ask.session_id, record, now_ms), ask, now_ms)
        if record is not None and done.ended:
            _freeze(connection, record)
            census.changed(-1)
        if done.tomb is not None:
            _bury(connection, ask.session_id, done.tomb, now_ms, ask.ttl_ms)
        return done.ended


def renew(connection: sqlite3.Connection, session_ids: Sequence[str], limits: Limits, clock: StoreClock) -> int:
    """Keep sessions with an open turn alive."""
    renewed = 0
    with writing(connection):
        now_ms = _timing.now(connection, clock)
        for session_id in session_ids:
            rows = connection.execute(sql.READ_LIVE, (session_id,)).fetchall()
            record = columns.live_record(rows[0]) if rows else None
            if record is not None and lifecycle.renew(record, limits, now_ms):
                connection.execute(sql.RENEW, (record.open_until_ms, session_id))
                renewed += 1
    return renewed


def count_conversation(
    connection: sqlite3.Connection, conversation_id: str, ttl_ms: int, clock: Callable[[], int]
) -> int:
    """Count a turn of a conversation."""
    with writing(connection):
        return _count(connection, conversation_id, ttl_ms, clock())


def _count(connection: sqlite3.Connection, conversation_id: str, ttl_ms: int, now_ms: int) -> int:
    life_ms = ttl_ms * 3 // 2
    rows = connection.execute(sql.COUNT, {"id": conversation_id, "now": now_ms, "life": life_ms}).fetchall()
    turns, expires_ms = rows[0]
    if expires_ms < now_ms + ttl_ms:
        connection.execute(sql.PROLONG, (now_ms + life_ms, conversation_id))
    return int(turns)


def claim(connection: sqlite3.Connection, ask: Claim, clock: StoreClock, census: Census) -> Claimed:
    """Freeze and lease sessions whose end is due; without anything due, nothing is locked or written."""
    now_ms = _timing.now(connection, clock)
    due_ms = _next_due(connection)
    if due_ms is None or due_ms > now_ms:
        return Claimed([], now_ms, due_ms)
    with writing(connection):
        now_ms = clock()
        records = _claim_ended(connection, ask, now_ms)
        over = _claim_live(connection, ask, now_ms, ask.limit - len(records))
        census.changed(-len(over))
        return Claimed(records + over, now_ms, _next_due(connection))


def _next_due(connection: sqlite3.Connection) -> int | None:
    return _least([connection.execute(statement).fetchall()[0][0] for statement in (sql.FIRST_LIVE, sql.FIRST_ENDED)])


def _claim_ended(connection: sqlite3.Connection, ask: Claim, now_ms: int) -> list[SessionRecord]:
    """Lease ended sessions that nobody has a lease on."""
    records = [columns.ended_record(row) for row in connection.execute(sql.DUE_ENDED, (now_ms, ask.limit)).fetchall()]
    for record in records:
        lifecycle.lease(record, ask.lease_token, now_ms + ask.lease_ms)
    connection.executemany(
        sql.LEASE, [(r.lease_token, r.lease_until_ms, r.attempts, r.session_id, r.generation) for r in records]
    )
    return records


def _claim_live(connection: sqlite3.Connection, ask: Claim, now_ms: int, limit: int) -> list[SessionRecord]:
    """Freeze and lease live sessions whose deadline has passed; file the others again."""
    records: list[SessionRecord] = []
    looks = limit * LOOKS
    asked = {
        "now": now_ms,
        "idle": ask.limits.idle_ms,
        "absolute": ask.limits.absolute_ms,
        "lease_token": ask.lease_token,
        "until": now_ms + ask.lease_ms,
    }
    while looks > 0 and len(records) < limit:
        most = min(looks, limit - len(records))
        over = connection.execute(sql.FREEZE, {**asked, "limit": most}).fetchall()
        connection.executemany(sql.DELETE_LIVE, [row[:1] for row in over])
        records += map(columns.ended_record, over)
        alive = most - len(over)
        if alive and connection.execute(sql.REFILE, {**asked, "limit": alive}).rowcount < alive:
            break  # no others are due
        looks -= most
    return records


def ack(
    connection: sqlite3.Connection, keys: Sequence[Key], lease_token: str, ttl_ms: int, clock: Callable[[], int]
) -> int:
    """Forget sessions whose end was reported, where *lease_token* holds the lease."""
    with writing(connection):
        now_ms = clock()
        connection.executemany(
            sql.BURY,
            [
                {"now": now_ms, "ttl": ttl_ms, "id": session_id, "generation": generation, "lease_token": lease_token}
                for session_id, generation in keys
            ],
        )
        return _changed(connection, sql.DELETE_ENDED, [(*key, lease_token) for key in keys])


def nack(
    connection: sqlite3.Connection, keys: Sequence[Key], lease_token: str, delay_ms: int, clock: Callable[[], int]
) -> int:
    """Hand leased sessions back, to be claimed again *delay_ms* from now."""
    with writing(connection):
        retry_ms = clock() + delay_ms
        return _changed(connection, sql.RELEASE, [(retry_ms, *key, lease_token) for key in keys])


def annotate(connection: sqlite3.Connection, notes: Sequence[Note], lease_token: str) -> list[bool]:
    """Add what was worked out for the report of ends to their records, where *lease_token* holds the lease."""
    with writing(connection):
        return [_annotate(connection, note, lease_token) for note in notes]


def _annotate(connection: sqlite3.Connection, note: Note, lease_token: str) -> bool:
    key = (note.session_id, note.generation)
    rows = connection.execute(sql.READ_LEASED, (*key, lease_token)).fetchall()
    record = columns.ended_record(rows[0]) if rows else None
    if record is None or not lifecycle.annotate(record, note, lease_token):
        return False
    connection.execute(sql.ANNOTATE, (columns.dump(record.attributes), *key))
    return True


def confirm_start(connection: sqlite3.Connection, keys: Sequence[Key]) -> int:
    """Note that ``session.start`` reached its sink."""
    with writing(connection):
        alive = _changed(connection, sql.CONFIRM_LIVE, keys)
        return alive + (_changed(connection, sql.CONFIRM_ENDED, keys) if alive < len(keys) else 0)


def stats(connection: sqlite3.Connection, clock: Callable[[], int]) -> StoreStats:
    """Return what the store holds at present."""
    now_ms = clock()
    found = connection.execute(sql.STATS, {"now": now_ms}).fetchall()[0]
    live, ended, claimed, dead, tombstones, *due = found
    return StoreStats(live, ended - dead, claimed, dead, tombstones, _least(due), now_ms)


def count(connection: sqlite3.Connection) -> int:
    """Count what lives."""
    return int(connection.execute(sql.COUNT_LIVE).fetchall()[0][0])


def scrub(connection: sqlite3.Connection, limit: int, clock: Callable[[], int]) -> int:
    """Remove tombstones and counters that have expired."""
    with writing(connection):
        now_ms = clock()
        tombs = connection.execute(sql.SCRUB_TOMBS, (now_ms, limit)).rowcount
        return tombs + connection.execute(sql.SCRUB_CONVERSATIONS, (now_ms, limit)).rowcount


def revive(connection: sqlite3.Connection, limit: int, clock: Callable[[], int]) -> int:
    """Let ends that were set aside be claimed again."""
    with writing(connection):
        rows = connection.execute(sql.DEAD, {"now": clock(), "limit": limit}).fetchall()
        records = [columns.ended_record(row) for row in rows]
        for record in records:
            lifecycle.revive(record)
        revived = [(record.attempts, record.session_id, record.generation) for record in records]
        return _changed(connection, sql.REVIVE, revived)


def _changed(connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> int:
    """Execute *statement* for each of *rows*; returns how many table rows changed."""
    return connection.executemany(statement, rows).rowcount if rows else 0


def _least(times: Sequence[int | None]) -> int | None:
    return min((time for time in times if time is not None), default=None)
