"""The history in a file: shared, sudden deaths, locks, full disks and broken files."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from session_mw._core import names
from session_mw.exceptions import StoreError, StoreUnavailable
from session_mw.ledger import Ledger, open_ledger, sqlite_schema
from session_mw.ledger.sqlite import RECORDS, SqliteLedger
from tests.ledger.support import DAY, T0, cells, end, forks, healthy, in_processes, late, only, start, turn


def asked(ledger: SqliteLedger, statement: str) -> list[tuple[object, ...]]:
    """Return what the connection that *ledger* uses says to a statement."""
    return ledger._file.run("ask", lambda db: db.execute(statement).fetchall(), background=True)


def test_file_has_the_promised_modes(path: Path) -> None:
    """Write-ahead log, and every statement of ours under our own names."""
    ledger = SqliteLedger(str(path))
    ledger.emit([end()])

    assert [("wal",)] == asked(ledger, "PRAGMA journal_mode")
    assert [(1,)] == asked(ledger, "PRAGMA synchronous")  # NORMAL
    assert [(0,)] == asked(ledger, "PRAGMA user_version")
    own = "SELECT name FROM sqlite_master WHERE name NOT LIKE 'ledger%' AND name NOT LIKE 'sqlite_%'"
    assert [] == asked(ledger, own)
    ledger.close()


def test_file_is_shared_with_tables_of_others(path: Path) -> None:
    """The session store lives in the same file, and we leave its tables and its version alone."""
    with closing(sqlite3.connect(path)) as store:
        store.execute("PRAGMA user_version = 7")
        store.execute("CREATE TABLE live_sessions (sid TEXT)")
        store.execute("INSERT INTO live_sessions VALUES ('alive')")
        store.commit()
        ledger = open_ledger(f"sqlite:///{path}")
        ledger.emit([end()])
        ledger.forget_older_than(T0 + DAY, 10)
        ledger.close()

        assert [("alive",)] == store.execute("SELECT sid FROM live_sessions").fetchall()
        assert (7,) == store.execute("PRAGMA user_version").fetchone()


def test_history_is_there_after_a_restart(path: Path) -> None:
    """What was acknowledged is in the file."""
    ledger = open_ledger(f"sqlite:///{path}")
    ledger.emit([end(), late(tokens_in=1)])
    ledger.write_turns([turn()])
    before = ledger.sessions(), ledger.turns("s1")
    ledger.close()
    again = open_ledger(f"sqlite:///{path}")

    assert before == (again.sessions(), again.turns("s1"))
    again.close()


def test_close_is_not_for_ever(path: Path) -> None:
    """The next use opens the file again."""
    ledger = open_ledger(f"sqlite:///{path}")
    ledger.emit([end("s1")])
    ledger.close()
    ledger.close()
    ledger.emit([end("s2")])

    assert 2 == len(ledger.sessions())
    ledger.close()


def test_forgetting_leaves_nothing_behind(path: Path) -> None:
    """Attributes, turns and late usage go with their session."""
    ledger = open_ledger(f"sqlite:///{path}")
    ledger.emit([end(), late(tokens_in=1)])
    ledger.write_turns([turn(number=n) for n in range(1, 4)])
    ledger.forget_older_than(T0 + DAY, 10)
    ledger.close()

    assert {"ledger_meta"} == {table for table, _, _ in cells(path)}


def test_forgetting_is_bounded_by_turns_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session with very many turns is forgotten in several transactions, and wholly."""
    monkeypatch.setattr("session_mw.ledger.sqlite.FORGET_TURNS", 10)
    monkeypatch.setattr("session_mw.ledger.sqlite.FORGET_SESSIONS", 2)
    ledger = SqliteLedger(str(path))
    ledger.emit([end(f"s{i}") for i in range(5)])
    ledger.write_turns([turn("s1", number=n) for n in range(1, 36)])
    said: list[str] = []
    ledger._file.run("listen", lambda db: db.set_trace_callback(said.append), background=True)

    assert 5 == ledger.forget_older_than(T0 + DAY, 100)
    ledger.close()
    assert 4 + 1 + 1 == said.count("COMMIT")  # 35 turns and two sessions, two more sessions, the last one
    assert {"ledger_meta"} == {table for table, _, _ in cells(path)}


