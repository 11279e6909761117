"""What lies below a turn and a session: calls, what was said, scores; kept, moved from older tables, and forgotten."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from session_mw._core.records import UsageRecord
from session_mw._postgres import Database, parse
from session_mw.ledger import Ledger, UsageRow, open_ledger, postgres_schema, sqlite_schema
from session_mw.ledger.postgres_schema import PART
from session_mw.ledger.sqlite import SqliteLedger
from tests.ledger.support import DAY, T0, asked, cells, end, healthy, turn

AGENT = UsageRecord("agent", T0 + 1_000, 250, "helper", span_id="a" * 16)
MODEL = UsageRecord(
    *("model", T0 + 1_010, 100, "chat", "big-1", "vendor", "b" * 16, "a" * 16),
    **{"first_token_ms": 40, "input_tokens": 100, "output_tokens": 20, "cache_read_tokens": 60},
    **{"cache_write_tokens": 5, "reasoning_tokens": 7, "cost_microusd": 1_234},
)
TOOL = UsageRecord("tool", T0 + 1_120, 80, "search", parent_id="a" * 16, status="error", error_type="TimeoutError")
SAID = {"turn.messages": '[{"role": "user"}]', "input.value": "hello", "output.value": "hi"}


def told(row: UsageRow) -> UsageRecord:
    """Return what a call said, as it was recorded."""
    return UsageRecord(*(getattr(row, name) for name in UsageRecord._fields))


def test_calls_come_back_in_the_order_of_their_begin(ledger: Ledger) -> None:
    """All that a span said, whatever the order in which they were recorded; unknown stays unknown."""
    ledger.write_turns([turn(usages=(TOOL, MODEL, AGENT)), turn(number=2), turn("s2", usages=(MODEL,))])

    found = ledger.usages("s1")
    assert [AGENT, MODEL, TOOL] == [told(row) for row in found]
    assert [0, 1, 2] == [row.place for row in found]
    assert {(ledger.turns("s1")[0].pk, 1)} == {(row.turn_pk, row.turn_number) for row in found}
    assert [] == ledger.usages("nobody")


def test_calls_of_some_turns(ledger: Ledger) -> None:
    """A page asks for those of the turns that it shows."""
    ledger.write_turns([turn(number=n, usages=(MODEL,)) for n in range(1, 5)])

    some = [one.pk for one in ledger.turns("s1")][1:3]
    assert [2, 3] == [row.turn_number for row in ledger.usages("s1", only=some)]
    assert [2, 3] == [row.number for row in ledger.turns("s1", only=some)]
    assert [] == ledger.usages("s1", only=[])
    assert [] == ledger.turns("s1", only=[10**30])


def test_a_turn_that_is_written_again_has_its_calls_once(ledger: Ledger) -> None:
    """A known turn changes nothing, nor does what it brings."""
    for _ in range(2):
        ledger.write_turns([turn(usages=(MODEL, TOOL), attributes=SAID)])

    assert 2 == len(ledger.usages("s1"))
    assert [SAID] == [one.content for one in ledger.turns("s1", content=True)]


def test_what_was_said_is_not_read_unless_asked_for(ledger: Ledger) -> None:
    """It is no attribute of the turn, and the turn says whether it is kept."""
    ledger.write_turns([turn(attributes={**SAID, "turn.intent": "greet"}), turn(number=2)])

    first, second = ledger.turns("s1")
    assert (True, {}, {"turn.intent": "greet"}) == (first.captured, first.content, first.attributes)
    assert (False, {}) == (second.captured, second.content)
    assert [SAID, {}] == [one.content for one in ledger.turns("s1", content=True)]


def test_what_was_said_goes_earlier_than_the_rest(ledger: Ledger) -> None:
    """By the begin of the turn it was said in, the oldest first, in batches; calls and attributes stay."""
    ledger.write_turns([turn(number=n, attributes={**SAID, "n": n}, usages=(MODEL,)) for n in range(1, 6)])

    assert [2, 1, 0] == [ledger.forget_content_older_than(T0 + 4_000, 2) for _ in range(3)]
    kept = ledger.turns("s1", content=True)
    assert [False, False, False, True, True] == [one.captured for one in kept]
    assert [{}, {}, {}, SAID, SAID] == [one.content for one in kept]
    assert [1, 2, 3, 4, 5] == [one.attributes["n"] for one in kept]
    assert 5 == len(ledger.usages("s1"))
    assert 0 == ledger.forget_content_older_than(T0 + DAY, 0)


def test_scores_are_known_by_name(ledger: Ledger) -> None:
    """Which there are, as the sessions that are kept have them."""
    ledger.emit([end("s1", attributes={"session.score.thumb": True, "session.score.grade": "good"})])
    ledger.emit([end("s2", attributes={"session.score.nps": 9, "session.scored": 1})])

    assert ["grade", "nps", "thumb"] == ledger.score_names()
    ledger.forget(session_id="s1")
    assert ["nps"] == ledger.score_names()


def test_names_and_numbers_that_no_database_takes(ledger: Ledger) -> None:
    """NUL, lone surrogates and numbers beyond all bounds do not keep a turn from being written."""
    odd: Any = UsageRecord("?", 10**40, -(10**40), "a\x00b\ud800", model="m\x00", input_tokens=float("nan"))  # type: ignore[arg-type]
    ledger.write_turns([turn(usages=(odd,))])

    (row,) = ledger.usages("s1")
    assert ("other", 0, 0, "a\ufffdb?", "m\ufffd", None) == (
        *(row.kind, row.started_ms, row.latency_ms, row.name, row.model, row.input_tokens),
    )


def test_a_turn_keeps_a_thousand_calls(ledger: Ledger) -> None:
    """What anybody imports is bounded, too."""
    ledger.write_turns([turn(usages=(MODEL,) * 1_100)])

    assert 1_000 == len(ledger.usages("s1"))


FORGETTING = {
    "age": lambda ledger: ledger.forget_older_than(T0 + DAY, 10),
    "user": lambda ledger: ledger.forget(user_id="u_1"),
    "session": lambda ledger: ledger.forget(session_id="s1"),
}


@pytest.mark.parametrize("way", FORGETTING)
def test_nothing_below_a_forgotten_session_is_left(path: Path, way: str) -> None:
    """Calls, what was said and scores go with it, however it goes."""
    ledger = open_ledger(f"sqlite:///{path}")
    ledger.emit([end(attributes={"session.score.thumb": 1})])
    ledger.write_turns([turn(usages=(MODEL,), attributes=SAID)])
    before = {table for table, *_ in cells(path)}
    FORGETTING[way](ledger)
    ledger.close()

    below = {"ledger_usages", "ledger_content", "ledger_scores"}
    assert below <= before
    assert {"ledger_meta", "ledger_dirty"} == {table for table, *_ in cells(path)}
    assert healthy(path)


@pytest.mark.landing
@pytest.mark.parametrize("way", FORGETTING)
def test_nothing_below_a_forgotten_session_is_left_on_a_server(pg_emptied: str, way: str) -> None:
    """PostgreSQL deletes as much."""
    ledger = open_ledger(pg_emptied)
    ledger.emit([end(attributes={"session.score.thumb": 1})])
    ledger.write_turns([turn(usages=(MODEL,), attributes=SAID)])
    tables = ("usages", "content", "scores")
    before = counted(pg_emptied, tables)
    FORGETTING[way](ledger)
    ledger.close()

    assert [1, 1, 1] == before
    assert [0, 0, 0] == counted(pg_emptied, tables)


def counted(url: str, tables: Sequence[str]) -> list[int]:
    """Return the number of rows of some tables below a turn or session."""
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(url) as db:
        found = [db.execute(f"SELECT count(*) FROM session_mw_ledger_{name}").fetchone() for name in tables]
    return [count for (count,) in found]


def test_nothing_that_was_said_is_left_in_the_file(path: Path) -> None:
    """Not in free pages and not in the log; also where it had been among a turn's attributes before."""
    old_file(path, 2)
    ledger = open_ledger(f"sqlite:///{path}")
    secret = {name: f"a-word-to-forget {n}" for n, name in enumerate(SAID)}
    ledger.write_turns([turn(f"gone-{n}", attributes=secret, user_id="u_9") for n in range(100)])
    ledger.write_turns([turn("stays", attributes={"input.value": "a-word-that-stays"}, user_id="u_2")])
    ledger.forget(user_id="u_9")
    ledger.forget(session_id="old")
    left = b"".join(file.read_bytes() for file in path.parent.iterdir())
    ledger.close()

    assert b"a-word-that-stays" in left
    assert not any(word in left for word in (b"a-word-to-forget", b"said long ago", b"a-score-of-old"))


