"""What a PostgreSQL store goes through among many workers: races, forks, event loops, kills."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import psycopg
import pytest

from session_mw._core.ops import Add, Claim, End, Touch, Touched
from session_mw._core.records import Limits
from session_mw.exceptions import StoreError
from session_mw.stores import _pg_live
from session_mw.stores._census import Census
from session_mw.stores.postgres import AsyncPostgresStore, PostgresStore
from session_mw.testing import FakeClock
from tests.stores.processes import Start, check_after_kills, in_child, in_children
from tests.stores.processes import start as start

LIMITS = Limits(idle_ms=1_800_000, absolute_ms=86_400_000, turn_ms=600_000, skew_ms=60_000)


@pytest.fixture
def store(pg_emptied: str) -> Iterator[PostgresStore]:
    made = patient(pg_emptied)
    yield made
    made.close()


def patient(url: str, clock: Callable[[], int] | None = None, **more: Any) -> PostgresStore:
    """A store that forgives a busy test machine."""
    return PostgresStore(url, clock, **{"request_ms": 20_000, "background_ms": 20_000, **more})


def touch(session_id: str | None = None, new_id: str = "new", **more: Any) -> Touch:
    return Touch(session_id, new_id, LIMITS, **more)


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Let *count* threads begin at the same moment; returns what they found."""
    barrier, found = threading.Barrier(count), [None] * count

    def run(number: int) -> None:
        barrier.wait(20)
        found[number] = work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


# -- what goes over the wire


def test_G6_construction_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is connected to before the first use; tests/processes looks at all that a whole process has."""
    asked: list[str] = []

    def refuse(place: object, **_: object) -> None:
        asked.append(str(place))
        raise psycopg.OperationalError("nobody is let in")

    monkeypatch.setattr(psycopg.Connection, "connect", refuse)
    monkeypatch.setattr(psycopg.AsyncConnection, "connect", refuse)
    store = PostgresStore("postgresql://nobody@127.0.0.1:9/none")
    AsyncPostgresStore(store)
    store.close()
    before = [place for place in asked if "nobody" in place]
    with pytest.raises(StoreError):
        store.touch(touch())

    assert [] == before
    assert [place for place in asked if "nobody" in place]


@pytest.mark.parametrize("conversation", [None, "c"])
def test_touch_is_one_statement(conversation: str | None) -> None:
    """The usual case is one round trip, the conversation's turn included."""
    row = (7, 1, 2, 1, 1, None, None, "{}", 5, 9, 3, "")
    work = _pg_live.touch(touch("s", conversation_id=conversation), None, Census())
    batch = next(work)
    with pytest.raises(StopIteration) as stopped:
        work.send([[row]])

    assert 1 == len(batch)
    touched = stopped.value.value
    assert (7, None if conversation is None else 3) == (touched.turn_number, touched.conversation_turn)


def test_server_tells_the_time(store: PostgresStore) -> None:
    """Workers whose clocks differ agree: none is asked."""
    touched = store.touch(touch())
    with psycopg.connect(store._database.address.told) as connection:
        row = connection.execute("SELECT extract(epoch FROM clock_timestamp()) * 1000").fetchone()

    assert row is not None
    assert 0 <= float(row[0]) - touched.now_ms < 10_000


def test_every_touch_is_a_HOT_update(pg_url: str) -> None:
    """No index is written, however many sessions share a page."""
    store = patient(pg_url)
    for number in range(300):
        store.touch(touch(new_id=f"s{number}", attributes={"session.channel": "web"}))
    for number in range(900):
        store.touch(touch(f"s{number % 300}"))
    store.close()  # a connection that ends tells its numbers
    with psycopg.connect(pg_url, autocommit=True) as connection:
        seen = None
        while seen is None or seen[0] < 900:
            seen = connection.execute(
                "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables "
                "WHERE relid = to_regclass('session_mw_live') AND pg_stat_clear_snapshot() IS NOT NULL"
            ).fetchone()

    assert seen == (900, 900)


