"""The history in memory: bounded, of one process, safe from many threads."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from session_mw._core.records import UsageRecord
from session_mw.ledger import RingLedger, ring
from tests.ledger.support import T0, end, only, start, turn


def test_ring_forgets_the_oldest_session() -> None:
    """Ten thousand sessions are kept; the next one takes the place of the first."""
    ledger = RingLedger()
    ledger.emit([start("first"), *(end(f"s{i}") for i in range(ring.MAX_SESSIONS))])

    assert ledger.session("first") is None
    assert ring.MAX_SESSIONS == len(ledger.sessions(2 * ring.MAX_SESSIONS))
    assert f"s{ring.MAX_SESSIONS - 1}" == ledger.sessions(1)[0].session_id


def test_ring_forgets_the_oldest_session_when_turns_are_too_many() -> None:
    """Sessions with many turns are fewer sessions; the newest stays whatever it has."""
    ledger = RingLedger(max_sessions=10, max_turns=20)
    for name in ("a", "b", "c"):
        ledger.write_turns([turn(name, number=n) for n in range(1, 11)])
    assert ["c", "b"] == [row.session_id for row in ledger.sessions()]

    ledger.write_turns([turn("d", number=n) for n in range(1, 31)])
    assert ["d"] == [row.session_id for row in ledger.sessions()]


def test_ring_makes_room_where_sessions_were_forgotten_on_purpose() -> None:
    """Turns of forgotten sessions do not count against the others."""
    ledger = RingLedger(max_sessions=10, max_turns=20)
    ledger.write_turns([turn("old", number=n) for n in range(1, 16)])
    ledger.forget_older_than(T0 * 2, 10)
    for name in ("a", "b"):
        ledger.write_turns([turn(name, number=n) for n in range(1, 11)])

    assert ["b", "a"] == [row.session_id for row in ledger.sessions()]


def test_ring_keeps_the_newest_turns_of_an_endless_session() -> None:
    """A connection that streams for days does not take all of the memory."""
    ledger = RingLedger()
    ledger.write_turns([turn(number=n) for n in range(1, ring.MAX_TURNS_OF_ONE + 11)])

    kept = [one.number for one in ledger.turns("s1")]
    assert list(range(11, ring.MAX_TURNS_OF_ONE + 11)) == kept
    assert ring.MAX_TURNS_OF_ONE + 10 == only(ledger.sessions()).turns


def test_ring_that_nobody_reads_is_bounded_too() -> None:
    """What waits to be read is bounded as what was read is: the newest stays."""
    ledger = RingLedger(max_sessions=10, max_turns=20)
    for i in range(100):
        ledger.emit([start(f"s{i}"), end(f"s{i}")])
        ledger.write_turns([turn(f"s{i}", number=n) for n in range(1, 11)])

    assert 40 == len(ledger._mine().waiting)
    assert "s99" == ledger.sessions(1)[0].session_id
    assert 10 == len(ledger.turns("s99"))


CALLS = tuple(UsageRecord("tool", T0, 1, "t") for _ in range(10))
SAID = {"turn.messages": "x" * 5_000}


@pytest.mark.parametrize("below", [{"usages": CALLS}, {"attributes": SAID}], ids=["calls", "what was said"])
def test_ring_bounds_what_lies_below_turns(below: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls, and text, of many sessions and of an endless one, also while nobody reads; forgetting makes room."""
    for name, most in (("MAX_BELOW", 100), ("MAX_BELOW_OF_ONE", 50), ("WAITING_BELOW", 40)):
        monkeypatch.setattr(ring, name, most)
    ledger = RingLedger()
    ledger.write_turns([turn("endless", number=n, **below) for n in range(1, 40)])
    for name in range(20):
        ledger.write_turns([turn(f"s{name}", number=n, **below) for n in (1, 2)])
        assert len(ledger._mine().waiting) <= 4

    assert [f"s{name}" for name in range(19, 14, -1)] == [row.session_id for row in ledger.sessions()]
    ledger.write_turns([turn("endless", number=n, **below) for n in range(1, 40)])
    assert [35, 36, 37, 38, 39] == [one.number for one in ledger.turns("endless")]
    ledger.forget_content_older_than(T0 * 2, 99)
    ledger.forget_older_than(T0 * 2, 99)
    assert 0 == ledger._mine().pages._below


def test_ring_forgets_nobody_for_turns_it_no_longer_has() -> None:
    """What was dropped of an endless session does not count against the others."""
    ledger = RingLedger(max_sessions=10, max_turns=ring.MAX_TURNS_OF_ONE + 10)
    ledger.write_turns([turn("other")])
    for first in range(1, 4 * ring.MAX_TURNS_OF_ONE, 100):
        ledger.write_turns([turn("endless", number=n) for n in range(first, first + 100)])

        assert ["endless", "other"] == [row.session_id for row in ledger.sessions()]


def test_ring_is_written_and_read_from_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """No turn is lost or counted twice between threads, whoever writes in what waits."""
    ledger = RingLedger()
    barrier = threading.Barrier(6)
    failures: list[BaseException] = []

    def use(work: Callable[[int], object]) -> None:
        barrier.wait(10)
        try:
            for step in range(100):
                work(step)
        except Exception as error:
            failures.append(error)

    def writer(first: int) -> Callable[[int], object]:
        return lambda step: ledger.write_turns([turn(number=first + 4 * step, input_tokens=1)])

    monkeypatch.setattr(ring, "BATCH", 3)
    works = [*map(writer, range(1, 5)), lambda step: ledger.sessions(), lambda step: ledger.user_totals("u_1")]
    threads = [threading.Thread(target=use, args=(work,)) for work in works]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)

    row = only(ledger.sessions())
    assert [] == failures
    assert (400, 400, 400) == (row.turns, row.completed, row.input_tokens)


@pytest.mark.parametrize("written", [True, False], ids=["used before", "not used before"])
def test_ring_of_a_child_is_its_own(written: bool) -> None:
    """After a fork a lock may be held for ever and the content half done: the child begins anew."""
    ledger = RingLedger()
    if written:
        ledger.emit([end()])
    with ledger._mine().lock:  # as if another thread were reading at the moment of the fork
        pid = os.fork()
        if not pid:
            ledger.emit([end("child")])
            os._exit([row.session_id for row in ledger.sessions()] != ["child"])

    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert ledger.session("child") is None
