"""What is particular to the store in memory: threads, forks, the end of the process, and little space."""

from __future__ import annotations

import json
import os
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_mw._core.ops import Add, Claim, End, Touch
from session_mw._core.records import Limits, SessionRecord
from session_mw.stores import MemoryStore, _remembered
from session_mw.stores._rows import Row, Sets, attributes_of, pack, unpack
from session_mw.testing import FakeClock

LIMITS = Limits(idle_ms=1_800_000, absolute_ms=86_400_000, turn_ms=600_000, skew_ms=60_000)


def touch(session_id: str | None = None, new_id: str = "new", **more: Any) -> Touch:
    return Touch(session_id, new_id, LIMITS, **more)


def in_threads(*works: Callable[[], object]) -> None:
    """Do all of it at once."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        barrier.wait()
        work()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# -- threads


def test_G13_turns_of_many_threads_are_numbered_without_gap() -> None:
    """Eight threads, one session: 1 to n."""
    store = MemoryStore()
    store.touch(touch(new_id="s"))
    numbers: list[int | None] = []
    in_threads(*[lambda: numbers.extend(store.touch(touch("s")).turn_number for _ in range(500))] * 8)

    assert list(range(2, 4002)) == sorted(n for n in numbers if n is not None)


def test_G14_threads_that_come_too_late_find_one_successor() -> None:
    """Six threads and a sweeper at the deadline of each of many sessions: one end, one successor, six turns."""
    clock = FakeClock()
    store = MemoryStore(clock)
    for n in range(200):
        store.touch(touch(new_id=f"s{n}"))
    clock.advance(ms=LIMITS.idle_ms)
    turns: list[tuple[int, str, int | None]] = []
    ends: list[str] = []

    def come_back() -> None:
        for n in range(200):
            touched = store.touch(touch(f"s{n}", f"{threading.get_ident()}-{n}"))
            if touched.outcome == "moved":
                touched = store.touch(touch(touched.session_id))
            turns.append((n, touched.session_id, touched.turn_number))

    def sweep() -> None:
        while len(ends) < 200:
            records = store.claim(Claim("t", LIMITS, 7)).records
            ends.extend(record.session_id for record in records)
            store.ack([(record.session_id, 1) for record in records], "t", 3_600_000)

    in_threads(*[come_back] * 6, sweep)

    assert {f"s{n}": 1 for n in range(200)} == Counter(ends)
    assert 200 == len({(n, session_id) for n, session_id, _ in turns})
    assert {(n, number): 1 for n in range(200) for number in range(1, 7)} == Counter((n, k) for n, _, k in turns)


# -- processes


def in_child(work: Callable[[], object]) -> Any:
    """Do *work* in a forked child; returns what it returned."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(text)


def test_boot_id_names_process_and_store() -> None:
    """It contains the process id, and no two stores share it."""
    store = MemoryStore()

    assert store.boot_id == store.boot_id
    assert store.boot_id.startswith(f"{os.getpid()}.")
    assert store.boot_id != MemoryStore().boot_id


def test_G6_forked_child_begins_with_nothing() -> None:
    """The parent's sessions are the parent's: a child that reported their ends would report them twice."""
    store = MemoryStore()
    boot_id = store.boot_id
    store.touch(touch(new_id="s"))
    live, number, childs_boot_id = in_child(
        lambda: [store.stats().live, store.touch(touch("s", own=True)).turn_number, store.boot_id]
    )

    assert (0, 1) == (live, number)
    assert childs_boot_id != boot_id
    assert not childs_boot_id.startswith(f"{os.getpid()}.")
    assert 2 == store.touch(touch("s")).turn_number
    assert boot_id == store.boot_id


def test_G6_child_forked_while_the_store_is_busy_is_not_stuck() -> None:
    """A lock that another thread held during the fork is not the child's."""
    store = MemoryStore()
    with store._lock:
        assert 1 == in_child(lambda: store.touch(touch()).turn_number)


# -- the end of the process


def test_drain_hands_every_live_session_to_a_last_claim() -> None:
    """Nothing is lost silently when the process stops; whose deadline had passed ended by that."""
    clock = FakeClock()
    store = MemoryStore(clock)
    store.touch(touch(new_id="idle"))
    clock.advance(ms=LIMITS.idle_ms)
    start_ms = clock()
    store.touch(touch(new_id="active"))
    store.touch(touch(new_id="left"))
    store.end(End("left", "user_exit"))
    clock.advance(ms=5000)
    drained = store.drain()
    records = {record.session_id: record for record in store.claim(Claim("t", LIMITS)).records}

    assert 2 == drained
    assert {"idle": "idle_timeout", "active": "shutdown", "left": "user_exit"} == {
        session_id: record.reason for session_id, record in records.items()
    }
    assert (start_ms, clock()) == (records["active"].last_ms, records["active"].ended_ms)
    assert 0 == store.drain()


