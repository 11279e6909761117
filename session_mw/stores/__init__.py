"""
Where live sessions are kept: in memory, in an SQLite file that several processes share, in PostgreSQL, in Redis.

``PostgresStore`` is in ``session_mw.stores.postgres``, ``RedisStore`` in ``session_mw.stores.redis``: their drivers are
optional.
"""

from __future__ import annotations

from .direct import DirectStore
from .memory import MemoryStore
from .sqlite import AsyncSqliteStore, SqliteStore
from .urls import open_store

__all__ = ["AsyncSqliteStore", "DirectStore", "MemoryStore", "SqliteStore", "open_store"]
