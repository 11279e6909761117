"""A desk to launch from; and each test ends in a process that nobody has configured."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.launch.desk import Desk
from tests.hierarchy.conftest import _outside

__all__ = ["_outside", "desk"]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A desk of its own."""
    return Desk(tmp_path)