def test_closing_loses_nothing() -> None:
    """A closed store can still be asked for what it held."""
    store = MemoryStore()
    store.touch(touch(new_id="s"))
    store.close()

    assert ["shutdown"] == [record.reason for record in store.claim(Claim("t", LIMITS)).records]


def test_records_handed_out_do_not_change_any_more() -> None:
    """A claimer that still holds a record while another takes over sees what it claimed."""
    clock = FakeClock()
    store = MemoryStore(clock)
    store.touch(touch(new_id="s"))
    store.end(End("s", "completed"))
    one = store.claim(Claim("one", LIMITS, lease_ms=10)).records[0]
    store.confirm_start([("s", 1)])
    clock.advance(ms=10)
    two = store.claim(Claim("two", LIMITS)).records[0]
    store.nack([("s", 1)], "two", 0)

    assert ("one", 1, False) == (one.lease_token, one.attempts, one.start_emitted)
    assert ("two", 2, True) == (two.lease_token, two.attempts, two.start_emitted)


# -- little space


def test_P9_session_takes_little_space() -> None:
    """At most 400 bytes, its id and its place in the queue included; a turn's totals add little."""
    count = 20_000
    ids = [f"{n:032d}" for n in range(count)]
    clock = FakeClock()
    store = MemoryStore(clock)
    attributes = {"session.type": "chat", "session.channel": "web", "session.locale": "en-US"}
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for session_id in ids:
        clock.advance(ms=50)
        store.touch(touch(None, session_id, attributes=attributes))
        store.touch(touch(session_id))
    each = (tracemalloc.get_traced_memory()[0] - before) / count + 49 + 32
    tracemalloc.stop()

    assert each <= 400


def test_remembering_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tombstones and counters beyond the bound go before their time, those that would go first."""
    monkeypatch.setattr(_remembered, "MAX_KEPT", 50)
    clock = FakeClock()
    store = MemoryStore(clock)
    for n in range(200):
        clock.advance(seconds=1)
        store.touch(touch(new_id=f"s{n}", conversation_id=f"c{n}"))
        store.end(End(f"s{n}", "completed"))
        records = store.claim(Claim("t", LIMITS)).records
        store.ack([(record.session_id, 1) for record in records], "t", 10_000_000)
    while store.scrub(10):
        pass

    assert 50 == store.stats().tombstones
    assert 2 == store.touch(touch("s199", own=True, conversation_id="c199")).conversation_turn
    assert "rotated" == store.touch(touch("s198", own=True)).outcome
    assert "started" == store.touch(touch("s0", own=True)).outcome


VALUES = st.booleans() | st.integers(0, 1) | st.sampled_from([0.0, 1.0, "", "x"])
CHANGES = st.lists(st.dictionaries(st.sampled_from("abcd"), VALUES | st.none(), max_size=4), max_size=5)


@given(st.dictionaries(st.sampled_from("abc"), VALUES), CHANGES)
def test_attributes_keep_their_values_however_they_are_kept(
    first: dict[str, Any], changes: Sequence[dict[str, Any]]
) -> None:
    """Shared sets and their differences read as the plain dictionary would, types included; nobody else notices."""
    store = MemoryStore()
    store.touch(touch(new_id="s", attributes=first))
    store.touch(touch(new_id="other", attributes=first))
    plain = dict(first)
    for change in changes:
        store.add([Add("s", attributes=change)])
        plain = {k: v for k, v in {**plain, **change}.items() if v is not None}
    found, other = store.read("s"), store.read("other")

    assert found is not None
    assert other is not None
    assert {k: (v, type(v)) for k, v in plain.items()} == {k: (v, type(v)) for k, v in found.attributes.items()}
    assert {k: (v, type(v)) for k, v in first.items()} == {k: (v, type(v)) for k, v in other.attributes.items()}


def test_attribute_sets_are_shared_and_bounded() -> None:
    """Equal sets exist once; a million different ones do not stay."""
    sets = Sets()
    one = sets.share({"a": 1})

    assert one is sets.share({"a": 1})
    assert one is not sets.share({"a": True})
    for n in range(5000):
        sets.share({"n": n})
    assert len(sets._known) <= 1024


def test_row_holds_everything_of_a_live_record() -> None:
    """Packed and unpacked, no field is lost."""
    record = SessionRecord(
        "s",
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        9,
        10,
        11,
        12,
        "u",
        13,
        "p",
        None,
        None,
        None,
        None,
        0,
        0,
        True,
        True,
        True,
        True,
        {"a": 1},
    )

    assert record == unpack(pack(record, Row(), Sets(), None))
    assert {} == attributes_of(None)