def test_privacy_nothing_is_stored_but_what_was_given(path: Path) -> None:
    """Every text in the file was given to us; no host, no process, no clock, nothing internal is added."""
    event, one = end(attributes={names.LAST_TRACE: "inner", "a": "b"}), turn(attributes={"_x": "inner", "c": "d"})
    ledger = open_ledger(f"sqlite:///{path}")
    ledger.emit([start(attributes={}), event, late(tokens_in=1)])
    ledger.write_turns([one])
    ledger.close()

    given = {*event.attributes, *map(str, event.attributes.values()), *one.trace.split("-")}
    given |= {'{"c":"d"}', "ok", "", str(late().attributes[names.LOG_RECORD_UID])}
    ours = {"version", str(len(sqlite_schema.MIGRATIONS)), "timed_out"}
    stored = {value for _, _, value in cells(path) if isinstance(value, str)}
    assert set() == stored - given - ours
    assert b"inner" not in b"".join(file.read_bytes() for file in path.parent.iterdir())


# -- many at once


def test_eight_processes_open_a_new_file_at_once(tmp_path: Path) -> None:
    """A fresh deployment: every worker makes the tables, one of them does it."""
    for attempt in range(3):
        path = tmp_path / f"{attempt}.db"
        codes = in_processes(8, path, lambda ledger, index: ledger.emit([end(f"s{index}")]))

        ledger = open_ledger(f"sqlite:///{path}")
        assert [0] * 8 == codes
        assert {f"s{i}" for i in range(8)} == {row.session_id for row in ledger.sessions()}
        ledger.close()
        assert healthy(path)


def work(ledger: Ledger, index: int) -> None:
    """Hold ten conversations, take part in one that all share, and tell everybody's news again."""
    for number in range(10):
        name = f"s{index}-{number}"
        ledger.emit([start(name)])
        ledger.write_turns([turn(name, number=n, input_tokens=1) for n in (1, 2, 3)])
        ledger.write_turns([turn("shared", number=1 + index + 4 * number, input_tokens=1)])
        ledger.emit([end(name), end("told-by-all")])


def test_four_processes_write_and_nothing_is_lost_or_doubled(path: Path) -> None:
    """Each turn counts once, each session ends once, however the writers interleave."""
    codes = in_processes(4, path, work)

    ledger = open_ledger(f"sqlite:///{path}")
    rows = {row.session_id: row for row in ledger.sessions(1_000)}
    assert [0] * 4 == codes
    assert 42 == len(rows)
    assert {"timed_out"} == {row.status for name, row in rows.items() if name != "shared"}
    assert list(range(1, 41)) == [one.number for one in ledger.turns("shared")]
    assert (40, 40, 40) == (rows["shared"].turns, rows["shared"].completed, rows["shared"].input_tokens)
    assert all([1, 2, 3] == [one.number for one in ledger.turns(f"s{i}-{n}")] for i in range(4) for n in range(10))
    ledger.close()
    assert healthy(path)


