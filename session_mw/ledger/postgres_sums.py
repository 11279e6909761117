"""The sums of days in PostgreSQL: made in a transaction that only reads, kept in one that only writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._postgres.connections import Connection
from .._postgres.work import BEGIN, COMMIT
from .analytics.dailies import ALL, COLUMNS, FLOW, Sums, forgetting, inserting, make
from .filters.sql import POSTGRES, Part

_DIRTY = b"SELECT DISTINCT day FROM session_mw_ledger_dirty WHERE day < %s ORDER BY day DESC LIMIT %s"
_MARKS = b"SELECT mark FROM session_mw_ledger_dirty WHERE day = %s"
_DAILY = inserting(POSTGRES.daily, (*COLUMNS, *ALL), POSTGRES).encode()
_FLOWS = inserting(POSTGRES.flows, FLOW, POSTGRES).encode()
_CLEAN = b"""
WITH gone AS (DELETE FROM session_mw_ledger_dirty WHERE mark = ANY(%s) RETURNING 1) SELECT count(*) FROM gone
"""
# The last mark of a day says all that those before it do. Who has read these already will not keep what it made.
_COMPACT = b"""
DELETE FROM session_mw_ledger_dirty WHERE mark NOT IN (SELECT max(mark) FROM session_mw_ledger_dirty GROUP BY day)
"""
_ROLLBACK = (b"ROLLBACK", None)
PIPELINE = 500  # statements sent at once


def compact(db: Connection) -> None:
    """Leave one mark of each day: every transaction that wrote of it has left its own."""
    db.execute_all([(_COMPACT, None)])


def dirty(db: Connection, before_day: int, limit: int) -> list[int]:
    """Return days whose sums have to be made, the newest first."""
    (rows,) = db.execute_all([(_DIRTY, (before_day, limit))])
    return [day for (day,) in rows]


def made(db: Connection, day: int) -> tuple[Sums, list[int]]:
    """Return the sums of a day, from its sessions, and the marks of those who wrote of it until then."""

    def fetch(statement: Part) -> Sequence[Any]:
        text, asked = statement
        return db.execute_all([(text.encode(), asked)])[0]

    (rows,) = db.execute_all([(_MARKS, (day,))])
    return make(day, fetch, POSTGRES), [mark for (mark,) in rows]


def keep(db: Connection, sums: Sums, marks: list[int]) -> bool:
    """
    Keep the sums of a day, in one transaction.

    Args:
        db: In no transaction.
        sums: As they were made.
        marks: Of the day when they were. Later ones stay: the day is still to be read.

    Returns:
        False: somebody else has kept newer ones, and nothing was changed.
    """
    *_, ((gone,),) = db.execute_all([BEGIN, (_CLEAN, (marks,))])
    if gone != len(marks):
        db.execute_all([_ROLLBACK])
        return False
    db.execute_all([(text.encode(), asked) for text, asked in forgetting(sums.day, POSTGRES)])
    rows = [*((_DAILY, cells) for cells in sums.daily), *((_FLOWS, cells) for cells in sums.flows)]
    for start in range(0, len(rows), PIPELINE):
        db.execute_all(rows[start : start + PIPELINE])
    db.execute_all([COMMIT])
    return True
