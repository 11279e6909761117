# ruff: noqa: S608  the statements are put together from constants of this file, never from data
"""
Tables and statements of the PostgreSQL store.

The tables are those of the SQLite store, for the same reasons; ``due_ms`` says when a sweep has to look at a session,
so that a touch changes no indexed column: with room left in its page (fillfactor) every touch is a HOT update, which
writes half as much log and leaves nothing for vacuum in the indexes:
https://www.postgresql.org/docs/current/storage-hot.html

``%(now)s`` is NULL, unless a test turns the clock: the server's decides.
"""

from __future__ import annotations

from .._core.lifecycle import CLOSED_MS, CLOSING, MAX_ATTEMPTS
from .._core.marks import KEPT_MS
from .._postgres import Part
from ._columns import ENDED_COLUMNS, LIVE_COLUMNS

_COMMON = """
    session_id text NOT NULL, started_ms bigint NOT NULL, last_ms bigint NOT NULL, generation bigint NOT NULL,
    origin_ms bigint NOT NULL, open_until_ms bigint NOT NULL, turns bigint NOT NULL, completed bigint NOT NULL,
    failed bigint NOT NULL, latency_ms bigint NOT NULL, input_tokens bigint, output_tokens bigint,
    cost_microusd bigint, user_id text, bound_ms bigint, previous_id text"""
_FLAGS = """
    start_emitted boolean NOT NULL, confirmed boolean NOT NULL, recovered boolean NOT NULL,
    partial boolean NOT NULL, attributes text NOT NULL"""  # JSON; jsonb makes 1e300 an integer, and knows no NUL

V1 = (
    # Rows come and go all day: vacuum looks at 2 % of them, not at 20 %.
    f"CREATE TABLE session_mw_live ({_COMMON}, {_FLAGS}, due_ms bigint NOT NULL, idle_ms bigint, "
    "PRIMARY KEY (session_id)) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02)",
    "CREATE INDEX session_mw_live_due ON session_mw_live (due_ms)",
    f"CREATE TABLE session_mw_ended ({_COMMON}, next_id text, reason text NOT NULL, ended_ms bigint NOT NULL, "
    f"lease_token text, lease_until_ms bigint NOT NULL, attempts bigint NOT NULL, {_FLAGS}, "
    "PRIMARY KEY (session_id, generation)) WITH (autovacuum_vacuum_scale_factor = 0.02)",
    # Partial: what was set aside after too many attempts is not walked over by every sweep.
    f"CREATE INDEX session_mw_ended_due ON session_mw_ended (lease_until_ms) WHERE attempts <= {MAX_ATTEMPTS}",
    "CREATE TABLE session_mw_tomb (session_id text PRIMARY KEY, next_id text, generation bigint NOT NULL, "
    "closed boolean NOT NULL, expires_ms bigint NOT NULL)",
    "CREATE INDEX session_mw_tomb_expires ON session_mw_tomb (expires_ms)",
    "CREATE TABLE session_mw_conversation (conversation_id text PRIMARY KEY, turns bigint NOT NULL, "
    "expires_ms bigint NOT NULL) WITH (fillfactor = 70)",
    "CREATE INDEX session_mw_conversation_expires ON session_mw_conversation (expires_ms)",
)
V2 = (  # what came of the last batch of each writer: see _core/marks.py
    "CREATE TABLE session_mw_writer (lane text PRIMARY KEY, number bigint NOT NULL, done boolean[], "
    "expires_ms bigint NOT NULL) WITH (fillfactor = 50)",
    "CREATE INDEX session_mw_writer_expires ON session_mw_writer (expires_ms)",
)
PART = Part("store", "session store", (V1, V2))

# Evaluated once a statement: what is volatile is not pulled up into the query around it.
_CLOCK = "(SELECT coalesce(%(now)s::bigint, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now) AS t"
_RELAXED = "set_config('synchronous_commit', 'off', true)"