def test_threads_write_and_read_at_once(path: Path) -> None:
    """Nobody sees another one's transaction, and nothing is lost between threads."""
    ledger = SqliteLedger(str(path))
    barrier = threading.Barrier(4)
    seen: list[int] = []

    def use(index: int) -> None:
        barrier.wait(10)
        for number in range(10):
            ledger.emit([event(f"s{index}-{number}-{i}") for i in range(2) for event in (start, end)])
            seen.append(len(ledger.sessions(1_000)) % 2)

    threads = [threading.Thread(target=use, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [0] * 40 == seen  # pairs of sessions, never one of them
    assert 80 == len(ledger.sessions(1_000))
    ledger.close()


def test_child_process_does_not_touch_what_it_inherited(path: Path) -> None:
    """After a fork each side goes on with its own connection."""
    ledger = SqliteLedger(str(path))
    ledger.emit([end("parent")])

    def child() -> None:
        ledger.emit([end("child")])
        ledger.close()

    process = forks.Process(target=child)
    process.start()
    process.join(20)
    ledger.emit([end("parent again")])

    assert 0 == process.exitcode
    assert {"parent", "child", "parent again"} == {row.session_id for row in ledger.sessions()}
    ledger.close()
    assert healthy(path)


# -- sudden death


def test_after_kill_nine_everything_acknowledged_is_there_and_nothing_is_half_written(path: Path) -> None:
    """A batch of five sessions with their ends and turns is there wholly or not at all."""
    acknowledged = 0
    for life in range(6):
        acknowledged += write_until_killed(path, life, after=3 + 2 * life)
    ledger = open_ledger(f"sqlite:///{path}")
    rows = ledger.sessions(100_000)

    assert healthy(path)
    assert 0 == len(rows) % 5
    assert 5 * acknowledged <= len(rows) <= 5 * (acknowledged + 6)
    assert {"timed_out"} == {row.status for row in rows}
    assert {5} == {len(row.attributes) for row in rows}
    ledger.close()


def write_until_killed(path: Path, life: int, after: int) -> int:
    """Let a process write batches, kill it after some of them, and return how many it had acknowledged."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        ledger = open_ledger(f"sqlite:///{path}")
        for batch in range(1_000_000):
            ledger.emit([event(f"{life}-{batch}-{i}") for i in range(5) for event in (start, end)])
            os.write(writer, b".")
    os.close(writer)
    seen = 0
    while seen < after:
        seen += len(os.read(reader, after - seen))
    time.sleep(0.0007 * life)  # somewhere in the middle of the next batch
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while more := os.read(reader, 1_000):
        seen += len(more)
    os.close(reader)
    return seen


# -- locks and limits


def test_lock_of_another_is_waited_for(path: Path) -> None:
    """Whoever writes now is done soon."""
    ledger = SqliteLedger(str(path), wait=5)
    ledger.emit([end("s1")])
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.1, lambda: other.execute("COMMIT"))
        release.start()

        assert ledger.emit([end("s2")]) is True
        release.join()
    ledger.close()


@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
@pytest.mark.parametrize("known", [True, False], ids=["known file", "new file"])
def test_lock_of_another_is_not_waited_for_longer_than_promised(path: Path, begin: str, known: bool) -> None:
    """The wait is bounded in all, opening and switching to the log included, and nothing is written."""
    ledger = SqliteLedger(str(path), wait=0.2)
    if known:
        ledger.emit([end("s1")])
        ledger.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE IF NOT EXISTS live_x (a)")
        other.execute(begin)
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"is locked \(waited 200 ms\)") as caught:
            ledger.emit([end("s2"), end("s3")])
        waited = time.monotonic() - began
        other.execute("COMMIT")

    assert 0.15 < waited < 1.5
    assert str(path) in str(caught.value)
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    assert known == (ledger.session("s1") is not None)
    assert ledger.session("s2") is None
    assert ledger.emit([end("s2"), end("s3")]) is True
    ledger.close()


def test_readers_do_not_wait_for_a_writer(path: Path) -> None:
    """Looking at history works while somebody writes it, and shows what was committed."""
    ledger = SqliteLedger(str(path), wait=0)
    ledger.emit([end("s1")])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM ledger_sessions")

        assert "s1" == only(ledger.sessions()).session_id
        other.execute("ROLLBACK")
    ledger.close()


def test_writers_leave_the_lock_to_others_between_parts(path: Path) -> None:
    """While a long batch is written, requests that need the lock get it within their 50 ms, and both get on."""
    ledger = SqliteLedger(str(path))
    ledger.emit([end()])
    batch = [end(f"s{i}") for i in range(10 * RECORDS)]
    thread = threading.Thread(target=ledger.emit, args=(batch,))
    waits = []
    with closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as store:
        store.execute("CREATE TABLE live_x (a)")
        thread.start()
        while thread.is_alive():
            began = time.perf_counter()
            store.execute("INSERT INTO live_x VALUES (1)")
            waits.append(1000 * (time.perf_counter() - began))
            time.sleep(0.001)  # the rest of the request
    thread.join()

    assert {f"s{i}" for i in range(10 * RECORDS)} == {row.session_id for row in ledger.sessions(10_000)}
    assert len(waits) >= 10
    assert sorted(waits)[int(len(waits) * 0.8)] < 50
    ledger.close()


def test_full_disk_is_said_and_survived(path: Path) -> None:
    """What fits was written, what does not was not; when there is room again, writing goes on."""
    ledger = SqliteLedger(str(path))
    ledger.emit([end("s1")])
    pages = asked(ledger, "PRAGMA page_count")[0][0]
    asked(ledger, f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreUnavailable, match=r"full.*Free some space"):
        ledger.emit([end(f"long-{i}", attributes={"a": "x" * 4_000}) for i in range(9)])

    assert ["s1"] == [row.session_id for row in ledger.sessions()]
    assert ledger.emit([end("s2")]) is True
    ledger.close()
    assert healthy(path)


def test_interrupted_write_holds_no_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks off a transaction, it is given up and the next one works."""
    ledger = open_ledger(f"sqlite:///{path}")
    monkeypatch.setattr("session_mw.ledger.history.after_turn", lambda row, one: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        ledger.write_turns([turn()])

    assert [] == ledger.sessions()
    assert ledger.emit([end()]) is True
    ledger.close()


# -- files that are not what they should be


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"not a database at all, but rather long" * 100, id="another file"),
        pytest.param(b"SQLite format 3\x00" + os.urandom(8_000), id="a header and noise"),
    ],
)
def test_corrupt_file_is_said_and_left_alone(path: Path, content: bytes) -> None:
    """A broken file raises our error with its name and what to do, at writing and at reading; nothing overwrites it."""
    path.write_bytes(content)
    ledger = open_ledger(f"sqlite:///{path}")

    for use in (
        lambda: ledger.emit([end()]),
        lambda: ledger.write_turns([turn()]),
        ledger.sessions,
        lambda: ledger.session("s1"),
        lambda: ledger.turns("s1"),
        lambda: ledger.user_totals("u_1"),
        lambda: ledger.forget_older_than(T0, 10),
    ):
        with pytest.raises(StoreError, match="Move the file away") as caught:
            use()
        assert str(path) in str(caught.value)
        assert not isinstance(caught.value, StoreUnavailable)
    assert content == path.read_bytes()
    ledger.close()


