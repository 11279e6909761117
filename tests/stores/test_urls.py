"""A store is named by a URL; what cannot be one is said when the store is made, with what to write instead."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from session_mw import SessionSettings
from session_mw._core.ops import Touch
from session_mw._core.records import Limits
from session_mw.exceptions import MissingDependency, SettingsError, StoreError
from session_mw.ledger import open_ledger
from session_mw.ledger.sqlite import SqliteLedger
from session_mw.stores import AsyncSqliteStore, DirectStore, MemoryStore, SqliteStore, open_store
from session_mw.stores.postgres import AsyncPostgresStore, PostgresStore
from session_mw.stores.redis import AsyncRedisStore, RedisStore
from session_mw.testing import FakeClock

LIMITS = Limits(1000, 10_000, 500, 100)


def test_memory() -> None:
    """Both faces show the same store, on the clock that was given."""
    clock = FakeClock(5000)
    store, face = open_store("memory://", clock=clock)
    store.touch(Touch(None, "s", LIMITS))
    touched = asyncio.run(_touch(face))

    assert isinstance(store, MemoryStore)
    assert isinstance(face, DirectStore)
    assert (2, 5000) == (touched.turn_number, touched.now_ms)
    assert (store.boot_id, "memory", False, True) == (face.boot_id, store.name, store.is_async, face.is_async)


async def _touch(face: object) -> object:
    return await face.touch(Touch("s", "unused", LIMITS))  # type: ignore[attr-defined]


def test_sqlite_relative_and_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three slashes name a file beside the process, four one from the root; both may be the same file."""
    monkeypatch.chdir(tmp_path)
    clock = FakeClock(5000)
    relative, face = open_store("sqlite:///my%20file.db", clock=clock)
    absolute, _ = open_store(f"sqlite:///{tmp_path}/my file.db", clock=clock)
    relative.touch(Touch(None, "s", LIMITS))

    assert isinstance(relative, SqliteStore)
    assert isinstance(face, AsyncSqliteStore)
    assert 2 == absolute.touch(Touch("s", "unused", LIMITS)).turn_number
    assert (tmp_path / "my file.db").exists()
    assert (None, "sqlite", None) == (relative.boot_id, relative.name, face.boot_id)
    relative.close()
    absolute.close()


def test_sqlite_waits_as_long_as_its_url_says(tmp_path: Path) -> None:
    """Seconds, as Redis's; 100 ms otherwise. The ledger in the same file takes the same URL."""
    found = [open_store(f"sqlite:///{tmp_path}/x.db{query}")[0] for query in ("?timeout=0.025", "")]
    settings = SessionSettings(
        secret_key="0123456789abcdef-a-secret-for-tests-only", store=f"sqlite:///{tmp_path}/x.db?timeout=0.025"
    )

    assert [25, 100] == [store._database._ms[False] for store in found]  # type: ignore[attr-defined]
    assert [5000, 5000] == [store._database._ms[True] for store in found]  # type: ignore[attr-defined]
    assert isinstance(open_ledger(settings.store), SqliteLedger)


def test_missing_directory_is_said_at_first_use(tmp_path: Path) -> None:
    """Nothing is looked at before."""
    store, _ = open_store(f"sqlite:///{tmp_path}/nowhere/x.db")
    with pytest.raises(StoreError, match="there is no directory"):
        store.touch(Touch(None, "s", LIMITS))


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:////",
        "sqlite://relative.db",
        "sqlite:///dir/",
        "sqlite:///:memory:",
        "sqlite:///x?y=1",
        "sqlite:///x?timeout=soon",
        "sqlite:///x?timeout=0",
        "sqlite:///x?timeout",
    ],
)
def test_sqlite_without_a_file_is_refused(url: str) -> None:
    """The error names the setting, what was found and what to write."""
    with pytest.raises(SettingsError, match=r"sqlite:///sessions\.db") as raised:
        open_store(url)

    assert ("store", url) == (raised.value.name, raised.value.found)


@pytest.mark.parametrize("url", ["redis://:hunter2@cache", "rediss://cache:6380/2", "redis+cluster://a:7000,b:7000"])
def test_redis(url: str) -> None:
    """One node, with TLS, or a cluster; nothing is looked at before the first use, and a password is not shown."""
    store, face = open_store(url)

    assert isinstance(store, RedisStore)
    assert isinstance(face, AsyncRedisStore)
    assert (None, "redis", None, "redis") == (store.boot_id, store.name, face.boot_id, face.name)
    assert "hunter2" not in repr(store.target)


def test_redis_url_that_makes_no_sense_is_refused() -> None:
    """The error names the setting and shows no password."""
    with pytest.raises(SettingsError, match="Write redis://host:6379/0") as raised:
        open_store("redis://u:hunter2/x@cache:port/0")

    assert "store" == raised.value.name
    assert "hunter2" not in f"{raised.value} {raised.value.found}"


def test_redis_without_its_driver_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one module that needs it is loaded with the first URL that does."""
    monkeypatch.setitem(sys.modules, "redis", None)
    for name in ("session_mw.stores.redis", "session_mw.stores._redis_driver"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(MissingDependency, match=r"pip install 'session-mw\[redis\]'"):
        open_store("redis://cache")


def test_postgresql() -> None:
    """Both faces share one database; nothing is connected to, and the password is not shown."""
    store, face = open_store("postgresql://me:hunter2@nowhere.invalid/app?sslmode=require")

    assert isinstance(store, PostgresStore)
    assert isinstance(face, AsyncPostgresStore)
    assert (None, "postgresql", None) == (store.boot_id, store.name, face.boot_id)
    assert (False, True) == (store.is_async, face.is_async)
    assert "PostgresStore('postgresql://me:**********@nowhere.invalid/app')" == repr(store)


@pytest.mark.parametrize(
    "url", ["postgresql://me:hun/ter2@db/app", "postgresql://me:hunter2@db/app?nonsense=1", "postgresql://[::1"]
)
def test_postgresql_url_that_libpq_cannot_read_is_refused(url: str) -> None:
    """At construction; no part of it is shown, any may be the password."""
    with pytest.raises(SettingsError, match="cannot use store: found a URL that libpq cannot read") as raised:
        open_store(url)

    assert "hun" not in f"{raised.value} {raised.value!r} {raised.value.found} {raised.value.__cause__!r}"


def test_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without psycopg the error says how to get it."""
    for name in [name for name in sys.modules if name.startswith(("session_mw._postgres", "session_mw.stores.p"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(MissingDependency, match=r"pip install 'session-mw\[postgres\]'"):
        open_store("postgresql://db/app")


@pytest.mark.parametrize("url", ["", "memory", "mysql://user:hunter2@host", "memory://x", "://", "SQLITE:///x.db"])
def test_anything_else_is_refused(url: str) -> None:
    """No guessing, no password in the message."""
    with pytest.raises(SettingsError, match="Write memory://") as raised:
        open_store(url)

    assert "hunter2" not in f"{raised.value} {raised.value.found}"
