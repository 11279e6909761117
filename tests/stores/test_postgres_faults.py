"""A PostgreSQL server that is away, hangs, is killed, has other tables: bounded in time, told, over by itself."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from session_mw._core.ops import Add, Claim, Touch
from session_mw._core.records import Limits
from session_mw._postgres import Database, Part, parse
from session_mw._postgres.work import Work
from session_mw.exceptions import StoreError, StoreUnavailable
from session_mw.stores._pg_sql import PART
from session_mw.stores.postgres import AsyncPostgresStore, PostgresStore
from tests.patience import PATIENCE
from tests.stores.pg_server import Server, own_server, schema
from tests.stores.stalls import beside_stalls

LIMITS = Limits(idle_ms=1_800_000, absolute_ms=86_400_000, turn_ms=600_000, skew_ms=60_000)
Ask = Callable[[PostgresStore, Touch], object]


def touch(session_id: str | None = None, new_id: str = "new", **more: Any) -> Touch:
    return Touch(session_id, new_id, LIMITS, **more)


def patient(url: str, **more: Any) -> PostgresStore:
    """A store that forgives a busy test machine."""
    return PostgresStore(url, **{"request_ms": 20_000, "background_ms": 20_000, **more})


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that may be killed: it is started again before the next test."""
    with own_server() as running:
        yield running


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    """A schema of the test's own; whatever it did to the server is undone."""
    if not server.running:
        server.start()
    with schema(server.url()) as url:
        yield url
        if not server.running:
            server.start()


def sync_face(store: PostgresStore, ask: Touch) -> object:
    return store.touch(ask)


def async_face(store: PostgresStore, ask: Touch) -> object:
    return asyncio.run(AsyncPostgresStore(store).touch(ask))  # type: ignore[arg-type]


faces = pytest.mark.parametrize("ask", [sync_face, async_face])


# -- away and back


def test_G7_connection_that_rested_while_its_server_was_restarted_costs_no_turn(server: Server, url: str) -> None:
    """What a resting connection has to say is read before it is used: nothing fails, nothing is done twice."""
    store = patient(url)
    store.touch(touch(new_id="s"))
    store.claim(Claim("t", LIMITS))
    server.stop()
    server.start()

    assert 2 == store.touch(touch("s")).turn_number
    assert [] == store.claim(Claim("t", LIMITS)).records
    store.close()


