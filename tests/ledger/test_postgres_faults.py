"""The history in PostgreSQL when things go wrong: killed in a batch, connections cut, a full disk, a replica."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from session_mw.exceptions import StoreError, StoreUnavailable
from session_mw.ledger import RingLedger
from session_mw.ledger.postgres import PostgresLedger
from tests.ledger.support import dump, end, late, start, turn
from tests.patience import PATIENCE
from tests.stores.pg_server import Server, own_server, schema

NAMES = [f"s{number}" for number in range(40)]


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


class Writer(threading.Thread):
    """
    Writes the news of many sessions, batch by batch, until it is told to stop; what fails it gives again.

    Attributes:
        told: Batches that were acknowledged.
        failed: What others failed with.
    """

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.ledger = PostgresLedger(url, wait=2)
        self.told: list[int] = []
        self.failed: list[StoreError] = []
        self.over = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.over.is_set() or number % len(NAMES):
            try:
                write(self.ledger, NAMES[number % len(NAMES)], number // len(NAMES))
            except StoreError as error:
                self.failed.append(error)
                time.sleep(0.02)
                continue
            self.told.append(number)
            number += 1

    def until(self, batches: int) -> None:
        """Wait until so many batches more were acknowledged."""
        wanted, limit = len(self.told) + batches, time.monotonic() + 60
        while len(self.told) < wanted and time.monotonic() < limit:
            time.sleep(0.001)
        assert len(self.told) >= wanted, self.failed[-1:]

    def finish(self) -> int:
        """Let it end its round; return how many rounds it has made."""
        self.over.set()
        self.join(60)
        assert not self.is_alive()
        return len(self.told) // len(NAMES)


def write(ledger: PostgresLedger | RingLedger, name: str, life: int) -> None:
    """Write three turns and all events of a session, in a life of its id."""
    generation = life + 1
    ledger.write_turns([turn(name, number=n, generation=generation, input_tokens=1) for n in (1, 2, 3)])
    more = [late(name, tokens_in=1, generation=generation)]
    ledger.emit([start(name, generation=generation), end(name, generation=generation), *more])


def expected(rounds: int) -> RingLedger:
    """Return a history in memory that was told the same, once."""
    ring = RingLedger()
    for life in range(rounds):
        for name in NAMES:
            write(ring, name, life)
    return ring


def check(writer: Writer, rounds: int) -> None:
    """The history says what one that nothing happened to says."""
    ring = expected(rounds)

    assert dump(ring, *NAMES) == dump(writer.ledger, *NAMES)
    assert len(NAMES) * rounds == len(writer.ledger.sessions(100_000))
    writer.ledger.close()


@pytest.mark.landing
@pytest.mark.timeout(120)
def test_server_that_is_killed_in_a_batch_loses_nothing_that_was_acknowledged(server: Server, url: str) -> None:
    """Of what was not, nothing is half there; given again, all is as if nothing had happened."""
    writer = Writer(url)
    writer.start()
    for batches in (3, 10, 17):
        writer.until(batches)
        server.kill()
        acknowledged = len(writer.told)
        server.start()
        with psycopg.connect(url) as db:
            turns = db.execute(b"SELECT session_pk, count(*) FROM session_mw_ledger_turns GROUP BY 1").fetchall()

        assert {3} == {count for _, count in turns}
        assert acknowledged <= len(turns)
    rounds = writer.finish()

    assert writer.failed and all(isinstance(error, StoreUnavailable) for error in writer.failed)
    check(writer, rounds)


@pytest.mark.landing
@pytest.mark.timeout(120)
def test_connections_that_are_cut_in_a_batch_lose_and_double_nothing(url: str) -> None:
    """Whenever an administrator, a proxy or a firewall ends them: also between a commit and its answer."""
    writer = Writer(url)
    writer.start()
    mine = b"application_name = 'session-mw' AND pid <> pg_backend_pid()"
    with psycopg.connect(url, autocommit=True) as other:
        for number in range(20):
            writer.until(1)
            time.sleep(0.0005 * number)  # somewhere in the middle of the next
            other.execute(b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE " + mine)
    rounds = writer.finish()

    check(writer, rounds)


def test_full_disk_is_told_and_over_by_itself(url: str) -> None:
    """As the server says it; what was refused is given again."""
    ledger = PostgresLedger(url)
    ledger.emit([end("before")])
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(
            b"CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
            b"$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
        )
        db.execute(
            b"CREATE TRIGGER full_disk BEFORE INSERT ON session_mw_ledger_turns "
            b"FOR EACH ROW EXECUTE FUNCTION full_disk()"
        )
        with pytest.raises(StoreUnavailable, match="could not extend file"):
            ledger.write_turns([turn("s1")])
        kept = [row.session_id for row in ledger.sessions()]
        db.execute(b"DROP TRIGGER full_disk ON session_mw_ledger_turns")
    ledger.write_turns([turn("s1")])

    assert ["before"] == kept
    assert 1 == len(ledger.turns("s1"))
    ledger.close()


def test_read_only_server_is_told_with_what_to_do_and_can_be_looked_at(url: str) -> None:
    """A replica, or a primary that was demoted."""
    writable = PostgresLedger(url)
    writable.emit([end("s1")])
    ledger = PostgresLedger(url.replace("options=", "options=-cdefault_transaction_read_only%3Don%20"))
    with pytest.raises(StoreUnavailable, match="target_session_attrs=read-write"):
        ledger.emit([end("s2")])

    assert ["s1"] == [row.session_id for row in ledger.sessions()]
    for each in (writable, ledger):
        each.close()


def test_server_that_is_away_is_told_at_once_and_found_again(server: Server, url: str) -> None:
    """What is told holds no password."""
    ledger = PostgresLedger(url.replace("tester@", "tester:hunter2@"))
    ledger.emit([end("s1")])
    server.stop()
    began = time.perf_counter()
    with pytest.raises(StoreUnavailable, match=r"cannot write history: postgresql://tester:\*+@") as raised:
        ledger.emit([end("s2")])
    took = time.perf_counter() - began
    server.start()

    assert took < 2.0 * PATIENCE
    assert "hunter2" not in f"{raised.value} {raised.value.__cause__!r}"
    assert ledger.emit([end("s2")]) is True
    assert 2 == len(ledger.sessions())
    ledger.close()
