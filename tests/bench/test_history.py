"""The history that times are taken of is one as ledgers write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from session_mw.ledger import Ledger, Listing, open_ledger
from tests.bench.history import fill_file, fill_server, made, tell
from tests.ledger.support import dump, healthy

COUNT = 120


def read(ledger: Ledger) -> dict[str, object]:
    """Return all that a ledger says."""
    rows = ledger.find(Listing(limit=500, include_unconfirmed=True)).rows
    return {row.session_id: [*dump(ledger, row.session_id), ledger.usages(row.session_id)] for row in rows}


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.landing)])
def test_made_history_is_one_as_the_ledger_writes_it(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The same sessions told one after the other lead to the same rows: what was read is compared, cell by cell."""
    told = open_ledger("memory://")
    tell(told, made(COUNT))
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path / 'made.db'}"
        fill_file(tmp_path / "made.db", COUNT)
        assert healthy(tmp_path / "made.db")
    else:
        url = request.getfixturevalue("pg_emptied")
        fill_server(url, COUNT)
    ledger = open_ledger(url)
    found = read(ledger)
    ledger.close()

    assert COUNT == len(found)
    assert read(told) == found
