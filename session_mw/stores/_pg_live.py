"""
What the PostgreSQL store does, as works that either face drives.

Whatever is decided about a session is decided by ``lifecycle``, on records; here it is read and written down. The
argument *now* is None, unless a test turns the clock: the server's decides.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._core import lifecycle
from .._core.ops import UNHELD, Add, Claim, Claimed, End, Key, Note, StoreStats, Touch, Touched
from .._core.records import Limits, SessionRecord, Tombstone
from .._postgres.work import BEGIN, COMMIT, RELAXED, Rows, Statement, Work, plain
from . import _columns as columns
from . import _pg_sql as sql
from ._census import Census

LOOKS = 4  # live sessions a claim looks at, for each that it may return: those that were touched since are filed again


def touch(ask: Touch, now: int | None, census: Census) -> Work[Touched]:
    """Begin a turn, or note activity: one statement in the usual case."""
    if ask.session_id is not None:
        counting = ask.conversation_id is not None and ask.turn
        statement = sql.EXTEND_COUNTING if counting else sql.EXTEND
        (rows,) = yield [(statement, _extension(ask, now, counting))]
        if rows:
            return _extended(ask, rows[0], counting)
    return (yield from _touch_slowly(ask, now, census))


def _extension(ask: Touch, now: int | None, counting: bool) -> dict[str, Any]:
    limits, claimed = ask.limits, plain(ask.claimed_user)
    given = {
        "now": now,
        "user": plain(ask.given_user) or claimed,
        "claimed": claimed,
        "turn": 1 if ask.turn else 0,
        "turn_ms": limits.turn_ms,
        "id": plain(ask.session_id),
        "idle": limits.idle_ms,
        "absolute": limits.absolute_ms,
        "skew": limits.skew_ms,
    }
    if counting:
        given["conversation"], given["ttl"] = plain(ask.conversation_id), lifecycle.CONVERSATION_MS
    return given


def _extended(ask: Touch, row: tuple[Any, ...], counting: bool) -> Touched:
    turns, started_ms, last_ms, origin_ms, generation, previous_id, user_id, attributes, idle_ms = row[:9]
    assert ask.session_id is not None
    return Touched(
        "extended",
        ask.session_id,
        turns,
        started_ms,
        last_ms,
        origin_ms,
        generation,
        previous_id,
        user_id,
        row[10] if counting else None,
        json.loads(attributes),
        idle_ms,
    )


def _touch_slowly(ask: Touch, now: int | None, census: Census) -> Work[Touched]:
    """Let the core decide, and write down what it says."""
    if ask.session_id is None:
        (rows,) = yield [(sql.NOW, {"now": now})]
        record, tomb, now_ms, begun = None, None, rows[0][0], False
    else:
        record, tomb, now_ms = yield from _hold(ask.session_id, now)
        begun = True
    change = lifecycle.touch(record, tomb, ask, now_ms, census.full(ask.limits.max_live))
    writes = [] if record is None else _changed(record, change)
    if change.tomb is not None and ask.session_id is not None:
        writes.append(_bury(ask.session_id, change.tomb, now_ms, lifecycle.forward_ms(ask.limits)))
    if change.made is not None:
        if change.made.session_id == ask.session_id:  # it lives: what is still remembered of it is void
            writes.append((sql.DELETE_TOMB, (plain(ask.session_id),)))
        due_ms = lifecycle.next_look(change.made, ask.limits, now_ms)
        writes.append((sql.INSERT_LIVE, (*_plain(columns.live_values(change.made)), due_ms)))
    counting = ask.conversation_id is not None and ask.turn and change.touched.outcome not in UNHELD
    if counting:
        writes.append((sql.COUNT, _conversation(ask.conversation_id, lifecycle.CONVERSATION_MS, now)))
    found = yield from _commit(writes, begun)
    census.changed((change.made is not None) - change.frozen)
    if counting:
        change.touched.conversation_turn = found[-1][0][0]
    return change.touched


def _commit(writes: list[Statement], begun: bool) -> Work[list[Rows]]:
    """Write all of *writes* or none; returns their rows."""
    if not begun and len(writes) <= 1:
        return (yield writes) if writes else []
    found = yield [*([] if begun else [BEGIN]), *writes, COMMIT]
    return found[:-1]


def _hold(session_id: str, now: int | None) -> Work[tuple[SessionRecord | None, Tombstone | None, int]]:
    """Begin a transaction that has one session for itself; returns what there is of it, and the time."""
    asked = {"id": plain(session_id), "now": now}
    statements = (sql.LOCK, sql.HOLD_LIVE, sql.HOLD_ENDED, sql.READ_TOMB)
    _, _, live, ended, found = yield [BEGIN, *((statement, asked) for statement in statements)]
    record = columns.live_record(live[0]) if live else columns.ended_record(ended[0]) if ended else None
    now_ms, next_id, generation, closed, expires_ms = found[0]
    tomb = None
    # It does not expire while the end has not been reported.
    if generation is not None and (record is not None or expires_ms > now_ms):
        tomb = Tombstone(next_id, generation, closed)
    return record, tomb, now_ms


def _changed(record: SessionRecord, change: lifecycle.Change) -> list[Statement]:
    if change.extended:
        values = _plain(columns.live_values(record))
        return [(sql.UPDATE_LIVE, (*values[1:], values[0]))]
    return _freeze(record) if change.frozen else []


def _freeze(record: SessionRecord) -> list[Statement]:
    """Move a frozen record from the living to those whose end has to be reported."""
    values = _plain(columns.ended_values(record))
    return [(sql.DELETE_LIVE, (values[0],)), (sql.INSERT_ENDED, values)]


def _bury(session_id: str, tomb: Tombstone, now_ms: int, ttl_ms: int) -> Statement:
    expires_ms = now_ms + lifecycle.kept_ms(tomb, ttl_ms)
    return sql.WRITE_TOMB, (plain(session_id), plain(tomb.next_id), tomb.generation, tomb.closed, expires_ms)


def _plain(values: Iterable[Any]) -> list[Any]:
    return [plain(value) if isinstance(value, str) else value for value in values]


def end(ask: End, now: int | None, census: Census) -> Work[bool]:
    """End a session now."""
    record, tomb, now_ms = yield from _hold(ask.session_id, now)
    done = lifecycle.end(record, tomb, ask, now_ms)
    writes = _freeze(record) if record is not None and done.ended else []
    if done.tomb is not None:
        writes.append(_bury(ask.session_id, done.tomb, now_ms, ask.ttl_ms))
    yield [*writes, COMMIT]
    census.changed(-done.ended)
    return done.ended


def read(session_id: str) -> Work[SessionRecord | None]:
    """Return the newest record of *session_id*: the live one, or the last that ended and is not reported."""
    asked = {"id": plain(session_id)}
    (live,) = yield [(sql.READ_LIVE, asked)]
    if live:
        return columns.live_record(live[0])
    (ended,) = yield [(sql.READ_ENDED, asked)]
    return columns.ended_record(ended[0]) if ended else None


def count_conversation(conversation_id: str, ttl_ms: int, now: int | None) -> Work[int]:
    """Count a turn of a conversation."""
    (rows,) = yield [(sql.COUNT_ALONE, _conversation(conversation_id, ttl_ms, now))]
    return int(rows[0][0])


def _conversation(conversation_id: str | None, ttl_ms: int, now: int | None) -> dict[str, Any]:
    return {"conversation": plain(conversation_id), "ttl": ttl_ms, "now": now}


# -- what turns bring


def add_all(items: Sequence[Add]) -> Work[list[bool]]:
    """Add what turns brought, in one transaction."""
    ids = sorted({str(plain(item.session_id)) for item in items})
    asked = None if items[0].mark is None else {**items[0].mark._asdict(), "now": None}
    marking = [] if asked is None else [(sql.MARK, asked)]
    *_, new, rows = yield [BEGIN, RELAXED, *marking, (sql.HOLD_MANY, (ids,))]
    if marking and not new:
        return (yield from _done_before(items, asked))
    live = {(record.session_id, record.generation): record for record in map(columns.live_record, rows)}
    missing = sorted({_key(item.session_id, item.generation) for item in items} - live.keys())
    ended: dict[Key, SessionRecord] = {}
    if missing:
        (rows,) = yield [(sql.HOLD_UNREPORTED, _keys(missing))]
        ended = {(record.session_id, record.generation): record for record in map(columns.ended_record, rows)}
    done = []
    changed: set[Key] = set()
    for item in items:
        key = _key(item.session_id, item.generation)
        record = live.get(key) or ended.get(key)
        done.append(record is not None and lifecycle.merge(record, item))
        if done[-1]:
            changed.add(key)
    writes = [_added(sql.ADD_LIVE, live, changed), _added(sql.ADD_ENDED, ended, changed)]
    if asked is not None:
        writes.append((sql.DONE, {**asked, "done": done}))
    yield [*(write for write in writes if write is not None), COMMIT]
    return done


def _done_before(items: Sequence[Add], asked: Mapping[str, Any] | None) -> Work[list[bool]]:
    """Return what came of a batch that was done, and whose answer got lost."""
    rows, _ = yield [(sql.MARKED, asked), COMMIT]
    return list(rows[0][0]) if rows else [True] * len(items)  # without rows a later batch was done: nobody hears this


def _added(statement: bytes, records: dict[Key, SessionRecord], changed: set[Key]) -> Statement | None:
    rows = [
        (
            record.session_id,
            record.generation,
            record.last_ms,
            record.completed,
            record.failed,
            columns.fit(record.latency_ms),
            columns.fit(record.input_tokens),
            columns.fit(record.output_tokens),
            columns.fit(record.cost_microusd),
            plain(record.user_id),
            columns.dump(record.attributes),
        )
        for key, record in records.items()
        if key in changed
    ]
    return (statement, _columns(rows)) if rows else None


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _key(session_id: str, generation: int) -> Key:
    return str(plain(session_id)), generation


def _keys(keys: Sequence[Key], **more: Any) -> dict[str, Any]:
    found = [_key(*key) for key in keys]
    return {"ids": [key[0] for key in found], "generations": [key[1] for key in found], **more}


def renew(session_ids: Sequence[str], limits: Limits, now: int | None) -> Work[int]:
    """Keep sessions with an open turn alive."""
    ids = sorted({str(plain(session_id)) for session_id in session_ids})
    *_, rows, clock = yield [BEGIN, RELAXED, (sql.HOLD_MANY, (ids,)), (sql.NOW, {"now": now})]
    renewed = []
    for record in map(columns.live_record, rows):
        if lifecycle.renew(record, limits, clock[0][0]):
            renewed.append((record.session_id, record.open_until_ms))
    yield [*([(sql.RENEW, _columns(renewed))] if renewed else []), COMMIT]
    return len(renewed)


def confirm_start(keys: Sequence[Key]) -> Work[int]:
    """Note that ``session.start`` reached its sink."""
    asked = _keys(keys)
    found = yield [BEGIN, RELAXED, (sql.CONFIRM_LIVE, asked), (sql.CONFIRM_ENDED, asked), COMMIT]
    return int(found[2][0][0] + found[3][0][0])


# -- sweeping


def claim(ask: Claim, now: int | None, census: Census) -> Work[Claimed]:
    """Freeze and lease sessions whose end is due; without anything due, nothing is locked or written."""
    (rows,) = yield [(sql.LOOK, {"now": now})]
    now_ms, *first = rows[0]
    due_ms = _least(first)
    if due_ms is None or due_ms > now_ms:
        return Claimed([], now_ms, due_ms)
    records = yield from _claim_ended(ask, now_ms)
    over = yield from _claim_live(ask, now_ms, ask.limit - len(records))
    rows, _ = yield [(sql.FIRST_DUE, None), COMMIT]
    census.changed(-len(over))
    return Claimed(records + over, now_ms, _least(rows[0]))


def _claim_ended(ask: Claim, now_ms: int) -> Work[list[SessionRecord]]:
    """Begin, and lease ended sessions that nobody has a lease on."""
    _, rows = yield [BEGIN, (sql.DUE_ENDED, (now_ms, ask.limit))]
    records = [columns.ended_record(row) for row in rows]
    for record in records:
        lifecycle.lease(record, ask.lease_token, now_ms + ask.lease_ms)
    if records:
        keys = [(record.session_id, record.generation) for record in records]
        yield [(sql.LEASE, _keys(keys, token=ask.lease_token, until=now_ms + ask.lease_ms))]
    return records


def _claim_live(ask: Claim, now_ms: int, limit: int) -> Work[list[SessionRecord]]:
    """Freeze and lease live sessions whose deadline has passed; file the others again."""
    records: list[SessionRecord] = []
    looks = limit * LOOKS
    asked = {
        "now": now_ms,
        "idle": ask.limits.idle_ms,
        "absolute": ask.limits.absolute_ms,
        "token": ask.lease_token,
        "until": now_ms + ask.lease_ms,
    }
    while looks > 0 and len(records) < limit:
        (rows,) = yield [(sql.FREEZE, {**asked, "limit": min(looks, limit - len(records))})]
        looked = rows[0][0]
        if not looked:
            break
        looks -= looked
        records += [columns.ended_record(row[1:]) for row in rows if row[1] is not None]
    return records


def ack(keys: Sequence[Key], lease_token: str, ttl_ms: int, now: int | None) -> Work[int]:
    """Forget sessions whose end was reported, where *lease_token* holds the lease."""
    (rows,) = yield [(sql.ACK, _keys(keys, token=lease_token, ttl=ttl_ms, now=now))]
    return int(rows[0][0])


def nack(keys: Sequence[Key], lease_token: str, delay_ms: int, now: int | None) -> Work[int]:
    """Hand leased sessions back, to be claimed again *delay_ms* from now."""
    (rows,) = yield [(sql.RELEASE, _keys(keys, token=lease_token, delay=delay_ms, now=now))]
    return int(rows[0][0])


def annotate(notes: Sequence[Note], lease_token: str) -> Work[list[bool]]:
    """Add what was worked out for the report of ends to their records, where *lease_token* holds the lease."""
    asked = _keys([(note.session_id, note.generation) for note in notes], token=lease_token)
    _, rows = yield [BEGIN, (sql.HOLD_LEASED, asked)]
    records = {(record.session_id, record.generation): record for record in map(columns.ended_record, rows)}
    done, changed = [], {}
    for note in notes:
        record = records.get(_key(note.session_id, note.generation))
        done.append(record is not None and lifecycle.annotate(record, note, lease_token))
        if record is not None and done[-1]:
            changed[record.session_id, record.generation] = columns.dump(record.attributes)
    rows_of = [(*key, attributes) for key, attributes in changed.items()]
    yield [*([(sql.ANNOTATE, _columns(rows_of))] if rows_of else []), COMMIT]
    return done


# -- keeping house


def stats(now: int | None) -> Work[StoreStats]:
    """Return what the store holds at present."""
    (rows,) = yield [(sql.STATS, {"now": now})]
    now_ms, live, ended, claimed, dead, tombstones, *due = rows[0]
    return StoreStats(live, ended - dead, claimed, dead, tombstones, _least(due), now_ms)


def count() -> Work[int]:
    """Count what lives."""
    (rows,) = yield [(sql.COUNT_LIVE, None)]
    return int(rows[0][0])


def scrub(limit: int, now: int | None) -> Work[int]:
    """Remove tombstones and counters that have expired."""
    asked = {"limit": limit, "now": now}
    (tombs,) = yield [(sql.SCRUB_TOMBS, asked)]
    (counters,) = yield [(sql.SCRUB_CONVERSATIONS, asked)]
    yield [(sql.SCRUB_WRITERS, asked)]
    return int(tombs[0][0] + counters[0][0])


def revive(limit: int, now: int | None) -> Work[int]:
    """Let ends that were set aside be claimed again."""
    _, rows = yield [BEGIN, (sql.HOLD_DEAD, {"limit": limit, "now": now})]
    records = [columns.ended_record(row) for row in rows]
    for record in records:
        lifecycle.revive(record)
    revived = [(record.session_id, record.generation, record.attempts) for record in records]
    yield [*([(sql.REVIVE, _columns(revived))] if revived else []), COMMIT]
    return len(revived)


def _least(times: Sequence[int | None]) -> int | None:
    return min((time for time in times if time is not None), default=None)
