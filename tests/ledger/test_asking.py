"""What every ledger answers, and what it forgets."""

from __future__ import annotations

from typing import Any

from session_mw._core import names
from session_mw._core.user_totals import Sitting, sitting_of
from session_mw.ledger import Ledger
from tests.ledger.support import DAY, T0, end, late, only, record, start, turn


def test_unknown_session_is_none(ledger: Ledger) -> None:
    """Nobody is invented."""
    assert ledger.session("nobody") is None
    assert ledger.session("nobody", 2) is None
    assert [] == ledger.turns("nobody")
    assert [] == ledger.sessions()


def test_sessions_are_listed_newest_first_in_pages(ledger: Ledger) -> None:
    """The last ``pk`` of a page leads to the next; what is written meanwhile moves nothing."""
    ledger.emit([end(f"s{i}") for i in range(5)])

    page = ledger.sessions(2)
    ledger.emit([start("s5")])
    rest = ledger.sessions(2, before_pk=page[-1].pk)

    assert ["s4", "s3"] == [row.session_id for row in page]
    assert ["s2", "s1"] == [row.session_id for row in rest]
    assert ["s0"] == [row.session_id for row in ledger.sessions(before_pk=rest[-1].pk)]
    assert [] == ledger.sessions(0)
    assert [] == ledger.sessions(-1)


def test_sessions_of_one_user_are_listed_alone(ledger: Ledger) -> None:
    """A user's page shows nobody else, and not those without a user."""
    ledger.emit([end("s1", user_id="u_1"), end("s2", user_id="u_2"), end("s3", user_id=None), start("s4")])

    assert ["s4", "s1"] == [row.session_id for row in ledger.sessions(user_id="u_1")]
    assert ["s1"] == [
        row.session_id for row in ledger.sessions(user_id="u_1", before_pk=ledger.sessions(1, user_id="u_1")[0].pk)
    ]


def test_turns_stand_in_the_order_in_which_they_began(ledger: Ledger) -> None:
    """Whatever finished first: a turn without number stands where its time puts it."""
    ledger.write_turns([turn(number=3), turn(number=1), turn(number=None, started_ms=T0 + 1_500), turn(number=2)])

    assert [1, None, 2, 3] == [one.number for one in ledger.turns("s1")]


def test_rows_are_the_callers_own(ledger: Ledger) -> None:
    """What is handed out does not change behind anybody's back."""
    ledger.emit([end()])
    ledger.write_turns([turn(attributes={"a": 1})])
    row, one = only(ledger.sessions()), ledger.turns("s1")[0]
    assert isinstance(row.attributes, dict)
    assert isinstance(one.attributes, dict)

    row.attributes.clear()
    one.attributes.clear()

    assert "cart" == only(ledger.sessions()).attributes["journey.stage"]
    assert {"a": 1} == ledger.turns("s1")[0].attributes


def test_numbers_beyond_all_bounds_are_asked_for_in_vain(ledger: Ledger) -> None:
    """Limits, cursors and generations stand in addresses of pages: any number has an answer."""
    ledger.emit([end()])

    assert 1 == len(ledger.sessions(10**30, before_pk=10**30))
    assert [] == ledger.sessions(before_pk=-(10**30))
    assert ledger.session("s1", 10**30) is None
    assert 0 == ledger.forget_older_than(-(10**30), 10**30)
    assert 1 == ledger.forget_older_than(10**30, 10**30)


