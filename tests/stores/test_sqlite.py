"""What an SQLite file goes through: many processes, forks, locks, full disks, damage, kills."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from session_mw import CallableSink
from session_mw._core.ops import Add, Claim, End, Touch
from session_mw._core.records import Limits
from session_mw._sqlite import database
from session_mw._sqlite.database import Patience
from session_mw.exceptions import StoreError, StoreUnavailable
from session_mw.stores import AsyncSqliteStore, SqliteStore, _live_sql
from session_mw.sweeper import Background, Plan
from session_mw.telemetry.metrics import Metrics
from session_mw.testing import FakeClock
from tests.stores.processes import Start, check_after_kills, in_child, together
from tests.stores.processes import start as start

LIMITS = Limits(idle_ms=1_800_000, absolute_ms=86_400_000, turn_ms=600_000, skew_ms=60_000)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "live.db")


@pytest.fixture
def store(path: str) -> Iterator[SqliteStore]:
    made = SqliteStore(path, busy_timeout_ms=20_000)  # a busy test machine; what a request may wait has tests below
    yield made
    made.close()


def touch(session_id: str | None = None, new_id: str = "new", **more: Any) -> Touch:
    return Touch(session_id, new_id, LIMITS, **more)


def lock(path: str) -> sqlite3.Connection:
    """Hold the write lock, as another process would."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection


# -- many processes


def test_G6_construction_opens_nothing(path: str) -> None:
    """The file comes into being with the first use."""
    store = SqliteStore(path)

    assert not os.path.exists(path)
    store.touch(touch())
    assert os.path.exists(path)
    store.close()


@pytest.mark.landing
def test_new_file_is_opened_by_eight_processes_at_once(path: str, start: Start) -> None:
    """Whoever comes first makes the tables, the others find them."""
    found = together([start("start", path) for _ in range(8)])

    assert [["started", 1, True]] * 8 == found


def test_G13_turn_numbers_have_no_gap_and_no_double_across_processes(path: str, start: Start) -> None:
    """Four processes begin turns of the same sessions; the first turns create them."""
    sessions, turns, processes = 5, 40, 4
    found = together([start("touch", path, sessions, turns) for _ in range(processes)])
    numbers = defaultdict(list)
    for name, number in (pair for pairs in found for pair in pairs):
        numbers[name].append(number)

    assert {f"shared-{n}": list(range(1, turns * processes + 1)) for n in range(sessions)} == {
        name: sorted(given) for name, given in numbers.items()
    }


def test_G14_expired_sessions_get_one_successor_across_processes(path: str, start: Start, store: SqliteStore) -> None:
    """Four processes come back to the same ended sessions at once, with turns 1 to 4 of one successor each."""
    sessions = 40
    for n in range(sessions):
        store.touch(touch(new_id=f"old-{n}"))
        store.end(End(f"old-{n}", "completed"))
    found = together([start("successors", path, sessions) for _ in range(4)])

    for of_one in zip(*found, strict=True):
        assert 1 == len({session_id for session_id, _ in of_one})
        assert [1, 2, 3, 4] == sorted(number for _, number in of_one)


def test_G3_S55_two_claimers_report_each_end_once(path: str, start: Start) -> None:
    """What is due is shared out between processes, nothing twice, nothing left."""
    clock = FakeClock()  # long ago
    store = SqliteStore(path, clock)
    for n in range(300):
        store.touch(touch(new_id=f"s{n}"))
    shares = together([start("claim", path, 20) for _ in range(2)])

    assert {f"s{n}": 1 for n in range(300)} == Counter(shares[0] + shares[1])
    assert (0, 0) == (store.stats().live, store.stats().ended)
    store.close()


# -- forks


def test_G6_forked_child_shares_no_connection(store: SqliteStore) -> None:
    """Parent and child go on with one file, each with connections of its own."""
    first = store.touch(touch())

    assert 2 == in_child(lambda: store.touch(touch(first.session_id)).turn_number)
    assert 3 == store.touch(touch(first.session_id)).turn_number
    assert [4, 5] == in_child(lambda: [store.touch(touch(first.session_id)).turn_number for _ in range(2)])


def test_G6_nothing_of_the_file_is_open_in_a_child(store: SqliteStore, path: str) -> None:
    """SQLite's locks belong to process and inode: a child must not even inherit a descriptor."""
    store.touch(touch())

    def open_files() -> list[str]:
        links = [f"/proc/self/fd/{n}" for n in os.listdir("/proc/self/fd")]
        return [target for link in links if (target := os.path.realpath(link)).startswith(path)]

    assert open_files()
    assert [] == in_child(open_files)


