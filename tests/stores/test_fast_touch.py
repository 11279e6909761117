"""The stores' short cuts have the effect that the lifecycle prescribes, to the last field."""

from __future__ import annotations

import copy
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from session_mw._core import lifecycle
from session_mw._core.identity import shard_of
from session_mw._core.ops import Add, Claim, Touch, Touched
from session_mw._core.records import Limits, SessionRecord
from session_mw._postgres import Work
from session_mw.stores import MemoryStore, SqliteStore, _columns, _live, _live_sql, _pg_sql
from session_mw.stores.postgres import PostgresStore
from session_mw.stores.redis import RedisStore
from session_mw.testing import FakeClock

NOW = 1_000_000
LIMITS = Limits(idle_ms=1000, absolute_ms=50_000, turn_ms=300, skew_ms=100)
TIMES = st.integers(NOW - 1200, NOW + 1200)
USERS = st.sampled_from([None, "a", "b"])

RECORDS = st.builds(
    SessionRecord,
    session_id=st.just("s"),
    started_ms=TIMES,
    last_ms=TIMES,
    generation=st.integers(1, 3),
    origin_ms=st.integers(NOW - 50_100, NOW - 49_000) | TIMES,
    open_until_ms=TIMES,
    turns=st.integers(0, 3),
    completed=st.integers(0, 2),
    failed=st.integers(0, 1),
    latency_ms=st.integers(0, 9),
    input_tokens=st.none() | st.integers(0, 9),
    output_tokens=st.none() | st.integers(0, 9),
    cost_microusd=st.none() | st.integers(0, 9),
    user_id=USERS,
    bound_ms=st.none() | TIMES,
    previous_id=st.sampled_from([None, "p"]),
    start_emitted=st.booleans(),
    confirmed=st.booleans(),
    recovered=st.booleans(),
    partial=st.booleans(),
    attributes=st.dictionaries(st.sampled_from("abc"), st.booleans() | st.integers(0, 1) | st.text(max_size=3)),
)
TOUCHES = st.builds(
    Touch,
    st.just("s"),
    st.just("new"),
    st.just(LIMITS),
    turn=st.booleans(),
    given_user=USERS,
    claimed_user=USERS,
)


class Memory:
    """A memory store that holds one record."""

    def __init__(self) -> None:
        self.clock = FakeClock(NOW)
        self.store = MemoryStore(self.clock)

    def hold(self, record: SessionRecord) -> None:
        self.store._reset()
        self.store._insert(record, LIMITS, NOW)


