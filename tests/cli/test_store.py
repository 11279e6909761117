"""``session-mw store``: tables made and brought up to date by whoever may."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from session_mw._core.ops import Touch
from session_mw._core.records import Limits
from session_mw.cli.app import command
from session_mw.ledger import open_ledger
from session_mw.stores.postgres import PostgresStore
from tests.ledger.support import end
from tests.ledger.test_mixed import KEPT, expected, server_of
from tests.ledger.test_sums import execute


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever runs the tests names no database."""
    for name in ("SESSION_MW_STORE", "SESSION_MW_LEDGER"):
        monkeypatch.delenv(name, raising=False)


def migrate(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(command, ["store", "migrate", *words], env=environment)


def test_migrate_makes_the_tables_of_store_and_history(pg_url: str) -> None:
    """One command before the first worker; again it changes nothing."""
    first, again = migrate("--store", pg_url), migrate(SESSION_MW_STORE=pg_url)

    assert (0, "store: tables made\nledger: tables made\n") == (first.exit_code, first.output)
    assert (0, "store: tables unchanged\nledger: tables unchanged\n") == (again.exit_code, again.output)
    store, ledger = PostgresStore(pg_url, request_ms=20_000), open_ledger(pg_url)
    assert 1 == store.touch(Touch(None, "s", Limits(1000, 10_000, 500, 100))).turn_number
    assert ledger.emit([end()]) is True
    store.close()
    ledger.close()


def test_migrate_brings_a_history_of_the_release_before_along(pg_url: str) -> None:
    """It says so once; what is kept since then is there for the sessions that were there."""
    server_of(pg_url, 4)
    first, again = (migrate("--store", pg_url) for _ in range(2))
    ledger = open_ledger(pg_url)

    assert ["store: tables made", "ledger: tables migrated"] == first.stdout.splitlines()
    assert ["store: tables unchanged", "ledger: tables unchanged"] == again.stdout.splitlines()
    assert expected() == execute(ledger, KEPT)
    ledger.close()


def test_migrate_goes_to_the_ledger_that_was_named(pg_url: str, tmp_path: Path) -> None:
    """History may lie elsewhere; a history in memory has no tables."""
    file = f"sqlite:///{tmp_path}/history.db"
    elsewhere = migrate("--store", pg_url, "--ledger", file)
    nowhere = migrate("--store", pg_url, "--ledger", "memory://")

    assert "store: tables made\nledger: up to date\n" == elsewhere.output
    assert "store: tables unchanged\n" == nowhere.output
    assert (tmp_path / "history.db").exists()


def test_migrate_opens_an_sqlite_file(tmp_path: Path) -> None:
    """A file is brought up to date by whoever opens it."""
    result = migrate("--store", f"sqlite:///{tmp_path}/sessions.db")

    assert (0, "store: up to date\nledger: up to date\n") == (result.exit_code, result.output)
    assert (tmp_path / "sessions.db").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [((), "no store was named"), (("--store", "memory://"), "memory:// has no tables"), (("--store", "x"), "x://")],
)
def test_migrate_without_a_database_is_a_mistake(words: tuple[str, ...], said: str) -> None:
    """The answer says what is missing."""
    result = migrate(*words)

    assert 2 == result.exit_code
    assert said in result.output


def test_migrate_tells_in_one_line_what_failed(tmp_path: Path) -> None:
    """No traceback, no password."""
    result = migrate("--store", f"postgresql://me:hunter2@/app?host={tmp_path}")

    assert 1 == result.exit_code
    assert result.output.startswith("Error: cannot change the tables of the session store: postgresql://me:*")
    assert 1 == result.output.count("\n")
    assert "hunter2" not in result.output
