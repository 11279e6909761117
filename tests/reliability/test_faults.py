"""
What clients see while a store is away (G7): the application's own answers, and no more delay than was promised.

Real stores, in both shells. The breaker's time is the injected clock's, so nothing here waits for it.
"""

from __future__ import annotations

import logging
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from session_mw.telemetry import notices
from tests.patience import PATIENCE
from tests.shells.worlds import World, make_world
from tests.stores.pg_server import own_server
from tests.stores.pg_server import schema as pg_schema
from tests.stores.redis_server import Server as RedisServer
from tests.stores.redis_server import servers

FIRST = 5  # requests that may be delayed, before the store is not asked any more
Fault = Callable[[], Any]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process writes, and does not end."""
    other = sqlite3.connect(path, isolation_level=None, timeout=5)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.execute("ROLLBACK")
    other.close()


@contextmanager
def stopped(send: Callable[[int], None]) -> Iterator[None]:
    """The server hangs: its sockets are open, and nobody answers."""
    send(signal.SIGSTOP)
    yield
    send(signal.SIGCONT)


@contextmanager
def killed(server: RedisServer) -> Iterator[None]:
    """The server is gone, and comes back with what it had written down."""
    server.kill()
    yield
    server.start()


@contextmanager
def full(server: RedisServer) -> Iterator[None]:
    """The server has no memory left."""
    server.ask("CONFIG", "SET", "maxmemory", "1")
    yield
    server.ask("CONFIG", "SET", "maxmemory", "0")


@contextmanager
def read_only(server: RedisServer) -> Iterator[None]:
    """The server became a replica: it may be read, not written."""
    server.ask("REPLICAOF", "127.0.0.1", "1")
    yield
    server.ask("REPLICAOF", "NO", "ONE")


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with servers() as make:
        yield make(appendonly="yes", appendfsync="always")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Any]:
    with own_server() as running:
        yield running


class Place:
    """A store and what happens to it."""

    def __init__(self, url: str, fault: Fault, seconds: float) -> None:
        self.url, self.fault, self.seconds = url, fault, seconds


@pytest.fixture(
    params=[
        pytest.param("sqlite locked", marks=pytest.mark.slow),
        "redis killed",
        pytest.param("redis hung", marks=pytest.mark.slow),
        pytest.param("redis full", marks=pytest.mark.slow),
        pytest.param("redis read-only", marks=pytest.mark.slow),
        "postgresql killed",
    ]
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """The store, the fault, and the seconds that one call may wait."""
    kind, _, what = request.param.partition(" ")
    if kind == "sqlite":
        path = tmp_path / "sessions.db"
        yield Place(f"sqlite:///{path}", lambda: locked(path), 2.0)
    elif kind == "redis":
        server = request.getfixturevalue("redis")
        server.ask("FLUSHALL")
        faults: dict[str, Fault] = {
            "killed": lambda: killed(server),
            "hung": lambda: stopped(server.send),
            "full": lambda: full(server),
            "read-only": lambda: read_only(server),
        }
        yield Place(server.url, faults[what], 0.05)
    else:
        server = request.getfixturevalue("postgres")
        with pg_schema(server.url()) as url:
            yield Place(url, lambda: away(server), 0.05)
            if not server.running:
                server.start()


@contextmanager
def away(server: Any) -> Iterator[None]:
    """The PostgreSQL server is killed, and started again."""
    server.kill()
    yield
    server.start()


def asked(world: World) -> list[str]:
    """Return a list to which the name of each call of the store itself is added from now on, from whichever face."""
    calls: list[str] = []
    for face in (world.engine.store, world.engine.async_store):
        inner = face._store
        touch = inner.touch

        def counted(ask: Any, touch: Any = touch) -> Any:
            calls.append("touch")
            return touch(ask)

        inner.touch = counted
    return calls


def timed(world: World) -> tuple[Any, float]:
    began = time.perf_counter()
    reply = world.request(path="/stream")
    return reply, time.perf_counter() - began


def answers(world: World, place: Place, calls: list[str]) -> None:
    """Ask while the store is away: the first requests wait a little, then it is not asked."""
    slow = []
    for _ in range(FIRST):
        reply, seconds = timed(world)
        assert (200, 3) == (reply.status, len(reply.chunks))
        slow.append(seconds)
    before = len(calls)
    quick = [timed(world) for _ in range(20)]
    assert [200] * 20 == [reply.status for reply, _ in quick]
    assert before == len(calls), "the store was asked while the breaker was open"
    assert "open" == world.engine.gate.breaker.state
    # What the store cost; the rest is this machine's. A call may open a connection first, and then ask.
    assert sorted(slow)[FIRST // 2] < 2 * place.seconds + 0.5 * PATIENCE
    assert sorted(seconds for _, seconds in quick)[10] < 0.05 * PATIENCE


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_G7_answers_are_the_applications_while_the_store_is_away(
    kind: str, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """Status and body as ever; five requests wait, then none; the session goes on when the store is back."""
    notices.reset()
    world = make_world(kind, store=place.url, ledger="memory://")
    first = world.request()
    for _ in range(3):  # every connection is there
        world.request()
    world.work()
    session_id, turn = first.json()["id"], 4
    calls = asked(world)
    with place.fault():
        answers(world, place, calls)
        world.work()
    world.clock.advance(seconds=70)
    with caplog.at_level(logging.WARNING, "session_mw"):
        found = back(world)
    world.engine.store.close()

    assert session_id == found["id"]
    # PostgreSQL's touches do not wait for the disk: a killed server may have lost the last of them. And one that hung
    # may have counted what nobody waited for any more.
    assert (2 if place.url.startswith("postgresql") else turn + 1) <= found["turn"] <= turn + 1 + FIRST
    assert "closed" == world.engine.gate.breaker.state
    assert 1 == sum("is back" in record.getMessage() for record in caplog.records)
    assert 0 < sum("store failed" in record.getMessage() for record in caplog.records) <= 2  # one a kind of error


def back(world: World) -> dict[str, Any]:
    """Ask until the store counts again: a server that was started just now may need a moment."""
    limit = time.monotonic() + 20 * PATIENCE
    while True:
        world.work()
        found: dict[str, Any] = world.request().json()
        if found["turn"] is not None or time.monotonic() > limit:
            return found
        world.clock.advance(seconds=70)
        time.sleep(0.05)


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_memory_has_nothing_before_it(kind: str) -> None:
    """What never waits pays for no breaker."""
    world = make_world(kind)

    assert world.engine.gate is None
    assert "MemoryStore" == type(world.engine.store).__name__


def test_breaker_and_latency_are_measured(tmp_path: Path) -> None:
    """Each operation's duration, and the breaker's state, without any id."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    world = make_world("asgi", store=f"sqlite:///{tmp_path}/sessions.db")
    world.engine.metrics._given = MeterProvider([reader], shutdown_on_exit=False)
    world.request()
    world.work()
    data = reader.get_metrics_data()
    assert data is not None
    found = {m.name: m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics}
    ops = {point.attributes["op"] for point in found["session_mw.store.latency"].data.data_points}
    (state,) = found["session_mw.breaker.state"].data.data_points

    assert {"touch", "add", "claim"} <= ops
    assert (0, {"store": "sqlite"}) == (state.value, dict(state.attributes))
