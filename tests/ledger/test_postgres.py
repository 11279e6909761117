"""The history in PostgreSQL: shared by threads, processes and the store's tables, and there after a sudden death."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from session_mw._core.ops import Claim
from session_mw._core.records import Limits
from session_mw.exceptions import StoreUnavailable
from session_mw.ledger import Ledger, Listing, RingLedger, Summing, open_ledger, read_filter
from session_mw.ledger.postgres import PostgresLedger
from session_mw.stores.postgres import PostgresStore
from tests.ledger.support import DAY, T0, dump, end, forks, late, start, turn


@pytest.fixture
def ledger(pg_emptied: str) -> Iterator[PostgresLedger]:
    made = PostgresLedger(pg_emptied)
    yield made
    made.close()


def counted(url: str, table: str) -> int:
    """Return how many rows a table has."""
    with psycopg.connect(url) as connection:
        row = connection.execute(f"SELECT count(*) FROM session_mw_ledger_{table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def test_history_lies_beside_the_store(pg_url: str) -> None:
    """By default the two share a URL, and neither disturbs the other's tables."""
    store, ledger = PostgresStore(pg_url, request_ms=20_000), open_ledger(pg_url)
    ledger.emit([end()])
    store.claim(Claim("token", Limits(1, 2, 1, 1)))

    assert 1 == len(ledger.sessions())
    assert 0 == store.stats().live
    store.close()
    ledger.close()


def test_filters_are_planned_for_their_own_values(ledger: PostgresLedger) -> None:
    """However often: one plan for all values took ten times as long from the sixth time on, and was cut off."""
    ledger.emit([end()])
    for hour in range(8):
        where = read_filter(f"has_errors:true last {hour + 1} hours", T0 + DAY)
        ledger.find(Listing(where))
        ledger.sessions(where=where)
        ledger.summary(Summing(where))
        ledger.session("s1")
    listed = "SELECT statement FROM pg_prepared_statements"
    prepared = ledger._database.use("ask", lambda db: db.fetch((listed.encode(), None)), background=True)

    assert ([], True) == (
        [text for (text,) in prepared if "failed" in text and "last_ms >=" in text],
        any("WHERE s.session_id = $1" in text for (text,) in prepared),  # what is the same for all values still is
    )


def test_every_ledger_keeps_the_same_of_odd_values(ledger: PostgresLedger) -> None:
    """Types and extremes come back as they went in, in rows and in turns."""
    odd = {"a": 1e300, "b": 1.0, "c": 1, "d": True, "e": -(2**63), "f": "\x00 \ud800 ☃", "g": 5e-324, "h": ""}
    ring = RingLedger()
    for each in (ledger, ring):
        each.emit([end("s1", attributes=odd)])
        each.write_turns([turn("s1", attributes=odd)])

    assert dump(ring, "s1") == dump(ledger, "s1")
    (kept,) = ledger.turns("s1")
    assert [(name, type(value)) for name, value in odd.items()] == [(n, type(v)) for n, v in kept.attributes.items()]


def test_forgetting_leaves_nothing_behind(ledger: PostgresLedger, pg_emptied: str) -> None:
    """Turns and late usage go with their session."""
    ledger.emit([end(), late(tokens_in=1)])
    ledger.write_turns([turn(number=n) for n in range(1, 4)])
    ledger.forget_older_than(T0 + DAY, 10)

    assert [0, 0, 0] == [counted(pg_emptied, table) for table in ("sessions", "turns", "late_usage")]


