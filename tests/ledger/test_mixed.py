"""Sessions of two prompt versions: known when they are written, the same as if all their turns were looked at."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from session_mw._core import names
from session_mw._core.records import TurnRecord
from session_mw._postgres import Database, parse
from session_mw.ledger import Ledger, RingLedger, Sampling, open_ledger, sqlite_schema
from session_mw.ledger.postgres import PostgresLedger
from session_mw.ledger.postgres_schema import PART
from session_mw.ledger.touched import day_of
from tests.ledger.support import T0, end, healthy, make, start, turn
from tests.ledger.test_sums import execute

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
ARMS = ("v1", "v2", "v3")
versions = st.sampled_from([None, *ARMS])
# The fact as it was before it was kept: looked for in the turns.
LOOKED_UP = """
    SELECT session_id FROM {0}_sessions AS s WHERE EXISTS
        (SELECT 1 FROM {0}_turns AS t WHERE t.session_pk = s.pk AND t.prompt_version <> s.prompt_version)
    ORDER BY session_id
"""
KEPT = "SELECT session_id FROM {}_sessions WHERE mixed ORDER BY session_id"
# A session's own version, and those of its turns; the last word says whether it is mixed.
OLD: dict[str, tuple[str | None, Sequence[str | None], bool]] = {
    "same": ("v1", ["v1", "v1"], False),
    "two": ("v2", ["v1", "v2"], True),
    "three": ("v1", ["v1", None, "v2", "v3"], True),
    "unsaid": ("v1", [None, None], False),
    "of none": (None, ["v1", "v2"], False),
    "ended as another": ("v3", ["v1", "v1"], True),
    "empty": ("v1", [], False),
}


def said(version: str | None) -> dict[str, Any]:
    """Return the attribute that names a version, if there is one."""
    return {} if version is None else {names.SESSION_PROMPT_VERSION: version}


@st.composite
def records(draw: st.DrawFn) -> list[Any]:
    """Draw a batch: turns, or a start or an end, of two sessions; a number is always one turn."""
    names_ = st.sampled_from(["s1", "s2"])
    kind = draw(st.sampled_from(["turns", "turns", "turns", "start", "end", "import"]))
    if kind == "turns":
        each = st.tuples(names_, st.integers(1, 5), versions, st.integers(0, 9))
        drawn = draw(st.lists(each, min_size=1, max_size=4))
        return [turn(name, n, latency_ms=1_000 * ms, attributes=said(version)) for name, n, version, ms in drawn]
    attributes: dict[str, Any] = said(draw(versions)) | ({names.SESSION_IMPORTED: True} if kind == "import" else {})
    return [(start if kind == "start" else end)(draw(names_), attributes=attributes)]


def write(ledger: Ledger, batches: Sequence[list[Any]]) -> None:
    """Write batches of turns or of events."""
    for batch in batches:
        ledger.write_turns(batch) if isinstance(batch[0], TurnRecord) else ledger.emit(batch)


def sampled(ledger: Ledger) -> list[tuple[Any, ...]]:
    """Return what a comparison reads, in an order of its own."""
    found = ledger.samples(Sampling("prompt_version", ARMS, ("turns",), include_unconfirmed=True))
    return sorted((one.arm, one.mixed, one.values) for one in found)


def check(ledger: Any, batches: Sequence[list[Any]]) -> None:
    """Fail unless what is kept is what the turns say, after each batch, and samples are those of memory."""
    memory = RingLedger()
    for batch in batches:
        write(ledger, [batch])
        write(memory, [batch])
        assert execute(ledger, LOOKED_UP) == execute(ledger, KEPT)
        assert sampled(memory) == sampled(ledger)
    ledger.close()


@settings(unhurried, max_examples=12)
@given(batches=st.lists(records(), max_size=8))
def test_what_is_kept_is_what_the_turns_say(batches: Sequence[list[Any]]) -> None:
    """In whatever order turns, starts and ends come, and however often."""
    with tempfile.TemporaryDirectory() as folder:
        check(make("sqlite", folder), batches)


@pytest.mark.landing
@settings(unhurried, max_examples=40)
@given(batches=st.lists(records(), max_size=8))
def test_what_is_kept_is_what_the_turns_say_many_times(batches: Sequence[list[Any]]) -> None:
    """The same, more of it."""
    with tempfile.TemporaryDirectory() as folder:
        check(make("sqlite", folder), batches)


@pytest.mark.landing
@settings(unhurried, max_examples=30)
@given(batches=st.lists(records(), max_size=8))
def test_a_server_keeps_what_the_turns_say(batches: Sequence[list[Any]], pg_emptied: str) -> None:
    """The same for PostgreSQL."""
    ledger = open_ledger(pg_emptied)
    ledger.forget_older_than(2**60, 1_000)
    check(ledger, batches)


def test_session_of_one_version_costs_no_look_at_its_turns(path: Path) -> None:
    """Start, turns and end of the usual session: nothing is written beside the session's row."""
    ledger: Any = open_ledger(f"sqlite:///{path}")
    ledger.sessions()
    told: list[str] = []
    ledger._file.run("listen", lambda db: db.set_trace_callback(told.append), background=True)
    write(ledger, [[turn("s1", 1, attributes=said("v2"))], [start("s1")], [turn("s1", 2, attributes=said("v2"))]])
    ledger.emit([end("s1")])
    quiet = [text for text in told if "mixed" in text]
    ledger.write_turns([turn("s1", 3, attributes=said("v1"))])
    ledger.close()

    assert ([], 1) == (quiet, len([text for text in told if "SET mixed" in text]))


SESSION = "session_id, generation, prompt_version, status, started_ms, last_ms, duration_ms, turns, completed, failed"