def test_what_was_said_and_forgotten_by_age_is_overwritten(path: Path) -> None:
    """As what is forgotten on demand is, also where SQLite was built to leave deleted text in its pages."""
    ledger = SqliteLedger(str(path))
    asked(ledger, "PRAGMA secure_delete = OFF")
    ledger.write_turns([turn(f"s{n}", attributes={"input.value": f"a-word-to-forget {n}" * 99}) for n in range(100)])
    assert 100 == ledger.forget_content_older_than(T0 + DAY, 500)
    assert [(0,)] == asked(ledger, "PRAGMA secure_delete")
    asked(ledger, "PRAGMA wal_checkpoint(TRUNCATE)")
    left = b"".join(file.read_bytes() for file in path.parent.iterdir())
    ledger.close()

    assert b"a-word-to-forget" not in left


OLD = {"n": 1, "big": 1e300, "big.int": 2**60, "flag": True, "umlaut": "\u00fc"}
OLD_TURNS = (
    {**OLD, "turn.messages": '[{"text": "said long ago"}]', "input.value": 'said "long" ago', "output.value": ""},
    {"turn.messages": "[]"},
    OLD,
    None,
)
OLD_SCORES = {"session.score.thumb": 1, "session.score.flag": True, "session.score.word": "a-score-of-old", "app.a": 2}


