"""Stores in places where things go wrong, and what goes wrong there."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from session_mw._sqlite import REQUEST_MS
from tests.reliability.proxy import ENDLESS, HTTP, LONG, NOISE, Proxy, before
from tests.stores.pg_server import Server as PgServer
from tests.stores.pg_server import own_server
from tests.stores.pg_server import schema as pg_schema
from tests.stores.redis_server import Server as RedisServer
from tests.stores.redis_server import servers

Fault = Callable[[], Any]


@dataclass
class Place:
    """
    A store, and what happens to it.

    Attributes:
        url: Of the store.
        fault: Does it; takes the sync store, for what is done to its very connections.
        reason: What ``session_mw.dropped`` calls it.
        budget: Seconds that a request may wait.
    """

    url: str
    fault: Callable[[Any], Any]
    reason: str
    budget: float = 0.05


# -- SQLite

HOLD = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
held.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
"""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process writes, and does not end."""
    pipe = subprocess.PIPE
    holder = subprocess.Popen([sys.executable, "-I", "-S", "-c", HOLD, str(path)], stdin=pipe, stdout=pipe, text=True)
    assert holder.stdout is not None
    assert "held\n" == holder.stdout.readline()
    try:
        yield
    finally:
        holder.communicate("\n", timeout=20)


@contextmanager
def with_each_connection(store: Any, *statements: str) -> Iterator[None]:
    """Let *statements* be executed by each connection that the store opens from now on."""
    connections = store._store._database._connections
    usual = connections._prepare

    def prepare(connection: sqlite3.Connection) -> None:
        usual(connection)
        for statement in statements:
            connection.execute(statement).fetchall()

    connections._prepare = prepare
    connections.drop()
    yield
    connections._prepare = usual
    connections.drop()


@contextmanager
def full_disk(path: Path, store: Any) -> Iterator[None]:
    """
    The file cannot grow: SQLite says SQLITE_FULL.

    A touch makes no page more unless it begins a session, so what is free is used up, and each write makes one.
    """
    grow = "CREATE TABLE IF NOT EXISTS grown (x); INSERT INTO grown VALUES (zeroblob(8000))"
    trigger = f"CREATE TRIGGER IF NOT EXISTS grows AFTER UPDATE ON live_session BEGIN {grow.split('; ')[1]}; END"
    with sqlite3.connect(path) as own:
        own.execute(grow.split("; ")[0])
        own.execute(trigger)
        (pages,) = own.execute("PRAGMA page_count").fetchone()
    own.close()
    with with_each_connection(store, f"PRAGMA max_page_count={pages}"):
        yield
    with sqlite3.connect(path) as own:
        own.execute("DROP TRIGGER grows")
    own.close()


def overwrite(path: Path, database: Any) -> None:
    """Something else wrote over the beginning of the file, and nothing of it is in the log or in memory any more."""
    for statement in ("PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA shrink_memory"):
        database.run("forget", lambda connection, text=statement: connection.execute(text).fetchall())
    with path.open("r+b") as file:
        file.write(random.Random(5).randbytes(4096))


# -- Redis


@contextmanager
def killed(server: RedisServer) -> Iterator[None]:
    """The server is gone, and comes back with what it had written down."""
    server.kill()
    yield
    server.start()


@contextmanager
def stopped(server: RedisServer) -> Iterator[None]:
    """The server hangs: its sockets are open, and nobody answers."""
    server.send(signal.SIGSTOP)
    yield
    server.send(signal.SIGCONT)


@contextmanager
def out_of_memory(server: RedisServer) -> Iterator[None]:
    """The server has no memory left."""
    server.ask("CONFIG", "SET", "maxmemory", "1")
    yield
    server.ask("CONFIG", "SET", "maxmemory", "0")


@contextmanager
def replica(server: RedisServer) -> Iterator[None]:
    """The server became a replica: it may be read, not written."""
    server.ask("REPLICAOF", "127.0.0.1", "1")
    yield
    server.ask("REPLICAOF", "NO", "ONE")


# -- PostgreSQL


@contextmanager
def away(server: PgServer) -> Iterator[None]:
    """The server is killed, and started again."""
    server.kill()
    yield
    server.start()


def told(url: str, *statements: str) -> None:
    """Execute *statements*, each a transaction of its own."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        for statement in statements:
            connection.execute(statement.encode())


