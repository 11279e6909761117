"""The scripts decide as the core does: any sequence of operations, the same answers to the last field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from session_mw._core.identity import shard_of
from session_mw._core.ops import Add, Claim, End, Note, Touch
from session_mw._core.records import END_REASONS, Limits
from session_mw.stores.redis import RedisStore
from session_mw.testing import FakeClock
from tests.stores.core_store import CoreStore

LIMITS = Limits(idle_ms=1000, absolute_ms=6000, turn_ms=1500, skew_ms=100, settle_ms=50)
# Much happens to few: one session is usually meant, and its first generation.
IDS = st.sampled_from(["a", "a", "a", "a", "b", "c"])
USERS = st.sampled_from([None, None, "u_a", 'b"\u00e9'])
GENERATIONS = st.sampled_from([1, 1, 1, 1, 2, 3])
TIMES = st.sampled_from([-2000, -5000, -1000, -1, 0, 0, 0, 100])  # from now
RARELY = st.sampled_from([False, False, False, True])
NUMBERS = st.none() | st.integers(0, 9)
BESIDE_A = [name for name in map("x{}".format, range(1000)) if shard_of(name) == shard_of("a")]
# Beside, at and beyond what one field holds.
LONG = ["y" * 61, "y" * 62, "y" * 63, "z" * 125, "z" * 300, "w" * 509, "w" * 511, "w" * 2000]
TEXTS = st.sampled_from(["", "x", *LONG, *LONG, "\ud800\x00\u2603"])
VALUES = st.booleans() | st.integers(-1, 1) | st.floats(-1, 1) | TEXTS
NAMES = st.sampled_from(["session.type", "session.type", "n", "n", "+t", "+", ".", 'q"\u00e9', "_trace", "x" * 70])
ATTRIBUTES = st.dictionaries(NAMES, VALUES, max_size=4)
KEYS = st.lists(st.tuples(IDS, GENERATIONS), min_size=1, max_size=4, unique=True)
TOKENS = st.sampled_from(["t", "t", "t", "other"])

TOUCHES = st.fixed_dictionaries(
    {
        "session_id": st.sampled_from([None, "a", "a", "a", "a", "b"]),
        "new_id": st.sampled_from([None, None, "a", "b"]),  # None: one that nobody has
        "turn": st.booleans(),
        "own": RARELY,
        "keep": RARELY,
        "given_user": USERS,
        "claimed_user": USERS,
        "previous_id": st.sampled_from([None, "a", "earlier"]),
        "origin_ms": st.none() | TIMES,
        "recover_turns": st.none() | st.integers(0, 3),
        "conversation_id": st.sampled_from([None, None, "c1"]),
        "attributes": ATTRIBUTES,
        "partial": st.booleans(),
        "max_live": st.sampled_from([None, None, 64, 128]),  # one or two a shard
    }
)
ADDS = st.fixed_dictionaries(
    {
        "session_id": IDS,
        "generation": GENERATIONS,
        "at_ms": TIMES,
        "completed": st.integers(0, 1),
        "failed": st.integers(0, 1),
        "latency_ms": st.integers(0, 9),
        "input_tokens": NUMBERS,
        "output_tokens": NUMBERS,
        "cost_microusd": NUMBERS,
        "user_id": USERS,
        "attributes": st.dictionaries(NAMES, st.none() | VALUES, max_size=4),
    }
)
ENDS = st.fixed_dictionaries(
    {
        "session_id": IDS,
        "reason": st.sampled_from(END_REASONS),
        "next_id": st.none() | IDS,
        "ttl_ms": st.sampled_from([1, 1000, 10_000]),
        "settle_ms": st.sampled_from([0, 100]),
    }
)
STEPS = st.one_of(
    st.tuples(st.just("touch"), TOUCHES),
    st.tuples(st.just("touch"), TOUCHES),
    st.tuples(st.just("touch"), TOUCHES),
    st.tuples(st.just("add"), st.lists(ADDS, max_size=3)),
    st.tuples(st.just("end"), ENDS),
    st.tuples(st.just("renew"), st.lists(IDS, max_size=2)),
    st.tuples(st.just("claim"), TOKENS),
    st.tuples(st.just("claim"), TOKENS),
    st.tuples(st.just("ack"), st.tuples(KEYS, TOKENS)),
    st.tuples(st.just("nack"), st.tuples(KEYS, TOKENS)),
    st.tuples(st.just("annotate"), st.tuples(st.tuples(IDS, GENERATIONS), ATTRIBUTES, TOKENS)),
    st.tuples(st.just("confirm_start"), KEYS),
    st.tuples(st.just("pass"), st.sampled_from([1, 50, 99, 100, 500, 999, 1000, 1499, 1500, 2100, 4000, 6000])),
    st.tuples(st.just("pass"), st.sampled_from([500, 1000, 61_000, 172_800_000, 200_000_000])),
    st.tuples(st.just("back"), st.sampled_from([1, 1200])),
)


def exact(found: Any) -> str:
    """Return all there is to see: True is not 1, and 1 is not 1.0. The order of attributes means nothing."""
    attributes = dict(sorted(getattr(found, "attributes", {}).items()))
    return repr(replace(found, attributes=attributes)) if hasattr(found, "attributes") else repr(found)


class Pair:
    """The store under test and the core, asked the same."""

    def __init__(self, store: RedisStore, clock: FakeClock) -> None:
        self.clock = clock
        self.core, self.store = CoreStore(clock), store
        self.made = 0

    def step(self, what: str, given: Any) -> None:
        getattr(self, f"do_{what}")(given)

    def both(self, ask: Callable[[Any], Any]) -> None:
        expected, found = ask(self.core), ask(self.store)

        assert expected == found
        assert exact(expected) == exact(found)

    def do_touch(self, given: dict[str, Any]) -> None:
        new_id = given["new_id"]
        # Candidates are new: nobody has them, and nobody ever presented them.
        if new_id is None or new_id in self.core.newest or new_id in self.core.tombs:
            self.made += 1
            new_id = f"made-{self.made}"
        limits = replace(LIMITS, max_live=given["max_live"])
        given = {**given, "new_id": new_id, "limits": limits}
        del given["max_live"]
        if given["origin_ms"] is not None:
            given["origin_ms"] += self.clock()
        self.both(lambda store: store.touch(Touch(**given)))

    def do_add(self, given: list[dict[str, Any]]) -> None:
        items = [Add(**{**item, "at_ms": item["at_ms"] + self.clock()}) for item in given]
        self.both(lambda store: store.add(items))

    def do_end(self, given: dict[str, Any]) -> None:
        self.both(lambda store: store.end(End(**given)))

    def do_renew(self, given: list[str]) -> None:
        self.both(lambda store: store.renew(given, LIMITS))

    def do_claim(self, token: str) -> None:
        expected = self.core.claim(Claim(token, LIMITS, 500, 400))
        found = self.store.claim(Claim(token, LIMITS, 500, 400)).records

        assert sorted(map(exact, expected)) == sorted(map(exact, found))

    def do_ack(self, given: Any) -> None:
        # Longer than the minute by which a tombstone is prolonged that expires before its end is reported.
        self.both(lambda store: store.ack(given[0], given[1], 61_000))

    def do_nack(self, given: Any) -> None:
        self.both(lambda store: store.nack(given[0], given[1], 200))

    def do_annotate(self, given: Any) -> None:
        key, attributes, token = given
        self.both(lambda store: store.annotate([Note(*key, attributes)], token))

    def do_confirm_start(self, given: Any) -> None:
        self.both(lambda store: store.confirm_start(given))

    def do_revive(self, limit: int) -> None:
        self.both(lambda store: store.revive(limit))

    def do_pass(self, ms: int) -> None:
        self.clock.advance(ms=ms)

    def do_back(self, ms: int) -> None:
        # What has expired may have been removed, by the next claim or a later one: it does not come back for certain.
        expired = [at for _, at in self.core.tombs.values() if at <= self.clock()]
        self.clock.advance(ms=-ms if all(at <= self.clock() - ms for at in expired) else 0)

    def compare(self) -> None:
        for session_id in ("a", "b", "c"):
            self.both(lambda store, name=session_id: store.read(name))


@pytest.fixture
def shared(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        clock = FakeClock(1_000_000_000)
        store = RedisStore(f"{redis_url}?socket_timeout=5", clock)
        yield client, store, clock
        store.close()


def check(shared: Any, steps: list[Any]) -> None:
    client, store, clock = shared
    client.flushdb()
    clock.set(1_000_000_000)
    pair = Pair(store, clock)
    for what, asked in steps:
        pair.step(what, asked)
        pair.compare()


COMMON: Any = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=80, **COMMON)
@given(steps=st.lists(STEPS, min_size=10, max_size=30))
def test_scripts_decide_as_the_core_does(shared: Any, steps: list[Any]) -> None:
    """Whatever is asked in whatever order: the same answers, and the same records afterwards."""
    check(shared, steps)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=3000, **COMMON)
@given(steps=st.lists(STEPS, min_size=10, max_size=40))
def test_scripts_decide_as_the_core_does_for_long(shared: Any, steps: list[Any]) -> None:
    """The same with many more and longer histories."""
    check(shared, steps)


# What random histories meet too seldom.
SEQUENCES = {
    "closed after the claim, then acknowledged": [
        ("end", {"session_id": "a", "reason": "completed", "next_id": None, "ttl_ms": 1000, "settle_ms": 0}),
        ("claim", "t"),
        ("end", {"session_id": "a", "reason": "user_exit", "next_id": "b", "ttl_ms": 1000, "settle_ms": 0}),
        ("ack", ([("a", 1)], "t")),
    ],
    "a successor is named twice": [
        ("end", {"session_id": "a", "reason": "replaced", "next_id": "b", "ttl_ms": 1000, "settle_ms": 0}),
        ("end", {"session_id": "a", "reason": "replaced", "next_id": "c", "ttl_ms": 1000, "settle_ms": 0}),
    ],
    "forwarded for twice the idle time": [("pass", 1000), ("touch", {}), ("pass", 2099), ("touch", {})],
    "forwarded no longer": [("claim", "t"), ("pass", 1000), ("touch", {}), ("claim", "t"), ("ack", ([("a", 1)], "t"))],
    "idle and absolute timeout together": [
        *[("pass", 900), ("touch", {"turn": False})] * 5,
        *[("pass", 500), ("touch", {"turn": False}), ("pass", 1000), ("claim", "t")],
    ],
    "a long value is replaced by a short one": [
        ("add", [{"session_id": "a", "generation": 1, "at_ms": 0, "attributes": {"n": text}}])
        for text in ("y" * 400, "y" * 62, "y" * 300, "x", "y" * 2000, None, "y" * 126)
    ],
    "late activity of an ended session": [
        ("pass", 500),
        ("end", {"session_id": "a", "reason": "replaced", "next_id": None, "ttl_ms": 1000, "settle_ms": 50}),
        ("pass", 40),
        ("add", [{"session_id": "a", "generation": 1, "at_ms": 0, "completed": 1}]),
    ],
    "set aside after too many reports": [
        *[("claim", "t"), ("nack", ([("a", 1)], "t")), ("pass", 1000)] * 23,
        ("claim", "t"),
    ],
    "revived, set aside again, revived and reported": [
        *[*[("claim", "t"), ("nack", ([("a", 1)], "t")), ("pass", 1000)] * 23, ("revive", 9)] * 2,
        ("add", [{"session_id": "a", "generation": 1, "at_ms": 0, "completed": 1}]),
        ("claim", "t"),
        ("ack", ([("a", 1)], "t")),
    ],
    "revived after its id was used again": [
        *[("claim", "t"), ("nack", ([("a", 1)], "t")), ("pass", 1000)] * 22,
        ("touch", {"keep": True}),
        ("revive", 9),
        ("claim", "t"),
    ],
    "no room in one shard": [
        ("touch", {"session_id": None, "new_id": BESIDE_A[0], "max_live": 128}),
        ("touch", {"session_id": None, "new_id": BESIDE_A[1], "max_live": 128, "conversation_id": "c1"}),
        ("touch", {"session_id": BESIDE_A[1], "own": True, "origin_ms": -5000, "max_live": 128}),
        ("touch", {"session_id": BESIDE_A[1], "recover_turns": 3, "origin_ms": -5000, "max_live": 128}),
        ("touch", {"session_id": BESIDE_A[1], "keep": True, "attributes": {"n": 1}, "max_live": 128}),
        ("touch", {"session_id": BESIDE_A[0], "max_live": 64}),
        ("pass", 1000),
        ("touch", {"session_id": BESIDE_A[0], "max_live": 64}),
        ("claim", "t"),
        ("touch", {"session_id": None, "new_id": BESIDE_A[2], "max_live": 64}),
    ],
}


@pytest.mark.parametrize("steps", SEQUENCES.values(), ids=SEQUENCES)
def test_scripts_decide_as_the_core_does_step_by_step(shared: Any, steps: list[Any]) -> None:
    """The same for histories that somebody thought of; each goes on with the session that it began with."""
    begin = {"session_id": None, "new_id": "a", "origin_ms": None, "max_live": None}
    again = {"session_id": "a", "new_id": None, "origin_ms": None, "claimed_user": "u_a", "max_live": None}
    whole = [(what, {**again, **more} if what == "touch" else more) for what, more in steps]
    check(shared, [("touch", begin), *whole, *[("touch", again), ("pass", 2000), ("claim", "t")] * 2])


def test_limits_of_two_callers_are_their_own(shared: Any) -> None:
    """Nothing of a caller's settings is kept in Redis: the next one decides by its own."""
    _, store, clock = shared
    store.touch(Touch(None, "s", LIMITS))
    clock.advance(ms=1500)

    assert "extended" == store.touch(Touch("s", "t", replace(LIMITS, idle_ms=2000))).outcome
    clock.advance(ms=1500)
    store.add([Add("s", completed=2)])
    assert "rotated" == store.touch(Touch("s", "t", LIMITS)).outcome
