"""A sink that remembers, for tests of applications."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from session_mw._core.events import EventRecord


class RecordingSink:
    """
    Keeps every event it is given: ``SessionSettings(event_sink=RecordingSink())``.

    Attributes:
        records: What came, in order; ``event_name`` and ``attributes`` of each say what it is.
        failing: True refuses everything from now on, as an unreachable back end would.
        refused: How many were refused.
    """

    name = "recording"

    def __init__(self) -> None:
        self.records: list[EventRecord] = []
        self.failing = False
        self.refused = 0
        self._lock = threading.Lock()

    def emit(self, records: Sequence[EventRecord]) -> bool:
        """Keep *records*, unless told to fail."""
        with self._lock:
            if self.failing:
                self.refused += len(records)
                return False
            self.records.extend(records)
            return True

    def named(self, event_name: str) -> list[EventRecord]:
        """Return the events of one name: ``session.start``, ``session.end``, ``session.usage_late``."""
        with self._lock:
            return [record for record in self.records if record.event_name == event_name]
