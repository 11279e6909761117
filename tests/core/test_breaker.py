"""When a store is not asked any more, and when it is tried again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from session_mw._core.breaker import FAILURES, FIRST_S, GRACE_S, LONGEST_S, PROBE_S, REFUSED, WINDOW_S, Breaker


def opened(at: float = 100.0) -> Breaker:
    """Return a breaker that has just opened, without jitter."""
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.failed(breaker.enter(at), at, 0.0)
    assert "open" == breaker.state
    return breaker


def test_five_failures_in_ten_seconds_open_it() -> None:
    """The fifth opens; nobody is let through then."""
    breaker = Breaker()
    found = [breaker.failed(breaker.enter(t), t, 0.0) for t in (0.0, 1.0, 2.0, 3.0, 9.9)]

    assert [False] * 4 + [True] == found
    assert REFUSED == breaker.enter(10.0)


def test_failures_further_apart_do_not() -> None:
    """A store that fails now and then is worth asking."""
    breaker = Breaker()
    for number in range(50):
        breaker.failed(breaker.enter(number * 3.0), number * 3.0, 0.0)

    assert "closed" == breaker.state


def test_a_crowded_store_stays_asked() -> None:
    """More successes than failures in between: it is slow, not away."""
    breaker = Breaker()
    for _ in range(20):
        breaker.failed(breaker.enter(1.0), 1.0, 0.0)
        for _ in range(3):
            breaker.succeeded(breaker.enter(1.0))

    assert "closed" == breaker.state


def test_one_probe_at_a_time_the_background_first() -> None:
    """After five seconds one call of the background is let through, after two more one of a request; no second one."""
    breaker = opened()

    assert breaker.refuses(100.0 + FIRST_S - 0.01, behind=True)
    assert breaker.refuses(100.0 + FIRST_S)
    assert not breaker.refuses(100.0 + FIRST_S + GRACE_S)
    permit = breaker.enter(100.0 + FIRST_S, behind=True)
    assert permit != REFUSED
    assert REFUSED == breaker.enter(100.0 + FIRST_S + GRACE_S)
    assert breaker.succeeded(permit)
    assert "closed" == breaker.state


def test_a_failed_probe_doubles_the_pause_up_to_a_minute() -> None:
    """5, 10, 20, 40, then not more than a minute, so that recovery is seen within one."""
    breaker, now, pauses = opened(), 100.0, []
    for _ in range(8):
        before = now
        while (permit := breaker.enter(now, behind=True)) == REFUSED:
            now += 0.5
        pauses.append(now - before)
        breaker.failed(permit, now, 0.0)

    assert [5.0, 10.0, 20.0, 40.0] == pauses[:4]
    assert {LONGEST_S} == set(pauses[4:])
    assert LONGEST_S + GRACE_S < 60


def test_a_probe_that_is_given_up_makes_room_for_the_next() -> None:
    """A client that left says nothing of the store; one that never says anything is waited for a while."""
    breaker = opened()
    breaker.left(breaker.enter(105.0, behind=True), 105.0)
    second = breaker.enter(105.0, behind=True)

    assert second != REFUSED
    assert REFUSED == breaker.enter(105.0 + PROBE_S - 0.1, behind=True)
    assert REFUSED != breaker.enter(105.0 + PROBE_S, behind=True)


def test_a_probe_that_wrote_nothing_leaves_it_to_the_next() -> None:
    """A sweep that finds nothing, of a store that may be read only: requests may look at once, and pauses stay."""
    breaker = opened()
    breaker.unsure(breaker.enter(105.0, behind=True), 105.0)

    assert "open" == breaker.state
    breaker.failed(breaker.enter(105.0), 105.0, 0.0)
    assert breaker.refuses(105.0 + 2 * FIRST_S - 0.01, behind=True)
    assert breaker.succeeded(breaker.enter(105.0 + 2 * FIRST_S, behind=True))


def test_what_was_let_through_before_says_nothing_any_more() -> None:
    """Calls that began before it opened neither close it nor lengthen its pause."""
    breaker = Breaker()
    old = breaker.enter(99.0)
    for _ in range(FAILURES):
        breaker.failed(old, 100.0, 0.0)

    assert not breaker.succeeded(old)
    assert not breaker.failed(old, 101.0, 0.0)
    assert ("open", False) == (breaker.state, breaker.refuses(105.0, behind=True))


STEPS = st.lists(st.tuples(st.sampled_from(["ask", "fine", "fails", "left", "unsure"]), st.floats(0, 30)), max_size=80)


def play(breaker: Breaker, steps: list[tuple[str, float]], jitter: float) -> float:
    """Let calls come and go; returns the time at the end."""
    now, permits = 0.0, []
    for what, passes in steps:
        now += passes
        if what == "ask":
            refused = breaker.refuses(now, behind=True)
            permit = breaker.enter(now, behind=True)
            assert refused == (permit == REFUSED)
            permits += [] if refused else [permit]
        elif permits and what == "fine":
            breaker.succeeded(permits.pop(0))
        elif permits and what == "fails":
            breaker.failed(permits.pop(0), now, jitter)
        elif permits and what == "unsure":
            breaker.unsure(permits.pop(0), now)
        elif permits:
            breaker.left(permits.pop(0), now)
    return now


@given(STEPS, st.floats(0, 1))
def test_G7_a_store_that_is_back_is_found_within_a_minute(steps: list[tuple[str, float]], jitter: float) -> None:
    """Whatever happened before: asked now and then, and answering, it is in use again after 60 seconds at most."""
    breaker = Breaker()
    now = play(breaker, steps, jitter)
    limit = now + 60.0
    while breaker.state != "closed" and now < limit:
        now += 0.5
        permit = breaker.enter(now, behind=True)
        if permit != REFUSED:
            breaker.succeeded(permit)

    assert "closed" == breaker.state


def test_window_is_what_the_promise_says() -> None:
    """Five failures within ten seconds (G7)."""
    assert (5, 10.0, 5.0) == (FAILURES, WINDOW_S, FIRST_S)