def old_file(path: Path, version: int) -> None:
    """Write a file as an earlier version of the tables kept it: a session with four turns."""
    with closing(sqlite3.connect(path)) as db:
        for statements in sqlite_schema.MIGRATIONS[:version]:
            for statement in statements:
                db.execute(statement)
        db.execute("INSERT INTO ledger_meta VALUES ('version', ?)", (str(version),))
        db.execute(
            "INSERT INTO ledger_sessions (pk, session_id, generation, status, started_ms, last_ms, duration_ms, turns,"
            " completed, failed) VALUES (7, 'old', 1, 'active', ?, ?, 9, 4, 4, 0)",
            (T0, T0 + 9),
        )
        for number, said in enumerate(OLD_TURNS, 1):
            db.execute(
                "INSERT INTO ledger_turns (session_pk, number, span_id, started_ms, latency_ms, status, attributes)"
                " VALUES (7, ?, '', ?, 5, 'ok', ?)",
                (number, T0 + number, None if said is None else json.dumps(said, separators=(",", ":"))),
            )
        db.execute(
            "INSERT INTO ledger_turns (session_pk, span_id, started_ms, latency_ms, status, attributes)"
            " VALUES (7, '', ?, 5, 'ok', '{\"turn.messages')",
            (T0,),
        )
        rows = [(7, key, value, isinstance(value, bool)) for key, value in OLD_SCORES.items()]
        db.executemany("INSERT INTO ledger_session_attrs VALUES (?, ?, ?, ?)", rows)
        db.commit()


def expect_moved(ledger: Ledger, pks: list[int]) -> None:
    """Look whether what the old tables kept is there, and in its new place."""
    turns = ledger.turns("old", content=True, only=pks)
    said = [{name: text for name, text in (one or {}).items() if name in SAID} for one in OLD_TURNS]
    assert said == [one.content for one in turns]
    assert [True, True, False, False] == [one.captured for one in turns]
    about = [{name: value for name, value in (one or {}).items() if name not in SAID} for one in OLD_TURNS]
    assert about == [one.attributes for one in turns]
    assert [str(one) for one in about] == [str(dict(one.attributes)) for one in turns]  # 1 is no 1.0
    assert ["flag", "thumb", "word"] == ledger.score_names()
    session = ledger.session("old")
    assert session is not None and OLD_SCORES == session.attributes


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_file_is_brought_along(path: Path, version: int) -> None:
    """What was said moves out of the attributes of turns, scores get names; damaged attributes stay as they are."""
    old_file(path, version)
    ledger = open_ledger(f"sqlite:///{path}")
    ledger.sessions()
    with closing(sqlite3.connect(path)) as db:
        pks = [pk for (pk,) in db.execute("SELECT pk FROM ledger_turns WHERE number IS NOT NULL ORDER BY number")]
        damaged = db.execute("SELECT attributes FROM ledger_turns WHERE number IS NULL").fetchall()
        scores = db.execute("SELECT name, number, word FROM ledger_scores ORDER BY name").fetchall()

    expect_moved(ledger, pks)
    assert [('{"turn.messages',)] == damaged
    assert [("flag", 1.0, None), ("thumb", 1.0, None), ("word", None, "a-score-of-old")] == scores
    ledger.close()
    assert healthy(path)


@pytest.mark.landing
@pytest.mark.parametrize("version", [1, 2])
def test_older_tables_of_a_server_are_brought_along(pg_url: str, version: int) -> None:
    """``store migrate`` moves as much in PostgreSQL."""
    psycopg = pytest.importorskip("psycopg")
    before = Database(parse(pg_url, "ledger"), replace(PART, migrations=PART.migrations[:version]), background_ms=9_000)
    before.migrate()
    before.close()
    with psycopg.connect(pg_url) as db:
        ((pk,),) = db.execute(
            "INSERT INTO session_mw_ledger_sessions (session_id, generation, status, started_ms, last_ms, duration_ms,"
            " turns, completed, failed, attributes) VALUES ('old', 1, 'active', %s, %s, 9, 4, 4, 0, %s) RETURNING pk",
            (T0, T0 + 9, json.dumps(OLD_SCORES)),
        )
        for number, said in enumerate(OLD_TURNS, 1):
            db.execute(
                "INSERT INTO session_mw_ledger_turns (session_pk, number, span_id, started_ms, latency_ms, status,"
                " attributes) VALUES (%s, %s, '', %s, 5, 'ok', %s)",
                (pk, number, T0 + number, None if said is None else json.dumps(said)),
            )
    ledger: Any = open_ledger(pg_url)
    assert "migrated" == ledger.migrate()

    expect_moved(ledger, [one.pk for one in ledger.turns("old")])
    ledger.close()


def test_both_schemas_have_the_same_columns() -> None:
    """A column that one of them lacks is found here, not by a user."""
    told = [re_columns(schema.V3) for schema in (sqlite_schema, postgres_schema)]

    assert told[0] == told[1] and len(told[0]) > 20


def re_columns(statements: Sequence[str]) -> list[str]:
    """Return the names of the columns of tables, in order."""
    tables = [text for text in statements if "CREATE TABLE" in text]
    return [line.split()[0] for text in tables for line in text.splitlines() if line.startswith("        ")]
