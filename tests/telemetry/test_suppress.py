"""Our own I/O makes no spans."""

from __future__ import annotations

import pytest
from opentelemetry.context import attach, detach, get_current, set_value
from opentelemetry.instrumentation.utils import (
    is_http_instrumentation_enabled,
    is_instrumentation_enabled,
    suppress_instrumentation,
)

from session_mw.telemetry.suppress import suppressed


def test_suppressed_inside_and_not_after() -> None:
    """Instrumentations ask the context, and it says no only inside."""
    with suppressed():
        assert not is_instrumentation_enabled()
        assert not is_http_instrumentation_enabled()

    assert is_instrumentation_enabled()


def test_suppressed_sets_the_same_marks_as_the_library() -> None:
    """Private names are learnt, not repeated."""
    with suppress_instrumentation():
        theirs = dict(get_current())
    with suppressed():
        assert theirs == dict(get_current())


def test_suppressed_keeps_the_context() -> None:
    """What else is in the context stays."""
    token = attach(set_value("key", 1))
    with suppressed():
        assert 1 == get_current()["key"]
    detach(token)


def test_suppressed_ends_with_an_exception_and_nests() -> None:
    """However the block is left."""

    def block() -> None:
        with suppressed():
            with suppressed():
                pass
            assert not is_instrumentation_enabled()
            raise KeyError

    with pytest.raises(KeyError):
        block()

    assert is_instrumentation_enabled()
