"""Sums of days: used where they tell, never where the history has moved on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from session_mw.ledger import Analyzing, Ledger, Summing, open_ledger, postgres_sums, read_filter, sqlite_sums
from session_mw.ledger.analytics.calendar import EPOCH, as_date
from session_mw.ledger.analytics.sums import Overviewing
from session_mw.ledger.analytics.walking import walk
from session_mw.ledger.filters.sql import SQLITE, Part
from session_mw.ledger.listing import Found
from session_mw.ledger.postgres import PostgresLedger
from session_mw.ledger.sqlite import SqliteLedger
from session_mw.ledger.sqlite_schema import MIGRATIONS, prepare
from session_mw.ledger.touched import day_of
from tests.ledger.support import DAY, T0, end, start, turn
from tests.ledger.test_analytics import MIDNIGHT, say

LATER = MIDNIGHT + 30 * DAY
TODAY = day_of(MIDNIGHT)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.landing)])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """Return an empty ledger in a database."""
    sqlite = f"sqlite:///{tmp_path / 'history.db'}"
    ledger = open_ledger(sqlite if request.param == "sqlite" else request.getfixturevalue("pg_emptied"))
    yield ledger
    ledger.close()


def execute(ledger: Any, statement: str) -> list[tuple[Any, ...]]:
    """Execute a statement past the ledger, which calls its tables by their short names."""
    if isinstance(ledger, SqliteLedger):
        with closing(sqlite3.connect(ledger.path, isolation_level=None)) as db:
            return db.execute(statement.format("ledger")).fetchall()
    assert isinstance(ledger, PostgresLedger)
    text = statement.format("session_mw_ledger").encode()
    return ledger._database.use("ask", lambda db: db.execute_all([(text, None)])[0], background=True)


def dirty(ledger: Ledger) -> list[int]:
    """Return the days without sums, counted from the first."""
    return [day - TODAY for (day,) in execute(ledger, "SELECT DISTINCT day FROM {}_dirty ORDER BY day")]


def test_sums_are_what_is_answered(kept: Ledger) -> None:
    """Once they are made nobody reads sessions for them: whoever changes them sees it."""
    say(kept, "a", "xy", user_id="u_1")
    assert 1 == kept.roll_up(LATER, 60)
    execute(kept, "UPDATE {}_daily SET sessions = 7")
    execute(kept, "UPDATE {}_flows SET sessions = 5 WHERE step = 0")

    assert (7, 5) == (kept.overview(Analyzing()).sessions, kept.flows(Analyzing()).sessions)
    assert (7, 7) == (kept.summary(Summing())[0].sessions, kept.summary(Summing(by=("type",)))[0].sessions)
    assert 7 == kept.engagement(Analyzing()).sessions
    assert 1 == kept.paths(Analyzing()).sessions


@pytest.mark.parametrize("text", ["user:u_1", "metadata.source IS NULL", "turns:2", "outcome IS NULL"])
def test_what_sums_do_not_tell_is_read(kept: Ledger, text: str) -> None:
    """A filter by anything else looks at sessions, as do the days of another zone."""
    say(kept, "a", "xy", user_id="u_1")
    kept.roll_up(LATER, 60)
    execute(kept, "UPDATE {}_daily SET sessions = 7")
    where = read_filter(text, T0)

    assert (1, 1) == (kept.overview(Analyzing(where)).sessions, kept.summary(Summing(where))[0].sessions)


def test_part_of_a_day_is_read(kept: Ledger) -> None:
    """Days that a window cuts are read, those within are not; a window that cuts no session takes the sums."""
    for day in range(3):
        say(kept, f"s{day}", "x", at=day * DAY + 1_000)
    kept.roll_up(LATER, 60)
    execute(kept, "UPDATE {}_daily SET sessions = 10")

    def found(since: int) -> int:
        return kept.overview(Analyzing(since_ms=MIDNIGHT + since)).sessions

    assert [30, 30, 20, 20] == [found(0), found(1_000), found(1_001), found(DAY)]
    say(kept, "early", "x", at=500)
    kept.roll_up(LATER, 60)
    execute(kept, "UPDATE {}_daily SET sessions = 10")
    assert 1 + 20 == found(1_000)


def test_day_that_is_written_of_is_read_until_its_sums_are_made_anew(kept: Ledger) -> None:
    """A start, a turn of a session that has ended, an end, late usage: each makes its day one to read."""
    say(kept, "a", "x", user_id="u_1")
    say(kept, "b", "x", at=DAY, user_id="u_1")
    kept.roll_up(LATER, 60)
    assert [] == dirty(kept)

    kept.write_turns([turn("a", 9, started_ms=MIDNIGHT + 9 * DAY, attributes={"turn.action": "late"})])

    assert [0] == dirty(kept)
    assert 1 == kept.flows(Analyzing()).steps[0].total
    assert 1 == kept.roll_up(LATER, 60)
    assert 1 == kept.flows(Analyzing()).steps[0].total
    kept.emit([end("c", started_ms=MIDNIGHT + 2 * DAY, last_ms=MIDNIGHT + 2 * DAY)])
    assert ([2], 3) == (dirty(kept), kept.overview(Analyzing()).sessions)


@pytest.mark.parametrize("by", ["turn", "start"])
def test_session_that_turns_out_to_have_begun_earlier_touches_both_days(kept: Ledger, by: str) -> None:
    """It is taken from one and added to the other."""
    kept.write_turns([turn("a", 2, started_ms=MIDNIGHT + DAY)])
    kept.roll_up(LATER, 60)
    if by == "turn":
        kept.write_turns([turn("a", 1, started_ms=MIDNIGHT)])
    else:
        kept.emit([start("a", started_ms=MIDNIGHT)])

    assert [0, 1] == dirty(kept)
    assert [1] == [day.totals.sessions for day in kept.overview(Analyzing()).days]
    kept.roll_up(LATER, 60)
    assert [1] == [day.totals.sessions for day in kept.overview(Analyzing()).days]


def test_today_is_not_summed_up(kept: Ledger) -> None:
    """It would be for nothing: the next turn makes it a day to read."""
    say(kept, "a", "x")
    say(kept, "b", "x", at=DAY)

    assert (1, [1]) == (kept.roll_up(MIDNIGHT + DAY + 1, 60), dirty(kept))
    assert 2 == kept.overview(Analyzing()).sessions


def test_day_has_one_mark_however_often_it_was_written_of(kept: Ledger) -> None:
    """A server's transactions leave one each, so that nobody waits; they are put together now and then."""
    for number in range(5):
        say(kept, f"s{number}", "x")

    assert 0 == kept.roll_up(MIDNIGHT, 60)
    assert [(TODAY,)] == execute(kept, "SELECT day FROM {}_dirty")
    assert (5, 1, 5) == (kept.overview(Analyzing()).sessions, kept.roll_up(LATER, 60), kept.flows(Analyzing()).sessions)


