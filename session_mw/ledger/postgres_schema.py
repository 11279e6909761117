"""
The tables of the history in PostgreSQL: those of the file, see ``sqlite_schema``, under names of their own.

Rule 1: a migration that was released is never edited; what changes is a further one at the end.
Rule 2: times are integer milliseconds since the epoch, money is integer millionths of a US dollar, as everywhere.

What has no column is JSON in a text column: jsonb makes 1e300 an integer. An index over it comes with the filters that
ask for it.
"""

from __future__ import annotations

from .._postgres import Part

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
PART = Part("ledger", "history", (V1, V2))
