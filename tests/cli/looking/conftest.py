"""Histories that the commands look at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.looking.history import made
from tests.stores.pg_server import schema


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever runs the tests says nothing."""
    for name in ("STORE", "LEDGER", "SECRET_KEY", "USER_HASH_KEY", "USER_ID_MODE"):
        monkeypatch.delenv(f"SESSION_MW_{name}", raising=False)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A history that is only looked at."""
    with ExitStack() as stack:
        found = f"sqlite:///{tmp_path_factory.mktemp('history')}/history.db"
        if request.param == "postgresql":
            found = stack.enter_context(schema(request.getfixturevalue("pg_server")))
        made(found)
        yield found


@pytest.fixture
def mine(tmp_path: Path) -> str:
    """A history of one test."""
    found = f"sqlite:///{tmp_path}/history.db"
    made(found)
    return found
