"""For every test: no background of an earlier one goes on working behind it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from session_mw import sweeper


@pytest.fixture(autouse=True)
def quiet_background() -> Iterator[None]:
    """
    Stop the threads that a test started.

    They would go on making spans, with identifiers from the global random generator that hypothesis watches.
    """
    yield
    for background in list(sweeper._backgrounds):
        if background._thread is not None:
            background.stop(1.0)
            background.hold()