def test_time_bounds_how_many_days_are_summed_up(kept: Ledger) -> None:
    """None in no time; what is left is done the next time."""
    say(kept, "a", "x")

    assert (0, [0], 1) == (kept.roll_up(LATER, 0), dirty(kept), kept.roll_up(LATER, 60))


def test_sums_that_came_too_late_are_not_kept(kept: Ledger) -> None:
    """Somebody wrote of the day while they were made, or somebody else has made newer ones."""
    say(kept, "a", "x")
    if isinstance(kept, SqliteLedger):
        ((day, mark),) = kept._read(lambda db: sqlite_sums.dirty(db, TODAY + 1, 9))
        made = kept._read(lambda db: sqlite_sums.made(db, day))
        say(kept, "b", "x")
        assert not kept._change("keep", lambda db: sqlite_sums.keep(db, made, mark))
        assert [0] == dirty(kept)
    else:
        assert isinstance(kept, PostgresLedger)
        old = kept._read(lambda db: postgres_sums.made(db, TODAY))
        say(kept, "b", "x")
        kept._database.use("keep", lambda db: postgres_sums.keep(db, *old), background=True)
        assert [0] == dirty(kept)  # by the mark of whoever wrote meanwhile
        new = kept._read(lambda db: postgres_sums.made(db, TODAY))
        stale = kept._read(lambda db: postgres_sums.made(db, TODAY))
        assert kept._database.use("keep", lambda db: postgres_sums.keep(db, *new), background=True)
        assert not kept._database.use("keep", lambda db: postgres_sums.keep(db, *stale), background=True)
    assert 2 == kept.overview(Analyzing()).sessions
    kept.roll_up(LATER, 60)
    assert ([], 2) == (dirty(kept), kept.overview(Analyzing()).sessions)


