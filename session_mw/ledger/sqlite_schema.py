"""
The tables of the history in SQLite, and how a file comes to have them.

Rule 1: tables and indices begin with ``ledger_``: the file may be the session store's as well, which is also why the
    version stands in ``ledger_meta`` and not in ``PRAGMA user_version``.
Rule 2: a migration that was released is never edited; what changes is a further one at the end.
Rule 3: times are integer milliseconds since the epoch, money is integer millionths of a US dollar, as in the stores:
    sums are exact and sort as numbers.

An index exists where something asks by it today. Those for filters, sorts and analytics come with them, as do the
tables of daily sums: each index costs every write.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from .._sqlite import writing
from ..exceptions import StoreError

V1 = (
    "CREATE TABLE IF NOT EXISTS ledger_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """
    CREATE TABLE ledger_sessions (
        pk             INTEGER PRIMARY KEY,  -- rises: pages are cut by it
        session_id     TEXT    NOT NULL,
        generation     INTEGER NOT NULL,
        user_id        TEXT,                 -- a pseudonym, unless the application chose otherwise
        type           TEXT,
        name           TEXT,
        prompt_version TEXT,
        channel        TEXT,
        status         TEXT    NOT NULL CHECK (status IN ('active', 'ended', 'timed_out')),
        end_reason     TEXT,
        outcome        TEXT,
        confirmed      INTEGER CHECK (confirmed IN (0, 1)),
        started_ms     INTEGER NOT NULL,
        last_ms        INTEGER NOT NULL,
        ended_ms       INTEGER,
        duration_ms    INTEGER NOT NULL,
        turns          INTEGER NOT NULL,
        completed      INTEGER NOT NULL,
        failed         INTEGER NOT NULL,
        latency_ms     INTEGER,              -- sums; NULL is unknown, never zero
        input_tokens   INTEGER,
        output_tokens  INTEGER,
        total_tokens   INTEGER,
        cost_microusd  INTEGER,
        previous_id    TEXT,
        next_id        TEXT
    )
    """,
    "CREATE UNIQUE INDEX ledger_ux_sessions_id ON ledger_sessions (session_id, generation)",
    "CREATE INDEX ledger_ix_sessions_last ON ledger_sessions (last_ms, pk)",  # retention
    "CREATE INDEX ledger_ix_sessions_user ON ledger_sessions (user_id, pk)",
    # What has no column. The value has no declared type, so that 1, 1.0 and '1' stay what they are and compare as such.
    """
    CREATE TABLE ledger_session_attrs (
        session_pk INTEGER NOT NULL REFERENCES ledger_sessions (pk) ON DELETE CASCADE,
        key        TEXT    NOT NULL,
        value              NOT NULL,
        is_bool    INTEGER NOT NULL,
        PRIMARY KEY (session_pk, key)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE ledger_turns (
        pk              INTEGER PRIMARY KEY,
        session_pk      INTEGER NOT NULL REFERENCES ledger_sessions (pk) ON DELETE CASCADE,
        number          INTEGER,              -- NULL: no store could count it
        conversation_id TEXT,
        trace_id        TEXT,
        span_id         TEXT NOT NULL,        -- '': it had no span
        sampled         INTEGER,
        action          TEXT,
        intent          TEXT,
        prompt_version  TEXT,
        started_ms      INTEGER NOT NULL,
        latency_ms      INTEGER NOT NULL,
        first_chunk_ms  INTEGER,
        status          TEXT    NOT NULL CHECK (status IN ('ok', 'error', 'cancelled')),
        error_type      TEXT,
        input_tokens    INTEGER,
        output_tokens   INTEGER,
        cost_microusd   INTEGER,
        attributes      TEXT                  -- JSON object, NULL when empty
    )
    """,
    # The same number with another span is another turn: a store that lost a session counts on from its cookie.
    "CREATE UNIQUE INDEX ledger_ux_turns ON ledger_turns (session_pk, number, span_id)",
    "CREATE UNIQUE INDEX ledger_ux_turns_unnumbered ON ledger_turns (session_pk, span_id)"
    " WHERE number IS NULL AND span_id <> ''",
    """
    CREATE TABLE ledger_late_usage (
        session_pk    INTEGER NOT NULL REFERENCES ledger_sessions (pk) ON DELETE CASCADE,
        uid           TEXT    NOT NULL,  -- log.record.uid
        at_ms         INTEGER NOT NULL,
        input_tokens  INTEGER,
        output_tokens INTEGER,
        cost_microusd INTEGER,
        PRIMARY KEY (session_pk, uid)
    ) WITHOUT ROWID
    """,
)
# What filters and lists ask for: how many traces a session has, an index for each order of a list (last activity has
# one), and one that tells which attributes there are. Those of the orders double the work of a finished turn: 0.16 to
# 0.35 ms of CPU with 100,000 sessions; without them a page sorts all: 45 ms, not 0.7.
V2 = (
    "ALTER TABLE ledger_sessions ADD COLUMN traces INTEGER NOT NULL DEFAULT 0",
    "CREATE INDEX ledger_ix_turns_trace ON ledger_turns (trace_id, session_pk) WHERE trace_id IS NOT NULL",
    """
    UPDATE ledger_sessions SET traces = (SELECT COUNT(DISTINCT t.trace_id) FROM ledger_turns AS t
        WHERE t.session_pk = ledger_sessions.pk)
    """,
    "CREATE INDEX ledger_ix_sessions_started ON ledger_sessions (started_ms, pk)",
    "CREATE INDEX ledger_ix_sessions_duration ON ledger_sessions (duration_ms, pk)",
    "CREATE INDEX ledger_ix_sessions_turns ON ledger_sessions (turns, pk)",
    "CREATE INDEX ledger_ix_sessions_tokens ON ledger_sessions (total_tokens, pk)",
    "CREATE INDEX ledger_ix_sessions_cost ON ledger_sessions (cost_microusd, pk)",
    "CREATE INDEX ledger_ix_session_attrs_key ON ledger_session_attrs (key, session_pk)",
)
# Single calls, in the order in which a turn made them, so that they need no other index; what was said, in a table of
# its own that can be emptied while the rest is kept; and scores by name.
V3 = (
    """
    CREATE TABLE ledger_usages (
        turn_pk            INTEGER NOT NULL REFERENCES ledger_turns (pk) ON DELETE CASCADE,
        place              INTEGER NOT NULL,
        kind               TEXT    NOT NULL CHECK (kind IN ('model', 'embedding', 'agent', 'tool', 'other')),
        started_ms         INTEGER NOT NULL,
        latency_ms         INTEGER NOT NULL,
        name               TEXT    NOT NULL,
        model              TEXT,
        provider           TEXT,
        span_id            TEXT,
        parent_id          TEXT,              -- span of the call that it was made in
        status             TEXT    NOT NULL CHECK (status IN ('ok', 'error')),
        error_type         TEXT,
        first_token_ms     INTEGER,
        input_tokens       INTEGER,           -- NULL: unknown, or counted with another call
        output_tokens      INTEGER,
        cache_read_tokens  INTEGER,
        cache_write_tokens INTEGER,
        reasoning_tokens   INTEGER,
        cost_microusd      INTEGER,           -- NULL: nobody knows a price
        PRIMARY KEY (turn_pk, place)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE ledger_content (
        turn_pk    INTEGER PRIMARY KEY REFERENCES ledger_turns (pk) ON DELETE CASCADE,
        started_ms INTEGER NOT NULL,          -- of the turn: its own retention goes by it
        messages   TEXT,                      -- JSON list, see turn.messages
        input      TEXT,
        output     TEXT
    )
    """,
    "CREATE INDEX ledger_ix_content_started ON ledger_content (started_ms)",  # retention
    """
    CREATE TABLE ledger_scores (
        session_pk INTEGER NOT NULL REFERENCES ledger_sessions (pk) ON DELETE CASCADE,
        name       TEXT    NOT NULL,
        number     REAL,                      -- a flag is 1 or 0
        word       TEXT,
        PRIMARY KEY (session_pk, name)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX ledger_ix_scores_name ON ledger_scores (name, number)",
    # What was kept among the attributes of turns until now.
    """
    INSERT INTO ledger_content (turn_pk, started_ms, messages, input, output)
        SELECT pk, started_ms, json_extract(attributes, '$."turn.messages"'),
            json_extract(attributes, '$."input.value"'), json_extract(attributes, '$."output.value"')
        FROM ledger_turns WHERE CASE WHEN json_valid(attributes) THEN
            COALESCE(json_type(attributes, '$."turn.messages"'), json_type(attributes, '$."input.value"'),
                json_type(attributes, '$."output.value"')) END IS NOT NULL
    """,
    """
    UPDATE ledger_turns SET attributes = NULLIF(
            json_remove(attributes, '$."turn.messages"', '$."input.value"', '$."output.value"'), '{}')
        WHERE pk IN (SELECT turn_pk FROM ledger_content)
    """,
    """
    INSERT INTO ledger_scores SELECT session_pk, substr(key, 15),
            CASE WHEN typeof(value) <> 'text' THEN value END, CASE WHEN typeof(value) = 'text' THEN value END
        FROM ledger_session_attrs WHERE key > 'session.score.' AND key < 'session.score/'
    """,
)
# Sums of each day, see ``analytics/dailies.py``; and the days whose sums have to be made, or made anew. A mark is never
# the same twice: who made sums sees whether the day was written of meanwhile.
V4 = (
    """
    CREATE TABLE ledger_daily (
        day              INTEGER NOT NULL,  -- of UTC, since the epoch, on which the sessions started
        type             TEXT,
        prompt_version   TEXT,
        channel          TEXT,
        unconfirmed      INTEGER NOT NULL,  -- bots, webhooks
        first_started_ms INTEGER NOT NULL,
        last_started_ms  INTEGER NOT NULL,
        first_last_ms    INTEGER NOT NULL,
        last_last_ms     INTEGER NOT NULL,
        sessions         INTEGER NOT NULL,
        anonymous        INTEGER NOT NULL,
        turns            INTEGER NOT NULL,
        failed           INTEGER NOT NULL,
        with_errors      INTEGER NOT NULL,
        duration_ms      INTEGER NOT NULL,
        tokens           INTEGER NOT NULL,
        counted          INTEGER NOT NULL,
        cost_microusd    INTEGER NOT NULL,
        priced           INTEGER NOT NULL,
        latency_ms       INTEGER NOT NULL,
        finished         INTEGER NOT NULL,
        resolved         INTEGER NOT NULL,
        settled          INTEGER NOT NULL,
        users            BLOB    NOT NULL,  -- values of single sessions, see analytics/dailies.py
        durations        BLOB    NOT NULL,
        actives          BLOB    NOT NULL,
        ended            BLOB    NOT NULL,
        going            BLOB    NOT NULL,
        gaps             BLOB    NOT NULL
    )
    """,
    "CREATE INDEX ledger_ix_daily_day ON ledger_daily (day)",
    """
    CREATE TABLE ledger_flows (
        day         INTEGER NOT NULL,
        unconfirmed INTEGER NOT NULL,
        step        INTEGER NOT NULL,  -- 0: the first action of a session; 7 and later are one
        previous    TEXT,              -- NULL: there was none, or it has no name
        action      TEXT,
        sessions    INTEGER NOT NULL
    )
    """,
    "CREATE INDEX ledger_ix_flows_day ON ledger_flows (day)",
    # A version is in use for some time: its sessions lie together, far from where the list of all begins.
    "CREATE INDEX ledger_ix_sessions_version ON ledger_sessions (prompt_version, started_ms, pk)",
    "CREATE TABLE ledger_dirty (day INTEGER PRIMARY KEY, mark INTEGER NOT NULL)",
    """
    INSERT INTO ledger_dirty
        SELECT DISTINCT (started_ms - (started_ms % 86400000 + 86400000) % 86400000) / 86400000, 0 FROM ledger_sessions
    """,
)
# Whether turns of a session name another prompt version than it does: a comparison leaves such sessions out, and had to
# look for them in all turns. And the lists of a whole day, whatever the type, version and channel, in one row of those
# that the day has: most who ask for sums ask for these. A release before makes sums without them, which do as well.
V5 = (
    "ALTER TABLE ledger_sessions ADD COLUMN mixed INTEGER NOT NULL DEFAULT 0 CHECK (mixed IN (0, 1))",
    """
    UPDATE ledger_sessions SET mixed = 1 WHERE EXISTS (SELECT 1 FROM ledger_turns AS t
        WHERE t.session_pk = ledger_sessions.pk AND t.prompt_version <> ledger_sessions.prompt_version)
    """,
    # Sessions with errors, newest activity first: the filter that most look by.
    "CREATE INDEX ledger_ix_sessions_failed ON ledger_sessions (last_ms, pk) WHERE failed >= 1",
    "ALTER TABLE ledger_daily ADD COLUMN different INTEGER",
    "ALTER TABLE ledger_daily ADD COLUMN all_users BLOB",
    "ALTER TABLE ledger_daily ADD COLUMN all_durations BLOB",
    "ALTER TABLE ledger_daily ADD COLUMN all_actives BLOB",
    "INSERT OR IGNORE INTO ledger_dirty SELECT DISTINCT day, 0 FROM ledger_daily",
)
MIGRATIONS = (V1, V2, V3, V4, V5)
READABLE = 4  # the oldest version whose files are read where they cannot be written: what V5 keeps is looked up there


def prepare(connection: sqlite3.Connection) -> None:
    """
    Bring the tables of a file to the newest version, and make *connection* ready.

    Safe when many processes do it at once.

    Raises:
        StoreError: A newer release has written the file.
    """
    connection.execute("PRAGMA foreign_keys = ON")
    if connection.execute("PRAGMA secure_delete").fetchone() == (0,):
        # Most builds leave in a page what a row said before it was changed, where no later forgetting finds it.
        connection.execute("PRAGMA secure_delete = FAST")
    if version_of(connection) == len(MIGRATIONS):
        return  # without a lock: the usual case
    with overwriting(connection), writing(connection):  # what moves leaves nothing behind: it may be what was said
        _migrate(connection)


METRICS = {"duration": "duration_ms", "turns": "turns", "tokens": "total_tokens", "cost": "cost_microusd"}
_INDEX = "ledger_ix_sessions_"


def missing_indexes(connection: sqlite3.Connection) -> frozenset[str]:
    """Return which of the sorts by a quantity have no index in a file."""
    rows = connection.execute("PRAGMA index_list('ledger_sessions')").fetchall()
    return frozenset(METRICS) - {str(row[1]).removeprefix(_INDEX) for row in rows}


def prepare_to_write(connection: sqlite3.Connection, metric_indexes: bool | None) -> None:
    """As ``prepare``, and make or drop the indices of sorts by a quantity; None leaves them as they are."""
    prepare(connection)
    missing = missing_indexes(connection)
    if metric_indexes is None or missing == (frozenset() if metric_indexes else frozenset(METRICS)):
        return
    with writing(connection):
        for name, column in METRICS.items():
            index = f"{_INDEX}{name}"
            make = f"CREATE INDEX IF NOT EXISTS {index} ON ledger_sessions ({column}, pk)"
            connection.execute(make if metric_indexes else f"DROP INDEX IF EXISTS {index}")


@contextmanager
def overwriting(connection: sqlite3.Connection) -> Iterator[None]:
    """Overwrite what is deleted meanwhile. Not for good where it is not the default: it doubles the work."""
    (before,) = connection.execute("PRAGMA secure_delete").fetchone()
    connection.execute("PRAGMA secure_delete = ON")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA secure_delete = {('OFF', 'ON', 'FAST')[before]}")


def _migrate(connection: sqlite3.Connection) -> None:
    version = version_of(connection)  # whoever had the lock before may have done it
    if version > len(MIGRATIONS):
        raise StoreError(
            f"cannot use the ledger: its tables have version {version}, this release knows {len(MIGRATIONS)}. "
            "Update session-mw, or name another file in the setting 'ledger'."
        )
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement)
    connection.execute("INSERT OR REPLACE INTO ledger_meta VALUES ('version', ?)", (str(len(MIGRATIONS)),))


def readable(connection: sqlite3.Connection) -> None:
    """
    Look whether the tables of a file that cannot be written are such as this release reads.

    Raises:
        StoreError: They are not, and cannot be brought up to date.
    """
    version = version_of(connection)
    if not READABLE <= version <= len(MIGRATIONS):
        found = f"its tables have version {version}" if version else "it has no tables"
        raise StoreError(
            f"cannot read the ledger: {found}, this release reads {READABLE} to {len(MIGRATIONS)}, and the file cannot "
            "be written. Copy it, with its -wal if there is one, to where it can be."
        )
    connection.execute("PRAGMA query_only = ON")


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version of the tables in a file, 0 when there are none."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'ledger_meta'")
    if known.fetchone() is None:
        return 0
    row = connection.execute("SELECT value FROM ledger_meta WHERE key = 'version'").fetchone()
    return 0 if row is None else int(row[0])
