"""Pages and questions over a long history: by which index, and in which time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from session_mw.ledger import SORTS, Ledger, Listing, open_ledger, read_filter, sqlite_tables
from session_mw.ledger.filters.sql import POSTGRES, SQLITE, Part
from session_mw.ledger.listing import Found, counting, following, stretches
from session_mw.ledger.postgres import PostgresLedger
from tests.bench.history import NOW, fill_file
from tests.bench.pages import Line, long_history, questions, report

MANY = 20_000
FEW_DAYS = 89  # of 90 have their sums: one is read


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a history. Without statistics, as here, SQLite plans for a million rows as for a hundred."""
    made = tmp_path_factory.mktemp("history") / "history.db"
    fill_file(made, 200)
    ledger = open_ledger(f"sqlite:///{made}")
    ledger.roll_up(NOW, 60)
    ledger.close()
    return made


def plan(path: Path, statement: Part) -> list[str]:
    """Return how SQLite goes about a statement: a line for each table, or sort."""
    text, asked = statement
    with closing(sqlite3.connect(path)) as db:
        return [str(row[-1]) for row in db.execute(f"EXPLAIN QUERY PLAN {text}", asked)]


def statements(path: Path, line: Line, patched: pytest.MonkeyPatch) -> Iterator[Part]:
    """Yield the statements that a question comes to."""
    asked: list[Part] = []
    fetch = sqlite_tables.fetch_until

    def noting(db: sqlite3.Connection, statement: Part, until: float) -> Found:
        asked.append(statement)
        return fetch(db, statement, until)

    patched.setattr(sqlite_tables, "fetch_until", noting)
    line.ask()
    yield from asked


def scans(lines: Sequence[str]) -> list[str]:
    """Return what is read from begin to end."""
    return [line for line in lines if line.startswith("SCAN") and "CONSTANT ROW" not in line]


def test_questions_of_a_month_read_no_table_from_begin_to_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions by the index of their start, turns by that of their session, sums by their day."""
    ledger = open_ledger(f"sqlite:///{path}")
    month = [line for line in questions(ledger) if "90 days" not in line.name and "8 weeks" not in line.name]
    plans = {line.name: [plan(path, one) for one in statements(path, line, monkeypatch)] for line in month}
    ledger.close()
    text = str(plans)

    assert {} == {name: found for name, found in plans.items() if any(scans(one) for one in found)}
    for index in ("sessions_started", "daily_day", "flows_day"):
        assert f"ledger_ix_{index}" in text
    assert "SEARCH t USING INDEX ledger_ux_turns (session_pk=?)" in text


@pytest.mark.parametrize("sort", [way + sort for sort in SORTS for way in ("", "-")])
def test_list_of_everything_follows_the_index_of_its_sort(path: Path, sort: str) -> None:
    """Nothing is sorted: the first page costs the same however many sessions there are."""
    listing = Listing(sort=sort)
    for stretch in stretches(listing, None, SQLITE):
        found = plan(path, following(listing, stretch, sqlite_tables.SESSION_COLUMNS, 51, SQLITE))

        assert f"USING INDEX ledger_ix_sessions_{sort.removeprefix('-')}" in found[0]
        assert not any("TEMP B-TREE" in line for line in found)


def test_sessions_with_errors_are_found_by_an_index_of_theirs(path: Path) -> None:
    """In the order of their activity, so that a window of time cuts it."""
    for text in ("has_errors:true last 30 days", "has_errors:true type:chat last 30 days"):
        (found,) = plan(path, counting(Listing(read_filter(text, NOW), "-duration"), SQLITE))

        assert "SEARCH s USING INDEX ledger_ix_sessions_failed (last_ms>?)" == found


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def long(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    """Return a history of 20,000 sessions."""
    with long_history(request.param, MANY) as ledger:
        yield ledger


@pytest.mark.landing
@pytest.mark.timeout(300)
def test_pages_and_questions_come_in_time(long: Ledger) -> None:
    """With a fiftieth of the sessions each within its target, on the processor; all of them are answered."""
    found = report(long, rounds=2)

    assert {} == {name: cpu for name, (target, _, _, cpu, _) in found.items() if cpu > target}
    assert [] == [name for name, (*_, sound) in found.items() if not sound]


@pytest.mark.landing
@pytest.mark.timeout(300)
def test_server_follows_the_index_of_a_sort(long: Ledger) -> None:
    """As the file does."""
    if not isinstance(long, PostgresLedger):
        pytest.skip("the plans of a file are looked at above")
    for sort in SORTS:
        listing = Listing(sort=f"-{sort}")
        text, asked = following(listing, stretches(listing, None, POSTGRES)[0], "s.pk", 51, POSTGRES)
        found = long._read(lambda db, text=text, asked=asked: db.execute_all([(f"EXPLAIN {text}".encode(), asked)])[0])

        assert f"session_mw_ledger_ix_sessions_{sort}" in str(found) and "Sort" not in str(found)