def test_claim_finds_what_is_due_by_an_index(pg_url: str) -> None:
    """Neither a sweep that finds nothing nor one that finds much walks over the living; rows found are not sought."""
    store = patient(pg_url, FakeClock())
    store.touch(touch())
    store.close()
    with psycopg.connect(pg_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO session_mw_live SELECT 's' || n, 0, 0, 1, 0, 0, 1, 1, 0, 0, NULL, NULL, NULL, NULL, NULL,"
            " NULL, false, false, false, false, '{}', n, NULL FROM generate_series(1, 20000) AS n"
        )
        connection.execute("ANALYZE session_mw_live")
        freeze = {"now": 500, "limit": 500, "idle": 1, "absolute": 1, "token": "lease", "until": 600}
        plans = [
            "\n".join(line for (line,) in connection.execute(b"EXPLAIN " + statement, asked))
            for statement, asked in ((_pg_live.sql.FREEZE, freeze), (_pg_live.sql.LOOK, {"now": 0}))
        ]

    assert all("session_mw_live_due" in plan for plan in plans), plans
    assert all("Seq Scan on session_mw_live" not in plan for plan in plans), plans
    assert 2 == plans[0].count("Tid Scan on session_mw_live"), plans[0]


# -- races


def test_G14_six_first_turns_of_one_provisional_id_make_one_session(store: PostgresStore) -> None:
    """One record under the id that the cookie had, with turns 1 to 6."""
    for n in range(10):
        found = at_once(6, lambda _, n=n: store.touch(touch(f"minted-{n}", own=True)))

        assert {f"minted-{n}"} == {touched.session_id for touched in found}
        assert [1, 2, 3, 4, 5, 6] == sorted(touched.turn_number for touched in found)
        assert {"started": 1, "extended": 5} == Counter(touched.outcome for touched in found)


def test_G14_six_first_turns_on_one_event_loop_make_one_session(store: PostgresStore) -> None:
    """The same for tasks."""
    face = AsyncPostgresStore(store)

    async def work() -> list[Touched]:
        return await asyncio.gather(*(face.touch(touch("minted", own=True, conversation_id="c")) for _ in range(6)))

    found = asyncio.run(work())

    assert [1, 2, 3, 4, 5, 6] == sorted(touched.turn_number or 0 for touched in found)
    assert [1, 2, 3, 4, 5, 6] == sorted(touched.conversation_turn or 0 for touched in found)


def race(store: PostgresStore, clock: FakeClock, sessions: int) -> None:
    """Let six return to each of many sessions that are over while two sweepers claim them."""
    for n in range(sessions):
        store.touch(touch(new_id=f"old-{n}"))
    clock.advance(ms=LIMITS.idle_ms)

    def come_back(number: int) -> Any:
        if number >= 6:
            return sweep(store, f"sweeper-{number}")
        found = []
        for n in range(sessions):
            touched = store.touch(touch(f"old-{n}", f"made-{number}-{n}"))
            if touched.outcome == "moved":
                touched = store.touch(touch(touched.session_id, "unused"))
            found.append((touched.session_id, touched.turn_number))
        return found

    *turns, one, other = at_once(8, come_back)

    for n, of_one in enumerate(zip(*turns, strict=True)):
        assert 1 == len({session_id for session_id, _ in of_one}), "more than one successor"
        assert [1, 2, 3, 4, 5, 6] == sorted(number for _, number in of_one), "a turn miscounted"
        record = store.read(of_one[0][0])
        assert record is not None
        assert (6, f"old-{n}") == (record.turns, record.previous_id)
    left = sweep(store, "last")
    assert {f"old-{n}": 1 for n in range(sessions)} == Counter(one + other + left)


def sweep(store: PostgresStore, token: str) -> list[str]:
    """Claim and acknowledge until nothing is found; returns the sessions."""
    found: list[str] = []
    while records := store.claim(Claim(token, LIMITS, 7)).records:
        found += [record.session_id for record in records]
        assert len(records) == store.ack([(record.session_id, 1) for record in records], token, 10**8)
    return found


