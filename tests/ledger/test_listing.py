"""Lists of sessions: every page of every list is the part of the sorted whole that it should be, in every ledger."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from session_mw._postgres import Database, parse
from session_mw.exceptions import FilterError, StoreError
from session_mw.ledger import (
    SORTS,
    Ledger,
    Listing,
    Page,
    RingLedger,
    SessionRow,
    listing,
    open_ledger,
    read_filter,
    sqlite_schema,
)
from session_mw.ledger.filters import sql
from session_mw.ledger.postgres_schema import PART
from session_mw.ledger.sqlite import SqliteLedger
from session_mw.ledger.sqlite_tables import _SESSION
from tests.ledger.support import T0, end, make, start
from tests.ledger.test_filters import NOW, filters, readable, unhurried

HOUR = 3_600_000
few = st.integers(0, 3)
described = st.lists(
    st.fixed_dictionaries(
        {
            "started_ms": few.map(lambda n: T0 + n * HOUR),
            "last_ms": few.map(lambda n: T0 + 4 * HOUR + n),
            "ended_ms": st.just(T0 + 9 * HOUR),
            "turns": few,
            "failed": few,
            "input_tokens": st.none() | few,
            "output_tokens": st.none() | few,
            "cost_microusd": st.none() | few,
            "confirmed": st.booleans(),
            "attributes": st.dictionaries(st.sampled_from(["metadata.a", "metadata.b"]), few | st.just("a")),
        }
    ),
    max_size=9,
)
sorts = st.sampled_from([sign + name for name in SORTS for sign in ("", "-")])


def told(ledger: Ledger, sessions: list[dict[str, Any]]) -> None:
    """Tell of sessions; they are s0, s1 ..."""
    ledger.emit([end(f"s{number}", **one) for number, one in enumerate(sessions)])


def pages(ledger: Ledger, asked: Listing) -> list[Page]:
    """Return all pages of a list, from the first to the last."""
    found = [ledger.find(asked)]
    while found[-1].older is not None:
        assert len(found) < 20
        found.append(ledger.find(replace(asked, cursor=found[-1].older)))
    return found


def ids(page: Page) -> list[str]:
    return [row.session_id for row in page.rows]


def whole(ledger: RingLedger, asked: Listing) -> list[SessionRow]:
    """Return the whole list, worked out in the plainest way."""
    rows = [row for row in ledger.sessions(1000, where=asked.where) if asked.include_unconfirmed or row.confirmed]
    falling = asked.sort.startswith("-")
    column = SORTS[asked.sort.lstrip("-")].column
    rows.sort(key=lambda row: (getattr(row, column) or 0, row.pk), reverse=falling)
    return sorted(rows, key=lambda row: getattr(row, column) is None)  # stable: what has none goes last


def check_pages(ledgers: list[Ledger], ring: RingLedger, asked: Listing) -> None:
    """Check that pages make up the whole, forwards and backwards."""
    expected = whole(ring, asked)
    for ledger in ledgers:
        found = pages(ledger, asked)
        assert expected == [row for page in found for row in page.rows], (asked.sort, ledger)
        assert all((len(expected), False, False) == (page.count, page.capped, page.stopped) for page in found)
        assert found[0].newer is None
        for before, page in pairwise(found):
            assert page.newer is not None
            back = ledger.find(replace(asked, cursor=page.newer))
            assert before.rows == back.rows, (asked.sort, ledger)
            assert page.rows[:1] == ledger.find(replace(asked, cursor=back.older)).rows[:1]


def ask(text: str, sort: str, limit: int, unconfirmed: bool) -> Listing | None:
    where = readable(text)
    return where and Listing(where, sort, limit, include_unconfirmed=unconfirmed, seconds=30)


questions = st.lists(st.tuples(filters | st.just(""), sorts, st.integers(1, 5), st.booleans()), min_size=4, max_size=12)


@settings(unhurried, max_examples=15)
@given(sessions=described, asked=questions)
def test_pages_of_any_list_make_up_the_whole(sessions: list[dict[str, Any]], asked: list[Any]) -> None:
    """Any filter, any order and size of pages: in a file and in memory."""
    with tempfile.TemporaryDirectory() as folder:
        ring, file = RingLedger(), make("sqlite", folder)
        for ledger in (ring, file):
            told(ledger, sessions)
        for one in filter(None, (ask(*question) for question in asked)):
            check_pages([ring, file], ring, one)
        file.close()


@settings(unhurried, max_examples=5)
@given(data=st.data())
def test_pages_of_postgresql_make_up_the_whole(data: st.DataObject, pg_emptied: str) -> None:
    """The same on a server, which sorts what is missing elsewhere by itself."""
    ring, server = RingLedger(), open_ledger(pg_emptied)
    server.forget_older_than(2**60, 1_000)
    sessions = data.draw(described)
    for ledger in (ring, server):
        told(ledger, sessions)
    for one in filter(None, (ask(*question) for question in data.draw(questions))):
        expected = [row.session_id for row in whole(ring, one)]
        assert expected == [name for page in pages(server, one) for name in ids(page)]
    server.close()


def nine(ledger: Ledger) -> None:
    told(ledger, [{"turns": n % 3, "cost_microusd": n % 2 or None, "confirmed": n != 8} for n in range(9)])


def test_long_lists_are_read_along_the_index(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more sessions than are counted pages say so, and are the same."""
    monkeypatch.setattr(listing, "COUNTED", 3)
    nine(ledger)
    for sort in [sign + name for name in SORTS for sign in ("", "-")]:
        asked = Listing(read_filter("type:chat", NOW), sort, 2, seconds=30)
        ring = RingLedger()
        nine(ring)
        found = pages(ledger, asked)

        assert [row.session_id for row in whole(ring, asked)] == [name for page in found for name in ids(page)]
        assert {(3, True, False)} == {(page.count, page.capped, page.stopped) for page in found}
        for before, page in pairwise(found):
            assert before.rows == ledger.find(replace(asked, cursor=page.newer)).rows