# The usual case of a touch in one statement, to the same effect as lifecycle.touch (a property test compares them).
_NOW = "greatest(t.now, s.last_ms)"
_USER, _CLAIMED = "%(user)s::text", "%(claimed)s::text"
_EXTEND = f"""
UPDATE session_mw_live AS s SET
    turns = s.turns + %(turn)s,
    last_ms = {_NOW},
    idle_ms = {_NOW} - s.last_ms,
    open_until_ms = CASE %(turn)s WHEN 1 THEN {_NOW} + %(turn_ms)s ELSE s.open_until_ms END,
    user_id = coalesce(s.user_id, {_USER}),
    bound_ms = CASE WHEN s.bound_ms IS NULL AND {_CLAIMED} = coalesce(s.user_id, {_USER})
        THEN {_NOW} ELSE s.bound_ms END,
    confirmed = true
FROM {_CLOCK}
WHERE s.session_id = %(id)s
    AND {_NOW} < s.origin_ms + %(absolute)s
    AND ({_NOW} < s.last_ms + %(idle)s OR (s.turns > s.completed + s.failed AND {_NOW} < s.open_until_ms))
    AND (s.user_id IS NULL OR s.user_id = {_USER}
        OR ({_USER} IS NULL AND (s.bound_ms IS NULL OR {_NOW} < s.bound_ms + %(skew)s)))
RETURNING s.turns, s.started_ms, s.last_ms, s.origin_ms, s.generation, s.previous_id, s.user_id, s.attributes, s.idle_ms
"""
EXTEND = f"{_EXTEND}, {_RELAXED}".encode()


def _count(source: str) -> str:
    """Return the statement that counts a turn of a conversation; the expiry is moved seldom, so that it stays HOT."""
    life, kept = "%(ttl)s * 3 / 2", "excluded.expires_ms - %(ttl)s / 2"
    return f"""
INSERT INTO session_mw_conversation AS c SELECT %(conversation)s, 1, t.now + {life} FROM {source}
ON CONFLICT (conversation_id) DO UPDATE SET
    turns = CASE WHEN c.expires_ms <= excluded.expires_ms - {life} THEN 1 ELSE c.turns + 1 END,
    expires_ms = CASE WHEN c.expires_ms < {kept} THEN excluded.expires_ms ELSE c.expires_ms END
RETURNING turns"""


COUNT = _count(_CLOCK).encode()
COUNT_ALONE = f"{_count(_CLOCK)}, {_RELAXED}".encode()
# The same with the conversation's turn, still one statement: nothing is counted when nothing was extended.
EXTEND_COUNTING = f"""
WITH touched AS ({_EXTEND}, t.now),
    counted AS ({_count("touched AS t")})
SELECT touched.*, counted.turns, {_RELAXED} FROM touched, counted
""".encode()

NOW = f"SELECT t.now FROM {_CLOCK}".encode()
# The slow path of one session: whoever has the lock is alone with it, also where there is no row to be locked. Then
# what lives, what has ended and what is remembered are looked at, in this order, each with a snapshot of its own:
# a row that somebody moves on meanwhile is found where it has come to.
LOCK = b"SELECT pg_advisory_xact_lock(hashtextextended(%(id)s, 0))"
_READ_LIVE = f"SELECT {LIVE_COLUMNS} FROM session_mw_live WHERE session_id = %(id)s"
_READ_ENDED = f"SELECT {ENDED_COLUMNS} FROM session_mw_ended WHERE session_id = %(id)s ORDER BY generation DESC LIMIT 1"
READ_LIVE, READ_ENDED = _READ_LIVE.encode(), _READ_ENDED.encode()
HOLD_LIVE, HOLD_ENDED = f"{_READ_LIVE} FOR UPDATE".encode(), f"{_READ_ENDED} FOR UPDATE".encode()
READ_TOMB = f"""
SELECT t.now, b.next_id, b.generation, b.closed, b.expires_ms
FROM {_CLOCK} LEFT JOIN session_mw_tomb AS b ON b.session_id = %(id)s
""".encode()


def _marks(columns: str, more: int = 0) -> str:
    return ", ".join(["%s"] * (len(columns.split(",")) + more))


