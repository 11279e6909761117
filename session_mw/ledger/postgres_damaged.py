"""
Attributes that are no JSON any more, and a migration that would fail at them: V3 reads those of every session and turn.

A file's migration leaves them as they are. So does this: they are put aside before it, and put back behind it, in its
transaction. Objects of the schema's own do for that: an account may be allowed no temporary ones.
"""

from __future__ import annotations

_TABLES = ("sessions", "turns")
# Whatever V3 does to attributes, done to one row: PostgreSQL before 16 cannot ask whether a text is JSON.
_SOUND = """
    CREATE FUNCTION session_mw_ledger_sound(said text) RETURNS boolean LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM one.value #>> '{}', CASE WHEN one.key LIKE 'session.score.%' AND json_typeof(one.value) = 'number'
                THEN (one.value #>> '{}')::double precision END
            FROM json_each(said::json) AS one;
        RETURN TRUE;
    EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
        RETURN FALSE;
    END $$
"""


def _put_aside(table: str) -> tuple[str, ...]:
    rows, aside = f"session_mw_ledger_{table}", f"session_mw_ledger_damaged_{table}"
    damaged = "attributes IS NOT NULL AND NOT session_mw_ledger_sound(attributes)"
    return (
        f"CREATE TABLE {aside} AS SELECT pk, attributes FROM {rows} WHERE {damaged}",  # noqa: S608 constants
        f"UPDATE {rows} SET attributes = NULL WHERE pk IN (SELECT pk FROM {aside})",  # noqa: S608
    )


def _put_back(table: str) -> tuple[str, ...]:
    rows, aside = f"session_mw_ledger_{table}", f"session_mw_ledger_damaged_{table}"
    return (
        f"UPDATE {rows} AS r SET attributes = d.attributes FROM {aside} AS d WHERE r.pk = d.pk",  # noqa: S608
        f"DROP TABLE {aside}",
    )


AROUND_V3 = (
    (_SOUND, *(text for table in _TABLES for text in _put_aside(table))),
    (*(text for table in _TABLES for text in _put_back(table)), "DROP FUNCTION session_mw_ledger_sound(text)"),
)
