"""Shared by the tests of the wire formats."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest


@pytest.fixture
def best_ms() -> Callable[[Callable[[], object]], float]:
    """Milliseconds that a call takes at its best: the machine may be busy, the code may not be slow."""

    def measure(call: Callable[[], object]) -> float:
        took = []
        for _ in range(5):
            begin = time.thread_time()
            call()
            took.append(time.thread_time() - begin)
        return 1000 * min(took)

    return measure