INSERT_LIVE = f"INSERT INTO session_mw_live ({LIVE_COLUMNS}, due_ms) VALUES ({_marks(LIVE_COLUMNS, 1)})".encode()
_CHANGING = LIVE_COLUMNS.partition(", ")[2]
UPDATE_LIVE = f"UPDATE session_mw_live SET ({_CHANGING}) = ({_marks(_CHANGING)}) WHERE session_id = %s".encode()
DELETE_LIVE = b"DELETE FROM session_mw_live WHERE session_id = %s"
INSERT_ENDED = f"INSERT INTO session_mw_ended ({ENDED_COLUMNS}) VALUES ({_marks(ENDED_COLUMNS)})".encode()
# Over what was said before, but for as long as was asked then.
WRITE_TOMB = b"""
INSERT INTO session_mw_tomb AS b VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (session_id) DO UPDATE SET next_id = excluded.next_id, generation = excluded.generation,
    closed = excluded.closed, expires_ms = greatest(b.expires_ms, excluded.expires_ms)
"""
DELETE_TOMB = b"DELETE FROM session_mw_tomb WHERE session_id = %s"


# -- many at once: always in the order of ids, so that two who hold many never wait for each other

HOLD_MANY = f"""
SELECT {LIVE_COLUMNS} FROM session_mw_live WHERE session_id = ANY(%s) ORDER BY session_id FOR UPDATE
""".encode()
_KEYS = "unnest(%(ids)s::text[], %(generations)s::bigint[]) AS k (session_id, generation)"
_OF_KEYS = "e.session_id = k.session_id AND e.generation = k.generation"
_E_COLUMNS = ", ".join(f"e.{name.strip()}" for name in ENDED_COLUMNS.split(","))
HOLD_UNREPORTED = f"""
SELECT {_E_COLUMNS} FROM session_mw_ended AS e JOIN {_KEYS} ON {_OF_KEYS}
WHERE e.attempts = 0 ORDER BY e.session_id, e.generation FOR UPDATE OF e
""".encode()
# Whoever asks again waits here until what was asked before is over, and finds out what came of it. The expiry is moved
# seldom, so that it stays HOT.
MARK = f"""
INSERT INTO session_mw_writer AS w SELECT %(lane)s, %(number)s, NULL, t.now + 2 * {KEPT_MS} FROM {_CLOCK}
ON CONFLICT (lane) DO UPDATE SET number = excluded.number, done = NULL,
    expires_ms = CASE WHEN w.expires_ms < excluded.expires_ms - {KEPT_MS} THEN excluded.expires_ms ELSE w.expires_ms END
WHERE w.number < excluded.number RETURNING 1
""".encode()
MARKED = b"SELECT done FROM session_mw_writer WHERE lane = %(lane)s AND number = %(number)s"
DONE = b"UPDATE session_mw_writer SET done = %(done)s WHERE lane = %(lane)s"
_ADDED = "last_ms, completed, failed, latency_ms, input_tokens, output_tokens, cost_microusd, user_id, attributes"
_TYPES = ("bigint",) * 7 + ("text",) * 2
_ARRAYS = ", ".join(f"%s::{kind}[]" for kind in ("text", "bigint", *_TYPES))
_ADDED_FROM = f"""SET {", ".join(f"{c.strip()} = a.{c.strip()}" for c in _ADDED.split(","))}
FROM unnest({_ARRAYS}) AS a (session_id, generation, {_ADDED})
WHERE s.session_id = a.session_id AND s.generation = a.generation"""
ADD_LIVE = f"UPDATE session_mw_live AS s {_ADDED_FROM}".encode()
ADD_ENDED = f"UPDATE session_mw_ended AS s {_ADDED_FROM}".encode()
RENEW = b"""
UPDATE session_mw_live AS s SET open_until_ms = a.open_until_ms
FROM unnest(%s::text[], %s::bigint[]) AS a (session_id, open_until_ms) WHERE s.session_id = a.session_id
"""
CONFIRM_LIVE = f"""
WITH held AS (SELECT e.session_id FROM session_mw_live AS e JOIN {_KEYS} ON {_OF_KEYS} ORDER BY 1 FOR UPDATE OF e),
    done AS (UPDATE session_mw_live AS s SET start_emitted = true FROM held
        WHERE s.session_id = held.session_id RETURNING 1)
SELECT count(*) FROM done
""".encode()
CONFIRM_ENDED = f"""
WITH held AS (SELECT e.session_id, e.generation FROM session_mw_ended AS e JOIN {_KEYS} ON {_OF_KEYS}
        ORDER BY 1, 2 FOR UPDATE OF e),
    done AS (UPDATE session_mw_ended AS s SET start_emitted = true FROM held
        WHERE s.session_id = held.session_id AND s.generation = held.generation RETURNING 1)
SELECT count(*) FROM done
""".encode()