@pytest.mark.landing
def test_G6_fork_while_other_threads_write(store: SqliteStore) -> None:
    """Calls under way are waited for, calls that begin wait; nothing is lost, nobody is stuck."""
    store.touch(touch(new_id="busy"))
    stop, numbers = threading.Event(), []

    def write() -> None:
        while not stop.is_set():
            numbers.append(store.touch(touch("busy")).turn_number)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        children = [in_child(lambda: store.touch(touch("busy")).turn_number) for _ in range(5)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert list(range(2, len(numbers) + 7)) == sorted([*numbers, *children])


# -- locks


def test_G7_store_locked_for_a_while_succeeds_without_holding_up_the_loop(
    store: SqliteStore, start: Start, path: str
) -> None:
    """While another process writes, the call waits in a thread; the event loop goes on."""
    first = store.touch(touch())
    start("hold", path, 0.2).until_ready()

    async def work() -> tuple[Any, float]:
        longest, before = 0.0, time.perf_counter()
        task = asyncio.create_task(AsyncSqliteStore(store).touch(touch(first.session_id)))
        while not task.done():
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            longest, before = max(longest, now - before), now
        return await task, longest

    touched, longest = asyncio.run(work())

    assert ("extended", 2) == (touched.outcome, touched.turn_number)
    # 4 ms of SQLite's own waiting; the rest is what a busy test machine adds.
    assert longest < 0.05


def test_G7_store_locked_for_ever_is_unavailable_within_the_budget(path: str) -> None:
    """Both faces give up after the time they were given, and say what to do."""
    store = SqliteStore(path, busy_timeout_ms=100)
    store.touch(touch())
    holder = lock(path)
    try:
        again = touch("new")
        for call in (lambda: store.touch(again), lambda: asyncio.run(AsyncSqliteStore(store).touch(again))):
            begin = time.perf_counter()
            with pytest.raises(StoreUnavailable, match="locked") as raised:
                call()
            assert time.perf_counter() - begin < 1.5
            assert isinstance(raised.value.__cause__, sqlite3.OperationalError)
    finally:
        holder.close()
    assert 2 == store.touch(again).turn_number
    store.close()


def test_G7_time_in_which_a_process_is_not_run_counts_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that has too much to do nobody gives up who has hardly tried; but there is an end to that, too."""
    now = [100.0]
    monkeypatch.setattr("session_mw._sqlite.database.time.monotonic", lambda: now[0])

    def tries(apart: float) -> tuple[int, float]:
        patience, began, count = Patience(100), now[0], 1
        now[0] += apart
        while not patience.over():
            count += 1
            now[0] += apart
        return count, now[0] - began

    assert (500, 0.1) == pytest.approx(tries(0.0002), rel=0.01)
    assert (100, 0.4) == pytest.approx(tries(0.004), rel=0.02)
    assert (10, 1.0) == pytest.approx(tries(0.1), rel=0.11)
    assert (1, 5.0) == pytest.approx(tries(5.0))


def test_G6_after_a_fork_a_request_waits_for_the_others_who_open_the_file(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For two seconds, on both sides; not where nothing was opened before: a worker of a server that forks first."""
    assert 2_000 == database.AFTER_FORK_MS
    monkeypatch.setattr(database, "AFTER_FORK_MS", 60_000)  # a fork of a large process takes seconds of a busy machine
    store = SqliteStore(path)
    unused = in_child(lambda: store._database._patience(False).ms)
    store.touch(touch())
    child = in_child(lambda: store._database._patience(False).ms)
    parent = store._database._patience(False).ms
    store._database._connections.forked_s -= 60.0

    assert (100, 60_000, 60_000) == (unused, child, parent)
    assert (100, 5_000) == (store._database._patience(False).ms, store._database._patience(True).ms)
    store.close()


def test_G15_claim_has_the_file_for_a_hundred_sessions_at_a_time(path: str) -> None:
    """Others write in between; what is left is due at once, and one sweep goes on until nothing is."""
    clock, taken = FakeClock(), list[str]()
    store = SqliteStore(path, clock)
    for number in range(250):
        store.touch(touch(new_id=f"s{number:03d}"))
    clock.advance(ms=LIMITS.idle_ms)
    first = store.claim(Claim("lease", LIMITS, 500, 1_000))
    clock.advance(ms=1_000)
    sink = CallableSink(lambda events: taken.extend(e.key[0] for e in events if e.event_name == "session.end"))
    done = Background(Plan(store, LIMITS, [sink], Metrics())).sweep()

    assert (100, True) == (len(first.records), (first.next_due_ms or 0) <= first.now_ms)
    assert (250, 250) == (done, len(set(taken)))
    store.close()


def test_nothing_due_needs_no_lock(store: SqliteStore, path: str) -> None:
    """Idle sweepers of many workers do not stand in the way of requests, nor wait for them."""
    store.touch(touch())
    store.claim(Claim("warm", LIMITS))
    holder = lock(path)
    try:
        assert [] == store.claim(Claim("t", LIMITS)).records
    finally:
        holder.close()


# -- disks


def test_G7_full_disk_is_unavailable_and_over_when_there_is_space(path: str) -> None:
    """SQLITE_FULL is passed on as such; nothing is half written."""
    store = SqliteStore(path)
    store.touch(touch(new_id="first"))
    big = {"x": "y" * 100_000}
    store._database.run("limit the file", lambda c: c.execute("PRAGMA max_page_count = 30").fetchall())
    with pytest.raises(StoreUnavailable, match="full") as raised:
        store.touch(touch(new_id="second", attributes=big))

    assert isinstance(raised.value.__cause__, sqlite3.OperationalError)
    assert None is store.read("second")  # the limit was the connection's, and that was closed
    assert 1 == store.touch(touch(new_id="second", attributes=big)).turn_number
    assert 2 == store.touch(touch("first")).turn_number
    store.close()


def test_missing_directory_is_named(tmp_path: Path) -> None:
    """At first use, with what to do about it."""
    store = SqliteStore(str(tmp_path / "nowhere" / "live.db"))
    with pytest.raises(StoreError, match=r"there is no directory .*nowhere.*Create it"):
        store.touch(touch())


def test_relative_path_starts_where_the_store_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers change their directory; sessions stay together."""
    monkeypatch.chdir(tmp_path)
    store = SqliteStore("live.db")
    monkeypatch.chdir("/")
    store.touch(touch())
    store.close()

    assert (tmp_path / "live.db").exists()


def test_older_tables_are_brought_to_the_present_version(path: str, store: SqliteStore) -> None:
    """Sessions of an earlier release go on; whoever opens the file first changes its tables, others find them so."""
    store.touch(touch(new_id="s1"))
    store.close()
    connection = sqlite3.connect(path)
    connection.execute("ALTER TABLE live_session DROP COLUMN idle_ms")  # as it was in version 1
    connection.execute("UPDATE live_meta SET value = 1 WHERE key = 'schema'")
    connection.commit()
    connection.close()
    one, other = SqliteStore(path), SqliteStore(path)

    assert [2, 3] == [each.touch(touch("s1")).turn_number for each in (one, other)]
    one.close()
    other.close()


def test_newer_tables_are_refused(path: str, store: SqliteStore) -> None:
    """An older release does not write into tables it does not know."""
    store.touch(touch())
    store.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE live_meta SET value = 99 WHERE key = 'schema'")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="version 99"):
        store.touch(touch())


@pytest.mark.parametrize("opened", [False, True], ids=["found at opening", "found while open"])
def test_G7_file_that_is_no_database_is_moved_aside(path: str, opened: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A new file is begun, the old one is kept, one line is logged; a lost session goes on from its token."""
    store = SqliteStore(path)
    if opened:
        for n in range(100):
            store.touch(touch(new_id=f"s{n}"))
        store._database.run("empty the log", lambda c: c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
        store._database.run("empty the cache", lambda c: c.execute("PRAGMA shrink_memory").fetchall())
    Path(path).write_bytes(b"this is no database" * 5000)
    with caplog.at_level(logging.ERROR, "session_mw"):
        touched = store.touch(touch("s1", recover_turns=1, previous_id="p"))

    assert ("recovered", 2) == (touched.outcome, touched.turn_number)
    assert 1 == len([r for r in caplog.records if "no usable database" in r.getMessage()])
    kept = [
        name for name in os.listdir(os.path.dirname(path)) if ".corrupt-" in name and name.endswith(tuple("0123456789"))
    ]
    assert 1 == len(kept)
    assert (Path(path).parent / kept[0]).read_bytes().startswith(b"this is no database")
    assert ("extended", 3) == (lambda t: (t.outcome, t.turn_number))(store.touch(touch("s1")))
    store.close()


def test_G7_damage_is_handled_by_the_asynchronous_face_too(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """Moving a file aside is work for a thread."""
    store = SqliteStore(path)
    store.touch(touch())
    store.close()
    Path(path).write_bytes(b"\0" * 50_000)

    touched = asyncio.run(AsyncSqliteStore(store).touch(touch()))

    assert "started" == touched.outcome
    assert 1 == len(caplog.records)
    store.close()


def test_two_stores_of_a_damaged_file_move_it_once(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """The second one finds the new file and goes on with it."""
    Path(path).write_bytes(b"this is no database" * 5000)
    one, two = SqliteStore(path), SqliteStore(path)

    assert 1 == one.touch(touch(new_id="a")).turn_number
    assert 2 == two.touch(touch("a")).turn_number
    assert 1 == len(caplog.records)
    one.close()
    two.close()


def test_threads_that_find_the_damage_together_move_the_file_once(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """The others see that it was done, and do not move the new file."""
    Path(path).write_bytes(b"this is no database" * 5000)
    store = SqliteStore(path)
    barrier = threading.Barrier(4)
    numbers: list[int | None] = []

    def work() -> None:
        barrier.wait()
        numbers.extend(store.touch(touch("s", own=True)).turn_number for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert list(range(1, 81)) == sorted(n for n in numbers if n is not None)
    assert 1 == len(caplog.records)
    store.close()


def test_file_that_was_removed_is_begun_anew_with_the_next_sweep(path: str) -> None:
    """Otherwise each process would go on with a file of its own that nobody else can see."""
    store, other = SqliteStore(path), SqliteStore(path)
    store.touch(touch(new_id="a"))
    for suffix in ("", "-wal", "-shm"):
        os.unlink(path + suffix)
    other.touch(touch(new_id="b"))
    store.claim(Claim("t", LIMITS))

    assert 2 == store.touch(touch("b")).turn_number
    store.close()
    other.close()


# -- what is kept


def test_sessions_outlive_the_process(path: str) -> None:
    """What was acknowledged is there for the next process."""
    store = SqliteStore(path)
    store.touch(touch(new_id="first", attributes={"a": 1}))
    store.add([Add("first", completed=1)])
    store.close()
    again = SqliteStore(path)
    record = again.read("first")

    assert record is not None
    assert (1, 1, {"a": 1}) == (record.turns, record.completed, record.attributes)
    again.close()


def test_tables_leave_room_for_others(path: str, store: SqliteStore) -> None:
    """The history may share the file: everything of ours has our prefix, and the user version is not ours."""
    store.touch(touch())
    connection = sqlite3.connect(path)
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()

    assert [] == [name for name in names if not name.startswith("live_")]
    assert 0 == version


def test_touch_does_not_write_the_due_index(path: str, store: SqliteStore) -> None:
    """The usual touch changes one row of one table: the statement's plan touches no index but the key."""
    store.touch(touch())
    connection = sqlite3.connect(path)
    names = ("now", "user", "claimed", "turn", "turn_ms", "id", "idle", "absolute", "skew")
    steps = connection.execute(f"EXPLAIN {_live_sql.EXTEND}", dict.fromkeys(names, 1)).fetchall()
    roots = {row[3] for row in steps if row[1] == "OpenWrite"}
    table = {row[0] for row in connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'live_session'")}
    connection.close()

    assert table == roots


# -- kills


def checked(store: SqliteStore) -> list[object]:
    """Return what SQLite finds broken in the store's file."""
    return store._database.run("check", lambda c: c.execute("PRAGMA integrity_check").fetchall())


@pytest.mark.slow
def test_G4_kill_at_any_instruction_loses_nothing(path: str, tmp_path: Path, start: Start) -> None:
    """Three workers, killed again and again for some seconds."""
    store = SqliteStore(path, busy_timeout_ms=20_000)
    check_after_kills(store, path, tmp_path, start, seconds=5)

    assert [("ok",)] == checked(store)
    store.close()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_G4_many_kills_at_any_instruction_lose_nothing(path: str, tmp_path: Path, start: Start) -> None:
    """The same for two minutes: some hundred kills."""
    store = SqliteStore(path, busy_timeout_ms=20_000)
    check_after_kills(store, path, tmp_path, start, seconds=120)

    assert [("ok",)] == checked(store)
    store.close()
