"""A history where nothing can be written: on a read-only disk, in somebody else's directory, in an archive."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from session_mw.cli.app import command  # here: who may look nowhere cannot import
from session_mw.exceptions import StoreError
from session_mw.ledger import SORTS, Analyzing, Listing, Summing, open_ledger
from tests.ledger.support import asked, end, forks, only, turn
from tests.ledger.test_mixed import OLD, expected_samples, old_file, sampled

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="directories of Windows have no such permission")

NOBODY = 65_534
WARNING = "is read as it is: nothing can be written beside it."


def made(path: Path) -> Path:
    """Make a history of one session, and close it."""
    ledger = open_ledger(f"sqlite:///{path}")
    ledger.write_turns([turn("s1", 1)])
    ledger.emit([end("s1")])
    ledger.close()
    return path


def locked_up(folder: Path) -> None:
    """Take the right to write from a directory and all that is in it; everybody may look."""
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)


def as_nobody(work: Callable[[], object]) -> None:
    """Do *work* as a user who may write nowhere: root may everywhere."""

    def run() -> None:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        logging.getLogger().handlers.clear()  # as in a program that sets none up: warnings go to standard error
        work()

    process = forks.Process(target=run)
    process.start()
    process.join(30)
    assert 0 == process.exitcode


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that everybody may come to."""
    found = tmp_path_factory.mktemp("archive")
    for above in (found, found.parent, found.parent.parent):
        above.chmod(0o755)
    return found


def test_a_file_beside_which_nothing_can_be_written_is_read(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """And the log says what that means, once, however many connections it takes."""
    path = made(folder / "it's a history.db")
    locked_up(folder)

    def look() -> None:
        ledger = open_ledger(f"sqlite:///{path}", read_only=True)
        assert ("s1", 3) == (only(ledger.sessions()).session_id, only(ledger.sessions()).turns)
        ledger.close()
        assert 1 == len(ledger.turns("s1"))
        assert {path.name} == {one.name for one in folder.iterdir()}

    as_nobody(look)
    said = capfd.readouterr().err

    assert 1 == said.count(WARNING)
    assert "-wal" not in said


def test_what_the_log_beside_it_holds_is_told_to_be_missing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A copy of file and -wal, as backups make them, whose index cannot be made."""
    source = made(folder / "source.db")
    copy = folder / "copies"
    copy.mkdir()
    with closing(sqlite3.connect(source)) as db:  # as long as somebody has it open
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute("UPDATE ledger_sessions SET name = 'later'")
        db.commit()
        shutil.copy(source, copy / "history.db")
        shutil.copy(f"{source}-wal", copy / "history.db-wal")
    locked_up(copy)

    def look() -> None:
        ledger = open_ledger(f"sqlite:///{copy}/history.db", read_only=True)
        assert only(ledger.sessions()).name is None

    as_nobody(look)

    assert "What its -wal file holds is missing." in capfd.readouterr().err


def test_a_file_of_an_older_release_cannot_be_brought_up_to_date_there(folder: Path) -> None:
    """What to do is said."""
    path = made(folder / "history.db")
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE ledger_meta SET value = '1' WHERE key = 'version'")
        db.commit()
    locked_up(folder)

    def look() -> None:
        with pytest.raises(StoreError, match=r"version 1, this release reads 4 to \d, and .* cannot be written. Copy"):
            open_ledger(f"sqlite:///{path}", read_only=True).sessions()

    as_nobody(look)


def test_a_file_of_the_release_before_is_read_as_it_is(folder: Path) -> None:
    """All of it: lists in each order, one session, sums, and comparisons, which look for what it does not keep."""
    path = folder / "history.db"
    old_file(path, 4)
    locked_up(folder)

    def look() -> None:
        ledger: Any = open_ledger(f"sqlite:///{path}", read_only=True)
        assert expected_samples() == sampled(ledger)
        assert [len(OLD)] * len(SORTS) == [len(ledger.find(Listing(sort=sort)).rows) for sort in SORTS]
        assert (2, 4) == (len(ledger.turns("two")), ledger.session("three").turns)
        assert len(OLD) == ledger.overview(Analyzing()).sessions == ledger.summary(Summing())[0].sessions
        assert [(4,)] == asked(ledger, "SELECT CAST(value AS INTEGER) FROM ledger_meta")

    as_nobody(look)


def test_who_would_write_is_refused_as_before(folder: Path) -> None:
    """Only those who said that they read get the file that way."""
    path = made(folder / "history.db")
    locked_up(folder)

    def look() -> None:
        for work in (lambda one: one.sessions(), lambda one: one.emit([end("s2")])):
            with pytest.raises(StoreError, match="Give the process write access"):
                work(open_ledger(f"sqlite:///{path}"))
        with pytest.raises(StoreError):
            open_ledger(f"sqlite:///{path}", read_only=True).emit([end("s2")])

    as_nobody(look)


def test_where_it_can_be_written_nothing_is_different(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What others write is seen, and nobody is warned."""
    path = made(folder / "history.db")
    reader, writer = open_ledger(f"sqlite:///{path}", read_only=True), open_ledger(f"sqlite:///{path}")
    before = len(reader.sessions())
    writer.emit([end("s2")])

    assert (1, 2) == (before, len(reader.sessions()))
    assert not caplog.records
    reader.close()
    writer.close()


@pytest.mark.parametrize("words", [("list", "--all-time"), ("show", "s1")], ids=["list", "show"])
def test_commands_look_at_such_a_file(words: tuple[str, ...], folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The warning is a line of its own, apart from the data."""
    path = made(folder / "history.db")
    locked_up(folder)

    def look() -> None:
        with pytest.raises(SystemExit) as stopped:
            command.main([*words, "--ledger", f"sqlite:///{path}"])
        assert 0 == stopped.value.code

    as_nobody(look)
    out, err = capfd.readouterr()

    assert "s1" in out and WARNING in err
