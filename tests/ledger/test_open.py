"""Which history a URL names."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from session_mw._core.ops import Claim
from session_mw._core.records import Limits
from session_mw.exceptions import SettingsError
from session_mw.ledger import SORTS, Ledger, Listing, SessionRow, open_ledger, sqlite_tables
from session_mw.ledger.filters import sql
from session_mw.ledger.listing import following, stretches
from session_mw.ledger.sqlite import SqliteLedger
from session_mw.ledger.sqlite_schema import METRICS, missing_indexes
from session_mw.stores import open_store
from tests.ledger.support import end


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgres://me:hunter2@db/history", "postgres://"),
        ("redis://:hunter2@cache", "redis://"),
        ("hunter2", "no URL"),
        ("", "no URL"),
        ("sqlite://", "'sqlite://'"),
        ("sqlite:///", "'sqlite:///'"),
        ("sqlite:////", "'sqlite:////'"),
        ("sqlite://history.db", "'sqlite://history.db'"),
        ("sqlite:///:memory:", "'sqlite:///:memory:'"),
        ("sqlite:///folder/", "'sqlite:///folder/'"),
        ("sqlite:///history.db?mode=ro", "'sqlite:///history.db?mode=ro'"),
        ("sqlite:///history.db?metric_indexes=no", "'sqlite:///history.db?metric_indexes=no'"),
    ],
)
def test_url_that_names_no_history_is_refused(url: str, found: str) -> None:
    """Bad configuration says the setting, what was found and what to do, and never a password."""
    with pytest.raises(SettingsError) as caught:
        open_ledger(url)

    assert "ledger" == caught.value.name
    assert f"found {found}" in str(caught.value)
    assert "sqlite:///history.db" in str(caught.value)
    assert "hunter2" not in f"{caught.value} {caught.value!r} {caught.value.found}"


@pytest.mark.parametrize(
    "url", ["postgresql://me:hun/ter2@db/history", "postgresql://db/history?password=hunter2&nonsense=1"]
)
def test_url_that_libpq_cannot_read_is_refused(url: str) -> None:
    """A slash in a password ends the address: nothing of it is shown."""
    with pytest.raises(SettingsError, match="cannot use ledger: found a URL that libpq cannot read") as caught:
        open_ledger(url)

    assert "hun" not in f"{caught.value} {caught.value!r} {caught.value.found} {caught.value.__cause__!r}"


def test_url_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three slashes are a path from where the process started, four an absolute one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    relative, absolute = open_ledger("sqlite:///relative.db"), open_ledger(f"sqlite:///{tmp_path}/absolute.db")
    monkeypatch.chdir(tmp_path / "elsewhere")  # as a server does that becomes a daemon
    for ledger in (relative, absolute):
        ledger.emit([end()])
        ledger.close()

    assert ["absolute.db", "elsewhere", "relative.db"] == sorted(p.name for p in tmp_path.iterdir())


@pytest.mark.parametrize("url", ["sqlite:///a%20b.db", "sqlite:///a b.db"])
def test_history_in_the_stores_file_is_in_the_stores_file(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default the two share a URL; they have to read the same name out of it."""
    monkeypatch.chdir(tmp_path)
    store, ledger = open_store(url)[0], open_ledger(url)
    store.claim(Claim("token", Limits(1, 2, 1, 1), 1, 1))
    ledger.emit([end()])
    ledger.close()
    store.close()

    assert {"a b.db"} == {file.name for file in tmp_path.iterdir()}


def test_names_of_the_kinds(path: Path) -> None:
    """Log lines say which history is meant."""
    assert "memory" == open_ledger("memory://").name
    assert "sqlite" == open_ledger(f"sqlite:///{path}").name
    assert "postgresql" == open_ledger("postgresql://db/history").name


def test_construction_touches_nothing(path: Path) -> None:
    """No file before the first use, so no handle of one."""
    ledger = open_ledger(f"sqlite:///{path}")
    ledger.emit([])
    ledger.write_turns([])
    ledger.close()

    assert [] == list(path.parent.iterdir())


def names_of(path: Path) -> set[str]:
    """Return by which quantities sessions of a file are sorted by an index."""
    with closing(sqlite3.connect(path)) as db:
        return set(METRICS) - missing_indexes(db)


def test_indices_of_sorts_can_be_left_out_and_made_again(tmp_path: Path) -> None:
    """Lists are the same without; who opens the file and does not say leaves it as it is."""
    url, path, found = f"sqlite:///{tmp_path}/history.db", tmp_path / "history.db", []
    for option, indices in (("", METRICS), ("?metric_indexes=false", ()), ("", ()), ("?metric_indexes=true", METRICS)):
        ledger = open_ledger(url + option)
        ledger.emit([end(f"s{number}", turns=number, cost_microusd=number % 3) for number in range(9)])
        found.append([[row.session_id for row in follow(ledger, sort)] for sort in SORTS])
        ledger.close()

        assert set(indices) == names_of(path)
    assert found[0] == found[1] == found[2] == found[3]


def follow(ledger: Ledger, sort: str) -> list[SessionRow]:
    """Return a list as it is read where there are too many to count: by the order of an index, if there is one."""
    listing = Listing(sort=sort, limit=500)

    def look(db: sqlite3.Connection) -> list[SessionRow]:
        dialect = sql.Sqlite(missing_indexes(db))
        rows = []
        for stretch in stretches(listing, None, dialect):
            rows += db.execute(*following(listing, stretch, sqlite_tables.SESSION_COLUMNS, 500, dialect)).fetchall()
        return sqlite_tables.sessions(db, rows)

    assert isinstance(ledger, SqliteLedger)
    assert ledger.find(listing).rows == ledger._read(look)
    return ledger._read(look)
