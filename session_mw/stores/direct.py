"""The asynchronous face of a store that never waits."""

from __future__ import annotations

from collections.abc import Sequence

from .._core.ops import Add, End, Touch, Touched
from .._core.records import SessionRecord
from .memory import MemoryStore


class DirectStore:
    """
    The asynchronous face of a store that never blocks: each method calls straight.

    Args:
        store: A ``MemoryStore``, or another store none of whose methods waits.
    """

    is_async = True

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.name = store.name

    @property
    def boot_id(self) -> str | None:
        """As the store's."""
        return self._store.boot_id

    async def touch(self, ask: Touch, /) -> Touched:
        """As the store's."""
        return self._store.touch(ask)

    async def add(self, items: Sequence[Add], /) -> list[bool]:
        """As the store's."""
        return self._store.add(items)

    async def end(self, ask: End, /) -> bool:
        """As the store's."""
        return self._store.end(ask)

    async def read(self, session_id: str, /) -> SessionRecord | None:
        """As the store's."""
        return self._store.read(session_id)

    async def count_conversation(self, conversation_id: str, ttl_ms: int, /) -> int:
        """As the store's."""
        return self._store.count_conversation(conversation_id, ttl_ms)