def test_unconfirmed_sessions_are_left_out_unless_asked_for(ledger: Ledger) -> None:
    """Bots and webhooks; a session that goes on may yet be confirmed."""
    nine(ledger)
    ledger.emit([start("open")])

    assert {*(f"s{n}" for n in range(8)), "open"} == set(ids(ledger.find(Listing())))
    assert 10 == ledger.find(Listing(include_unconfirmed=True)).count


def test_rows_are_whole(ledger: Ledger) -> None:
    """Attributes come with the rows."""
    ledger.emit([end("s1"), end("s2", attributes={"metadata.beta": True, "metadata.n": 1.5})])
    found = {row.session_id: row for row in ledger.find(Listing()).rows}

    assert [ledger.session("s1"), ledger.session("s2")] == [found["s1"], found["s2"]]
    assert (True, 1.5) == (found["s2"].attributes["metadata.beta"], found["s2"].attributes["metadata.n"])


def test_sessions_that_come_meanwhile_move_nothing(ledger: Ledger) -> None:
    """The second page goes on where the first one ended; going back shows what is new as well."""
    told(ledger, [{"started_ms": T0 + n} for n in range(4)])
    first = ledger.find(Listing(limit=2))
    ledger.emit([end("new", started_ms=T0 + 100)])
    second = ledger.find(Listing(limit=2, cursor=first.older))
    back = ledger.find(Listing(limit=2, cursor=second.newer))

    assert [["s3", "s2"], ["s1", "s0"], ["s3", "s2"]] == [ids(page) for page in (first, second, back)]
    assert second.older is None
    assert ["new"] == ids(ledger.find(Listing(limit=2, cursor=back.newer)))


def test_page_before_the_first_is_the_first(ledger: Ledger) -> None:
    """The rows that a page came after may be gone."""
    told(ledger, [{"started_ms": T0 + n, "last_ms": T0 + 1000 * (5 - n)} for n in range(4)])
    second = ledger.find(Listing(limit=2, cursor=ledger.find(Listing(limit=2)).older))
    ledger.forget_older_than(T0 + 3_500, 9)  # the newest two
    page = ledger.find(Listing(limit=2, cursor=second.newer))

    assert (["s1", "s0"], None, None) == (ids(page), page.newer, page.older)