def test_G13_G14_touch_that_races_the_end_makes_one_successor(pg_emptied: str) -> None:
    """Every turn is counted once, every end is reported once, whoever is first."""
    clock = FakeClock()
    store = patient(pg_emptied, clock, size=6)
    race(store, clock, 60)
    store.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_G13_G14_many_touches_that_race_the_end_make_one_successor_each(pg_emptied: str) -> None:
    """The same 1,500 times."""
    clock = FakeClock()
    store = patient(pg_emptied, clock, size=6)
    race(store, clock, 1500)
    store.close()


def test_counters_of_workers_that_share_sessions_add_up(store: PostgresStore) -> None:
    """Batches that overlap in any order wait for each other and never deadlock; nothing is lost."""
    names = [f"s{n}" for n in range(20)]
    for name in names:
        store.touch(touch(new_id=name))

    def add(number: int) -> None:
        mine = names[number * 5 :] + names[: number * 5]
        for _ in range(10):
            assert [True] * 20 == store.add([Add(name, completed=1, input_tokens=2) for name in mine])
            store.confirm_start([(name, 1) for name in mine])
            assert 20 == store.renew(mine, LIMITS)

    at_once(4, add)

    records = [store.read(name) for name in names]
    assert {(40, 80, True)} == {(r.completed, r.input_tokens, r.start_emitted) for r in records if r is not None}


# -- many processes


@pytest.mark.landing
def test_empty_database_is_opened_by_eight_processes_at_once(pg_url: str) -> None:
    """Whoever comes first makes the tables, the others find them."""

    def start(number: int) -> object:
        store = patient(pg_url)
        touched = store.touch(touch(new_id=f"s{number}"))
        return [touched.outcome, touched.turn_number, store.stats().live >= 1]

    assert [["started", 1, True]] * 8 == in_children(8, start)


@pytest.mark.landing
def test_G13_turn_numbers_have_no_gap_and_no_double_across_processes(pg_emptied: str) -> None:
    """Four processes begin turns of the same sessions; the first turns create them."""
    sessions, turns, processes = 5, 40, 4

    def serve(number: int) -> object:
        store, names = patient(pg_emptied), [f"shared-{n}" for n in range(sessions)] * turns
        random.Random(number).shuffle(names)
        return [[name, store.touch(touch(name, own=True)).turn_number] for name in names]

    numbers = defaultdict(list)
    for name, number in (pair for pairs in in_children(processes, serve) for pair in pairs):
        numbers[name].append(number)

    assert {f"shared-{n}": list(range(1, turns * processes + 1)) for n in range(sessions)} == {
        name: sorted(given) for name, given in numbers.items()
    }


@pytest.mark.landing
def test_G14_ended_sessions_get_one_successor_across_processes(pg_emptied: str) -> None:
    """Four processes come back to the same ended sessions at once, with turns 1 to 4 of one successor each."""
    sessions, store = 40, patient(pg_emptied)
    for n in range(sessions):
        store.touch(touch(new_id=f"old-{n}"))
        store.end(End(f"old-{n}", "completed"))
    store.close()

    def come_back(number: int) -> object:
        mine, found = patient(pg_emptied), []
        for n in range(sessions):
            touched = mine.touch(touch(f"old-{n}", f"made-{number}-{n}"))
            if touched.outcome == "moved":
                touched = mine.touch(touch(touched.session_id))
            found.append([touched.session_id, touched.turn_number])
        return found

    for of_one in zip(*in_children(4, come_back), strict=True):
        assert 1 == len({session_id for session_id, _ in of_one})
        assert [1, 2, 3, 4] == sorted(number for _, number in of_one)


def test_G3_S55_two_claimers_report_each_end_once(pg_emptied: str) -> None:
    """What is due is shared out between processes, nothing twice, nothing left."""
    store = patient(pg_emptied, FakeClock())  # long ago
    for n in range(300):
        store.touch(touch(new_id=f"s{n}"))
    shares = in_children(2, lambda number: sweep(patient(pg_emptied), f"sweeper-{number}"))
    later = patient(pg_emptied)
    left = sweep(later, "last")  # of what one had locked the other saw nothing

    assert {f"s{n}": 1 for n in range(300)} == Counter(shares[0] + shares[1] + left)
    assert (0, 0) == (store.stats().live, store.stats().ended)
    for each in (store, later):
        each.close()


# -- forks and event loops