def test_forgetting_is_bounded_by_turns_too(
    ledger: PostgresLedger, pg_emptied: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session with very many turns is forgotten in several transactions, and wholly."""
    monkeypatch.setattr("session_mw.ledger.postgres.FORGET_TURNS", 10)
    monkeypatch.setattr("session_mw.ledger.postgres.FORGET_SESSIONS", 2)
    ledger.emit([end(f"s{i}") for i in range(5)])
    ledger.write_turns([turn("s1", number=n) for n in range(1, 36)])

    assert 5 == ledger.forget_older_than(T0 + DAY, 100)
    assert 0 == counted(pg_emptied, "turns")


def test_session_that_is_written_of_is_not_forgotten_meanwhile(ledger: PostgresLedger, pg_emptied: str) -> None:
    """Retention leaves it for the next time, and waits for nobody."""
    ledger.emit([end("old"), end("busy")])
    with psycopg.connect(pg_emptied) as other:
        other.execute("SELECT 1 FROM session_mw_ledger_sessions WHERE session_id = 'busy' FOR UPDATE")
        first = ledger.forget_older_than(T0 + DAY, 10)

    assert (1, 1) == (first, ledger.forget_older_than(T0 + DAY, 10))


# -- many at once


def work(ledger: Ledger, index: int) -> None:
    """Hold ten conversations, take part in one that all share, and tell everybody's news again."""
    for number in range(10):
        name = f"s{index}-{number}"
        ledger.emit([start(name), end("told-by-all"), start("shared")][:: 1 if index % 2 else -1])
        ledger.write_turns([turn(name, number=n, input_tokens=1) for n in (1, 2, 3)])
        ledger.write_turns([turn("shared", number=1 + index + 4 * number, input_tokens=1)])
        ledger.emit([end(name), end("told-by-all")])


def test_four_processes_write_and_nothing_is_lost_or_doubled(pg_url: str) -> None:
    """They begin with no tables; each turn counts once, each session ends once, however the writers interleave."""

    def run(index: int) -> None:
        ledger = open_ledger(pg_url)
        work(ledger, index)
        ledger.close()

    processes = [forks.Process(target=run, args=(index,)) for index in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(40)
    ledger = open_ledger(pg_url)
    rows = {row.session_id: row for row in ledger.sessions(1_000)}

    assert [0] * 4 == [process.exitcode for process in processes]
    assert 42 == len(rows)
    assert {"timed_out"} == {row.status for name, row in rows.items() if name != "shared"}
    assert list(range(1, 41)) == [one.number for one in ledger.turns("shared")]
    assert (40, 40, 40) == (rows["shared"].turns, rows["shared"].completed, rows["shared"].input_tokens)
    ledger.close()


def test_threads_write_and_read_at_once(ledger: PostgresLedger) -> None:
    """Nobody sees another one's transaction, and nothing is lost between threads."""
    barrier = threading.Barrier(4)
    seen: list[int] = []

    def use(index: int) -> None:
        barrier.wait(10)
        for number in range(10):
            ledger.emit([event(f"s{index}-{number}-{i}") for i in range(2) for event in (start, end)])
            seen.append(len(ledger.sessions(1_000)) % 2)

    threads = [threading.Thread(target=use, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [0] * 40 == seen  # pairs of sessions, never one of them
    assert 80 == len(ledger.sessions(1_000))


def test_after_kill_nine_everything_acknowledged_is_there_and_nothing_is_half_written(pg_emptied: str) -> None:
    """A batch of five sessions with their ends is there wholly or not at all."""
    acknowledged = sum(write_until_killed(pg_emptied, life, after=3 + 2 * life) for life in range(4))
    ledger = open_ledger(pg_emptied)
    rows = ledger.sessions(100_000)
    ledger.close()

    assert 0 == len(rows) % 5
    assert 5 * acknowledged <= len(rows) <= 5 * (acknowledged + 4)
    assert {"timed_out"} == {row.status for row in rows}
    assert {6} == {len(row.attributes) for row in rows}


def write_until_killed(url: str, life: int, after: int) -> int:
    """Let a process write batches, kill it after some of them, and return how many it had acknowledged."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        ledger = open_ledger(url)
        for batch in range(1_000_000):
            ledger.emit([event(f"{life}-{batch}-{i}") for i in range(5) for event in (start, end)])
            os.write(writer, b".")
    os.close(writer)
    seen = 0
    while seen < after:
        seen += len(os.read(reader, after - seen))
    time.sleep(0.0007 * life)  # somewhere in the middle of the next batch
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while more := os.read(reader, 1_000):
        seen += len(more)
    os.close(reader)
    return seen


def test_row_that_somebody_holds_is_not_waited_for_for_ever(ledger: PostgresLedger, pg_emptied: str) -> None:
    """The records are told not to be kept, so that they are given again."""
    ledger.emit([end()])
    hasty = PostgresLedger(pg_emptied, wait=0.5)
    hasty.sessions()
    with psycopg.connect(pg_emptied) as other:
        other.execute("SELECT 1 FROM session_mw_ledger_sessions FOR UPDATE")
        with pytest.raises(StoreUnavailable, match="cannot write history"):
            hasty.emit([late(tokens_in=1)])

    assert hasty.emit([late(tokens_in=1)]) is True
    assert 101 == ledger.sessions()[0].input_tokens
    hasty.close()