FORGED = [
    "", "x", "\u00e9", "AAAA", "=", "ZZZZ" * 200,
    *(
        base64.urlsafe_b64encode(json.dumps(said).encode()).decode()
        for said in ([], {}, 5, [1, 2, 3, 4], [False, "x", 1, "m"], [False, 1, 2**70, "m"], [False, True, 1, "m"])
    ),
]  # fmt: skip


@pytest.mark.parametrize("cursor", FORGED)
def test_damaged_cursor_is_the_first_page(ledger: Ledger, cursor: str) -> None:
    """Cursors come from addresses of pages: nothing in them raises."""
    nine(ledger)

    assert ids(ledger.find(Listing(limit=2))) == ids(ledger.find(Listing(limit=2, cursor=cursor)))


@pytest.mark.parametrize(
    "other",
    [
        Listing(sort="started"),
        Listing(sort="-last"),
        Listing(read_filter("chat", NOW)),
        Listing(include_unconfirmed=True),
    ],
    ids=["direction", "column", "filter", "unconfirmed"],
)
def test_cursor_of_another_list_is_the_first_page(ledger: Ledger, other: Listing) -> None:
    """A cursor is no place in a list that it does not belong to; the size of pages may change."""
    nine(ledger)
    second = ledger.find(Listing(limit=2)).older

    assert ids(ledger.find(replace(other, limit=3))) == ids(ledger.find(replace(other, limit=3, cursor=second)))
    assert ids(ledger.find(Listing(limit=9)))[2:5] == ids(ledger.find(Listing(limit=3, cursor=second)))


def test_cursor_survives_that_time_goes_on(ledger: Ledger) -> None:
    """ "last 30 days" means another moment a minute later, and still the same list."""
    told(ledger, [{"started_ms": T0 + n} for n in range(4)])
    at_first, later = read_filter("last 30 days", NOW), read_filter("last 30 days", NOW + 60_000)
    first = ledger.find(Listing(at_first, limit=2))

    assert ["s1", "s0"] == ids(ledger.find(Listing(later, limit=2, cursor=first.older)))


@pytest.mark.parametrize("sort", ["", "-", "price", "--cost", "-Cost"])
def test_unknown_sort_is_told(sort: str) -> None:
    """An error of ours that names those that there are."""
    with pytest.raises(FilterError, match="Sort by one of started, last, duration, turns, tokens, cost"):
        Listing(sort=sort)


def test_page_is_stopped_when_the_time_is_up(pg_emptied: str, tmp_path: Path) -> None:
    """Then it says so, raises nothing, and the next question is answered as ever."""
    for ledger in (make("sqlite", tmp_path), open_ledger(pg_emptied)):
        told(ledger, [{}] * 400)
        stopped, after = ledger.find(Listing(seconds=0)), ledger.find(Listing(seconds=30))
        ledger.close()

        assert (True, True) == (stopped.stopped, stopped.capped)
        assert len(stopped.rows) < 50
        assert (400, 50, False) == (after.count, len(after.rows), after.stopped)


