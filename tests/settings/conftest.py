"""No test here sees this machine's settings: an empty environment, an empty folder, a home of its own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

import session_mw


@pytest.fixture(autouse=True)
def _nobodys_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.upper().startswith("SESSION_MW"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    # Processes that a test starts elsewhere import the same package.
    monkeypatch.setenv("PYTHONPATH", str(Path(session_mw.__file__).parents[1]))
    for folder in ("home", "temporary", "work"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "work")