def old_rows(mark: str, prefix: str) -> tuple[str, str]:
    """Return what adds a session, and what adds a turn, to tables of any version."""
    session = f"INSERT INTO {prefix}_sessions ({SESSION}) VALUES ({', '.join([mark] * 10)}) RETURNING pk"
    columns = "session_pk, number, span_id, prompt_version, started_ms, latency_ms, status"
    return session, f"INSERT INTO {prefix}_turns ({columns}) VALUES ({', '.join([mark] * 7)})"


def fill(execute_one: Any, mark: str, prefix: str) -> None:
    """Write sessions as a release of then did."""
    add_session, add_turn = old_rows(mark, prefix)
    for name, (version, turns, _) in OLD.items():
        cells = (name, 1, version, "ended", T0, T0 + 9, 9, len(turns), len(turns), 0)
        ((pk,),) = execute_one(add_session, cells).fetchall()
        for number, one in enumerate(turns, 1):
            execute_one(add_turn, (pk, number, "", one, T0 + number, 5, "ok"))


def old_file(path: Path, version: int) -> None:
    """Make a file of an earlier version of the tables."""
    with closing(sqlite3.connect(path)) as db:
        for statements in sqlite_schema.MIGRATIONS[:version]:
            for statement in statements:
                db.execute(statement)
        db.execute("INSERT INTO ledger_meta VALUES ('version', ?)", (str(version),))
        fill(db.execute, "?", "ledger")
        if version >= 4:
            db.execute("INSERT INTO ledger_dirty VALUES (?, 1)", (day_of(T0),))  # as whoever writes does
        db.commit()


def expected() -> list[tuple[str]]:
    """Return who is mixed."""
    return sorted((name,) for name, (*_, mixed) in OLD.items() if mixed)


def expected_samples() -> list[tuple[Any, ...]]:
    """Return what a comparison should read of them."""
    found = [(own, mixed, ((float(len(turns)), 1.0),)) for own, turns, mixed in OLD.values() if own is not None]
    return sorted(found)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_an_older_file_is_looked_through_once(path: Path, version: int) -> None:
    """The column is filled from the turns that are there; what is written later goes on from it."""
    old_file(path, version)
    ledger = open_ledger(f"sqlite:///{path}")

    assert expected_samples() == sampled(ledger)
    assert expected() == execute(ledger, KEPT) == execute(ledger, LOOKED_UP)
    ledger.write_turns([turn("same", 3, attributes=said("v2"))])
    assert sorted([*expected(), ("same",)]) == execute(ledger, KEPT)
    ledger.close()
    assert healthy(path)


def server_of(url: str, version: int) -> None:
    """Make the tables of an earlier version, with what was kept in them."""
    psycopg = pytest.importorskip("psycopg")
    part = replace(PART, migrations=PART.migrations[:version])
    before = Database(parse(url, "ledger"), part, background_ms=9_000)
    before.migrate()
    before.close()
    with psycopg.connect(url) as db:
        fill(db.execute, "%s", "session_mw_ledger")


@pytest.mark.landing
@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_older_tables_of_a_server_are_looked_through_once(pg_url: str, version: int) -> None:
    """``store migrate`` does it, from each version."""
    server_of(pg_url, version)
    ledger = open_ledger(pg_url)
    assert isinstance(ledger, PostgresLedger)
    assert "migrated" == ledger.migrate()

    assert expected_samples() == sampled(ledger)
    assert expected() == execute(ledger, KEPT) == execute(ledger, LOOKED_UP)
    ledger.write_turns([turn("same", 3, attributes=said("v2"))])
    assert sorted([*expected(), ("same",)]) == execute(ledger, KEPT)
    ledger.close()


DAMAGED = ('{"turn.messages', "[]", "7", '{"a": "\\u0000"}', '{"session.score.s": 1e999}', "[" * 100_000)
SOUND = '{"session.score.s": 0.5, "app.a": 1e300}'


@pytest.mark.landing
@pytest.mark.parametrize("version", [1, 2])
def test_damaged_attributes_do_not_stop_a_servers_migration(pg_url: str, version: int) -> None:
    """They stay as they are, as in a file; what is sound is brought along."""
    psycopg = pytest.importorskip("psycopg")
    server_of(pg_url, version)
    with psycopg.connect(pg_url) as db:
        for number, text in enumerate((*DAMAGED, SOUND), 10):
            cells = (f"d{number}", 1, "v1", "ended", T0, T0, 0, 1, 1, 0)
            ((pk,),) = db.execute(old_rows("%s", "session_mw_ledger")[0], cells).fetchall()
            db.execute("UPDATE session_mw_ledger_sessions SET attributes = %s WHERE pk = %s", (text, pk))
            db.execute(old_rows("%s", "session_mw_ledger")[1], (pk, number, "", "v1", T0, 5, "ok"))
            db.execute("UPDATE session_mw_ledger_turns SET attributes = %s WHERE session_pk = %s", (text, pk))
    ledger = open_ledger(pg_url)
    assert isinstance(ledger, PostgresLedger)
    done = ledger.migrate()
    where = "WHERE attributes IS NOT NULL ORDER BY pk"
    kept = [execute(ledger, f"SELECT attributes FROM {{}}_{table} {where}") for table in ("sessions", "turns")]
    left = execute(ledger, "SELECT count(*) FROM pg_class WHERE relname LIKE '{}_damaged%'")
    functions = execute(ledger, "SELECT count(*) FROM pg_proc WHERE proname = '{}_sound'")

    assert "migrated" == done
    assert [[(text,) for text in (*DAMAGED, SOUND)]] * 2 == kept
    assert [("s", 0.5, None)] == execute(ledger, "SELECT name, number, word FROM {}_scores")
    assert [(0,)] == left == functions
    assert expected() == execute(ledger, KEPT)
    ledger.close()