def test_user_totals_count_sessions_that_ended(ledger: Ledger) -> None:
    """Sessions that ended, their turns on average, and days from the first session to the last."""
    ledger.emit(
        [
            end("s1", turns=2, started_ms=T0),
            end("s2", turns=5, started_ms=T0 + 3 * DAY, last_ms=T0 + 3 * DAY),
            end("other", turns=50, user_id="u_2", started_ms=T0 - 90 * DAY),
            start("s3", started_ms=T0 + 7 * DAY + DAY // 2),
        ]
    )

    totals = ledger.user_totals("u_1")
    assert {
        names.USER_SESSIONS_TOTAL: 2,
        names.USER_AVG_SESSION_LENGTH: 3.5,
        names.USER_RETENTION_DAYS: 7,
    } == totals
    assert [int, float, int] == [type(value) for value in totals.values()]


def test_user_totals_of_a_first_session(ledger: Ledger) -> None:
    """There is no average of nothing."""
    ledger.emit([start()])

    assert {names.USER_SESSIONS_TOTAL: 0, names.USER_RETENTION_DAYS: 0} == ledger.user_totals("u_1")
    assert {names.USER_SESSIONS_TOTAL: 0} == ledger.user_totals("nobody")


def test_user_totals_leave_out_whom_nobody_confirmed(ledger: Ledger) -> None:
    """Bots and webhooks are no sittings of a user; a session that still runs may yet be confirmed."""
    ledger.emit([end("s1", turns=2), end("bot", turns=9, started_ms=T0 - 9 * DAY, confirmed=False)])
    totals = {names.USER_SESSIONS_TOTAL: 1, names.USER_AVG_SESSION_LENGTH: 2.0, names.USER_RETENTION_DAYS: 0}

    assert totals == ledger.user_totals("u_1")
    assert [{**totals, names.USER_SESSIONS_TOTAL: 2}] == ledger.user_totals_at([about("s2", turns=2)])


def about(session_id: str, user: str = "u_1", day: int = 0, **more: Any) -> tuple[str, Sitting]:
    """A session that is about to be reported: it began so many days after ``record(...)``, and ended by it."""
    facts = {"started_ms": T0 + day * DAY, "last_ms": T0 + day * DAY, "ended_ms": T0 + (day + 1) * DAY}
    return user, sitting_of(record(session_id, **{**facts, **more}))


def test_user_totals_at_the_end_of_a_session(ledger: Ledger) -> None:
    """The session counts although the ledger has not heard of its end; of other users nothing does."""
    ledger.emit([end("s1", turns=2), end("other", user_id="u_2", turns=40), start("s2"), start("s3", user_id="u_1")])

    assert [
        {names.USER_SESSIONS_TOTAL: 2, names.USER_AVG_SESSION_LENGTH: 3.0, names.USER_RETENTION_DAYS: 5}
    ] == ledger.user_totals_at([about("s2", day=5, turns=4)])


def test_user_totals_of_many_at_once(ledger: Ledger) -> None:
    """Each as of its own end, in the order in which they were asked about, whatever that is."""
    ledger.emit([end("s1", turns=3), end("x1", user_id="u_2", turns=1)])
    asked = [about("s3", day=9), about("x2", "u_2", day=1, turns=2), about("s2", day=4), about("new", "u_3")]
    found = ledger.user_totals_at(asked)

    assert [3, 2, 2, 1] == [totals[names.USER_SESSIONS_TOTAL] for totals in found]
    assert [9, 1, 4, 0] == [totals[names.USER_RETENTION_DAYS] for totals in found]
    assert [3.0, 1.5, 3.0, 3.0] == [totals[names.USER_AVG_SESSION_LENGTH] for totals in found]
    assert [] == ledger.user_totals_at([])


def test_user_totals_at_an_end_that_was_reported_before(ledger: Ledger) -> None:
    """A crash may come between the ledger and the acknowledgement: the session is not counted twice."""
    user, sitting = about("s1", turns=3)
    ledger.emit([end("s1", turns=3, last_ms=T0, ended_ms=sitting.ended_ms)])

    assert [1] == [totals[names.USER_SESSIONS_TOTAL] for totals in ledger.user_totals_at([(user, sitting)])]


def test_user_totals_at_the_end_of_a_session_with_an_odd_id(ledger: Ledger) -> None:
    """What no database can hold is known by the name under which the ledger keeps it."""
    odd, user = "s\x00\ud800", "u\x00"
    ledger.emit([end(odd, user_id=user, started_ms=T0, last_ms=T0, ended_ms=T0 + DAY)])

    assert [1] == [t[names.USER_SESSIONS_TOTAL] for t in ledger.user_totals_at([about(odd, user)])]


# -- retention


def test_retention_forgets_what_is_older_in_bounded_batches(ledger: Ledger) -> None:
    """What was active before the limit goes, with its turns and attributes; what was active since stays."""
    old = [end(f"old{i}", started_ms=T0 - DAY, last_ms=T0 - DAY) for i in range(5)]
    ledger.emit([*old, end("new"), late("old0", tokens_in=1)])
    ledger.write_turns([turn("old0"), turn("new"), turn("lost", number=1, started_ms=T0 - DAY)])

    assert [4, 2, 0] == [ledger.forget_older_than(T0, 4) for _ in range(3)]

    assert ["new"] == [row.session_id for row in ledger.sessions()]
    assert [] == ledger.turns("old0")
    assert 1 == len(ledger.turns("new"))


def test_retention_forgets_the_oldest_first(ledger: Ledger) -> None:
    """When not all can go at once, those go that were active longest ago."""
    ledger.emit([end(f"s{age}", started_ms=T0 - age * DAY, last_ms=T0 - age * DAY) for age in (2, 5, 1, 4, 3)])

    assert 2 == ledger.forget_older_than(T0, 2)
    assert ["s3", "s1", "s2"] == [row.session_id for row in ledger.sessions()]


def test_retention_keeps_what_is_exactly_as_old(ledger: Ledger) -> None:
    """Older than means older."""
    ledger.emit([end(last_ms=T0)])

    assert 0 == ledger.forget_older_than(T0, 10)
    assert 1 == ledger.forget_older_than(T0 + 1, 10)
    assert 0 == ledger.forget_older_than(T0 + 1, 10)


def test_retention_of_nothing(ledger: Ledger) -> None:
    """A limit of nothing forgets nothing."""
    ledger.emit([end()])

    assert 0 == ledger.forget_older_than(T0 + DAY, 0)
    assert 0 == ledger.forget_older_than(T0 + DAY, -1)
    assert 1 == len(ledger.sessions())


def test_forgotten_session_may_be_met_again(ledger: Ledger) -> None:
    """A record that arrives after all is kept as if it were the first."""
    ledger.emit([end(), late(tokens_in=7)])
    ledger.forget_older_than(T0 + DAY, 10)
    ledger.emit([end()])
    ledger.write_turns([turn()])

    assert 100 == only(ledger.sessions()).input_tokens
    assert 1 == len(ledger.turns("s1"))