def test_what_was_found_in_time_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file gives rows one by one, and one can go on behind the last of them."""
    ledger: Any = make("sqlite", tmp_path)
    told(ledger, [{"started_ms": T0 + n} for n in range(400)])
    looks = iter(range(10**9))
    monkeypatch.setattr("session_mw.ledger.sqlite_tables.STEPS", 50)  # a look at the clock every row or so
    monkeypatch.setattr("session_mw.ledger.sqlite_tables.time.monotonic", lambda: next(looks))
    with closing(sqlite3.connect(tmp_path / "history.db")) as db:
        from session_mw.ledger.sqlite_tables import fetch_until

        found = fetch_until(db, ("SELECT pk FROM ledger_sessions ORDER BY started_ms", []), 20)
    monkeypatch.undo()
    ledger.close()

    assert found.stopped and 0 < len(found.rows) < 400


@pytest.mark.parametrize("sort", [sign + name for name in SORTS for sign in ("", "-")])
def test_every_order_is_an_index(tmp_path: Path, sort: str) -> None:
    """From anywhere, both ways, SQLite follows an index and sorts nothing."""
    make("sqlite", tmp_path).sessions()
    asked = Listing(read_filter("type:chat", NOW), sort)
    places = [None, *(listing.Place(value, 5, back) for back in (True, False) for value in (3, None))]
    places = [place for place in places if place is None or place.value is not None or asked.by.optional]
    with closing(sqlite3.connect(tmp_path / "history.db")) as db:
        for place in places:
            for stretch in listing.stretches(asked, place, sql.SQLITE):
                text, bound = listing.following(asked, stretch, "s.pk", 50, sql.SQLITE)
                plan = " ".join(str(row[3]) for row in db.execute(f"EXPLAIN QUERY PLAN {text}", bound))
                assert re.search(r"USING (COVERING )?INDEX ledger_ix_sessions_", plan), plan
                assert "TEMP B-TREE" not in plan, plan
                assert place is None or "SEARCH" in plan, plan


def test_attributes_take_one_more_statement(tmp_path: Path) -> None:
    """Not one a session."""
    ledger: Any = make("sqlite", tmp_path)
    told(ledger, [{}] * 40)
    said: list[str] = []
    assert isinstance(ledger, SqliteLedger)
    ledger._file.run("trace", lambda db: db.set_trace_callback(said.append), background=True)
    ledger.find(Listing())
    ledger.close()

    assert 1 == sum("ledger_session_attrs" in one for one in said)
    assert 6 == len(said), said  # BEGIN, indices, count, page, attributes, COMMIT


def test_attribute_that_nobody_has_is_found_out_at_once(tmp_path: Path) -> None:
    """SQLite asks an index once, and no session's attributes."""
    ledger: Any = make("sqlite", tmp_path)
    told(ledger, [{"attributes": {"metadata.a": "x"}}] * 500)
    ledger.close()
    taken = [_steps(tmp_path / "history.db", text) for text in ("metadata.a:5", "metadata.nobody:5")]

    assert taken[1] < 10 * 500 < taken[0], taken


def _steps(path: Path, text: str) -> int:
    """Return how many steps SQLite's virtual machine takes to find that nothing fits, to the next 20."""
    looks: list[None] = []
    with closing(sqlite3.connect(path)) as db:
        db.set_progress_handler(lambda: looks.append(None), 20)
        assert [] == db.execute(*listing.counting(Listing(read_filter(text, NOW)), sql.SQLITE)).fetchall()
    return 20 * len(looks)


# -- histories of the release before


def test_file_of_the_release_before_gets_its_indices(path: Path) -> None:
    """Whoever opens it brings it up to date; every list works, traces are counted."""
    columns = [name for name in _SESSION if name != "traces"]
    row = SessionRow(0, "old", 1, T0, T0 + 5, turns=2)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in sqlite_schema.V1:
            db.execute(statement)
        db.execute("INSERT INTO ledger_meta VALUES ('version', '1')")
        insert = f"INSERT INTO ledger_sessions ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        pk = db.execute(insert, [getattr(row, name) for name in columns]).lastrowid
        turns = "INSERT INTO ledger_turns (session_pk, span_id, trace_id, started_ms, latency_ms, status)"
        db.executemany(f"{turns} VALUES ({pk}, ?, ?, 1, 1, 'ok')", [("a", "t1"), ("b", "t1"), ("c", "t2")])
    ledger = open_ledger(f"sqlite:///{path}")
    found = [ledger.find(Listing(sort=sort)).rows for sort in SORTS]
    ledger.close()

    assert [[replace(row, pk=1, traces=2)]] * len(SORTS) == found


def test_server_of_the_release_before_gets_its_indices(pg_url: str) -> None:
    """``store migrate`` does it, and not before."""
    before = Database(parse(pg_url, "ledger"), replace(PART, migrations=PART.migrations[:1]), background_ms=10_000)
    before.migrate()
    before.close()
    ledger: Any = open_ledger(pg_url)
    with pytest.raises(StoreError, match="session-mw store migrate"):
        ledger.find(Listing())
    done = ledger.migrate()
    told(ledger, [{}])

    assert "migrated" == done
    assert [["s0"]] * len(SORTS) == [ids(ledger.find(Listing(sort=sort))) for sort in SORTS]
    ledger.close()
