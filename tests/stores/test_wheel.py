"""The queue gives back what is due, all of it, and looks at little else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from session_mw.stores._wheel import Wheel

TIMES = st.integers(0, 3000)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("file"), TIMES),
            st.tuples(st.just("postpone"), TIMES),
            st.tuples(st.just("drop"), st.integers(0, 20)),
            st.tuples(st.just("take"), TIMES),
        ),
        max_size=60,
    ),
    st.integers(1, 7),
)
def test_wheel_gives_back_what_is_due(steps: list[tuple[str, int]], limit: int) -> None:
    """Whatever was filed, postponed or dropped, at whatever time somebody looks, also after a step back."""
    wheel: Wheel[int] = Wheel()
    due_at: dict[int, int] = {}
    for number, (step, value) in enumerate(steps):
        if step == "file":
            due_at[number] = value
            wheel.file([number], value)
        elif step == "postpone":
            due_at = {item: at + value for item, at in due_at.items()}
        elif step == "drop":
            due_at.pop(value, None)
        else:
            taken = []
            while wheel.ready(value) is not None:
                taken += wheel.take(value, limit, due_at.get)
            assert sorted(item for item, at in due_at.items() if at <= value) == sorted(taken)
            for item in taken:
                del due_at[item]
            next_ms = wheel.next_ms()
            assert not due_at or (next_ms is not None and next_ms <= min(due_at.values()))


def test_take_looks_at_no_more_than_its_limit() -> None:
    """A claim that is bounded is bounded in what it looks at, not only in what it finds."""
    wheel: Wheel[int] = Wheel()
    wheel.file(list(range(100)), 10)
    looked: list[int] = []

    def look(item: int) -> int:
        looked.append(item)
        return 5000

    assert [] == wheel.take(20, 30, look)
    assert 30 == len(looked)


def test_nothing_due_looks_at_nothing() -> None:
    """An idle sweep costs the same with one item or a million."""
    wheel: Wheel[int] = Wheel()
    wheel.file(list(range(100)), 5000)

    def look(item: int) -> int:
        raise AssertionError("looked")

    assert [] == wheel.take(4000, 1000, look)
    assert 5000 >= (wheel.next_ms() or 0) > 4000


def test_earliest_are_those_that_would_be_looked_at_first() -> None:
    """What is forgotten when there is too much is what would be forgotten next."""
    wheel: Wheel[str] = Wheel()
    wheel.file(["late"], 90_000)
    wheel.file(["soon"], 1000)

    assert ["soon"] == wheel.earliest(1)
    assert ["late"] == wheel.earliest(5)
    assert [] == wheel.earliest(5)