# -- sweeping

_FIRST_DUE = f"""(SELECT min(due_ms) FROM session_mw_live),
    (SELECT min(lease_until_ms) FROM session_mw_ended WHERE attempts <= {MAX_ATTEMPTS})"""
FIRST_DUE = f"SELECT {_FIRST_DUE}".encode()
LOOK = f"SELECT t.now, {_FIRST_DUE} FROM {_CLOCK}".encode()
DUE_ENDED = f"""
SELECT {ENDED_COLUMNS} FROM session_mw_ended WHERE lease_until_ms <= %s AND attempts <= {MAX_ATTEMPTS}
ORDER BY lease_until_ms LIMIT %s FOR UPDATE SKIP LOCKED
""".encode()
LEASE = f"""
UPDATE session_mw_ended AS e SET lease_token = %(token)s, lease_until_ms = %(until)s, attempts = e.attempts + 1
FROM {_KEYS} WHERE {_OF_KEYS}
""".encode()
# lifecycle.deadline, lifecycle.expire with lifecycle.lease, and lifecycle.next_look for a whole batch (a property test
# compares them): a record that is over moves in one statement, which also tells it, instead of coming here and back.
# Rows that somebody else holds are left to the next claim; so are those that a touch moved on since the statement
# began: their new place, where they are locked, is not visible to the statement yet. One row at least comes back, with
# how many were looked at.
_ENDS = """least(
    CASE WHEN s.open_until_ms > s.last_ms + %(idle)s AND s.turns > s.completed + s.failed THEN s.open_until_ms
        ELSE s.last_ms + %(idle)s END,
    s.origin_ms + %(absolute)s)"""
_OF_LIVE = [name.strip() for name in LIVE_COLUMNS.split(",")]
FREEZE = f"""
WITH due AS MATERIALIZED (
    SELECT s.ctid AS place, {_ENDS} AS ends_ms FROM session_mw_live AS s
    WHERE s.due_ms <= %(now)s ORDER BY s.due_ms LIMIT %(limit)s FOR UPDATE SKIP LOCKED),
filed AS (
    UPDATE session_mw_live AS s SET due_ms = least(due.ends_ms, greatest(%(now)s, s.last_ms) + %(idle)s)
    FROM due WHERE s.ctid = due.place AND due.ends_ms > %(now)s),
gone AS (
    DELETE FROM session_mw_live AS s USING due WHERE s.ctid = due.place AND due.ends_ms <= %(now)s
    RETURNING {", ".join(f"s.{name}" for name in _OF_LIVE)},
        CASE WHEN s.origin_ms + %(absolute)s <= due.ends_ms THEN 'max_lifetime' ELSE 'idle_timeout' END, due.ends_ms),
over AS (
    INSERT INTO session_mw_ended ({LIVE_COLUMNS}, reason, ended_ms, lease_token, lease_until_ms, attempts)
    SELECT gone.*, %(token)s, %(until)s, 1 FROM gone RETURNING {ENDED_COLUMNS})
SELECT looked.count, over.* FROM (SELECT count(*) FROM due) AS looked LEFT JOIN over ON true
""".encode()

