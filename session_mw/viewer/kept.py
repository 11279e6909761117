"""Answers that took long, kept for a minute: who turns between two pages does not wait twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar, cast

FOR_MS = 60_000
MOST = 200  # answers

Answer = TypeVar("Answer")


class Kept:
    """A bounded memory; the oldest answer makes room."""

    def __init__(self) -> None:
        self._answers: dict[object, tuple[object, int]] = {}
        self._lock = threading.Lock()

    def get(
        self, key: object, now_ms: int, make: Callable[[], Answer], lasting: Callable[[Answer], bool]
    ) -> tuple[Answer, int]:
        """
        Return an answer and when it was made, milliseconds since the epoch.

        Args:
            key: What was asked, and what whoever asked may see.
            now_ms: Time of the question.
            make: Makes it, when none is kept or it is too old. What it raises is not kept.
            lasting: Whether an answer is to be kept.
        """
        with self._lock:
            found = self._answers.get(key)
        if found is not None and 0 <= now_ms - found[1] < FOR_MS:
            return cast(Answer, found[0]), found[1]
        made = make()
        if not lasting(made):
            return made, now_ms
        with self._lock:
            self._answers.pop(key, None)
            self._answers[key] = made, now_ms
            while len(self._answers) > MOST:
                del self._answers[next(iter(self._answers))]
        return made, now_ms
