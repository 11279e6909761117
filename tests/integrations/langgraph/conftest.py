"""A process without a middleware, as the hierarchy's tests have it; skipped where LangGraph is not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hierarchy.conftest import _outside, script

pytest.importorskip("langgraph", reason="langgraph is not installed: pip install 'session-mw[langgraph]' runs these")

__all__ = ["_outside", "everywhere", "script"]


@pytest.fixture
def everywhere() -> Iterator[None]:
    """Every graph of the process is tracked, during the test."""
    from session_mw.integrations.langgraph import instrument

    uninstrument = instrument()
    yield
    uninstrument()
