# ruff: noqa: S608  the statements are put together from constants of this file, never from data
"""
Tables and statements of the SQLite store.

Live sessions and ended ones have separate tables: a touch finds only what lives, a report works on a small table whose
rows lie together, and a session's page is written once for its end instead of three times. ``due_ms`` says when a
sweep has to look at a session, not when it ends: a touch does not change it, so its index stays untouched (an index on
the last activity would double the price of a touch). Measured on 1,000,000 rows.
"""

from __future__ import annotations

import sqlite3

from .._core.lifecycle import CLOSED_MS, CLOSING, MAX_ATTEMPTS
from ._columns import ENDED_COLUMNS, LIVE_COLUMNS

SCHEMA_VERSION = 2

_COMMON = """
    session_id TEXT NOT NULL, started_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, generation INTEGER NOT NULL,
    origin_ms INTEGER NOT NULL, open_until_ms INTEGER NOT NULL, turns INTEGER NOT NULL, completed INTEGER NOT NULL,
    failed INTEGER NOT NULL, latency_ms INTEGER NOT NULL, input_tokens INTEGER, output_tokens INTEGER,
    cost_microusd INTEGER, user_id TEXT, bound_ms INTEGER, previous_id TEXT"""
_COMMON_FLAGS = """
    start_emitted INTEGER NOT NULL, confirmed INTEGER NOT NULL, recovered INTEGER NOT NULL,
    partial INTEGER NOT NULL, attributes TEXT NOT NULL"""

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS live_meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    f"CREATE TABLE IF NOT EXISTS live_session ({_COMMON}, {_COMMON_FLAGS}, due_ms INTEGER NOT NULL, "
    "idle_ms INTEGER, PRIMARY KEY (session_id)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS live_session_due ON live_session (due_ms)",
    f"CREATE TABLE IF NOT EXISTS live_ended ({_COMMON}, next_id TEXT, reason TEXT NOT NULL, "
    "ended_ms INTEGER NOT NULL, lease_token TEXT, lease_until_ms INTEGER NOT NULL, attempts INTEGER NOT NULL, "
    f"{_COMMON_FLAGS}, PRIMARY KEY (session_id, generation)) WITHOUT ROWID",
    # Partial: what was set aside after too many attempts is not walked over by every sweep.
    f"CREATE INDEX IF NOT EXISTS live_ended_due ON live_ended (lease_until_ms) WHERE attempts <= {MAX_ATTEMPTS}",
    "CREATE TABLE IF NOT EXISTS live_tomb (session_id TEXT PRIMARY KEY, next_id TEXT, generation INTEGER NOT NULL, "
    "closed INTEGER NOT NULL, expires_ms INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS live_tomb_expires ON live_tomb (expires_ms)",
    "CREATE TABLE IF NOT EXISTS live_conversation (conversation_id TEXT PRIMARY KEY, turns INTEGER NOT NULL, "
    "expires_ms INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS live_conversation_expires ON live_conversation (expires_ms)",
    f"INSERT OR IGNORE INTO live_meta VALUES ('schema', {SCHEMA_VERSION})",
)

# What brings tables of an earlier version to the present one.
MIGRATIONS = {
    1: (
        "ALTER TABLE live_session ADD COLUMN idle_ms INTEGER",
        "UPDATE live_meta SET value = 2 WHERE key = 'schema'",
    ),
}

# The usual case of a touch in one statement, to the same effect as lifecycle.touch (a property test compares them).
_NOW = "max(:now, last_ms)"
EXTEND = f"""
UPDATE live_session SET
    turns = turns + :turn,
    last_ms = {_NOW},
    idle_ms = {_NOW} - last_ms,
    open_until_ms = CASE :turn WHEN 1 THEN {_NOW} + :turn_ms ELSE open_until_ms END,
    user_id = coalesce(user_id, :user),
    bound_ms = CASE WHEN bound_ms IS NULL AND :claimed = coalesce(user_id, :user) THEN {_NOW} ELSE bound_ms END,
    confirmed = 1
WHERE session_id = :id
    AND {_NOW} < origin_ms + :absolute
    AND ({_NOW} < last_ms + :idle OR (turns > completed + failed AND {_NOW} < open_until_ms))
    AND (user_id IS NULL OR user_id = :user
        OR (:user IS NULL AND (bound_ms IS NULL OR {_NOW} < bound_ms + :skew)))
RETURNING session_id, turns, started_ms, last_ms, origin_ms, generation, previous_id, user_id, attributes, idle_ms
"""

