"""The sums of days in SQLite: made in a transaction that only reads, kept in one that only writes."""

from __future__ import annotations

import sqlite3

from .analytics.dailies import ALL, COLUMNS, FLOW, Sums, forgetting, inserting, make
from .filters.sql import SQLITE, Part

_DIRTY = "SELECT day, mark FROM ledger_dirty WHERE day < ? ORDER BY day DESC LIMIT ?"
_DAILY = inserting(SQLITE.daily, (*COLUMNS, *ALL), SQLITE)
_FLOWS = inserting(SQLITE.flows, FLOW, SQLITE)
_CLEAN = "DELETE FROM ledger_dirty WHERE day = ? AND mark = ?"


def dirty(db: sqlite3.Connection, before_day: int, limit: int) -> list[tuple[int, int]]:
    """Return days whose sums have to be made, the newest first, each with its mark."""
    return db.execute(_DIRTY, (before_day, limit)).fetchall()


def made(db: sqlite3.Connection, day: int) -> Sums:
    """Return the sums of a day, from its sessions."""

    def fetch(statement: Part) -> list[tuple[object, ...]]:
        return db.execute(*statement).fetchall()

    return make(day, fetch, SQLITE)


def keep(db: sqlite3.Connection, sums: Sums, mark: int) -> bool:
    """
    Keep the sums of a day.

    Args:
        db: In a transaction.
        sums: As they were made.
        mark: Of the day when they were.

    Returns:
        False: the day was written of meanwhile, and nothing was changed.
    """
    if db.execute(_CLEAN, (sums.day, mark)).rowcount != 1:
        return False
    for statement in forgetting(sums.day, SQLITE):
        db.execute(*statement)
    db.executemany(_DAILY, sums.daily)
    db.executemany(_FLOWS, sums.flows)
    return True
