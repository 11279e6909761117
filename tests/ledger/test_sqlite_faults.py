"""The history in a file when things go wrong: locks, full disks, broken and moved files, other versions."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from session_mw._core.user_totals import sitting_of
from session_mw._sqlite.database import STRETCH
from session_mw.exceptions import StoreError, StoreUnavailable
from session_mw.ledger import open_ledger, sqlite_schema
from session_mw.ledger.sqlite import RECORDS, SqliteLedger
from tests.ledger.support import T0, asked, cells, end, healthy, in_processes, only, record, turn
from tests.patience import PATIENCE

PARTS = 30  # of a long batch

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

    assert 0.15 < waited < STRETCH * 0.2 + 0.5 * PATIENCE
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
    batch = [end(f"s{i}") for i in range(PARTS * RECORDS)]
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

    assert {f"s{i}" for i in range(PARTS * RECORDS)} == {row.session_id for row in ledger.sessions(10_000)}
    assert len(waits) >= PARTS / 4  # one for most parts, unless others have the machine for a while
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
    monkeypatch.setattr("session_mw.ledger.history.after_turn", lambda *_: signal.raise_signal(signal.SIGINT))
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
        lambda: ledger.user_totals_at([("u_1", sitting_of(record()))]),
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
        assert len(sqlite_schema.MIGRATIONS) == sqlite_schema.version_of(other)
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
