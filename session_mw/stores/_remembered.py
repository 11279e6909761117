"""What a store in memory remembers for a while: tombstones and the turn counters of conversations. Both are bounded."""

from __future__ import annotations

from .._core.records import Tombstone
from ._wheel import Wheel

MAX_KEPT = 1_000_000  # of each; beyond it the oldest are forgotten early


class Grave:
    """A tombstone and when it may be forgotten; None: not before the end was reported."""

    __slots__ = ("expires_ms", "tomb")

    def __init__(self, tomb: Tombstone, expires_ms: int | None) -> None:
        self.tomb = tomb
        self.expires_ms = expires_ms


class Graves:
    """Tombstones by session id. Not thread-safe."""

    def __init__(self) -> None:
        self._graves: dict[str, Grave] = {}
        self._wheel: Wheel[str] = Wheel()
        self._expiring = 0

    def get(self, session_id: str, now_ms: int) -> Tombstone | None:
        """Return what *session_id* says, None when there is nothing or it was forgotten."""
        grave = self._graves.get(session_id)
        if grave is None or (grave.expires_ms is not None and grave.expires_ms <= now_ms):
            return None
        return grave.tomb

    def put(self, session_id: str, tomb: Tombstone, expires_ms: int | None) -> None:
        """Remember *tomb* instead of what was said before: until *expires_ms*, and as long as was asked then."""
        old = self._graves.get(session_id)
        known_ms = None if old is None else old.expires_ms
        if expires_ms is not None and known_ms is not None:
            expires_ms = max(expires_ms, known_ms)
        self._graves[session_id] = Grave(tomb, expires_ms)
        self._expiring += (expires_ms is not None) - (known_ms is not None)
        if expires_ms is not None and known_ms is None:
            self._wheel.file([session_id], expires_ms)

    def count(self) -> int:
        """Return how many there are of sessions whose end was reported."""
        return self._expiring

    def scrub(self, now_ms: int, limit: int) -> int:
        """Forget up to *limit*; returns how many."""
        gone = self._wheel.take(now_ms, limit, self._look)
        if self._expiring - len(gone) > MAX_KEPT:
            gone += [sid for sid in self._wheel.earliest(limit) if self._look(sid) is not None]
        forgotten = sum(self._graves.pop(session_id, None) is not None for session_id in gone)
        self._expiring -= forgotten
        return forgotten

    def _look(self, session_id: str) -> int | None:
        grave = self._graves.get(session_id)
        return None if grave is None else grave.expires_ms


class Counters:
    """Turn numbers by conversation id. Not thread-safe."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, int]] = {}
        self._wheel: Wheel[str] = Wheel()

    def count(self, conversation_id: str, ttl_ms: int, now_ms: int) -> int:
        """Count one more, from 1; forgotten *ttl_ms* after the last one."""
        number, expires_ms = self._counts.get(conversation_id, (0, 0))
        if number == 0 or expires_ms <= now_ms:
            number = 0
            self._wheel.file([conversation_id], now_ms + ttl_ms)
        self._counts[conversation_id] = (number + 1, now_ms + ttl_ms)
        return number + 1

    def scrub(self, now_ms: int, limit: int) -> int:
        """Forget up to *limit*; returns how many."""
        gone = self._wheel.take(now_ms, limit, self._look)
        if len(self._counts) - len(gone) > MAX_KEPT:
            gone += self._wheel.earliest(limit)
        return sum(self._counts.pop(conversation_id, None) is not None for conversation_id in gone)

    def _look(self, conversation_id: str) -> int | None:
        found = self._counts.get(conversation_id)
        return None if found is None else found[1]