def test_corrupt_page_in_the_middle_is_said(path: Path) -> None:
    """Damage that opening does not notice is noticed by whoever meets it."""
    ledger = open_ledger(f"sqlite:///{path}")
    ledger.emit([end(f"s{i}") for i in range(200)])
    ledger.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(8 * 4096)
        file.write(b"\xa5" * (size - 8 * 4096))

    with pytest.raises(StoreError, match="Move the file away"):
        ledger.sessions(1_000)
    ledger.close()


def test_damaged_attributes_of_a_turn_are_said(path: Path) -> None:
    """Bytes that changed inside of a text are no exception of the JSON module."""
    ledger = open_ledger(f"sqlite:///{path}")
    ledger.write_turns([turn(attributes={"a": 1})])
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE ledger_turns SET attributes = '{\"a\":'")
        other.commit()

    with pytest.raises(StoreError, match="cannot read turn 1 of session 's1'"):
        ledger.turns("s1")
    ledger.close()


def test_file_replaced_while_open_is_noticed(path: Path) -> None:
    """Moved away because it was broken, or rotated: what is acknowledged is in the file of that name."""
    ledger = open_ledger(f"sqlite:///{path}")
    ledger.emit([end("s1")])
    for file in list(path.parent.iterdir()):
        file.rename(file.with_name(f"old-{file.name}"))
    assert ledger.emit([end("s2")]) is True

    assert ["s2"] == [row.session_id for row in ledger.sessions()]
    ledger.close()
    with closing(sqlite3.connect(path)) as other:
        assert [("s2",)] == other.execute("SELECT session_id FROM ledger_sessions").fetchall()


def test_missing_directory_is_said(tmp_path: Path) -> None:
    """The message names the directory; once the directory is there, it works."""
    ledger = open_ledger(f"sqlite:///{tmp_path}/missing/history.db")
    with pytest.raises(StoreError, match=r"no directory .*missing"):
        ledger.emit([end()])

    (tmp_path / "missing").mkdir()
    assert ledger.emit([end()]) is True
    ledger.close()


# -- versions


def test_newer_file_is_refused(path: Path) -> None:
    """An older release does not write into tables that it does not know."""
    ledger = open_ledger(f"sqlite:///{path}")
    ledger.emit([end()])
    ledger.close()
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE ledger_meta SET value = '99' WHERE key = 'version'")
        other.commit()

    with pytest.raises(StoreError, match=r"version 99.*Update session-mw"):
        ledger.emit([end("s2")])
    ledger.close()


def test_migration_runs_once_and_keeps_what_is_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later release adds to the tables of an older file, under the same lock as their making."""
    ledger = open_ledger(f"sqlite:///{path}")
    ledger.emit([end()])
    ledger.close()
    later = ("ALTER TABLE ledger_sessions ADD COLUMN resolved INTEGER", "UPDATE ledger_sessions SET resolved = 1")
    monkeypatch.setattr(sqlite_schema, "MIGRATIONS", (*sqlite_schema.MIGRATIONS, later))
    codes = in_processes(4, path, lambda each, index: each.emit([end(f"s{index + 2}")]))

    with closing(sqlite3.connect(path)) as other:
        assert [0] * 4 == codes
        assert ("2",) == other.execute("SELECT value FROM ledger_meta WHERE key = 'version'").fetchone()
        assert [(1,)] == other.execute("SELECT resolved FROM ledger_sessions WHERE session_id = 's1'").fetchall()
        assert 5 == other.execute("SELECT COUNT(*) FROM ledger_sessions").fetchone()[0]


def test_migration_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are made wholly or not at all."""
    broken = ("CREATE TABLE ledger_new (a)", "no statement")
    monkeypatch.setattr(sqlite_schema, "MIGRATIONS", (*sqlite_schema.MIGRATIONS, broken))
    ledger = open_ledger(f"sqlite:///{path}")
    with pytest.raises(StoreError):
        ledger.emit([end()])
    ledger.close()

    assert [] == cells(path)
