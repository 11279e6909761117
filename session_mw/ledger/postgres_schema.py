"""
The tables of the history in PostgreSQL: those of the file, see ``sqlite_schema``, under names of their own.

Rule 1: a migration that was released is never edited; what changes is a further one at the end.
Rule 2: times are integer milliseconds since the epoch, money is integer millionths of a US dollar, as everywhere.

What has no column is JSON in a text column: jsonb makes 1e300 an integer. An index over it comes with the filters that
ask for it.
"""

from __future__ import annotations

from .._postgres import Part
from .postgres_damaged import AROUND_V3

V1 = (
    """
    CREATE TABLE session_mw_ledger_sessions (
        pk             bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- rises: pages are cut by it
        session_id     text    NOT NULL,
        generation     bigint  NOT NULL,
        user_id        text,                 -- a pseudonym, unless the application chose otherwise
        type           text,
        name           text,
        prompt_version text,
        channel        text,
        status         text    NOT NULL CHECK (status IN ('active', 'ended', 'timed_out')),
        end_reason     text,
        outcome        text,
        confirmed      boolean,
        started_ms     bigint  NOT NULL,
        last_ms        bigint  NOT NULL,
        ended_ms       bigint,
        duration_ms    bigint  NOT NULL,
        turns          bigint  NOT NULL,
        completed      bigint  NOT NULL,
        failed         bigint  NOT NULL,
        latency_ms     bigint,               -- sums; NULL is unknown, never zero
        input_tokens   bigint,
        output_tokens  bigint,
        total_tokens   bigint,
        cost_microusd  bigint,
        previous_id    text,
        next_id        text,
        attributes     text                  -- JSON object, NULL when empty
    )
    """,
    "CREATE UNIQUE INDEX session_mw_ledger_ux_sessions_id ON session_mw_ledger_sessions (session_id, generation)",
    "CREATE INDEX session_mw_ledger_ix_sessions_last ON session_mw_ledger_sessions (last_ms, pk)",  # retention
    "CREATE INDEX session_mw_ledger_ix_sessions_user ON session_mw_ledger_sessions (user_id, pk)",
    """
    CREATE TABLE session_mw_ledger_turns (
        pk              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        session_pk      bigint NOT NULL REFERENCES session_mw_ledger_sessions (pk) ON DELETE CASCADE,
        number          bigint,               -- NULL: no store could count it
        conversation_id text,
        trace_id        text,
        span_id         text   NOT NULL,      -- '': it had no span
        sampled         boolean,
        action          text,
        intent          text,
        prompt_version  text,
        started_ms      bigint NOT NULL,
        latency_ms      bigint NOT NULL,
        first_chunk_ms  bigint,
        status          text   NOT NULL CHECK (status IN ('ok', 'error', 'cancelled')),
        error_type      text,
        input_tokens    bigint,
        output_tokens   bigint,
        cost_microusd   bigint,
        attributes      text                  -- JSON object, NULL when empty
    )
    """,
    # The same number with another span is another turn: a store that lost a session counts on from its cookie.
    "CREATE UNIQUE INDEX session_mw_ledger_ux_turns ON session_mw_ledger_turns (session_pk, number, span_id)",
    "CREATE UNIQUE INDEX session_mw_ledger_ux_turns_unnumbered ON session_mw_ledger_turns (session_pk, span_id)"
    " WHERE number IS NULL AND span_id <> ''",
    """
    CREATE TABLE session_mw_ledger_late_usage (
        session_pk    bigint NOT NULL REFERENCES session_mw_ledger_sessions (pk) ON DELETE CASCADE,
        uid           text   NOT NULL,  -- log.record.uid
        at_ms         bigint NOT NULL,
        input_tokens  bigint,
        output_tokens bigint,
        cost_microusd bigint,
        PRIMARY KEY (session_pk, uid)
    )
    """,
)
# What filters and lists ask for: how many traces a session has, and an index for each order of a list.
V2 = (
    "ALTER TABLE session_mw_ledger_sessions ADD COLUMN traces bigint NOT NULL DEFAULT 0",
    "CREATE INDEX session_mw_ledger_ix_turns_trace ON session_mw_ledger_turns (trace_id, session_pk)"
    " WHERE trace_id IS NOT NULL",
    """
    UPDATE session_mw_ledger_sessions AS s SET traces = (SELECT count(DISTINCT t.trace_id)
        FROM session_mw_ledger_turns AS t WHERE t.session_pk = s.pk)
    """,
    "CREATE INDEX session_mw_ledger_ix_sessions_started ON session_mw_ledger_sessions (started_ms, pk)",
    "CREATE INDEX session_mw_ledger_ix_sessions_duration ON session_mw_ledger_sessions (duration_ms, pk)",
    "CREATE INDEX session_mw_ledger_ix_sessions_turns ON session_mw_ledger_sessions (turns, pk)",
    "CREATE INDEX session_mw_ledger_ix_sessions_tokens ON session_mw_ledger_sessions (total_tokens, pk)",
    "CREATE INDEX session_mw_ledger_ix_sessions_cost ON session_mw_ledger_sessions (cost_microusd, pk)",
)
# Single calls, what was said, and scores: as in the file.
V3 = (
    """
    CREATE TABLE session_mw_ledger_usages (
        turn_pk            bigint NOT NULL REFERENCES session_mw_ledger_turns (pk) ON DELETE CASCADE,
        place              bigint NOT NULL,
        kind               text   NOT NULL CHECK (kind IN ('model', 'embedding', 'agent', 'tool', 'other')),
        started_ms         bigint NOT NULL,
        latency_ms         bigint NOT NULL,
        name               text   NOT NULL,
        model              text,
        provider           text,
        span_id            text,
        parent_id          text,              -- span of the call that it was made in
        status             text   NOT NULL CHECK (status IN ('ok', 'error')),
        error_type         text,
        first_token_ms     bigint,
        input_tokens       bigint,            -- NULL: unknown, or counted with another call
        output_tokens      bigint,
        cache_read_tokens  bigint,
        cache_write_tokens bigint,
        reasoning_tokens   bigint,
        cost_microusd      bigint,            -- NULL: nobody knows a price
        PRIMARY KEY (turn_pk, place)
    )
    """,
    """
    CREATE TABLE session_mw_ledger_content (
        turn_pk    bigint PRIMARY KEY REFERENCES session_mw_ledger_turns (pk) ON DELETE CASCADE,
        started_ms bigint NOT NULL,           -- of the turn: its own retention goes by it
        messages   text,                      -- JSON list, see turn.messages
        input      text,
        output     text
    )
    """,
    "CREATE INDEX session_mw_ledger_ix_content_started ON session_mw_ledger_content (started_ms)",  # retention
    """
    CREATE TABLE session_mw_ledger_scores (
        session_pk bigint NOT NULL REFERENCES session_mw_ledger_sessions (pk) ON DELETE CASCADE,
        name       text   NOT NULL,
        number     double precision,          -- a flag is 1 or 0
        word       text,
        PRIMARY KEY (session_pk, name)
    )
    """,
    "CREATE INDEX session_mw_ledger_ix_scores_name ON session_mw_ledger_scores (name, number)",
    # What was kept among the attributes of turns until now; json, not jsonb, keeps numbers as they were written.
    """
    INSERT INTO session_mw_ledger_content (turn_pk, started_ms, messages, input, output)
        SELECT pk, started_ms, attributes::json ->> 'turn.messages', attributes::json ->> 'input.value',
            attributes::json ->> 'output.value'
        FROM session_mw_ledger_turns
        WHERE attributes::json ->> 'turn.messages' IS NOT NULL OR attributes::json ->> 'input.value' IS NOT NULL
            OR attributes::json ->> 'output.value' IS NOT NULL
    """,
    """
    UPDATE session_mw_ledger_turns AS t SET attributes = (SELECT json_object_agg(said.key, said.value)::text
            FROM json_each(t.attributes::json) AS said
            WHERE said.key NOT IN ('turn.messages', 'input.value', 'output.value'))
        WHERE pk IN (SELECT turn_pk FROM session_mw_ledger_content)
    """,
    """
    INSERT INTO session_mw_ledger_scores SELECT s.pk, substr(said.key, 15),
            CASE json_typeof(said.value) WHEN 'number' THEN (said.value #>> '{}')::double precision
                WHEN 'boolean' THEN (said.value #>> '{}')::boolean::integer END,
            CASE json_typeof(said.value) WHEN 'string' THEN said.value #>> '{}' END
        FROM session_mw_ledger_sessions AS s, json_each(s.attributes::json) AS said
        WHERE said.key LIKE 'session.score.%'
    """,
)
# Sums of each day, as in the file; and the days whose sums have to be made anew: a row for each transaction that wrote
# of one, so that nobody waits for anybody.
V4 = (
    """
    CREATE TABLE session_mw_ledger_daily (
        day              bigint  NOT NULL,  -- of UTC, since the epoch, on which the sessions started
        type             text,
        prompt_version   text,
        channel          text,
        unconfirmed      boolean NOT NULL,  -- bots, webhooks
        first_started_ms bigint  NOT NULL,
        last_started_ms  bigint  NOT NULL,
        first_last_ms    bigint  NOT NULL,
        last_last_ms     bigint  NOT NULL,
        sessions         bigint  NOT NULL,
        anonymous        bigint  NOT NULL,
        turns            bigint  NOT NULL,
        failed           bigint  NOT NULL,
        with_errors      bigint  NOT NULL,
        duration_ms      bigint  NOT NULL,
        tokens           bigint  NOT NULL,
        counted          bigint  NOT NULL,
        cost_microusd    bigint  NOT NULL,
        priced           bigint  NOT NULL,
        latency_ms       bigint  NOT NULL,
        finished         bigint  NOT NULL,
        resolved         bigint  NOT NULL,
        settled          bigint  NOT NULL,
        users            bytea   NOT NULL,  -- values of single sessions, see analytics/dailies.py
        durations        bytea   NOT NULL,
        actives          bytea   NOT NULL,
        ended            bytea   NOT NULL,
        going            bytea   NOT NULL,
        gaps             bytea   NOT NULL
    )
    """,
    "CREATE INDEX session_mw_ledger_ix_daily_day ON session_mw_ledger_daily (day)",
    """
    CREATE TABLE session_mw_ledger_flows (
        day         bigint  NOT NULL,
        unconfirmed boolean NOT NULL,
        step        bigint  NOT NULL,  -- 0: the first action of a session; 7 and later are one
        previous    text,              -- NULL: there was none, or it has no name
        action      text,
        sessions    bigint  NOT NULL
    )
    """,
    "CREATE INDEX session_mw_ledger_ix_flows_day ON session_mw_ledger_flows (day)",
    "CREATE INDEX session_mw_ledger_ix_sessions_version ON session_mw_ledger_sessions (prompt_version, started_ms, pk)",
    """
    CREATE TABLE session_mw_ledger_dirty (
        mark bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        day  bigint NOT NULL
    )
    """,
    """
    INSERT INTO session_mw_ledger_dirty (day) SELECT DISTINCT
        (started_ms - (started_ms % 86400000 + 86400000) % 86400000) / 86400000 FROM session_mw_ledger_sessions
    """,
)
# Whether turns of a session name another prompt version than it does, and the lists of whole days, as in the file.
# Hashes cannot be compressed, and to take the rest apart costs more than it saves.
V5 = (
    "ALTER TABLE session_mw_ledger_sessions ADD COLUMN mixed boolean NOT NULL DEFAULT FALSE",
    """
    UPDATE session_mw_ledger_sessions AS s SET mixed = TRUE WHERE EXISTS (SELECT 1 FROM session_mw_ledger_turns AS t
        WHERE t.session_pk = s.pk AND t.prompt_version <> s.prompt_version)
    """,
    # Sessions with errors, newest activity first: the filter that most look by.
    "CREATE INDEX session_mw_ledger_ix_sessions_failed ON session_mw_ledger_sessions (last_ms, pk) WHERE failed >= 1",
    "ALTER TABLE session_mw_ledger_daily ADD COLUMN different bigint",
    "ALTER TABLE session_mw_ledger_daily ADD COLUMN all_users bytea",
    "ALTER TABLE session_mw_ledger_daily ADD COLUMN all_durations bytea",
    "ALTER TABLE session_mw_ledger_daily ADD COLUMN all_actives bytea",
    """
    ALTER TABLE session_mw_ledger_daily ALTER all_users SET STORAGE EXTERNAL,
        ALTER all_durations SET STORAGE EXTERNAL, ALTER all_actives SET STORAGE EXTERNAL
    """,
    "INSERT INTO session_mw_ledger_dirty (day) SELECT DISTINCT day FROM session_mw_ledger_daily",
)
PART = Part("ledger", "history", (V1, V2, V3, V4, V5), around={3: AROUND_V3})
