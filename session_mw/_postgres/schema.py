"""
Versions of tables, and who may change them.

Rule 1: where there is nothing, the first who comes makes the newest tables, in one transaction, under a lock.
Rule 2: tables of an older release are changed by ``session-mw store migrate`` only, when their owner says so: workers
    of both releases run during a deploy, and the account of an application often may not change tables.
Rule 3: a migration that was released is never edited; what changes is a further one at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..exceptions import StoreError
from .work import BEGIN, COMMIT, Work

COMMAND = "session-mw store migrate"
_LOCK = 0x73657373696F6E  # "session": of advisory locks, which a database has one name space for
_DDL_TIMEOUT = "60s"

State = Literal["made", "migrated", "unchanged"]


@dataclass(frozen=True, slots=True)
class Part:
    """
    Tables that change together.

    Attributes:
        name: In the table of versions.
        title: For messages: "session store".
        migrations: Statements that lead from each version to the next, beginning with none.
        around: Statements before and behind those that lead to a version, where there were tables before: what a
            released migration cannot take is put aside for as long as it lasts.
    """

    name: str
    title: str
    migrations: tuple[tuple[str, ...], ...]
    around: Mapping[int, tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=dict)

    @property
    def version(self) -> int:
        """The newest."""
        return len(self.migrations)

    def since(self, found: int) -> Iterator[str]:
        """Yield the statements that lead from version *found* to the newest."""
        for version, step in enumerate(self.migrations[found:], found + 1):
            before, behind = self.around.get(version, ((), ())) if found else ((), ())
            yield from (*before, *step, *behind)


def prepare(part: Part, timeout_ms: int) -> Work[None]:
    """
    Make a fresh connection ready, and the tables where there are none.

    Args:
        part: Whose tables are used.
        timeout_ms: How long the server may work on one statement.

    Raises:
        StoreError: The tables are another release's.
    """
    rows = yield [(_SETUP, (str(timeout_ms), str(max(1_000, 2 * timeout_ms))))]
    found = 0
    if rows[0][0][-1]:
        rows = yield [(_VERSION, (part.name,))]
        found = rows[0][0][0]
    if found == 0:
        yield from migrate(part)
    elif found != part.version:
        raise StoreError(_other_release(part, found))


# A worker that was stopped in the midst of a transaction holds its locks for so long, and no longer.
_SETUP = (
    b"SELECT set_config('statement_timeout', %s, false), set_config('idle_in_transaction_session_timeout', %s, false), "
    b"to_regclass('session_mw_schema') IS NOT NULL"
)
_VERSION = b"SELECT coalesce((SELECT version FROM session_mw_schema WHERE part = %s), 0)"
_TABLE = b"CREATE TABLE IF NOT EXISTS session_mw_schema (part text PRIMARY KEY, version integer NOT NULL)"
_SET_VERSION = (
    b"INSERT INTO session_mw_schema VALUES (%s, %s::bigint::integer) "
    b"ON CONFLICT (part) DO UPDATE SET version = excluded.version"
)


def _other_release(part: Part, found: int) -> str:
    text = f"cannot use the {part.title}: its tables have version {found}, this release knows {part.version}."
    if found < part.version:
        return f"{text} Run '{COMMAND}' as somebody who may change tables."
    return f"{text} Update session-mw, or name another database."


def migrate(part: Part) -> Work[State]:
    """
    Bring the tables to the newest version; safe when many do it at once.

    Raises:
        StoreError: A newer release made them.
    """
    patience = b"SELECT set_config('statement_timeout', %s, true), pg_advisory_xact_lock(%s)"
    rows = yield [BEGIN, (patience, (_DDL_TIMEOUT, _LOCK)), (_TABLE, None), (_VERSION, (part.name,))]
    found: int = rows[-1][0][0]
    if found > part.version:
        raise StoreError(_other_release(part, found))
    statements = [(text.encode(), None) for text in part.since(found)]
    # One after the other: at an ALTER psycopg forgets what it prepared, and mixes up what a pipeline prepared after it.
    for statement in statements:
        yield [statement]
    yield [(_SET_VERSION, (part.name, part.version)), COMMIT]
    return "unchanged" if found == part.version else "migrated" if found else "made"
