"""What SQLite keeps below a turn: its calls, and what was said in it. Scores are written with their session."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from operator import attrgetter

from . import values
from .calls import COLUMNS, SCORE_NAMES
from .filters.sql import Part
from .history import CONTENT
from .rows import Only, SessionRow, TurnRow, UsageRow
from .sqlite_schema import overwriting

_CELLS = attrgetter("place", *COLUMNS)
_INSERT = (
    f"INSERT INTO ledger_usages (turn_pk, place, {', '.join(COLUMNS)}) "  # noqa: S608 names of our own columns
    f"VALUES ({', '.join('?' * (len(COLUMNS) + 2))})"
)
_SELECT = (
    f"SELECT u.turn_pk, u.place, t.number, {', '.join(f'u.{name}' for name in COLUMNS)} "  # noqa: S608
    "FROM ledger_turns AS t CROSS JOIN ledger_usages AS u ON u.turn_pk = t.pk WHERE t.session_pk = ?"
)
_OLD_CONTENT = "SELECT turn_pk FROM ledger_content WHERE started_ms < ? ORDER BY started_ms LIMIT ?"


def add(db: sqlite3.Connection, turn_pk: int, turn: TurnRow, calls: Sequence[UsageRow]) -> None:
    """Add the calls of a turn that has just been added, and what was said in it."""
    if calls:
        db.executemany(_INSERT, [(turn_pk, *_CELLS(call)) for call in calls])
    if turn.content:
        said = [turn.content.get(name) for name in CONTENT]
        db.execute("INSERT INTO ledger_content VALUES (?, ?, ?, ?, ?)", (turn_pk, turn.started_ms, *said))


def among(only: Only) -> Part:
    """Return what leaves only some turns ``t``."""
    if only is None:
        return "", []
    return " AND t.pk IN (SELECT value FROM json_each(?))", [json.dumps([*map(values.bounded, only)])]


def usages_of(db: sqlite3.Connection, session: SessionRow, only: Only = None) -> list[UsageRow]:
    """Return the calls of a session, or of some of its turns, in no order."""
    which, asked = among(only)
    return [UsageRow(*cells) for cells in db.execute(_SELECT + which, [session.pk, *asked])]


def score_names(db: sqlite3.Connection) -> list[str]:
    """Return the names of all scores."""
    return [name for (name,) in db.execute(SCORE_NAMES.format(scores="ledger_scores"))]


def forget_content(db: sqlite3.Connection, older_than_ms: int, limit: int) -> int:
    """Overwrite what was said in turns that began before, of at most *limit* turns; return of how many."""
    asked = (values.bounded(older_than_ms), limit)
    with overwriting(db):
        return db.execute(f"DELETE FROM ledger_content WHERE turn_pk IN ({_OLD_CONTENT})", asked).rowcount  # noqa: S608
