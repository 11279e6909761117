"""An empty history."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever runs the tests says nothing."""
    for name in ("STORE", "LEDGER", "SECRET_KEY", "USER_HASH_KEY", "USER_ID_MODE"):
        monkeypatch.delenv(f"SESSION_MW_{name}", raising=False)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A history that is not there yet."""
    return f"sqlite:///{tmp_path}/history.db"
