"""Aggregates over a user's sessions, on values alone: no ledger."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from session_mw._core.records import SessionRecord
from session_mw._core.user_totals import DAY_MS, Sitting, Totals, has_totals, sitting_of, totals_at

T0 = 1_000 * DAY_MS


def sitting(name: str, day: float, turns: int = 1, generation: int = 1) -> Sitting:
    """A session that began at some day and ended an hour later."""
    started_ms = T0 + round(day * DAY_MS)
    return Sitting(started_ms + 3_600_000, name, generation, started_ms, turns)


def said(sessions: int, length: float, days: int) -> Totals:
    return {"user.sessions_total": sessions, "user.avg_session_length": length, "user.retention_days": days}


def test_first_session_counts_itself() -> None:
    """The ledger hears of this end only with this event, and yet it is one."""
    (found,) = totals_at([sitting("s", 0, turns=4)], [])

    assert said(1, 4.0, 0) == found
    assert [int, float, int] == [type(value) for value in found.values()]


def test_earlier_sessions_count() -> None:
    """Their number, their turns on average, and whole days from the first start to the last."""
    known = [sitting("b", 3, turns=5), sitting("a", 0, turns=2)]

    assert [said(3, 3.0, 29)] == totals_at([sitting("s", 29.9, turns=2)], known)


def test_session_that_the_ledger_knows_already_counts_once() -> None:
    """What is reported again after a crash was taken by the ledger the first time."""
    again = sitting("s", 1, turns=3)

    assert totals_at([again], []) == totals_at([again], [again])


def test_sessions_that_ended_later_do_not_count() -> None:
    """A report that comes late says what held at its session's end."""
    assert [said(1, 1.0, 0)] == totals_at([sitting("s", 1)], [sitting("later", 2)])


def test_generations_of_one_id_are_sessions_of_their_own() -> None:
    """An id that was used again is another session."""
    first, second = sitting("s", 0, 1, 1), sitting("s", 2, 3, 2)

    assert [said(2, 2.0, 2)] == totals_at([second], [first])


def test_of_two_that_ended_together_the_smaller_id_was_first() -> None:
    """Any rule will do, as long as it is one."""
    assert [said(2, 1.0, 0), said(1, 1.0, 0)] == totals_at([sitting("b", 0), sitting("a", 0)], [])


sittings = st.lists(
    st.builds(sitting, st.sampled_from("abcdef"), st.integers(0, 5), st.integers(0, 9), st.integers(1, 2)),
    max_size=12,
    unique_by=lambda one: (one.session_id, one.generation),
)


def plainly(one: Sitting, all_of_them: list[Sitting]) -> Totals:
    """The definition, word by word."""
    mine = [s for s in all_of_them if s[:3] <= one[:3]]
    starts = [s.started_ms for s in mine]
    return said(len(mine), sum(s.turns for s in mine) / len(mine), (max(starts) - min(starts)) // DAY_MS)


@given(all_of_them=sittings, data=st.data())
def test_totals_do_not_depend_on_who_reports_what_with_whom(all_of_them: list[Sitting], data: st.DataObject) -> None:
    """One by one, all together, or in any batches, in the order of their ends: each session says the same."""
    expected = {one: plainly(one, all_of_them) for one in all_of_them}
    in_order = sorted(all_of_them)
    found: dict[Sitting, Totals] = {}
    known: list[Sitting] = []
    while in_order:
        size = data.draw(st.integers(1, len(in_order)))
        batch = data.draw(st.permutations(in_order[:size]))
        found |= dict(zip(batch, totals_at(batch, data.draw(st.permutations(known))), strict=True))
        known, in_order = known + batch, in_order[size:]

    assert expected == found


def test_sessions_of_nobody_and_of_nobody_confirmed_have_no_totals() -> None:
    """Anonymous sessions belong to no user; bots and webhooks neither count nor are told."""
    given = {"session_id": "s", "started_ms": T0, "last_ms": T0, "turns": 2, "ended_ms": T0 + 5}
    record = SessionRecord(**given, user_id="u_1", confirmed=True)  # type: ignore[arg-type]

    assert (True, False, False) == (
        has_totals(record),
        has_totals(SessionRecord(**given, confirmed=True)),  # type: ignore[arg-type]
        has_totals(SessionRecord(**given, user_id="u_1")),  # type: ignore[arg-type]
    )
    assert Sitting(T0 + 5, "s", 1, T0, 2) == sitting_of(record)