READ_LIVE = f"SELECT {LIVE_COLUMNS} FROM live_session WHERE session_id = ?"
READ_ENDED = f"SELECT {ENDED_COLUMNS} FROM live_ended WHERE session_id = ? ORDER BY generation DESC LIMIT 1"
READ_TOMB = "SELECT next_id, generation, closed, expires_ms FROM live_tomb WHERE session_id = ?"


def _marks(columns: str, more: int = 0) -> str:
    return ", ".join("?" * (len(columns.split(",")) + more))


INSERT_LIVE = f"INSERT INTO live_session ({LIVE_COLUMNS}, due_ms) VALUES ({_marks(LIVE_COLUMNS, 1)})"
_CHANGING = LIVE_COLUMNS.partition(", ")[2]  # setting a key, even to itself, would move its index entries
UPDATE_LIVE = f"UPDATE live_session SET ({_CHANGING}) = ({_marks(_CHANGING)}) WHERE session_id = ?"
DELETE_LIVE = "DELETE FROM live_session WHERE session_id = ?"
READ_UNREPORTED = f"SELECT {ENDED_COLUMNS} FROM live_ended WHERE session_id = ? AND generation = ? AND attempts = 0"
REPLACE_ENDED = f"REPLACE INTO live_ended ({ENDED_COLUMNS}) VALUES ({_marks(ENDED_COLUMNS)})"
INSERT_ENDED = f"INSERT INTO live_ended ({ENDED_COLUMNS}) VALUES ({_marks(ENDED_COLUMNS)})"
# Over what was said before, but for as long as was asked then.
WRITE_TOMB = """
INSERT INTO live_tomb VALUES (?, ?, ?, ?, ?)
ON CONFLICT (session_id) DO UPDATE SET next_id = excluded.next_id, generation = excluded.generation,
    closed = excluded.closed, expires_ms = max(expires_ms, excluded.expires_ms)
"""
DELETE_TOMB = "DELETE FROM live_tomb WHERE session_id = ?"

# lifecycle.deadline, lifecycle.expire with lifecycle.lease, and lifecycle.next_look for a whole batch (a property test
# compares them): a record that is over moves in one statement, which also tells it, instead of coming here and back.
_ENDS = """min(
    CASE WHEN open_until_ms > last_ms + :idle AND turns > completed + failed THEN open_until_ms
        ELSE last_ms + :idle END,
    origin_ms + :absolute)"""
_DUE_LIVE = "FROM live_session WHERE due_ms <= :now ORDER BY due_ms LIMIT :limit"
FREEZE = f"""
INSERT INTO live_ended ({LIVE_COLUMNS}, reason, ended_ms, lease_token, lease_until_ms, attempts)
SELECT {LIVE_COLUMNS}, CASE WHEN origin_ms + :absolute <= ends_ms THEN 'max_lifetime' ELSE 'idle_timeout' END,
    ends_ms, :lease_token, :until, 1
FROM (SELECT {LIVE_COLUMNS}, {_ENDS} AS ends_ms {_DUE_LIVE}) WHERE ends_ms <= :now
RETURNING {ENDED_COLUMNS}
"""
# Those that were looked at and go on: who is over has left the living before.
REFILE = f"""
UPDATE live_session SET due_ms = min({_ENDS}, max(:now, last_ms) + :idle)
WHERE session_id IN (SELECT session_id {_DUE_LIVE})
"""
DUE_ENDED = (
    f"SELECT {ENDED_COLUMNS} FROM live_ended WHERE lease_until_ms <= ? AND attempts <= {MAX_ATTEMPTS} "
    "ORDER BY lease_until_ms LIMIT ?"
)
LEASE = (
    "UPDATE live_ended SET lease_token = ?, lease_until_ms = ?, attempts = ? WHERE session_id = ? AND generation = ?"
)
READ_LEASED = f"SELECT {ENDED_COLUMNS} FROM live_ended WHERE session_id = ? AND generation = ? AND lease_token = ?"
ANNOTATE = "UPDATE live_ended SET attributes = ? WHERE session_id = ? AND generation = ?"
FIRST_LIVE = "SELECT min(due_ms) FROM live_session"
FIRST_ENDED = f"SELECT min(lease_until_ms) FROM live_ended WHERE attempts <= {MAX_ATTEMPTS}"
RELEASE = (
    "UPDATE live_ended SET lease_token = NULL, lease_until_ms = ? "
    "WHERE session_id = ? AND generation = ? AND lease_token = ?"
)