def test_G6_forked_child_shares_no_connection(store: PostgresStore) -> None:
    """Parent and child go on with one database, each with connections of its own."""
    first = store.touch(touch())

    assert 2 == in_child(lambda: store.touch(touch(first.session_id)).turn_number)
    assert 3 == store.touch(touch(first.session_id)).turn_number
    assert [4, 5] == in_child(lambda: [store.touch(touch(first.session_id)).turn_number for _ in range(2)])
    assert 6 == store.touch(touch(first.session_id)).turn_number


def test_G6_child_that_exits_leaves_the_parents_connections_alone(store: PostgresStore) -> None:
    """Also when it closes its store, and its interpreter ends with all that an exit does."""
    first = store.touch(touch())
    asyncio.run(_touch_all(AsyncPostgresStore(store), [first.session_id]))
    pids = server_pids(store)
    child = os.fork()
    if not child:
        try:
            store.close()
            store._database._pools[False]._idle.clear()
        finally:
            os._exit(0)
    os.waitpid(child, 0)

    assert 3 == store.touch(touch(first.session_id)).turn_number
    assert pids == server_pids(store)


def server_pids(store: PostgresStore) -> set[int]:
    """Return which server processes the store's resting connections talk to."""
    return {connection.pgconn.backend_pid for connection in store._database._pools[False]._idle}


@pytest.mark.landing
def test_G6_fork_while_other_threads_touch(store: PostgresStore) -> None:
    """Nothing is lost, nobody is stuck."""
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


async def _touch_all(face: AsyncPostgresStore, ids: list[str]) -> list[int | None]:
    return [touched.turn_number for touched in await asyncio.gather(*(face.touch(touch(name)) for name in ids))]


def test_each_event_loop_has_connections_of_its_own(store: PostgresStore) -> None:
    """Loops come and go, also several at once; what they leave behind is closed without them."""
    for n in range(4):
        store.touch(touch(new_id=f"s{n}"))
    face, ids = AsyncPostgresStore(store), [f"s{n}" for n in range(4)]
    found = [asyncio.run(_touch_all(face, ids)) for _ in range(3)]
    found += at_once(3, lambda _: asyncio.run(_touch_all(face, ids)))

    assert [[n] * 4 for n in (2, 3, 4)] == found[:3]
    assert [5, 6, 7] == sorted(numbers[0] for numbers in found[3:])


def test_connection_is_opened_in_the_context_of_who_asks(store: PostgresStore) -> None:
    """Where its caller's spans are suppressed, what it says to the server makes none either."""
    pool, seen, inside = store._database._pools[False], [], ContextVar("inside", default=False)
    open_one = pool._open_one

    def look() -> Any:
        seen.append(inside.get())
        return open_one()

    pool._open_one = look
    token = inside.set(True)
    store.touch(touch())
    inside.reset(token)

    assert [True] == seen


def test_cancelled_request_leaves_nothing_behind(store: PostgresStore) -> None:
    """Its connection is closed, since nobody knows what it was doing; the next request gets another."""
    store.touch(touch(new_id="s"))
    face = AsyncPostgresStore(store)

    async def work() -> Touched:
        await face.touch(touch("s"))
        with psycopg.connect(store._database.address.told) as other:
            other.execute("SELECT 1 FROM session_mw_live FOR UPDATE")
            task = asyncio.create_task(face.touch(touch("s")))
            while not task.done():
                await asyncio.sleep(0.01)
                task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await face.touch(touch("s"))

    assert asyncio.run(work()).outcome == "extended"


# -- kills


@pytest.mark.slow
def test_G4_kill_at_any_instruction_loses_nothing(pg_emptied: str, tmp_path: Path, start: Start) -> None:
    """Three workers that serve and sweep, killed again and again for some seconds."""
    store = patient(pg_emptied)
    check_after_kills(store, pg_emptied, tmp_path, start, seconds=4)
    store.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_G4_many_kills_at_any_instruction_lose_nothing(pg_emptied: str, tmp_path: Path, start: Start) -> None:
    """The same 300 times."""
    store = patient(pg_emptied)
    check_after_kills(store, pg_emptied, tmp_path, start, seconds=800, kills=300)
    store.close()
