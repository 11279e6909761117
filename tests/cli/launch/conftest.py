from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.launch.desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A desk of its own."""
    return Desk(tmp_path)