_CLOSED = f"reason IN ({', '.join(repr(reason) for reason in CLOSING)})"
_NEWER = "excluded.generation > generation"
# lifecycle.bury, lifecycle.remember and lifecycle.kept_ms for a whole batch.
BURY = f"""
INSERT INTO live_tomb (session_id, next_id, generation, closed, expires_ms)
SELECT session_id, next_id, generation, {_CLOSED}, :now + CASE WHEN {_CLOSED} THEN max(:ttl, {CLOSED_MS}) ELSE :ttl END
FROM live_ended WHERE session_id = :id AND generation = :generation AND lease_token = :lease_token
ON CONFLICT (session_id) DO UPDATE SET
    next_id = CASE WHEN {_NEWER} THEN excluded.next_id ELSE coalesce(next_id, excluded.next_id) END,
    closed = CASE WHEN {_NEWER} THEN excluded.closed ELSE max(closed, excluded.closed) END,
    generation = excluded.generation,
    expires_ms = max(expires_ms, excluded.expires_ms)
WHERE excluded.generation >= generation
"""
DELETE_ENDED = "DELETE FROM live_ended WHERE session_id = ? AND generation = ? AND lease_token = ?"

CONFIRM_LIVE = "UPDATE live_session SET start_emitted = 1 WHERE session_id = ? AND generation = ?"
CONFIRM_ENDED = "UPDATE live_ended SET start_emitted = 1 WHERE session_id = ? AND generation = ?"
RENEW = "UPDATE live_session SET open_until_ms = ? WHERE session_id = ?"

# A counter's expiry is moved seldom, so that counting does not move its index entry: ``life`` is longer than asked for.
COUNT = """
INSERT INTO live_conversation VALUES (:id, 1, :now + :life)
ON CONFLICT (conversation_id) DO UPDATE SET turns = CASE WHEN expires_ms <= :now THEN 1 ELSE turns + 1 END
RETURNING turns, expires_ms
"""
PROLONG = "UPDATE live_conversation SET expires_ms = ? WHERE conversation_id = ?"

SCRUB_TOMBS = """
DELETE FROM live_tomb WHERE session_id IN (SELECT session_id FROM live_tomb WHERE expires_ms <= ? LIMIT ?)
    AND NOT EXISTS (SELECT 1 FROM live_ended WHERE live_ended.session_id = live_tomb.session_id)
"""
SCRUB_CONVERSATIONS = """
DELETE FROM live_conversation WHERE conversation_id IN
    (SELECT conversation_id FROM live_conversation WHERE expires_ms <= ? LIMIT ?)
"""
DEAD = f"SELECT {ENDED_COLUMNS} FROM live_ended WHERE attempts > {MAX_ATTEMPTS} AND lease_until_ms <= :now LIMIT :limit"
REVIVE = "UPDATE live_ended SET attempts = ? WHERE session_id = ? AND generation = ?"
COUNT_LIVE = "SELECT count(*) FROM live_session"
STATS = f"""
SELECT
    (SELECT count(*) FROM live_session),
    (SELECT count(*) FROM live_ended),
    (SELECT count(*) FROM live_ended WHERE lease_until_ms > :now AND lease_token IS NOT NULL),
    (SELECT count(*) FROM live_ended WHERE attempts > {MAX_ATTEMPTS} AND lease_until_ms <= :now),
    (SELECT count(*) FROM live_tomb),
    (SELECT min(due_ms) FROM live_session WHERE due_ms <= :now),
    (SELECT min(max(lease_until_ms, ended_ms)) FROM live_ended
        WHERE attempts <= {MAX_ATTEMPTS} AND lease_until_ms <= :now)
"""


# What time it is: see ``_timing``.
READ_CLOCK = "SELECT key, value FROM live_meta WHERE key IN ('clock_boot', 'clock_ahead_ns')"
SET_CLOCK = "INSERT INTO live_meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
ANY_SESSION = (
    f"SELECT EXISTS (SELECT 1 FROM live_session) OR EXISTS (SELECT 1 FROM live_ended WHERE attempts <= {MAX_ATTEMPTS})"
)


def schema_version(connection: sqlite3.Connection) -> int:
    """Return the version of the tables, 0 when there are none."""
    try:
        found = connection.execute("SELECT value FROM live_meta WHERE key = 'schema'").fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        return 0
    return int(found[0]) if found else 0