@pytest.mark.parametrize("how", ["user", "session", "age"])
def test_forgetting_leaves_no_sums(kept: Ledger, how: str) -> None:
    """They tell of users and actions: of the days of whoever is forgotten they are gone at once."""
    say(kept, "a", "x", user_id="u_1")
    say(kept, "b", "y", at=DAY, user_id="u_2")
    kept.roll_up(LATER, 60)
    forget: dict[str, Callable[[], object]] = {
        "user": lambda: kept.forget(user_id="u_1"),
        "session": lambda: kept.forget(session_id="a"),
        "age": lambda: kept.forget_older_than(MIDNIGHT + DAY, 100),
    }
    forget[how]()

    assert [(TODAY + 1,)] == execute(kept, "SELECT DISTINCT day FROM {}_daily")
    assert [("y",)] == execute(kept, "SELECT action FROM {}_flows")
    assert (1, 1) == (kept.overview(Analyzing()).sessions, kept.overview(Analyzing()).totals.users)
    kept.roll_up(LATER, 60)
    assert (1, []) == (kept.overview(Analyzing()).sessions, dirty(kept))


@pytest.mark.landing
def test_sum_that_no_column_holds_is_no_sum(kept: Ledger) -> None:
    """Such a day is read each time; the others have their sums."""
    huge = {"started_ms": MIDNIGHT, "last_ms": MIDNIGHT, "cost_microusd": 2**53}
    kept.emit([end(f"s{number}", **huge) for number in range(1_025)])
    say(kept, "other", "x", at=DAY)

    assert (1, [0]) == (kept.roll_up(LATER, 60), dirty(kept))
    assert 1_026 == kept.overview(Analyzing()).sessions


def test_sums_that_a_release_before_made_tell_as_much(kept: Ledger) -> None:
    """It keeps no lists of whole days, and may go on for a while beside this one: day by day either will do."""
    for day in range(3):
        times = {"started_ms": MIDNIGHT + day * DAY, "last_ms": MIDNIGHT + day * DAY + 9}
        for place, kind in enumerate(("chat", "review", "chat")):
            facts = {"user_id": f"u_{place % 2}", "attributes": {"session.type": kind}}
            kept.emit([end(f"s{day}{place}", **times, **facts)])
        kept.emit([end(f"bot{day}", **times, user_id="bot", confirmed=False)])
    every = [Analyzing(), Analyzing(include_unconfirmed=True)]
    expected = [kept.overview(asked) for asked in every]
    kept.roll_up(LATER, 60)

    assert [(3, 2, 2), (3, 3, 3)] == [(len(one.days), one.totals.users, one.days[1].totals.users) for one in expected]
    assert [(9, 6, 6)] == execute(kept, "SELECT count(*), count(different), count(all_users) FROM {}_daily")
    assert expected == [kept.overview(asked) for asked in every]
    execute(kept, f"UPDATE {{}}_daily SET different = NULL, all_users = NULL WHERE day = {TODAY + 1}")
    assert expected == [kept.overview(asked) for asked in every]
    execute(kept, "UPDATE {}_daily SET different = NULL, all_users = NULL, all_durations = NULL, all_actives = NULL")
    assert expected == [kept.overview(asked) for asked in every]


def test_history_that_is_only_read_gets_no_sums(tmp_path: Path) -> None:
    """Its answers are the same."""
    url = f"sqlite:///{tmp_path / 'history.db'}"
    ledger = open_ledger(url)
    say(ledger, "a", "x")
    reader = open_ledger(url, read_only=True)

    assert (0, 1, [0]) == (reader.roll_up(LATER, 60), reader.overview(Analyzing()).sessions, dirty(ledger))
    ledger.close()
    reader.close()


