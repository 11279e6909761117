"""The seeds' samples run in a process of their own making, as the hierarchy's tests do."""

from __future__ import annotations

import pytest

from tests.hierarchy.conftest import _outside, script

from .support import Stopwatch

__all__ = ["_outside", "script", "watch"]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    """Latency by hand."""
    return Stopwatch(monkeypatch)