_CLOSED = f"e.reason IN ({', '.join(repr(reason) for reason in CLOSING)})"
_NEWER = "excluded.generation > b.generation"
# lifecycle.bury, lifecycle.remember and lifecycle.kept_ms for a whole batch.
ACK = f"""
WITH gone AS (
    DELETE FROM session_mw_ended AS e USING {_KEYS} WHERE {_OF_KEYS} AND e.lease_token = %(token)s
    RETURNING e.session_id, e.next_id, e.generation, {_CLOSED} AS closed),
buried AS (
    INSERT INTO session_mw_tomb AS b
    SELECT DISTINCT ON (session_id) session_id, next_id, generation, closed,
        t.now + CASE WHEN closed THEN greatest(%(ttl)s, {CLOSED_MS}) ELSE %(ttl)s END
    FROM gone, {_CLOCK} ORDER BY session_id, generation DESC
    ON CONFLICT (session_id) DO UPDATE SET
        next_id = CASE WHEN {_NEWER} THEN excluded.next_id ELSE coalesce(b.next_id, excluded.next_id) END,
        closed = CASE WHEN {_NEWER} THEN excluded.closed ELSE b.closed OR excluded.closed END,
        generation = excluded.generation,
        expires_ms = greatest(b.expires_ms, excluded.expires_ms)
    WHERE excluded.generation >= b.generation)
SELECT count(*) FROM gone
""".encode()
RELEASE = f"""
WITH done AS (
    UPDATE session_mw_ended AS e SET lease_token = NULL, lease_until_ms = t.now + %(delay)s FROM {_KEYS}, {_CLOCK}
    WHERE {_OF_KEYS} AND e.lease_token = %(token)s RETURNING 1)
SELECT count(*) FROM done
""".encode()
HOLD_LEASED = f"""
SELECT {_E_COLUMNS} FROM session_mw_ended AS e JOIN {_KEYS} ON {_OF_KEYS}
WHERE e.lease_token = %(token)s ORDER BY e.session_id, e.generation FOR UPDATE OF e
""".encode()
ANNOTATE = b"""
UPDATE session_mw_ended AS e SET attributes = a.attributes
FROM unnest(%s::text[], %s::bigint[], %s::text[]) AS a (session_id, generation, attributes)
WHERE e.session_id = a.session_id AND e.generation = a.generation
"""


# -- keeping house

SCRUB_TOMBS = f"""
WITH done AS (DELETE FROM session_mw_tomb WHERE session_id IN (
    SELECT b.session_id FROM session_mw_tomb AS b, {_CLOCK} WHERE b.expires_ms <= t.now
        AND NOT EXISTS (SELECT 1 FROM session_mw_ended AS e WHERE e.session_id = b.session_id)
    ORDER BY b.expires_ms LIMIT %(limit)s FOR UPDATE OF b SKIP LOCKED) RETURNING 1)
SELECT count(*) FROM done
""".encode()
SCRUB_CONVERSATIONS = f"""
WITH done AS (DELETE FROM session_mw_conversation WHERE conversation_id IN (
    SELECT c.conversation_id FROM session_mw_conversation AS c, {_CLOCK} WHERE c.expires_ms <= t.now
    ORDER BY c.expires_ms LIMIT %(limit)s FOR UPDATE OF c SKIP LOCKED) RETURNING 1)
SELECT count(*) FROM done
""".encode()
SCRUB_WRITERS = f"""
DELETE FROM session_mw_writer WHERE lane IN (
    SELECT w.lane FROM session_mw_writer AS w, {_CLOCK} WHERE w.expires_ms <= t.now
    ORDER BY w.expires_ms LIMIT %(limit)s FOR UPDATE OF w SKIP LOCKED)
""".encode()
HOLD_DEAD = f"""
SELECT {_E_COLUMNS} FROM session_mw_ended AS e, {_CLOCK} WHERE e.attempts > {MAX_ATTEMPTS} AND e.lease_until_ms <= t.now
ORDER BY e.session_id, e.generation LIMIT %(limit)s FOR UPDATE OF e SKIP LOCKED
""".encode()
REVIVE = b"""
UPDATE session_mw_ended AS e SET attempts = a.attempts
FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) AS a (session_id, generation, attempts)
WHERE e.session_id = a.session_id AND e.generation = a.generation
"""
COUNT_LIVE = b"SELECT count(*) FROM session_mw_live"
STATS = f"""
SELECT t.now,
    (SELECT count(*) FROM session_mw_live),
    (SELECT count(*) FROM session_mw_ended),
    (SELECT count(*) FROM session_mw_ended WHERE lease_until_ms > t.now AND lease_token IS NOT NULL),
    (SELECT count(*) FROM session_mw_ended WHERE attempts > {MAX_ATTEMPTS} AND lease_until_ms <= t.now),
    (SELECT count(*) FROM session_mw_tomb),
    (SELECT min(due_ms) FROM session_mw_live WHERE due_ms <= t.now),
    (SELECT min(greatest(lease_until_ms, ended_ms)) FROM session_mw_ended
        WHERE attempts <= {MAX_ATTEMPTS} AND lease_until_ms <= t.now)
FROM {_CLOCK}
""".encode()