@contextmanager
def read_only(url: str) -> Iterator[None]:
    """All transactions became read-only, as on a server that was demoted; open connections notice too."""
    told(url, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()", "SELECT pg_sleep(0.1)")
    yield
    told(url, "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()", "SELECT pg_sleep(0.1)")


@contextmanager
def no_space(url: str) -> Iterator[None]:
    """The server answers each write as it does when its disk is full (SQLSTATE 53100)."""
    function = """CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$"""
    trigger = "CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON session_mw_live EXECUTE FUNCTION full_disk()"
    told(url, function, trigger)
    yield
    told(url, "DROP TRIGGER full_disk ON session_mw_live", "DROP FUNCTION full_disk()")


def through(url: str, proxy: Proxy) -> str:
    """Return *url*, which names a socket's directory, with the proxy's address instead."""
    query = parse_qs(urlsplit(url).query)
    options = f"&options={query['options'][0].replace('=', '%3D')}"
    return f"postgresql://tester@127.0.0.1:{proxy.port}/postgres?sslmode=disable&gssencmode=disable{options}"


# -- what the network does to either

NETWORK: dict[str, tuple[Callable[[Proxy], Any], str]] = {
    "late": (lambda proxy: proxy.doing("late"), "store_timeout"),
    "trickle": (lambda proxy: proxy.doing("trickle"), "store_timeout"),
    "half-open": (lambda proxy: proxy.doing("silent"), "store_timeout"),
    "cut": (lambda proxy: proxy.cut(), "store_timeout"),
    "reset": (lambda proxy: proxy.doing("reset"), "store_error"),
    "noise": (lambda proxy: proxy.doing("garbage", NOISE), "store_error"),
    "http": (lambda proxy: proxy.doing("garbage", HTTP), "store_error"),
}
REDIS_ENDLESS = (lambda proxy: proxy.doing("garbage", ENDLESS), "store_timeout")
PG_ENDLESS = (lambda proxy: proxy.doing("garbage", LONG), "store_error")
SLOW = pytest.mark.slow
USUAL = {"sqlite locked soon", "sqlite full", "redis killed", "redis reset", "postgresql hung"}
FAULTS = [
    *(f"sqlite {what}" for what in ("locked soon", "locked", "full", "read-only")),
    *(f"redis {what}" for what in ("killed", "hung", "full", "read-only", "endless", *NETWORK)),
    *(f"postgresql {what}" for what in ("killed", "hung", "full", "read-only", "endless", *NETWORK)),
]
CASES = [pytest.param(name, marks=() if name in USUAL else SLOW) for name in FAULTS]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with servers() as make:
        yield make(appendonly="yes", appendfsync="always")


@pytest.fixture(scope="module")
def postgres() -> Iterator[PgServer]:
    with own_server() as running:
        yield running


def in_sqlite(path: Path, what: str) -> Place:
    url = f"sqlite:///{path}"
    if what == "locked soon":
        return Place(f"{url}?timeout=0.03", lambda store: locked(path), "store_timeout", 0.03)
    faults: dict[str, tuple[Callable[[Any], Any], str]] = {
        "locked": (lambda store: locked(path), "store_timeout"),
        "full": (partial(full_disk, path), "store_error"),
        "read-only": (lambda store: with_each_connection(store, "PRAGMA query_only=1"), "store_error"),
    }
    return Place(url, *faults[what], budget=REQUEST_MS / 1000)


@contextmanager
def in_redis(server: RedisServer, what: str) -> Iterator[Place]:
    faults: dict[str, tuple[Callable[[RedisServer], Any], str]] = {
        "killed": (killed, "store_error"),
        "hung": (stopped, "store_timeout"),
        "full": (out_of_memory, "store_error"),
        "read-only": (replica, "store_error"),
    }
    server.ask("FLUSHALL")
    if what in faults:
        fault, reason = faults[what]
        yield Place(server.url, lambda store: fault(server), reason)
        return
    spoil, reason = {**NETWORK, "endless": REDIS_ENDLESS}[what]
    with before(server.port) as proxy:
        yield Place(f"redis://127.0.0.1:{proxy.port}/0", lambda store: spoil(proxy), reason)


@contextmanager
def in_postgres(server: PgServer, what: str) -> Iterator[Place]:
    with ExitStack() as stack:
        url = stack.enter_context(pg_schema(server.url()))
        faults: dict[str, tuple[Fault, str]] = {
            "killed": (lambda: away(server), "store_error"),
            "hung": (server.hung, "store_timeout"),
            "full": (lambda: no_space(url), "store_error"),
            "read-only": (lambda: read_only(url), "store_error"),
        }
        if what in faults:
            fault, reason = faults[what]
            yield Place(url, lambda store: fault(), reason)
        else:
            spoil, reason = {**NETWORK, "endless": PG_ENDLESS}[what]
            proxy = stack.enter_context(before(str(server.folder / ".s.PGSQL.5432")))
            yield Place(through(url, proxy), lambda store: spoil(proxy), reason)
        if not server.running:
            server.start()


@pytest.fixture(params=CASES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A store, and the fault that it will have."""
    kind, _, what = request.param.partition(" ")
    if kind == "sqlite":
        yield in_sqlite(tmp_path / "sessions.db", what)
        return
    server = request.getfixturevalue("redis" if kind == "redis" else "postgres")
    with (in_redis if kind == "redis" else in_postgres)(server, what) as found:
        yield found
