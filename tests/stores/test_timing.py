"""Stores on this machine (memory, SQLite): their time is not the wall clock's, and its processes agree about it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from session_mw import _clocks
from session_mw._core.ops import Claim, Touch
from session_mw._core.records import Limits
from session_mw._core.store_clock import DAY_MS, StoreClock
from session_mw.stores import MemoryStore, SqliteStore, _timing

BEGAN = 1_735_689_600_000
MINUTE, HOUR = 60_000, 3_600_000
LIMITS = Limits(idle_ms=30 * MINUTE, absolute_ms=DAY_MS, turn_ms=10 * MINUTE, skew_ms=MINUTE)

Store = MemoryStore | SqliteStore


class Machine:
    """A machine: time passes, its wall clock is set, it is started anew."""

    def __init__(self) -> None:
        self.true_ms, self.stepped_ms, self.boot, self.booted_ms = BEGAN, 0, 1, BEGAN - HOUR

    def clock(self) -> StoreClock:
        """Return the clock of a process that starts now."""
        return StoreClock(
            lambda: self.true_ms + self.stepped_ms,
            lambda: (self.true_ms - self.booted_ms) * 1_000_000,
            boot=lambda: self.boot,
        )

    def reboot(self) -> None:
        self.boot, self.booted_ms = self.boot + 1, self.true_ms


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def opened(machine: Machine, tmp_path: Path) -> Iterator[Callable[[], SqliteStore]]:
    """Open the file in another process, as far as clocks go."""
    stores: list[SqliteStore] = []

    def open_store() -> SqliteStore:
        stores.append(SqliteStore(f"{tmp_path}/live.db", machine.clock(), busy_timeout_ms=20_000))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


def touch(store: Store, session_id: str = "s") -> str:
    """Begin a turn; returns what became of the session."""
    return store.touch(Touch(session_id, "another", LIMITS, own=True, turn=False)).outcome


def ended(store: Store) -> list[tuple[str, int]]:
    """Report what is over; returns whose end, and how long it was active, milliseconds."""
    records = store.claim(Claim("token", LIMITS)).records
    store.ack([(record.session_id, record.generation) for record in records], "token", 0)
    return [(record.session_id, record.last_ms - record.started_ms) for record in records]


happenings = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.integers(1, 40 * MINUTE)),
        st.tuples(st.just("step"), st.integers(-3 * HOUR, 3 * HOUR)),
        st.tuples(st.sampled_from(["touch", "sweep"]), st.integers(0, 2)),
    ),
    max_size=25,
)


def live(stores: list[Store], machine: Machine, happens: list[tuple[str, int]]) -> None:
    """
    Do what *happens*; compare with sessions that know the true time only.

    All processes sweep within a second or so, one of them first: by that they hear when the time was set.
    """
    number, active = 0, list[int]()
    for what, amount in happens:
        over = bool(active) and machine.true_ms >= active[-1] + LIMITS.idle_ms
        if what == "pass":
            machine.true_ms += amount
        elif what == "step":
            machine.stepped_ms += amount
        elif what == "sweep":
            expected = [(f"s{number}", active[-1] - active[0])] if over else []

            assert expected == [end for store in stores[amount:] + stores[:amount] for end in ended(store)]

            number, active = (number + 1, []) if over else (number, active)
        elif not over:  # what a touch does after the end, others test
            assert ("extended" if active else "started") == touch(stores[amount % len(stores)], f"s{number}")

            active.append(machine.true_ms)


@given(happens=happenings)
@settings(max_examples=40, deadline=None)
def test_G12_no_step_of_the_wall_clock_moves_an_end_in_memory(happens: list[tuple[str, int]]) -> None:
    """Whatever it is set to, and whenever: sessions end when they have been idle for their time."""
    machine = Machine()
    live([MemoryStore(machine.clock())], machine, happens)


@given(happens=happenings)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_G12_no_step_of_the_wall_clock_moves_an_end_in_a_file(happens: list[tuple[str, int]], tmp_path: Path) -> None:
    """Neither for those who share it: three processes, one of which looks into it late."""
    machine = Machine()
    path = tmp_path / "live.db"
    stores: list[Store] = [SqliteStore(str(path), machine.clock(), busy_timeout_ms=20_000) for _ in range(3)]
    try:
        live(stores, machine, happens)
    finally:
        for store in stores:
            store.close()
        for left in tmp_path.iterdir():
            left.unlink()


@pytest.mark.parametrize("step_ms", [-HOUR, HOUR])
def test_process_that_starts_after_a_step_agrees_with_the_others(
    step_ms: int, machine: Machine, opened: Callable[[], SqliteStore]
) -> None:
    """A deployment after the clock was set ends nobody's session, and hears of its activity."""
    old = opened()
    touch(old)
    machine.stepped_ms = step_ms
    machine.true_ms += 20 * MINUTE
    new = opened()
    outcome = touch(new)
    machine.true_ms += 20 * MINUTE
    early = ended(old) + ended(new)
    machine.true_ms += 10 * MINUTE

    assert "extended" == outcome
    assert [] == early
    assert [("s", 20 * MINUTE)] == ended(old) + ended(new)