def test_G7_connections_that_an_administrator_ended_are_replaced_on_a_loop_too(url: str) -> None:
    """The same for one connection, and for the asynchronous face."""
    store = patient(url)
    face = AsyncPostgresStore(store)

    async def work() -> list[int | None]:
        first = await face.touch(touch(new_id="s"))
        with psycopg.connect(url, autocommit=True) as other:
            others = "pid <> pg_backend_pid() AND application_name = 'session-mw'"
            other.execute(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE {others}".encode())
        return [first.turn_number, (await face.touch(touch("s"))).turn_number]

    assert [1, 2] == asyncio.run(work())
    store.close()


@faces
def test_G7_server_that_is_away_is_told_at_once_and_found_again(server: Server, url: str, ask: Ask) -> None:
    """A refused connection is not waited for, and what is told holds no password."""
    store = patient(url.replace("tester@", "tester:hunter2@"))
    ask(store, touch(new_id="s"))
    server.stop()
    began = time.perf_counter()
    with pytest.raises(StoreUnavailable, match=r"cannot touch a session: postgresql://tester:\*+@") as raised:
        ask(store, touch("s"))
    took = time.perf_counter() - began
    server.start()

    assert took < 1.0 * PATIENCE
    assert "hunter2" not in f"{raised.value} {raised.value.__cause__!r}"
    assert 2 == ask(store, touch("s")).turn_number  # type: ignore[attr-defined]
    store.close()


@faces
def test_G7_server_that_hangs_costs_the_budget_and_no_more(server: Server, url: str, ask: Ask) -> None:
    """A connection to be opened is waited for 250 ms, once (each loop has its own); then all is well again."""
    store = patient(url, request_ms=50)
    with suppress(StoreUnavailable):  # on a busy machine the first connection may take longer than that
        ask(store, touch(new_id="s"))
    took = []
    with server.hung():
        for _ in range(3):
            began = time.perf_counter()
            with pytest.raises(StoreUnavailable, match=r"no answer within (50|250) ms"):
                ask(store, touch("s"))
            took.append(time.perf_counter() - began)

    added = 0.25 * PATIENCE  # what a busy test machine adds
    assert sorted(took)[1] < 0.05 + added
    assert max(took) < 0.25 + added
    patient_again = patient(url)
    assert ask(patient_again, touch("s", own=True)).turn_number >= 1  # type: ignore[attr-defined]
    patient_again.close()
    store.close()


def test_G7_server_that_hangs_does_not_hold_up_the_event_loop(server: Server, url: str) -> None:
    """Others on the loop go on while a touch waits."""
    store = patient(url, request_ms=300)
    face = AsyncPostgresStore(store)

    async def work() -> float:
        await face.touch(touch(new_id="s"))
        longest, before = 0.0, time.perf_counter()
        with server.hung():
            task = asyncio.create_task(face.touch(touch("s")))
            while not task.done():
                await asyncio.sleep(0.001)
                now = time.perf_counter()
                longest, before = max(longest, now - before), now
            with pytest.raises(StoreUnavailable):
                await task
        return longest

    assert asyncio.run(work()) < 0.1 * PATIENCE
    store.close()


def test_G7_row_that_somebody_holds_costs_the_budget(url: str) -> None:
    """The server gives up a little before us, so that the connection can be used again."""
    store = patient(url)
    store.touch(touch(new_id="s"))
    hasty = PostgresStore(url, request_ms=500)
    hasty.read("s")
    with psycopg.connect(url) as other:
        other.execute("SELECT 1 FROM session_mw_live FOR UPDATE")
        with pytest.raises(StoreUnavailable, match="statement timeout"):
            hasty.touch(touch("s"))
        resting = len(hasty._database._pools[False]._idle)

    assert 1 == resting
    assert 2 == store.touch(touch("s")).turn_number
    for each in (store, hasty):
        each.close()


def test_G7_all_connections_in_use_cost_the_budget(url: str) -> None:
    """Who waits for a connection waits no longer than for an answer."""
    store = patient(url, size=1)
    store.touch(touch(new_id="s"))
    taken = store._database._pools[False].take(20, 20)
    store._database._ms[False] = 50
    began = time.perf_counter()
    with pytest.raises(StoreUnavailable, match="no answer within 50 ms"):
        store.touch(touch("s"))
    took = time.perf_counter() - began
    store._database._pools[False].give(taken, True)

    assert took < 0.3 * PATIENCE
    store._database._ms[False] = 20_000
    assert 2 == store.touch(touch("s")).turn_number
    store.close()


def test_G7_connection_that_comes_back_is_given_to_who_waits(url: str) -> None:
    """More tasks and threads than connections take turns."""
    store = patient(url, size=2)
    store.touch(touch(new_id="s"))
    face = AsyncPostgresStore(store)

    async def work() -> list[Any]:
        return await asyncio.gather(*(face.touch(touch("s")) for _ in range(20)))

    threads = [threading.Thread(target=store.touch, args=(touch("s"),)) for _ in range(20)]
    for thread in threads:
        thread.start()
    asyncio.run(work())
    for thread in threads:
        thread.join()

    record = store.read("s")
    assert record is not None
    assert 41 == record.turns
    store.close()


def test_G7_read_only_server_is_told_with_what_to_do(url: str) -> None:
    """A replica, or a primary that was demoted: another one may be found the next time."""
    writable = patient(url)
    writable.touch(touch(new_id="s"))
    store = patient(url.replace("options=", "options=-cdefault_transaction_read_only%3Don%20"))
    with pytest.raises(StoreUnavailable, match="target_session_attrs=read-write"):
        store.touch(touch("s"))

    assert [] == store._database._pools[False]._idle
    assert store.read("s") is not None
    for each in (writable, store):
        each.close()


def test_unknown_database_is_named(server: Server, url: str) -> None:
    """Whoever mistyped learns what was not found."""
    store = patient(server.url().replace("/postgres?", "/nowhere?"))
    with pytest.raises(StoreError, match=r'database "nowhere" does not exist'):
        store.touch(touch())
    store.close()


# -- kills


@pytest.mark.timeout(120)
@pytest.mark.landing
def test_G8_server_that_is_killed_loses_what_was_promised_to_be_at_risk(server: Server, url: str) -> None:
    """
    Of sessions begun nothing, of touches those of its last moments at most.

    The log is written every 200 ms (wal_writer_delay), and a commit that does not wait for it is on disk after three
    times that: https://www.postgresql.org/docs/current/wal-async-commit.html.
    """
    store, stop = patient(url), threading.Event()
    begun: list[str] = []
    touches: list[tuple[float, str, int]] = []

    def serve(name: str) -> None:
        number = 0
        with suppress(StoreError):
            while not stop.is_set():
                number += 1
                session_id = f"{name}-{number // 20}"
                touched = store.touch(touch(session_id, own=True))
                if touched.outcome == "started":
                    begun.append(session_id)
                touches.append((time.monotonic(), session_id, touched.turn_number or 0))

    threads = [threading.Thread(target=serve, args=(f"t{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    killed = time.monotonic()
    server.kill()
    stop.set()
    for thread in threads:
        thread.join()
    server.start()
    records = {name: store.read(name) for name in begun}

    assert len(begun) > 20
    assert [] == [name for name, record in records.items() if record is None]
    old = [(name, number) for at, name, number in touches if at < killed - 0.8]
    assert len(old) > 100
    kept = {name: record.turns for name, record in records.items() if record is not None}
    assert [] == [(name, number) for name, number in old if number > kept[name]]
    assert "extended" == store.touch(touch(begun[0], own=True)).outcome
    store.close()


def test_G8_acknowledged_ends_stay_acknowledged(server: Server, url: str) -> None:
    """What was claimed and acknowledged before a power cut is not reported again."""
    short = Limits(0, 86_400_000, 0, 60_000)
    store = patient(url)
    for n in range(5):
        store.touch(Touch(None, f"s{n}", short))
        store.add([Add(f"s{n}", completed=1)])
    records = store.claim(Claim("t", short)).records
    acked = store.ack([(record.session_id, 1) for record in records[:3]], "t", 10**8)
    server.kill()
    server.start()
    again = patient(url)
    stats = again.stats()

    assert (5, 3) == (len(records), acked)
    assert (0, 2, 2, 3) == (stats.live, stats.ended, stats.claimed, stats.tombstones)
    store.close()
    again.close()


# -- tables of other releases

NEXT = Part("store", "session store", (*PART.migrations, ("ALTER TABLE session_mw_live ADD COLUMN later text",)))


OURS = PART.version


def version(url: str) -> object:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT version FROM session_mw_schema WHERE part = 'store'").fetchone()


def ask() -> Work[object]:
    rows = yield [(b"SELECT 1", None)]
    return rows[0][0][0]


def test_older_tables_are_refused_until_somebody_migrates_them(url: str) -> None:
    """Workers do not change tables under those of the release before; the error names the command."""
    old, new = patient(url), Database(parse(url, "store"), NEXT, request_ms=20_000)
    old.touch(touch(new_id="s"))
    with pytest.raises(
        StoreError, match=rf"version {OURS}, this release knows {OURS + 1}\. Run 'session-mw store migrate'"
    ):
        new.run("ask", ask())
    changes = [new.migrate(), new.migrate()]

    assert ["migrated", "unchanged"] == changes
    assert (OURS + 1,) == version(url)
    assert 1 == new.run("ask", ask())
    assert 2 == old.touch(touch("s")).turn_number  # a connection that was open goes on
    old.close()
    new.close()


def test_newer_tables_are_refused(url: str) -> None:
    """An older release does not write into tables it does not know, and does not take them back either."""
    new = Database(parse(url, "store"), NEXT, request_ms=20_000)
    assert "made" == new.migrate()
    old = patient(url)
    for call in (lambda: old.touch(touch()), old.migrate, lambda: async_face(old, touch())):
        with pytest.raises(StoreError, match=rf"version {OURS + 1}, this release knows {OURS}\. Update session-mw"):
            call()

    assert (OURS + 1,) == version(url)
    old.close()


def test_user_who_may_not_make_tables_is_told_who_should(url: str) -> None:
    """An application's account often may not."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE modest LOGIN")
        connection.execute("DO $$ BEGIN EXECUTE 'GRANT USAGE ON SCHEMA ' || current_schema() || ' TO modest'; END $$")
    store = patient(url.replace("tester@", "modest@"))
    try:
        with pytest.raises(StoreError, match=r"permission denied.*session-mw store migrate"):
            store.touch(touch())
        store.close()
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP OWNED BY modest")
            connection.execute("DROP ROLE modest")


def test_half_made_tables_are_not_left_behind(url: str) -> None:
    """A migration that fails changes nothing."""
    broken = Part("store", "session store", (("CREATE TABLE session_mw_live (a text)", "nonsense"),))
    database = Database(parse(url, "store"), broken, request_ms=20_000)
    for call in (database.migrate, lambda: database.run("ask", ask())):
        with pytest.raises(StoreError, match="syntax error"):
            call()

    assert 1 == patient(url).touch(touch()).turn_number


def test_tables_leave_room_for_others(url: str) -> None:
    """The database is often the application's: everything of ours has our prefix."""
    store = patient(url)
    store.touch(touch())
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace")
        names = [name for (name,) in rows]
    store.close()

    assert len(names) > 5
    assert [] == [name for name in names if not name.startswith("session_mw_")]


# -- a loop that is busy with other things


def test_G7_first_touches_on_a_blocked_loop_are_counted(url: str) -> None:
    """As with Redis: time in which nobody looked is not the server's."""
    patient(url).read("")  # makes the tables
    store = PostgresStore(url, request_ms=300)
    found = asyncio.run(beside_stalls(AsyncPostgresStore(store), 6, 0.1))
    store.close()

    assert ["started"] * 4 == [getattr(touched, "outcome", touched) for touched in found]
