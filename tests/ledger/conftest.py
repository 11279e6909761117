"""The ledgers that every rule of the contract is tried on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from session_mw.ledger import Ledger, open_ledger
from tests.ledger.support import make


@pytest.fixture(params=["sqlite", "memory", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """Return an empty ledger of each kind."""
    if request.param == "postgresql":
        opened = open_ledger(request.getfixturevalue("pg_emptied"))
    else:
        opened = make(request.param, tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a ledger's file may be made."""
    return tmp_path / "history.db"
