"""
Any sequence of requests, sweeps, kills and clock steps, against a plain model of what has to come out.

The model knows no queue, no lease and no row: sessions with numbers, and what has been reported of them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test

from session_mw._core.identity import shard_of
from session_mw._core.ops import Add, Claim, End, Key, Note, SessionStore, Touch
from session_mw._core.records import Limits, SessionRecord
from session_mw.stores import MemoryStore, SqliteStore
from session_mw.stores.postgres import PostgresStore
from session_mw.stores.redis import RedisStore
from session_mw.testing import FakeClock
from tests.stores.pg_server import empty

IDLE, ABSOLUTE, TURN, LEASE = 1000, 6000, 1500, 400
LIMITS = Limits(IDLE, ABSOLUTE, TURN, 100)
KEPT = 10**9  # tombstones outlive the test


@dataclass
class Session:
    """One generation of an id, in the model."""

    start: int
    last: int
    turns: int = 0
    done: int = 0
    open_until: int = 0
    end: int | None = None
    reported: int = 0
    acknowledged: bool = False
    frozen: SessionRecord | None = None

    def deadline(self) -> int:
        held = self.open_until if self.turns > self.done else 0
        return min(max(self.last + IDLE, held), self.start + ABSOLUTE)


@dataclass
class Model:
    """What was asked so far, and what has to be true of it."""

    sessions: dict[Key, Session] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    max_live: int | None = None
    sharded: bool = False

    def full(self, session_id: str) -> bool:
        """Whether a session may begin where *session_id* lies: in the store, or in its shard."""
        if self.max_live is None:
            return False
        living = [name for (name, _), session in self.sessions.items() if session.end is None]
        if self.sharded:
            living = [name for name in living if shard_of(name) == shard_of(session_id)]
        return len(living) >= (1 if self.sharded else self.max_live)

    def alive(self, session_id: str) -> Session | None:
        found = self.sessions.get((session_id, self.newest.get(session_id, 0)))
        return found if found is not None and found.end is None else None

    def begin(self, session_id: str, now: int) -> Session:
        generation = self.newest[session_id] = self.newest.get(session_id, 0) + 1
        made = self.sessions[session_id, generation] = Session(now, now)
        return self.turn(made, now)

    def turn(self, session: Session, now: int) -> Session:
        session.last = max(session.last, now)
        session.turns += 1
        session.open_until = session.last + TURN
        return session

    def touch(self, session_id: str, new_id: str, keep: bool, now: int) -> tuple[str, str, int | None]:
        session = self.alive(session_id)
        if session is not None and max(now, session.last) < session.deadline():
            return "extended", session_id, self.turn(session, now).turns
        if session is not None:
            session.end = session.deadline()
        elif self.full(session_id) and (keep or session_id not in self.after):
            return "unstored", session_id if keep else new_id, None
        if keep:
            return "renewed", session_id, self.begin(session_id, now).turns
        if session_id in self.after:
            return "moved", self.after[session_id], None
        self.after[session_id] = new_id
        return "rotated", new_id, self.begin(new_id, now).turns


class StoreMachine(RuleBasedStateMachine):
    """One store, asked by everybody at once."""

    ids = Bundle("ids")
    kept_ids = Bundle("kept_ids")
    claims = Bundle("claims")

    def __init__(self, make: Callable[[FakeClock, str], SessionStore], sharded: bool = False) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.clock = FakeClock(100_000)
        self.store = make(self.clock, self.folder)
        self.model, self.limits = Model(sharded=sharded), LIMITS
        self.names = count(1)
        self.stepped_back = 0
        self.leases: dict[Key, tuple[str, int]] = {}

    def teardown(self) -> None:
        try:
            self.report_everything()
        finally:
            self.store.close()
            shutil.rmtree(self.folder)

    # -- requests

    @rule(max_live=st.sampled_from([None, None, 1, 3]))
    def bound(self, max_live: int | None) -> None:
        """From now on so many may live; what lives already goes on."""
        self.limits, self.model.max_live = replace(LIMITS, max_live=max_live), max_live

    @rule(target=ids)
    def start(self) -> Any:
        name = f"s{next(self.names)}"
        return self.started(name, Touch(None, name, self.limits))

    @rule(target=kept_ids)
    def start_kept(self) -> Any:
        name = f"k{next(self.names)}"
        return self.started(name, Touch(name, "unused", self.limits, keep=True))

    def started(self, name: str, ask: Touch) -> Any:
        expected = ("unstored", name, None) if self.model.full(name) else ("started", name, 1)
        touched = self.store.touch(ask)
        assert expected == (touched.outcome, touched.session_id, touched.turn_number)
        if touched.outcome == "unstored":
            return multiple()
        self.model.begin(name, self.clock())
        return name

    @rule(target=ids, session_id=ids, parallel=st.integers(1, 3))
    def touch(self, session_id: str, parallel: int) -> Any:
        """Parallel requests with one id: whoever comes first decides, one successor for all."""
        found = set()
        for _ in range(parallel):
            name = f"s{next(self.names)}"
            expected = self.model.touch(session_id, name, False, self.clock())
            touched = self.store.touch(Touch(session_id, name, self.limits))
            assert expected == (touched.outcome, touched.session_id, touched.turn_number)
            if touched.outcome != "unstored":
                found.add(touched.session_id)
        assert len(found) <= 1
        return multiple(*(found - {session_id}))

    @rule(session_id=kept_ids)
    def touch_kept(self, session_id: str) -> None:
        expected = self.model.touch(session_id, "unused", True, self.clock())
        touched = self.store.touch(Touch(session_id, "unused", self.limits, keep=True))
        assert expected == (touched.outcome, touched.session_id, touched.turn_number)
        assert self.model.newest[session_id] + (touched.outcome == "unstored") == touched.generation

    @rule(session_id=st.one_of(ids, kept_ids), done=st.integers(0, 2), older=st.booleans())
    def add(self, session_id: str, done: int, older: bool) -> None:
        generation = self.model.newest[session_id] - older
        session = self.model.sessions.get((session_id, generation))
        taken = self.store.add([Add(session_id, generation, self.clock(), completed=done)])
        # What a turn brought counts until the end is first reported: another worker may not have written it yet.
        assert [session is not None and not session.reported] == taken
        if session is not None and not session.reported:
            session.done += done
            session.last = max(session.last, min(self.clock(), session.end or self.clock()))

    @rule(session_id=st.one_of(ids, kept_ids))
    def end(self, session_id: str) -> None:
        session = self.model.alive(session_id)
        assert (session is not None) == self.store.end(End(session_id, "completed", ttl_ms=KEPT))
        if session is not None:
            session.end = session.last = max(session.last, self.clock())

    @rule(session_id=st.one_of(ids, kept_ids))
    def renew(self, session_id: str) -> None:
        session, now = self.model.alive(session_id), self.clock()
        due = session is not None and max(now, session.last) < session.deadline()
        assert int(due) == self.store.renew([session_id], LIMITS)
        if session is not None and due:
            session.open_until = max(session.open_until, max(now, session.last) + TURN)

    # -- sweeps

    @rule(target=claims, limit=st.integers(1, 5))
    def claim(self, limit: int) -> Any:
        token, now = f"t{next(self.names)}", self.clock()
        claimed = self.store.claim(Claim(token, LIMITS, limit, LEASE))
        for record in claimed.records:
            self.report(record, token, now)
        if len(claimed.records) < limit:
            self.check_nothing_was_missed(now, claimed.next_due_ms)
        keys = [(r.session_id, r.generation) for r in claimed.records]
        return (token, keys) if keys else multiple()

    def report(self, record: SessionRecord, token: str, now: int) -> None:
        key = (record.session_id, record.generation)
        session = self.model.sessions[key]
        assert self.leases.get(key, ("", 0))[1] <= now, "leased twice"
        assert not session.acknowledged, "reported again after it was acknowledged"
        if session.end is None:
            assert max(now, session.last) >= session.deadline(), "ended although alive"
            session.end = session.deadline()
        plain = replace(record, lease_token=None, lease_until_ms=0, attempts=0)
        assert session.frozen in (None, plain), "a frozen record changed"
        session.frozen = plain
        numbers = (record.turns, record.completed, record.last_ms, record.ended_ms, record.started_ms)
        assert (session.turns, session.done, session.last, session.end, session.start) == numbers
        session.reported += 1
        assert session.reported == record.attempts
        self.leases[key] = (token, now + LEASE)

    def check_nothing_was_missed(self, now: int, next_due: int | None) -> None:
        for key, session in self.model.sessions.items():
            if session.acknowledged:
                continue
            due = self.leases[key][1] if key in self.leases else session.end or session.deadline()
            due += self.stepped_back  # filed by a clock that was ahead: late by that at most
            assert due > now, "a due session was not claimed"
            assert next_due is not None
            assert next_due <= due, "a sweeper that sleeps would miss it"

    @rule(claim=claims)
    def acknowledge(self, claim: tuple[str, list[Key]]) -> None:
        token, keys = claim
        mine = [key for key in keys if self.leases.get(key, ("", 0))[0] == token]
        assert len(mine) == self.store.ack(keys, token, KEPT)
        self.forget(mine)

    def forget(self, keys: list[Key]) -> None:
        for key in keys:
            del self.leases[key]
            self.model.sessions[key].acknowledged = True

    @rule(claim=claims, delay=st.integers(0, 500))
    def hand_back(self, claim: tuple[str, list[Key]], delay: int) -> None:
        token, keys = claim
        mine = [key for key in keys if self.leases.get(key, ("", 0))[0] == token]
        assert len(mine) == self.store.nack(keys, token, delay)
        for key in mine:
            self.leases[key] = ("", self.clock() + delay)

    @rule(claim=claims, total=st.integers(0, 9))
    def annotate(self, claim: tuple[str, list[Key]], total: int) -> None:
        """What is worked out for an end is kept by the first who has the lease, and by nobody after it."""
        token, keys = claim
        expected = []
        for key in keys:
            frozen, mine = self.model.sessions[key].frozen, self.leases.get(key, ("", 0))[0] == token
            assert frozen is not None
            expected.append(mine and "_frozen" not in frozen.attributes)
            if expected[-1]:
                attributes = {**frozen.attributes, "total": total, "_frozen": True}
                self.model.sessions[key].frozen = replace(frozen, attributes=attributes)
        assert expected == self.store.annotate([Note(*key, {"total": total}) for key in keys], token)

    @rule(claim=claims)
    def kill_before_acknowledging(self, claim: tuple[str, list[Key]]) -> None:
        """The process is gone; its lease runs out."""
        token, keys = claim
        for key in keys:
            if self.leases.get(key, ("", 0))[0] == token:
                self.clock.now_ms = max(self.clock.now_ms, self.leases[key][1])

    # -- time

    @rule(ms=st.sampled_from([1, 99, 255, 256, 399, 400, 999, 1000, 1001, 1499, 1500, 5999, 20_000]))
    def time_passes(self, ms: int) -> None:
        self.clock.advance(ms=ms)

    @rule(ms=st.sampled_from([1, 300, 5000]))
    def clock_steps_back(self, ms: int) -> None:
        self.clock.advance(ms=-ms)
        self.stepped_back += ms

    @invariant()
    def count_is_right(self) -> None:
        stats = self.store.stats()
        sessions = self.model.sessions.values()
        assert sum(session.end is None for session in sessions) == stats.live
        waiting = sum(s.end is not None and not s.acknowledged for s in self.model.sessions.values())
        assert waiting == stats.ended + stats.dead

    def report_everything(self) -> None:
        """In the end every session was reported: once, and once more for each report that got lost."""
        self.clock.advance(ms=100_000 + self.stepped_back)
        for _ in range(10_000):
            claimed = self.store.claim(Claim("last", LIMITS, 50, LEASE))
            for record in claimed.records:
                self.report(record, "last", self.clock())
            keys = [(r.session_id, r.generation) for r in claimed.records]
            assert len(keys) == self.store.ack(keys, "last", KEPT)
            self.forget(keys)
            if not keys and not (claimed.next_due_ms is not None and claimed.next_due_ms <= claimed.now_ms):
                break
        for key, session in self.model.sessions.items():
            assert session.acknowledged, f"{key} was never reported"
        assert (0, 0) == (self.store.stats().live, self.store.stats().ended)


def memory(clock: FakeClock, folder: str) -> SessionStore:
    return MemoryStore(clock)


def sqlite(clock: FakeClock, folder: str) -> SessionStore:
    return SqliteStore(f"{folder}/live.db", clock)


EXAMPLES = {"memory": 60, "sqlite": 20, "postgresql": 20, "redis": 20}
LANDING_EXAMPLES = {"memory": 2000, "sqlite": 500, "postgresql": 350, "redis": 350}  # before anything lands
LONG_EXAMPLES = {"memory": 20_000, "sqlite": 10_000, "postgresql": 3_000, "redis": 3_000}
COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.fixture(params=list(EXAMPLES))
def engine(request: pytest.FixtureRequest) -> tuple[str, Any]:
    """Return the name of an engine, and what makes an empty store of it."""
    if request.param in ("memory", "sqlite"):
        return request.param, {"memory": memory, "sqlite": sqlite}[request.param]
    if request.param == "redis":
        redis_url = request.getfixturevalue("redis_url")
        return "redis", lambda clock, folder: emptied(RedisStore(f"{redis_url}?socket_timeout=5", clock))
    url = request.getfixturevalue("pg_emptied")

    def postgres(clock: FakeClock, folder: str) -> SessionStore:
        empty(url)
        return PostgresStore(url, clock, request_ms=20_000)

    return request.param, postgres


def emptied(store: RedisStore) -> SessionStore:
    store._driver.everywhere("empty the database", lambda client: client.flushdb())
    return store


def try_histories(engine: tuple[str, Any], examples: dict[str, int], steps: int) -> None:
    name, make = engine
    run_state_machine_as_test(
        lambda: StoreMachine(make, sharded=name == "redis"),
        settings=settings(max_examples=examples[name], stateful_step_count=steps, **COMMON),  # type: ignore[arg-type]
    )


def test_any_history_reports_every_session_and_counts_every_turn(engine: tuple[str, Any]) -> None:
    """Whatever happens in whatever order: each session ends, its numbers are right, nothing frozen changes."""
    try_histories(engine, EXAMPLES, 40)


@pytest.mark.landing
@pytest.mark.timeout(300)
def test_any_of_many_histories_reports_every_session_and_counts_every_turn(engine: tuple[str, Any]) -> None:
    """The same with 2,000 histories in memory, and hundreds in every other store."""
    try_histories(engine, LANDING_EXAMPLES, 40)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_any_long_history_reports_every_session_and_counts_every_turn(engine: tuple[str, Any]) -> None:
    """The same with many more and longer histories."""
    try_histories(engine, LONG_EXAMPLES, 80)