def test_older_file_has_its_days_summed_up(tmp_path: Path) -> None:
    """Also those before 1970, of a clock that was wrong: the same days as the ledger counts."""
    starts = [MIDNIGHT - 1, MIDNIGHT, -1, -DAY, -DAY - 1, 0]
    path = tmp_path / "history.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in (one for step in MIGRATIONS[:3] for one in step):
            db.execute(statement)
        db.execute("INSERT INTO ledger_meta VALUES ('version', '3')")
        columns = "session_id, generation, status, started_ms, last_ms, duration_ms, turns, completed, failed"
        for number, ms in enumerate(starts):
            row = (f"s{number}", 1, "ended", ms, ms, 0, 0, 0, 0)
            db.execute(f"INSERT INTO ledger_sessions ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        prepare(db)
        found = {day for (day,) in db.execute("SELECT day FROM ledger_dirty")}
    ledger = open_ledger(f"sqlite:///{path}")

    assert {day_of(ms) for ms in starts} == found
    assert (6, 5) == (ledger.overview(Analyzing()).sessions, ledger.roll_up(LATER, 60))
    assert (6, []) == (ledger.overview(Analyzing()).sessions, dirty(ledger))
    ledger.close()


@contextmanager
def reading(path: Path, statements: int) -> Iterator[Callable[[Part], Found]]:
    """Give what reads a file, until so many statements were read: then the time is up."""
    left = [statements]
    with closing(sqlite3.connect(path)) as db:

        def read(statement: Part) -> Found:
            left[0] -= 1
            return Found([], stopped=True) if left[0] < 0 else Found(db.execute(*statement).fetchall())

        yield read


def test_answer_that_is_stopped_stands_on_the_newest_sessions(tmp_path: Path) -> None:
    """Part by part: what was read counts, and it says that it is not all."""
    ledger = open_ledger(f"sqlite:///{tmp_path / 'history.db'}")
    for day in (0, 40, 80):
        say(ledger, f"s{day}", "x", at=day * DAY)
    where = read_filter("turns:1", T0)
    found = []
    for statements in range(16):
        with reading(tmp_path / "history.db", statements) as read:
            question = Overviewing(Analyzing(where))
            found.append(question.answer(walk(question, read, SQLITE)))
    ledger.close()

    whole = [one for one in found if not one.stopped]
    newest = next(one for one in found if one.sessions == 1)

    assert found == sorted(found, key=lambda one: (not one.stopped, one.sessions))
    assert {3} == {one.sessions for one in whole} and {0, 1, 2} <= {one.sessions for one in found[: -len(whole)]}
    assert newest.stopped and as_date(EPOCH + TODAY + 80) == newest.days[0].day


def test_no_time_is_no_answer_and_says_so(kept: Ledger) -> None:
    """Nobody waits, nothing is made up."""
    say(kept, "a", "xy")
    asked = Analyzing(seconds=0)

    assert (True, 0) == (kept.overview(asked).stopped, kept.overview(asked).sessions)
    assert kept.paths(asked).stopped and kept.funnel(asked, ("x",)).stopped and kept.retention(asked).stopped


def test_day_with_sums_that_moved_on_is_counted_once(kept: Ledger) -> None:
    """Also between two days whose sums still tell: what was kept of it is not added."""
    for day in range(3):
        say(kept, f"s{day}", "xy", at=day * DAY, user_id=f"u_{day}")
    kept.roll_up(LATER, 60)
    say(kept, "more", "xy", at=DAY, user_id="u_1")
    found = kept.overview(Analyzing())

    assert ([1], 4, 3) == (dirty(kept), found.sessions, found.totals.users)
    assert [1, 2, 1] == [day.totals.sessions for day in found.days]
    assert (4, 4) == (kept.flows(Analyzing()).sessions, kept.flows(Analyzing()).steps[0].total)
    assert 4 == kept.summary(Summing())[0].sessions


@pytest.mark.parametrize("rolled", [True, False])
def test_window_ends_before_its_last_moment(kept: Ledger, rolled: bool) -> None:
    """To the millisecond, whether a day's sums could tell or not."""
    for name, at in (("a", 1_000), ("b", 2_000), ("c", DAY + 5)):
        say(kept, name, "x", at=at)
    if rolled:
        kept.roll_up(LATER, 60)
    edges = (1_000, 1_001, 2_000, 2_001, DAY + 5, DAY + 6)
    windows = [Analyzing(until_ms=MIDNIGHT + edge) for edge in edges]

    assert [0, 1, 1, 2, 2, 3] == [kept.overview(window).sessions for window in windows]
    assert [0, 1, 1, 2, 2, 3] == [kept.flows(window).sessions for window in windows]


def test_turns_of_one_moment_come_in_the_order_of_their_numbers(kept: Ledger) -> None:
    """In whichever order they were written."""
    for number, action in ((3, "z"), (1, "x"), (2, "y")):
        kept.write_turns([turn("a", number, started_ms=MIDNIGHT, attributes={"turn.action": action})])

    assert [("x", "y", "z")] == [one.actions for one in kept.paths(Analyzing()).top]
    assert 1 == kept.funnel(Analyzing(), ("x", "y", "z")).steps[-1].sessions


def test_sums_tell_bots_apart(kept: Ledger) -> None:
    """They are counted when they are asked for."""
    say(kept, "a", "xy")
    say(kept, "bot", "xz", confirmed=False)
    kept.roll_up(LATER, 60)
    some, all_ = Analyzing(), Analyzing(include_unconfirmed=True)

    assert (1, 2) == (kept.flows(some).sessions, kept.flows(all_).sessions)
    assert (1, 2) == (kept.overview(some).sessions, kept.overview(all_).sessions)
    assert (1, 2) == (kept.summary(Summing())[0].sessions, kept.summary(Summing(include_unconfirmed=True))[0].sessions)
