"""What a process knows of how many sessions live in a database that others write to as well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from session_mw._core.identity import SHARDS
from session_mw._core.ops import Claim, Touch
from session_mw._core.records import Limits
from session_mw.exceptions import StoreUnavailable
from session_mw.stores import SqliteStore, open_store
from session_mw.stores._census import EVERY_SECONDS, OLD, SHARE, Census
from session_mw.stores.postgres import PostgresStore
from session_mw.testing import FakeClock
from session_mw.testing.contract_capacity import near

LIMITS = Limits(1000, 10_000, 500, 100)


class Seconds:
    """A monotonic clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def census(seconds: Seconds) -> Census:
    return Census(seconds)


def test_without_a_bound_nobody_counts(census: Census) -> None:
    """A store whose ``max_live`` is not set never asks its database."""
    assert not census.full(None)
    census.changed(5)
    census.renew(lambda: pytest.fail("counted"))


def test_own_sessions_count_at_once(census: Census) -> None:
    """What this process did is known before anything was counted, and after."""
    census.changed(2)
    assert (True, False) == (census.full(2), census.full(3))
    census.renew(lambda: 10)
    assert (True, False) == (census.full(10), census.full(11))
    census.changed(1)
    assert census.full(11)
    census.changed(-3)
    assert (True, False) == (census.full(8), census.full(9))


def test_what_happens_while_it_counts_is_counted(census: Census) -> None:
    """At worst twice, until the next count: never not at all."""
    census.full(1)

    def slow() -> int:
        census.changed(1)
        return 10

    census.renew(slow)
    assert (True, False) == (census.full(11), census.full(12))


def test_counts_at_most_once_a_second(census: Census, seconds: Seconds) -> None:
    """However often something is written behind requests."""
    asked: list[float] = []

    def count_them() -> int:
        asked.append(seconds.now)
        return 0

    census.full(1)
    for _ in range(30):
        census.renew(count_them)
        seconds.now += 0.1

    assert [0, 1, 2] == [round(at - asked[0]) for at in asked]


def test_slow_count_is_made_seldom(census: Census, seconds: Seconds) -> None:
    """A hundredth of the time at most: where it takes 100 ms, every ten seconds."""
    took = 0.1

    def slow() -> int:
        seconds.now += took
        return 7

    census.full(1)
    census.renew(slow)
    seconds.now += SHARE * took - took - 0.01
    census.renew(lambda: pytest.fail("counted too soon"))
    seconds.now += 0.02
    census.renew(lambda: 9)
    assert census.full(9)


def test_old_count_says_nothing(census: Census, seconds: Seconds) -> None:
    """Where nothing is written behind requests for long, a session begins; its start has everybody counted anew."""
    census.full(5)
    census.renew(lambda: 5)
    seconds.now += OLD * EVERY_SECONDS - 0.01
    assert census.full(5)
    seconds.now += 0.02
    assert not census.full(5)
    census.renew(lambda: 6)
    assert census.full(5)


def test_database_that_cannot_count_harms_nobody(census: Census) -> None:
    """Who claimed has its answer; what was known before is known still."""

    def unavailable() -> int:
        raise StoreUnavailable("cannot count sessions")

    census.changed(1)
    census.full(1)
    census.renew(unavailable)
    assert census.full(1)


@pytest.fixture(params=["sqlite", "postgresql"])
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Two processes' stores over one database, each with a census by the same clock."""
    make: Callable[[], Any]
    if request.param == "sqlite":
        clock = FakeClock()
        make = lambda: SqliteStore(f"{tmp_path}/live.db", clock)  # noqa: E731
    else:
        url = request.getfixturevalue("pg_emptied")
        make = lambda: PostgresStore(url, request_ms=20_000)  # noqa: E731
    stores, seconds = (make(), make()), Seconds()
    for store in stores:
        store._census = Census(seconds)
    yield *stores, seconds
    for store in stores:
        store.close()


def test_G16_other_workers_sessions_are_known_within_a_second(two: Any) -> None:
    """By the next claim or start that is written behind requests; until then there may be more."""
    one, other, seconds = two
    limits, names = replace(LIMITS, idle_ms=100_000, absolute_ms=1_000_000, max_live=3), (f"s{n}" for n in count())

    def begin(store: Any) -> str:
        return str(store.touch(Touch(None, next(names), limits)).outcome)

    first = [begin(one) for _ in range(4)]
    second = [begin(other) for _ in range(2)]
    other.claim(Claim("token", limits))
    after = [begin(other), other.touch(Touch("s0", "unused", limits)).outcome]
    seconds.now += EVERY_SECONDS
    one.confirm_start([("s0", 1)])

    assert (["started"] * 3 + ["unstored"], ["started"] * 2) == (first, second)
    assert ["unstored", "extended"] == after
    assert (5, 5) == (one._census._counted, other._census._counted)


@pytest.mark.parametrize("engine", ["memory", "redis"])
def test_G16_bound_is_exact_however_many_ask_at_once(engine: str, request: pytest.FixtureRequest) -> None:
    """Memory counts under its lock, Redis inside of its script, shard by shard."""
    most, ids = 5, near(200)
    long = replace(LIMITS, idle_ms=100_000, absolute_ms=1_000_000)
    limits = replace(long, max_live=most if engine == "memory" else most * SHARDS)
    url = "memory://" if engine == "memory" else f"{request.getfixturevalue('redis_url')}?socket_timeout=5"
    store = open_store(url)[0]
    with ThreadPoolExecutor(8) as pool:
        found = Counter(pool.map(lambda name: store.touch(Touch(None, name, limits)).outcome, ids))
    live = store.stats().live
    store.close()

    assert ({"started": most, "unstored": len(ids) - most}, most) == (found, live)
