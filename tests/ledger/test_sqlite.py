"""The history in a file: shared by threads, processes and other tables, and there after a sudden death."""

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
from session_mw.ledger import Ledger, open_ledger, sqlite_schema
from session_mw.ledger.sqlite import SqliteLedger
from tests.ledger.support import DAY, T0, asked, cells, end, forks, healthy, in_processes, late, start, turn


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

    assert {"ledger_meta", "ledger_dirty"} == {table for table, _, _ in cells(path)}


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
    assert {"ledger_meta", "ledger_dirty"} == {table for table, _, _ in cells(path)}


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


@pytest.mark.landing
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
    assert {6} == {len(row.attributes) for row in rows}
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
