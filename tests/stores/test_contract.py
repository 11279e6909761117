"""Every store keeps the same promises, through every face it shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from session_mw._core.ops import AsyncSessionStore, SessionStore
from session_mw.stores import AsyncSqliteStore, DirectStore, MemoryStore, SqliteStore
from session_mw.stores.postgres import AsyncPostgresStore, PostgresStore
from session_mw.stores.redis import AsyncRedisStore, RedisStore
from session_mw.testing import StoreContract
from tests.stores.redis_server import Cluster


class TestMemory(StoreContract):
    def make_store(self, clock: Callable[[], int]) -> SessionStore:
        return MemoryStore(clock)


class TestMemoryAsync(TestMemory):
    def make_async(self, store: SessionStore) -> AsyncSessionStore:
        assert isinstance(store, MemoryStore)
        return DirectStore(store)


class TestSqlite(StoreContract):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        self.path = str(tmp_path / "live.db")

    def make_store(self, clock: Callable[[], int]) -> SessionStore:
        return SqliteStore(self.path, clock)


class TestSqliteAsync(TestSqlite):
    def make_async(self, store: SessionStore) -> AsyncSessionStore:
        assert isinstance(store, SqliteStore)
        return AsyncSqliteStore(store)


class TestPostgres(StoreContract):
    @pytest.fixture(autouse=True)
    def _emptied(self, pg_emptied: str) -> None:
        self.url = pg_emptied

    def make_store(self, clock: Callable[[], int]) -> SessionStore:
        return PostgresStore(self.url, clock, request_ms=20_000)


class TestPostgresAsync(TestPostgres):
    def make_async(self, store: SessionStore) -> AsyncSessionStore:
        assert isinstance(store, PostgresStore)
        return AsyncPostgresStore(store)


class TestRedis(StoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, redis_url: str) -> None:
        self.url = redis_url

    def make_store(self, clock: Callable[[], int]) -> SessionStore:
        return RedisStore(f"{self.url}?socket_timeout=20", clock)


class TestRedisAsync(TestRedis):
    def make_async(self, store: SessionStore) -> AsyncSessionStore:
        assert isinstance(store, RedisStore)
        return AsyncRedisStore(store)


class TestRedisCluster(StoreContract):
    @pytest.fixture(autouse=True)
    def _servers(self, redis_cluster: Cluster) -> None:
        self.url = redis_cluster.url

    def make_store(self, clock: Callable[[], int]) -> SessionStore:
        return RedisStore(f"{self.url}?socket_timeout=20", clock)


class TestRedisClusterAsync(TestRedisCluster):
    def make_async(self, store: SessionStore) -> AsyncSessionStore:
        assert isinstance(store, RedisStore)
        return AsyncRedisStore(store)
