"""What is done for the history beside all else: old sessions are forgotten, days that are over are summed up."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from session_mw import session_context, turn
from session_mw.ledger import Analyzing
from tests.hierarchy.support import Script


def days(path: Path, table: str) -> int:
    """Return how many days a table has rows of."""
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute(f"SELECT count(DISTINCT day) FROM ledger_{table}").fetchone()[0])


def test_days_are_summed_up_once_they_are_over_and_forgotten_in_time(tmp_path: Path) -> None:
    """Not today's; and when their sessions are forgotten they go as well."""
    path = tmp_path / "history.db"
    script = Script(ledger=f"sqlite:///{path}", ledger_retention="7d")
    with session_context(session_id="s-1"), turn():
        pass
    script.sweep()
    script.engine._prune()
    assert (1, 0) == (days(path, "dirty"), days(path, "daily"))

    script.sweep(minutes=24 * 60)
    upkeep = [script.engine._prune(), script.engine._prune()]

    assert ([1, 0], 0, 1) == (upkeep, days(path, "dirty"), days(path, "daily"))
    assert 1 == script.engine.history.overview(Analyzing(include_unconfirmed=True)).sessions
    script.sweep(minutes=8 * 24 * 60)
    assert 1 == script.engine._prune()
    assert 0 == days(path, "daily")
    script.engine.history.close()