class Sqlite:
    """An SQLite store that holds one record."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock(NOW)
        self.store = SqliteStore(str(path / "fast.db"), self.clock)

    def hold(self, record: SessionRecord) -> None:
        def work(connection: sqlite3.Connection) -> None:
            for table in ("live_session", "live_ended", "live_tomb"):
                connection.execute(f"DELETE FROM {table}")
            connection.execute(_live_sql.INSERT_LIVE, (*_columns.live_values(record), NOW))

        self.store._database.run("hold a record", work)


class Postgres:
    """A PostgreSQL store that holds one record."""

    def __init__(self, url: str) -> None:
        self.clock = FakeClock(NOW)
        self.store = PostgresStore(url, self.clock, request_ms=20_000)

    def hold(self, record: SessionRecord) -> None:
        def work() -> Work[None]:
            tables = ("session_mw_live", "session_mw_ended", "session_mw_tomb")
            values = (*_columns.live_values(record), NOW)
            yield [*((f"DELETE FROM {table}".encode(), None) for table in tables), (_pg_sql.INSERT_LIVE, values)]

        self.store._database.run("hold a record", work())


class Redis:
    """A Redis store that holds one record."""

    def __init__(self, url: str) -> None:
        self.clock = FakeClock(NOW)
        self.store = RedisStore(f"{url}?socket_timeout=5", self.clock)

    def hold(self, record: SessionRecord) -> None:
        letters = {"g": "generation", "o": "open_until_ms", "n": "turns", "c": "completed", "f": "failed"}
        letters |= {"b": "started_ms", "r": "origin_ms", "l": "last_ms", "t": "latency_ms", "i": "input_tokens"}
        letters |= {"u": "output_tokens", "m": "cost_microusd", "y": "bound_ms", "p": "previous_id"}
        flags = {"S": "start_emitted", "C": "confirmed", "R": "recovered", "P": "partial"}
        fields: dict[str, Any] = {letter: getattr(record, name) for letter, name in letters.items()}
        fields |= {letter: "1" if getattr(record, name) else None for letter, name in flags.items()}
        fields["w"] = None if record.user_id is None else json.dumps(record.user_id)
        fields |= {f".{name}": json.dumps(value) for name, value in record.attributes.items()}
        shard = self.store._space.shards[shard_of("s")]

        def work(client: Any) -> None:
            client.flushdb()
            client.hset(f"{shard}:s:s", mapping={key: value for key, value in fields.items() if value is not None})
            client.zadd(f"{shard}:q", {"s": NOW})

        self.store._driver.everywhere("hold a record", work)


@pytest.fixture(scope="module", params=["memory", "sqlite", "postgresql", "redis"])
def held(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    made: Any
    if request.param == "postgresql":
        made = Postgres(request.getfixturevalue("pg_shared"))
    elif request.param == "redis":
        made = Redis(request.getfixturevalue("shared_url"))
    else:
        made = Memory() if request.param == "memory" else Sqlite(tmp_path_factory.mktemp("fast"))
    yield made
    made.store.close()


def told(touched: Touched) -> dict[str, Any]:
    known = {name: getattr(touched, name) for name in touched.__slots__}
    return {**known, "attributes": dict(touched.attributes)}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(record=RECORDS, op=TOUCHES)
def test_touch_has_the_effect_that_the_lifecycle_prescribes(held: Any, record: SessionRecord, op: Touch) -> None:
    """Same answer, same record, whichever way the store took."""
    held.hold(copy.deepcopy(record))
    expected = lifecycle.touch(record, None, op, NOW)
    touched = held.store.touch(op)

    assert told(expected.touched) == told(touched)
    assert record == (held.store.read("s") if not expected.frozen else frozen(held))


NUMBERS = st.none() | st.integers(0, 9)
ADDS = st.builds(
    Add,
    st.just("s"),
    st.integers(1, 3),
    st.just(0) | TIMES,
    completed=st.integers(0, 1),
    failed=st.integers(0, 1),
    latency_ms=st.integers(0, 9),
    input_tokens=NUMBERS,
    output_tokens=NUMBERS,
    cost_microusd=NUMBERS,
    user_id=USERS,
    attributes=st.just({}) | st.dictionaries(st.sampled_from("abc"), st.none() | st.integers(0, 1)),
)


# As most are: a turn that ended well, and where its trace is found.
TURNS = st.builds(
    Add,
    st.just("s"),
    st.integers(1, 2),
    TIMES,
    completed=st.just(1),
    latency_ms=st.integers(0, 9),
    attributes=st.dictionaries(st.sampled_from("ab"), st.none() | st.integers(0, 1), max_size=1),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(record=RECORDS, item=ADDS | TURNS)
def test_add_has_the_effect_that_the_lifecycle_prescribes(held: Any, record: SessionRecord, item: Add) -> None:
    """Same record, whichever way the store took; other generations are left alone."""
    held.hold(copy.deepcopy(record))
    taken = item.generation == record.generation and lifecycle.merge(record, item)

    assert [taken] == held.store.add([item])
    assert record == held.store.read("s")


def frozen(held: Any) -> SessionRecord | None:
    """The record that the touch froze."""
    if isinstance(held, Postgres):
        return held.store.read("s")
    if isinstance(held, Sqlite):
        return held.store._database.run("read", lambda c: _live.newest(c, "s"))
    if isinstance(held, Redis):
        return held.store.read("s")
    return next(iter(held.store._ended.values()))


def test_columns_are_the_fields_of_a_record_in_order() -> None:
    """Rows become records by position."""
    names = [name.strip() for name in _columns.ENDED_COLUMNS.split(",")]

    assert list(SessionRecord.__dataclass_fields__) == names


CLAIM = Claim("lease", LIMITS, 5, 700)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(record=RECORDS)
def test_claim_has_the_effect_that_the_lifecycle_prescribes(held: Any, record: SessionRecord) -> None:
    """A session that is over is told as it is kept from then on; any other is filed for its next look."""
    held.hold(copy.deepcopy(record))
    over = lifecycle.expire(record, LIMITS, NOW)
    if over:
        lifecycle.lease(record, "lease", NOW + 700)
    claimed = held.store.claim(CLAIM)

    assert ([record] if over else []) == claimed.records
    look_ms = NOW + 700 if over else lifecycle.next_look(record, LIMITS, NOW)
    assert look_ms == claimed.next_due_ms or (isinstance(held, Memory) and look_ms > claimed.next_due_ms)
    assert record == held.store.read("s")