def test_machine_that_was_started_anew_goes_by_the_wall(machine: Machine, opened: Callable[[], SqliteStore]) -> None:
    """Its monotonic clock begins anew: what the file says of it is of another boot."""
    touch(opened())
    machine.true_ms += 20 * MINUTE
    machine.reboot()
    store = opened()
    outcome, now_ms = touch(store), store.claim(Claim("token", LIMITS)).now_ms
    machine.true_ms += 30 * MINUTE

    assert ("extended", machine.true_ms - 30 * MINUTE) == (outcome, now_ms)
    assert [("s", 20 * MINUTE)] == ended(store)


def test_file_is_as_good_as_new_for_ticks_that_count_otherwise(
    machine: Machine, opened: Callable[[], SqliteStore]
) -> None:
    """A container may have a monotonic clock of its own under the same boot id: its time would be days off."""
    touch(opened())
    machine.booted_ms -= 2 * DAY_MS
    store = opened()

    assert machine.true_ms == store.claim(Claim("token", LIMITS)).now_ms


def test_session_that_begins_just_after_the_time_was_set(machine: Machine, opened: Callable[[], SqliteStore]) -> None:
    """Nobody was there, one process has followed the wall, the other begins a session before it has heard of that."""
    one, other = opened(), opened()
    ended(one), ended(other)
    machine.stepped_ms = HOUR
    ended(one)
    touch(other)

    assert [] == ended(one)
    assert "extended" == touch(one)


def test_process_that_has_not_heard_counts_activity_all_the_same(
    machine: Machine, opened: Callable[[], SqliteStore]
) -> None:
    """It does not sweep, so it hears with a touch that its time is an hour behind the file's: the touch counts."""
    one, other = opened(), opened()
    ended(one), ended(other)
    machine.stepped_ms = HOUR
    ended(one)
    touch(one)
    machine.true_ms += 20 * MINUTE
    turns = [other.touch(Touch("s", "another", LIMITS)).turn_number for _ in range(2)]
    machine.true_ms += 20 * MINUTE

    assert [1, 2] == turns
    assert [] == ended(one)
    assert "extended" == touch(other)


def test_process_that_has_not_heard_ends_nothing(machine: Machine, opened: Callable[[], SqliteStore]) -> None:
    """Its time is an hour ahead of the file's: it looks there before it claims."""
    one, other, third = opened(), opened(), opened()
    ended(one), ended(other), ended(third)
    machine.stepped_ms = -HOUR
    ended(one)
    touch(one)

    assert [] == ended(other)
    assert 1 == third.renew(["s"], LIMITS)
    assert "extended" == touch(third)


def test_time_is_not_set_while_an_end_waits_to_be_reported(machine: Machine, opened: Callable[[], SqliteStore]) -> None:
    """Its lease would be over at once, and somebody else would report it again."""
    for store in (opened(), MemoryStore(machine.clock())):
        machine.stepped_ms = 0
        touch(store)
        machine.true_ms += 30 * MINUTE
        leased = store.claim(Claim("mine", LIMITS)).records
        machine.stepped_ms = HOUR

        assert 1 == len(leased)
        assert [] == store.claim(Claim("theirs", LIMITS)).records
        assert 1 == store.ack([("s", 1)], "mine", 0)
        assert machine.true_ms == store.claim(Claim("mine", LIMITS)).now_ms
        assert machine.true_ms + HOUR == store.claim(Claim("mine", LIMITS)).now_ms


def test_file_that_may_only_be_read_is_read(
    machine: Machine, opened: Callable[[], SqliteStore], tmp_path: Path
) -> None:
    """Housekeeping looks into a copy: no time can be written there, and none is needed."""
    touch(opened())
    machine.reboot()
    (tmp_path / "live.db").chmod(0o444)
    reads = f"file:{tmp_path}/live.db?mode=ro"
    with closing(sqlite3.connect(reads, uri=True, isolation_level=None)) as connection:
        _timing.agree(connection, machine.clock())
        kept = dict(connection.execute("SELECT key, value FROM live_meta").fetchall())

    assert 1 == kept["clock_boot"]


@pytest.mark.skipif(_clocks.boot() is None, reason="the system has no boot id")
def test_real_processes_agree(tmp_path: Path) -> None:
    """A process with the machine's own clocks follows one whose wall clock is half an hour ahead."""
    path = f"{tmp_path}/live.db"
    ahead = StoreClock(lambda: _clocks.wall_ms() + HOUR // 2, _clocks.ticks_ns, boot=_clocks.boot)
    store = SqliteStore(path, ahead, busy_timeout_ms=20_000)
    touch(store)
    code = (
        "import sys\nfrom session_mw._core.ops import Touch\nfrom session_mw._core.records import Limits\n"
        "from session_mw.stores import SqliteStore\nstore = SqliteStore(sys.argv[1], busy_timeout_ms=20_000)\n"
        "print(store.touch(Touch('s', 'another', Limits(1_800_000, 86_400_000, 600_000, 60_000))).now_ms)"
    )
    before = ahead()
    told = int(subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True, text=True).stdout)
    after = ahead()
    store.close()

    assert before <= told <= after


def test_ticks_go_on_while_the_machine_sleeps() -> None:
    """Linux: the clock that counts suspended time, not the one that leaves it out."""
    before = _clocks.ticks_ns()

    assert before <= _clocks.ticks_ns()
    if hasattr(_clocks.time, "CLOCK_BOOTTIME"):
        assert before <= _clocks.time.clock_gettime_ns(_clocks.time.CLOCK_BOOTTIME) < before + 60 * 10**9
