"""Answers that are kept for a minute."""

from __future__ import annotations

import pytest

from session_mw.viewer.kept import FOR_MS, MOST, Kept


def always(answer: object) -> bool:
    """Every answer lasts."""
    return True


def test_an_answer_is_made_once_a_minute() -> None:
    """By its key; a clock that went back makes it anew."""
    kept, made = Kept(), [0]

    def make() -> int:
        made[0] += 1
        return made[0]

    assert [(1, 0), (1, 0), (2, FOR_MS), (3, FOR_MS - 1)] == [
        kept.get("key", now, make, always) for now in (0, FOR_MS - 1, FOR_MS, FOR_MS - 1)
    ]
    assert (4, 0) == kept.get("other", 0, make, always)


def test_what_does_not_last_or_failed_is_not_kept() -> None:
    """It may be better the next time."""
    kept = Kept()

    def fail() -> str:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        kept.get("key", 0, fail, always)

    assert ("half", 0) == kept.get("key", 0, lambda: "half", lambda answer: False)
    assert ("whole", 1) == kept.get("key", 1, lambda: "whole", always)
    assert ("whole", 1) == kept.get("key", 2, lambda: "newer", always)


def test_the_oldest_makes_room() -> None:
    """It is bounded."""
    kept = Kept()
    for number in range(MOST + 1):
        kept.get(number, 0, lambda: "first", always)

    assert ("again", 1) == kept.get(0, 1, lambda: "again", always)
    assert ("first", 0) == kept.get(MOST, 1, lambda: "again", always)
