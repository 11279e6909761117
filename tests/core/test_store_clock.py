"""The time by which sessions live and end: moved by a monotonic clock, whatever is done to the wall's."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_mw._clocks import store_clock
from session_mw._core.store_clock import DAY_MS, SKEW_MS, StoreClock
from session_mw.testing import FakeClock

BEGAN = 1_735_689_600_000
HOUR = 3_600_000
UPTIME = 5_000_000_000  # nanoseconds that the machine has run already

steps = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.integers(0, 2 * HOUR)),
        st.tuples(st.just("step"), st.integers(-400 * DAY_MS, 400 * DAY_MS)),
        st.tuples(st.just("look"), st.just(0)),
    ),
    max_size=30,
)


@dataclass
class Machine:
    """A machine's two clocks: both go on together, one of them can be set."""

    passed_ms: int = 0
    stepped_ms: int = 0

    def wall(self) -> int:
        return BEGAN + self.passed_ms + self.stepped_ms

    def ticks(self) -> int:
        return UPTIME + self.passed_ms * 1_000_000

    def clock(self, **more: bool) -> StoreClock:
        return StoreClock(self.wall, self.ticks, **more)


@given(steps)
def test_G12_time_passes_as_the_monotonic_clock_does_whatever_the_wall_is_set_to(
    happens: list[tuple[str, int]],
) -> None:
    """To the millisecond; so it never goes back, and nobody is idle for longer than he was."""
    machine = Machine()
    clock = machine.clock(own=True)
    clock()
    for what, by_ms in happens:
        if what == "pass":
            machine.passed_ms += by_ms
        elif what == "step":
            machine.stepped_ms += by_ms

        assert BEGAN + machine.passed_ms == clock()


@given(steps, st.integers(-2 * HOUR, 2 * HOUR), st.lists(st.integers(0, 999), min_size=1))
def test_G11_worker_goes_by_what_the_store_answers(
    happens: list[tuple[str, int]], skew_ms: int, delays: list[int]
) -> None:
    """However wrong its own clock is, and however long answers are under way: it lags by the quickest, at most."""
    machine, asked, ages = Machine(stepped_ms=skew_ms), 0, []
    clock = machine.clock()
    for what, by_ms in [("look", 0), *happens]:
        if what == "look":
            ages.append(delays[asked % len(delays)])
            asked += 1
            clock.heard(BEGAN + machine.passed_ms - ages[-1])
        elif what == "pass":
            machine.passed_ms += by_ms
        else:
            machine.stepped_ms += by_ms

        assert clock.sure
        assert BEGAN + machine.passed_ms - min(ages) == clock()


@pytest.mark.parametrize("by_ms", [-HOUR, -1_001, HOUR])
def test_store_whose_clock_was_set_is_followed(by_ms: int) -> None:
    """The store's clock decides: when it is set, or another server takes over, its workers go along."""
    machine = Machine()
    clock = machine.clock()
    clock.heard(BEGAN)

    assert BEGAN + by_ms == clock.heard(BEGAN + by_ms) == clock()


@pytest.mark.parametrize(
    ("told_ms", "expected_ms"),
    [
        (BEGAN - 2 * SKEW_MS, BEGAN - SKEW_MS),
        (BEGAN - SKEW_MS, BEGAN - SKEW_MS),
        (BEGAN - 1, BEGAN - 1),
        (BEGAN + SKEW_MS, BEGAN + SKEW_MS),
        (BEGAN + 2 * SKEW_MS, BEGAN + SKEW_MS),
    ],
)
def test_what_others_wrote_is_believed_within_an_hour_until_the_store_has_told(told_ms: int, expected_ms: int) -> None:
    """A worker that does not know the time yet takes another's word for it, within bounds; then it does not."""
    clock = Machine().clock()

    assert expected_ms == clock.near(told_ms)

    clock.heard(BEGAN)

    assert BEGAN == clock.near(told_ms)


@given(st.integers(-400 * DAY_MS, 400 * DAY_MS))
def test_time_is_set_by_the_wall_only_on_demand(step_ms: int) -> None:
    """A step of more than a second is noticed, and followed when somebody says that it does no harm."""
    machine = Machine()
    clock = machine.clock(own=True)
    clock()
    machine.stepped_ms = step_ms
    strayed = clock.strays()
    clock.set()

    assert (abs(step_ms) > 1_000) == strayed
    assert BEGAN + (step_ms if strayed else 0) == clock()


def test_processes_of_a_boot_agree() -> None:
    """Whoever starts after a step takes over the time of those who were there before."""
    machine = Machine()
    old = machine.clock(own=True)
    old()
    machine.stepped_ms, machine.passed_ms = HOUR, 60_000
    new = machine.clock(own=True)

    assert new.agree(old.ahead_ns)
    assert BEGAN + 60_000 == old() == new()


@pytest.mark.parametrize("off_ms", [-DAY_MS - 1, DAY_MS + 1])
def test_time_that_is_a_day_off_is_none(off_ms: int) -> None:
    """What another process wrote is not believed then: its ticks are not ours, or its clock had never been set."""
    clock = Machine().clock(own=True)

    assert not clock.agree(clock.ahead_ns + off_ms * 1_000_000)
    assert BEGAN == clock()


def test_clock_of_tests_is_both() -> None:
    """A clock that is turned by hand moves the time, and sets it."""
    turned = FakeClock(BEGAN)
    clock = store_clock(turned)
    clock()
    turned.advance(seconds=-3600)

    assert BEGAN - HOUR == clock()
    assert clock is store_clock(clock)
    assert not clock.own
    assert store_clock(clock, own=True).sure
