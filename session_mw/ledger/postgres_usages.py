# ruff: noqa: S608  the statements are put together from names of our own columns, never from data
"""What PostgreSQL keeps below a session and a turn: scores, calls, and what was said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter

from .._core.records import Attributes
from .._postgres.connections import Connection
from .._postgres.work import BEGIN, COMMIT, Statement
from . import values
from .calls import COLUMNS, SCORE_NAMES, scores_of
from .filters.sql import Part
from .history import CONTENT
from .rows import Only, SessionRow, TurnRow, UsageRow

_CELLS = attrgetter("place", *COLUMNS)
_INSERT = (
    f"INSERT INTO session_mw_ledger_usages (turn_pk, place, {', '.join(COLUMNS)}) "
    f"VALUES ({', '.join(['%s'] * (len(COLUMNS) + 2))})"
).encode()
_SELECT = (
    f"SELECT u.turn_pk, u.place, t.number, {', '.join(f'u.{name}' for name in COLUMNS)} FROM session_mw_ledger_turns "
    "AS t JOIN session_mw_ledger_usages AS u ON u.turn_pk = t.pk WHERE t.session_pk = %s"
)
_INSERT_CONTENT = b"INSERT INTO session_mw_ledger_content VALUES (%s, %s, %s, %s, %s)"
_INSERT_SCORE = b"INSERT INTO session_mw_ledger_scores VALUES (%s, %s, %s, %s)"
_FORGET_SCORES = b"DELETE FROM session_mw_ledger_scores WHERE session_pk = %s"
_SCORE_NAMES = SCORE_NAMES.format(scores="session_mw_ledger_scores").encode()
_FORGET_CONTENT = b"""
WITH gone AS (DELETE FROM session_mw_ledger_content WHERE turn_pk IN (SELECT turn_pk FROM session_mw_ledger_content
    WHERE started_ms < %s ORDER BY started_ms LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING 1)
SELECT count(*) FROM gone
"""


def below(turn_pk: int, turn: TurnRow, calls: Sequence[UsageRow]) -> Iterator[Statement]:
    """Yield what adds the calls of a turn that has just been added, and what was said in it."""
    for call in calls:
        yield _INSERT, (turn_pk, *_CELLS(call))
    if turn.content:
        yield _INSERT_CONTENT, (turn_pk, turn.started_ms, *(turn.content.get(name) for name in CONTENT))


def scores(session_pk: int, attributes: Attributes, before: Attributes) -> Iterator[Statement]:
    """Yield what brings the scores of a session from those among *before* to those among *attributes*."""
    if any(scores_of(before)):
        yield _FORGET_SCORES, (session_pk,)
    for score in scores_of(attributes):
        yield _INSERT_SCORE, (session_pk, *score)


def among(only: Only) -> Part:
    """Return what leaves only some turns ``t``."""
    return ("", []) if only is None else (" AND t.pk = ANY(%s)", [[*map(values.bounded, only)]])


def usages_of(db: Connection, session: SessionRow, only: Only = None) -> list[UsageRow]:
    """Return the calls of a session, or of some of its turns, in no order."""
    which, asked = among(only)
    (rows,) = db.execute_all([((_SELECT + which).encode(), [session.pk, *asked])])
    return [UsageRow(*cells) for cells in rows]


def score_names(db: Connection) -> list[str]:
    """Return the names of all scores."""
    (rows,) = db.execute_all([(_SCORE_NAMES, None)])
    return sorted(name for (name,) in rows)


def forget_content(db: Connection, older_than_ms: int, limit: int) -> int:
    """Delete what was said in turns that began before, of at most *limit* turns, at once; return of how many."""
    _, (((gone,),)), _ = db.execute_all([BEGIN, (_FORGET_CONTENT, (values.bounded(older_than_ms), limit)), COMMIT])
    return int(gone)
