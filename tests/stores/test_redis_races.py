"""Many at once: threads at a deadline beside sweepers (many more: tests/reliability), workers that are killed."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from session_mw._core.identity import make_session_id
from session_mw._core.ops import Claim, Touch, Touched
from session_mw._core.records import Limits
from session_mw.stores.redis import RedisStore
from tests.stores.processes import Start, check_after_kills
from tests.stores.processes import start as start
from tests.stores.redis_server import Cluster

SHORT = Limits(idle_ms=30, absolute_ms=3_600_000, turn_ms=1, skew_ms=60_000)
PARALLEL, SWEEPERS = 6, 2


def new_id(keep: str | None = None) -> str:
    return make_session_id(secrets.token_bytes(24), keep=keep)


def turn(store: RedisStore, session_id: str | None) -> Touched:
    """Begin a turn as the flows do: who is sent on follows."""
    touched = store.touch(Touch(session_id, new_id(session_id), SHORT))
    while touched.outcome == "moved":
        presented = touched.session_id
        touched = store.touch(Touch(presented, new_id(presented), SHORT, own=True))
    return touched


class Race:
    """
    Touches of one session from several threads around its deadline, while sweepers end what is due.

    Args:
        store: Shared by all.
    """

    def __init__(self, store: RedisStore) -> None:
        self.store = store
        self.given: dict[str, list[int]] = defaultdict(list)
        self.successors: Counter[str | None] = Counter()
        self.ended: Counter[str] = Counter()
        self.turns: dict[str, int] = {}
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.failures: list[BaseException] = []

    def sweep(self) -> None:
        try:
            while not self.stop.is_set():
                self.sweep_once(secrets.token_hex(4))
        except BaseException as error:
            self.failures.append(error)

    def sweep_once(self, token: str) -> int:
        records = self.store.claim(Claim(token, SHORT, 50, 2_000)).records
        with self.lock:
            for record in records:
                self.ended[record.session_id] += 1
                self.turns[record.session_id] = record.turns
                self.successors[record.previous_id] += 1
        acked = self.store.ack([(r.session_id, r.generation) for r in records], token, 60_000)
        assert acked == len(records)
        return acked

    def trial(self, number: int) -> None:
        first = turn(self.store, None)
        time.sleep(SHORT.idle_ms / 1000 * (0.9 + 0.2 * (number % 10) / 10))  # right around the deadline
        barrier, found = threading.Barrier(PARALLEL), []

        def go() -> None:
            try:
                barrier.wait()
                found.append(turn(self.store, first.session_id))
            except BaseException as error:
                self.failures.append(error)

        threads = [threading.Thread(target=go) for _ in range(PARALLEL)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for touched in (first, *found):
            self.given[touched.session_id].append(touched.turn_number or 0)

    def run(self, trials: int) -> None:
        sweepers = [threading.Thread(target=self.sweep) for _ in range(SWEEPERS)]
        for sweeper in sweepers:
            sweeper.start()
        for number in range(trials):
            self.trial(number)
        self.stop.set()
        for sweeper in sweepers:
            sweeper.join()
        time.sleep(3 * SHORT.idle_ms / 1000)
        while self.sweep_once("last"):
            pass


def check_race(store: RedisStore, trials: int) -> None:
    """One successor at most for each session, every acknowledged turn counted once, every end reported once."""
    race = Race(store)
    race.run(trials)

    assert [] == race.failures
    assert race.successors.pop(None) == trials, "sessions that nobody asked for"
    assert {1} == set(race.successors.values())
    assert {1} == set(race.ended.values())
    assert {name: len(numbers) for name, numbers in race.given.items()} == race.turns
    assert [] == [name for name, numbers in race.given.items() if sorted(numbers) != list(range(1, len(numbers) + 1))]


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStore]:
    made = RedisStore(f"{redis_url}?socket_timeout=5&background_timeout=5")
    yield made
    made.close()


@pytest.mark.landing
def test_G13_G14_touches_at_the_deadline_make_one_successor(store: RedisStore) -> None:
    """Six parallel touches around the deadline, two sweepers: each session goes on as one other, nothing is lost."""
    check_race(store, 60)


def test_G13_G14_touches_at_the_deadline_make_one_successor_in_a_cluster(redis_cluster: Cluster) -> None:
    """The same where shards lie on two nodes."""
    store = RedisStore(f"{redis_cluster.url}?socket_timeout=5&background_timeout=5")
    check_race(store, 20)
    store.close()


def test_G14_first_turns_of_one_provisional_id_make_one_session(store: RedisStore) -> None:
    """Six parallel first turns with one cookie are turns 1 to 6 of one session."""
    limits = Limits(1_800_000, 86_400_000, 600_000, 60_000)
    for _ in range(20):
        name, barrier, found = new_id(), threading.Barrier(PARALLEL), []

        def go(name: str = name, barrier: Any = barrier, found: Any = found) -> None:
            barrier.wait()
            found.append(store.touch(Touch(name, new_id(name), limits, own=True)))

        threads = [threading.Thread(target=go) for _ in range(PARALLEL)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert {name} == {touched.session_id for touched in found}
        assert [1, 2, 3, 4, 5, 6] == sorted(touched.turn_number for touched in found)


@pytest.mark.slow
def test_G4_kill_at_any_instruction_loses_nothing(
    redis_url: str, store: RedisStore, tmp_path: Path, start: Start
) -> None:
    """Three workers, killed again and again for some seconds: between claim and report, report and acknowledgement."""
    check_after_kills(store, redis_url, tmp_path, start, seconds=5)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_G4_many_kills_at_any_instruction_lose_nothing(
    redis_url: str, store: RedisStore, tmp_path: Path, start: Start
) -> None:
    """The same until 300 were killed."""
    check_after_kills(store, redis_url, tmp_path, start, seconds=800, kills=300)
