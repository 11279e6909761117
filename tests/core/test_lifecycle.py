"""The rules of a session's life, on records alone: no store, no clock."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_mw._core import lifecycle
from session_mw._core.lifecycle import deadline, expire, freeze, lease, merge, next_look, release, remember, touch
from session_mw._core.ops import Add, End, Touch
from session_mw._core.records import END_REASONS, EndReason, Limits, SessionRecord, Tombstone
from session_mw._core.states import TRANSITIONS, Event, State, diagram, state_of, step
from session_mw.exceptions import IllegalTransition

NOW = 1_000_000
LIMITS = Limits(idle_ms=1000, absolute_ms=50_000, turn_ms=300, skew_ms=100)

CELLS = {
    ("provisional", "TURN", "live"),
    ("provisional", "END", "gone"),
    ("live", "TURN", "live"),
    ("live", "RENEW", "live"),
    ("live", "EXPIRE", "ended"),
    ("live", "END", "ended"),
    ("live", "REPLACE", "ended"),
    ("ended", "CLAIM", "claimed"),
    ("claimed", "CLAIM", "claimed"),
    ("claimed", "NACK", "ended"),
    ("claimed", "ACK", "gone"),
}


def live(**more: Any) -> SessionRecord:
    """A session that began, and was last active, just now; its first turn has ended."""
    given = {"session_id": "s", "started_ms": NOW, "last_ms": NOW, "origin_ms": NOW, "turns": 1, "completed": 1}
    return SessionRecord(**{**given, **more})


def ended(reason: EndReason = "idle_timeout", **more: Any) -> SessionRecord:
    return live(reason=reason, ended_ms=NOW, **more)


def ask(session_id: str | None = "s", **more: Any) -> Touch:
    return Touch(session_id, more.pop("new_id", "new"), LIMITS, **more)


# -- the table


def test_table_has_these_cells_and_no_others() -> None:
    """The table is what the documentation draws; a new cell is a decision."""
    found = {(s.value, e.name, t.value) for s, row in TRANSITIONS.items() for e, t in row.items()}

    assert CELLS == found
    assert set(State) == set(TRANSITIONS)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_step_follows_the_table_and_raises_elsewhere(state: State, event: Event) -> None:
    """Every pair of state and event is either a cell or an error that names both."""
    target = TRANSITIONS[state].get(event)
    if target is not None:
        assert target is step(state, event)
        return
    with pytest.raises(IllegalTransition) as raised:
        step(state, event)

    assert (state.value, event.value) == (raised.value.state, raised.value.event)
    assert state.value in str(raised.value)


def test_diagram_draws_every_cell_once() -> None:
    """The state diagram is generated from the table."""
    lines = [line.strip() for line in diagram().splitlines()]
    drawn = [line for line in lines if "-->" in line and "[*]" not in line]

    assert "stateDiagram-v2" == lines[0]
    assert sorted(f"{s} --> {t}: {e.lower()}" for s, e, t in CELLS) == sorted(drawn)


def test_state_of_a_record_follows_from_reason_and_lease() -> None:
    """A record without a reason lives, with a lease it is claimed."""
    records = [live(), ended(), ended(lease_token="t")]

    assert [State.LIVE, State.ENDED, State.CLAIMED] == [state_of(r) for r in records]


@pytest.mark.parametrize("reason", END_REASONS)
def test_freeze_ends_a_live_record_for_every_reason(reason: EndReason) -> None:
    """Reason, moment and successor are written, nothing else."""
    record = live(turns=7)
    freeze(record, reason, NOW + 5, "next")

    assert live(turns=7, reason=reason, ended_ms=NOW + 5, next_id="next") == record


@pytest.mark.parametrize("reason", END_REASONS)
@pytest.mark.parametrize("record", [ended(), ended(lease_token="t", attempts=1)], ids=["ended", "claimed"])
def test_G2_frozen_record_cannot_be_ended_again(record: SessionRecord, reason: EndReason) -> None:
    """An illegal step raises and changes nothing."""
    before = copy.deepcopy(record)
    with pytest.raises(IllegalTransition):
        freeze(record, reason, NOW + 99, "other")

    assert before == record


def test_illegal_steps_of_reporting_raise_and_change_nothing() -> None:
    """A live session cannot be claimed, handed back or acknowledged; an ended one not without a claim."""
    attempts: list[tuple[SessionRecord, Any]] = [
        (live(), lambda r: lease(r, "t", NOW)),
        (live(), lambda r: release(r, NOW)),
        (live(), lifecycle.bury),
        (ended(), lambda r: release(r, NOW)),
        (ended(), lifecycle.bury),
    ]
    for record, call in attempts:
        before = copy.deepcopy(record)
        with pytest.raises(IllegalTransition):
            call(record)

        assert before == record


def test_lease_counts_attempts_and_release_keeps_them() -> None:
    """A lease names its holder and its end; handing back names when to try again."""
    record = ended()
    lease(record, "a", NOW + 30)
    leased = (record.lease_token, record.lease_until_ms, record.attempts)
    lease(record, "b", NOW + 60)
    release(record, NOW + 90)

    assert ("a", NOW + 30, 1) == leased
    assert (None, NOW + 90, 2) == (record.lease_token, record.lease_until_ms, record.attempts)


@pytest.mark.parametrize(
    ("reason", "closed"), [(r, r in ("user_exit", "replaced")) for r in END_REASONS], ids=list(END_REASONS)
)
def test_bury_remembers_successor_generation_and_purpose(reason: EndReason, closed: bool) -> None:
    """Logout and replacement void what the token says of the user; running out does not."""
    record = ended(reason, lease_token="t", next_id="n", generation=3)

    assert Tombstone("n", 3, closed) == lifecycle.bury(record)


# -- deadlines


@pytest.mark.parametrize(
    ("more", "due"),
    [
        ({}, NOW + 1000),
        ({"last_ms": NOW + 400}, NOW + 1400),
        ({"open_until_ms": NOW + 5000}, NOW + 1000),
        ({"open_until_ms": NOW + 5000, "turns": 2}, NOW + 5000),
        ({"open_until_ms": NOW + 5000, "turns": 2, "failed": 1}, NOW + 1000),
        ({"open_until_ms": NOW + 999, "turns": 2}, NOW + 1000),
        ({"open_until_ms": NOW + 90_000, "turns": 2}, NOW + 50_000),
        ({"last_ms": NOW + 49_500}, NOW + 50_000),
        ({"origin_ms": NOW - 49_500}, NOW + 500),
    ],
    ids=[
        "idle",
        "idle counts from the last activity",
        "ended turns hold nothing",
        "open turn",
        "failed turns are over too",
        "open turn shorter than idle",
        "no turn outlives the absolute timeout",
        "absolute before idle",
        "absolute counts from the origin",
    ],
)
def test_deadline(more: dict[str, Any], due: int) -> None:
    """deadline = min(max(last + idle, open_until of an unfinished turn), origin + absolute)"""
    assert due == deadline(live(**more), LIMITS)


@pytest.mark.parametrize(("after", "frozen"), [(999, False), (1000, True), (1001, True)])
def test_S22_expiry_begins_at_the_deadline(after: int, frozen: bool) -> None:
    """One millisecond before it a session is alive; whenever it is noticed, the deadline is the end."""
    record = live()

    assert frozen is expire(record, LIMITS, NOW + after)
    assert (("idle_timeout", NOW + 1000) if frozen else (None, None)) == (record.reason, record.ended_ms)


@pytest.mark.parametrize(
    ("last", "reason", "end"),
    [(48_999, "idle_timeout", 49_999), (49_000, "max_lifetime", 50_000), (49_999, "max_lifetime", 50_000)],
)
def test_S24_reason_tells_which_limit_came_first(last: int, reason: str, end: int) -> None:
    """At the same millisecond the absolute limit is named: activity would not have helped."""
    record = live(last_ms=NOW + last)
    expire(record, LIMITS, NOW + 90_000)

    assert (reason, NOW + end) == (record.reason, record.ended_ms)


@given(
    last=st.integers(0, 60_000),
    open_until=st.integers(0, 60_000),
    turns=st.integers(0, 3),
    completed=st.integers(0, 3),
    now=st.integers(0, 60_000),
    later=st.integers(0, 60_000),
)
def test_next_look_is_never_later_than_the_deadline_can_become(
    last: int, open_until: int, turns: int, completed: int, now: int, later: int
) -> None:
    """Whatever a turn's end, or any activity after the look, does to the deadline: the look comes in time."""
    record = live(last_ms=NOW + last, open_until_ms=NOW + open_until, turns=turns, completed=completed)
    look = next_look(record, LIMITS, NOW + now)
    assert look <= deadline(record, LIMITS)

    merge(record, Add("s", at_ms=max(NOW + now, NOW + last) + later, completed=turns))

    assert look <= deadline(record, LIMITS)


# -- touches of live sessions


def test_touch_extends_a_live_session_in_place() -> None:
    """The same record goes on, with the next number, confirmed, its turn open."""
    record = live()
    change = touch(record, None, ask(), NOW + 500)

    assert ("extended", "s", 2, True) == (
        change.touched.outcome,
        change.touched.session_id,
        change.touched.turn_number,
        change.extended,
    )
    assert (NOW + 500, NOW + 800, True) == (record.last_ms, record.open_until_ms, record.confirmed)
    assert (None, None) == (change.made, change.tomb)


def test_touch_that_is_no_turn_opens_none() -> None:
    """Activity moves the last activity only."""
    record = live()
    touch(record, None, ask(turn=False), NOW + 500)

    assert (1, 0, NOW + 500) == (record.turns, record.open_until_ms, record.last_ms)


@pytest.mark.parametrize("back", [1, 3_600_000])
def test_G12_touch_after_the_clock_stepped_back(back: int) -> None:
    """The last activity is never earlier than it was; answer and turn use it."""
    record = live(last_ms=NOW)
    change = touch(record, None, ask(), NOW - back)

    assert ("extended", NOW, NOW) == (change.touched.outcome, change.touched.now_ms, record.last_ms)


def test_touch_at_the_deadline_freezes_and_makes_the_successor() -> None:
    """The old record names its successor, the new one its predecessor, the tombstone forwards."""
    record = live()
    change = touch(record, None, ask(), NOW + 1000)

    assert ("idle_timeout", NOW + 1000, "new") == (record.reason, record.ended_ms, record.next_id)
    assert change.made is not None
    assert ("rotated", "new", "s", 1) == (
        change.touched.outcome,
        change.made.session_id,
        change.made.previous_id,
        change.made.turns,
    )
    assert (True, Tombstone("new", 1, False)) == (change.frozen, change.tomb)


@pytest.mark.parametrize("reason", END_REASONS)
def test_G14_touch_of_an_ended_session_changes_its_tombstone_only(reason: EndReason) -> None:
    """A frozen record stays as it is; that it has a successor now stands in the tombstone."""
    record = ended(reason)
    before = copy.deepcopy(record)
    first = touch(record, None, ask(), NOW + 5)
    second = touch(record, first.tomb, ask(new_id="other"), NOW + 5)

    assert before == record
    assert ("rotated", "moved") == (first.touched.outcome, second.touched.outcome)
    assert ("new", None) == (second.touched.session_id, second.made)


# -- users


@pytest.mark.parametrize(
    ("user", "bound", "given_user", "claimed", "outcome", "session_user"),
    [
        (None, None, None, None, "extended", None),
        (None, None, "a", None, "extended", "a"),
        (None, None, None, "a", "extended", "a"),
        ("a", None, "a", None, "extended", "a"),
        ("a", None, None, "a", "extended", "a"),
        ("a", None, None, None, "extended", "a"),
        ("a", NOW, None, None, "extended", "a"),
        ("a", NOW - 900, None, None, "refused", None),
        ("a", NOW - 900, "a", None, "extended", "a"),
        ("a", NOW - 900, "b", "a", "rotated", "b"),
        ("a", NOW, "b", None, "rotated", "b"),
        ("a", None, None, "b", "rotated", "b"),
    ],
    ids=[
        "nobody",
        "first user, named by the application",
        "first user, named by the token",
        "same user again",
        "bound token",
        "unbound token, client that never updates it",
        "unbound token within the grace",
        "unbound token after the grace",
        "unbound token, but logged in as the same user",
        "another user logs in",
        "another user logs in with an unbound token",
        "token of another user",
    ],
)
def test_S19_identification(
    user: str | None,
    bound: int | None,
    given_user: str | None,
    claimed: str | None,
    outcome: str,
    session_user: str | None,
) -> None:
    """The first user keeps the session; planted tokens are refused after the grace; two users never share one."""
    record = live(user_id=user, bound_ms=bound)
    change = touch(record, None, ask(given_user=given_user, claimed_user=claimed), NOW + 10)

    assert (outcome, session_user) == (change.touched.outcome, change.touched.user_id)
    assert (user if outcome != "extended" else session_user) == record.user_id


@pytest.mark.parametrize(("after", "outcome"), [(99, "extended"), (100, "refused")])
def test_S19_grace_ends_a_skew_after_the_binding(after: int, outcome: str) -> None:
    """Until then the client may not have seen its new token."""
    record = live(user_id="a", bound_ms=NOW)

    assert outcome == touch(record, None, ask(), NOW + after).touched.outcome


def test_binding_is_noted_when_the_token_is_first_presented() -> None:
    """Neither naming the user nor presenting the token again changes the moment."""
    record = live()
    touch(record, None, ask(given_user="a"), NOW + 1)
    unbound = record.bound_ms
    touch(record, None, ask(claimed_user="a"), NOW + 2)
    touch(record, None, ask(claimed_user="a"), NOW + 3)

    assert (None, NOW + 2) == (unbound, record.bound_ms)


def test_refused_token_learns_nothing_of_the_session() -> None:
    """A fresh session without user, link or origin; the old one goes on untouched, nothing forwards to anywhere."""
    record = live(user_id="a", bound_ms=NOW - 500, attributes={"x": 1})
    before = copy.deepcopy(record)
    change = touch(record, None, ask(claimed_user=None, origin_ms=NOW - 9), NOW + 10)

    assert before == record
    assert change.made is not None
    assert (None, None, NOW + 10, {}) == (
        change.made.user_id,
        change.made.previous_id,
        change.made.origin_ms,
        change.made.attributes,
    )
    assert (None, None) == (change.tomb, change.forward_to)


def test_S19_replaced_session_forwards_but_vouches_for_nobody() -> None:
    """The successor belongs to the new user; what the old token says of the user does not hold."""
    record = live(user_id="a")
    change = touch(record, None, ask(given_user="b", claimed_user="a"), NOW + 10)

    assert ("replaced", NOW + 10, "new", "a") == (record.reason, record.ended_ms, record.next_id, record.user_id)
    assert Tombstone("new", 1, closed=True) == change.tomb


@pytest.mark.parametrize(("closed", "user"), [(False, "a"), (True, None)])
def test_S20_successor_takes_the_tokens_user_unless_the_session_was_closed(closed: bool, user: str | None) -> None:
    """Coming back after an hour is still the same user; after a logout the token alone is nobody."""
    change = touch(None, Tombstone(None, 1, closed), ask(claimed_user="a"), NOW)

    assert change.made is not None
    assert user == change.made.user_id
    assert Tombstone("new", 1, closed) == change.tomb


def test_S20_user_who_logs_in_again_after_a_logout_is_that_user() -> None:
    """What the application says now holds, whatever the token said."""
    change = touch(None, Tombstone(None, 1, True), ask(given_user="b", claimed_user="a"), NOW)

    assert change.made is not None
    assert "b" == change.made.user_id


# -- unknown ids


def test_session_without_a_token_starts_under_the_candidate() -> None:
    """Nothing was presented: nothing is linked, bound or confirmed."""
    change = touch(None, None, ask(None, given_user="a", claimed_user=None, attributes={"x": 1}), NOW)
    expected = live(
        session_id="new",
        completed=0,
        open_until_ms=NOW + 300,
        user_id="a",
        attributes={"x": 1},
    )

    assert expected == change.made
    assert "started" == change.touched.outcome


def test_provisional_session_keeps_its_id_origin_and_link() -> None:
    """What a signed token holds of a session that was never stored is taken over at its first turn."""
    change = touch(None, None, ask(own=True, claimed_user="a", previous_id="p", origin_ms=NOW - 70), NOW)

    assert change.made is not None
    assert ("started", "s", "p", NOW - 70, NOW) == (
        change.touched.outcome,
        change.made.session_id,
        change.made.previous_id,
        change.made.origin_ms,
        change.made.bound_ms,
    )
    assert change.made.confirmed


def test_G11_origin_in_the_future_is_now() -> None:
    """A token made by a faster clock does not lengthen the absolute timeout."""
    change = touch(None, None, ask(own=True, origin_ms=NOW + 5000), NOW)

    assert change.made is not None
    assert NOW == change.made.origin_ms


def test_turn_false_makes_a_record_without_turns() -> None:
    """Callers avoid it; where it happens, no turn is counted."""
    change = touch(None, None, ask(own=True, turn=False), NOW)

    assert change.made is not None
    assert (0, 0) == (change.made.turns, change.made.open_until_ms)


def test_S16_unknown_id_gets_a_fresh_one_and_forwards_to_it() -> None:
    """Ids are not adopted; parallel requests with the same old token meet in the same new session."""
    change = touch(None, None, ask(previous_id="s"), NOW)

    assert change.made is not None
    assert ("rotated", "new", "s") == (change.touched.outcome, change.made.session_id, change.made.previous_id)
    assert Tombstone("new") == change.tomb


def test_G9_recovered_session_continues_from_what_the_token_says() -> None:
    """Same id and start; the turns before are over, how is not known; the next has the next number."""
    change = touch(None, None, ask(recover_turns=7, origin_ms=NOW - 400, previous_id="p", claimed_user="a"), NOW)
    made = change.made

    assert made is not None
    assert ("recovered", 8) == (change.touched.outcome, change.touched.turn_number)
    assert (NOW - 400, NOW - 400, 8, 7, 1) == (
        made.started_ms,
        made.origin_ms,
        made.turns,
        made.completed,
        made.open_turns,
    )
    assert (True, True, "p", "a") == (made.recovered, made.confirmed, made.previous_id, made.user_id)


def test_S21_tombstone_comes_before_recovery() -> None:
    """What ended is not lost: however fresh the token, it is not brought back."""
    change = touch(None, Tombstone(None, 1), ask(recover_turns=7, own=True), NOW)

    assert "rotated" == change.touched.outcome


# -- ids that the application chose


def test_kept_id_is_renewed_not_forwarded() -> None:
    """Each end begins the next generation, linked to nothing else."""
    record = live(generation=4, user_id="a")
    change = touch(record, None, ask(keep=True), NOW + 1000)

    assert change.made is not None
    assert ("renewed", "s", 5, None) == (
        change.touched.outcome,
        change.made.session_id,
        change.made.generation,
        change.made.previous_id,
    )
    assert (True, None, None) == (change.frozen, change.tomb, record.next_id)


def test_tombstone_of_an_earlier_generation_does_not_speak_for_a_later_one() -> None:
    """Otherwise a generation would be made twice."""
    change = touch(ended(generation=2), Tombstone("old", 1), ask(keep=True), NOW)

    assert change.made is not None
    assert 3 == change.made.generation


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        (None, Tombstone("n"), Tombstone("n")),
        (Tombstone("first"), Tombstone("second"), Tombstone("first")),
        (Tombstone(None), Tombstone("n"), Tombstone("n")),
        (Tombstone("n"), Tombstone(None, 1, True), Tombstone("n", 1, True)),
        (Tombstone("n", 1, True), Tombstone(None, 2), Tombstone(None, 2)),
        (Tombstone(None, 2), Tombstone("n", 1, True), Tombstone(None, 2)),
    ],
    ids=["nothing known", "successor stays", "successor learned", "closed later", "newer", "older"],
)
def test_remember(old: Tombstone | None, new: Tombstone, kept: Tombstone) -> None:
    """The newest generation speaks; a successor stays; closed stays closed."""
    assert kept == remember(old, new)


# -- explicit ends


@pytest.mark.parametrize("reason", END_REASONS)
def test_S20_end_freezes_a_live_session(reason: EndReason) -> None:
    """Now, for that reason; what somebody did is activity, what merely happened is not."""
    record = live()
    done = lifecycle.end(record, None, End("s", reason), NOW + 9)
    happened = {"idle_timeout", "max_lifetime", "disconnected", "shutdown", "replaced", "store_lost"}
    passive = reason in happened

    assert (True, None) == (done.ended, done.tomb)
    assert (reason, NOW + 9, NOW if passive else NOW + 9) == (record.reason, record.ended_ms, record.last_ms)


def test_end_with_a_successor_forwards_to_it() -> None:
    """The tombstone is written at once: the successor may be asked for before the end is reported."""
    record = live(generation=2)
    done = lifecycle.end(record, None, End("s", "replaced", "next"), NOW)

    assert (True, Tombstone("next", 2, True), "next") == (done.ended, done.tomb, record.next_id)


def test_G12_end_after_the_clock_stepped_back() -> None:
    """No session ends before its last activity."""
    record = live()
    lifecycle.end(record, None, End("s", "completed"), NOW - 5000)

    assert (NOW, NOW) == (record.ended_ms, record.last_ms)


@pytest.mark.parametrize(
    ("record", "tomb", "op", "remembered"),
    [
        (None, None, End("s", "user_exit"), Tombstone(None, 1, True)),
        (None, None, End("s", "completed"), Tombstone(None, 1, True)),
        (None, None, End("s", "replaced", "n"), Tombstone("n", 1, True)),
        (ended(), None, End("s", "completed"), None),
        (ended(), None, End("s", "user_exit"), Tombstone(None, 1, True)),
        (ended(next_id="x"), None, End("s", "replaced", "n"), Tombstone("x", 1, True)),
        (ended(), Tombstone("x"), End("s", "user_exit"), Tombstone("x", 1, True)),
        (ended(generation=2), Tombstone("x", 1), End("s", "user_exit"), Tombstone(None, 2, True)),
        (None, Tombstone("x"), End("s", "completed"), None),
        (None, Tombstone(None), End("s", "replaced", "n"), Tombstone("n", 1, True)),
    ],
    ids=[
        "unknown",
        "unknown, any reason: its token shall not start it",
        "unknown, with a successor",
        "ended",
        "ended, then logged out",
        "ended, its successor stays",
        "ended and forwarded, then logged out",
        "ended, later generation",
        "gone",
        "gone, successor learned",
    ],
)
def test_S20_end_of_what_is_not_alive(
    record: SessionRecord | None, tomb: Tombstone | None, op: End, remembered: Tombstone | None
) -> None:
    """Nothing ends twice, no frozen number changes; what the token may still do is remembered."""
    before = copy.deepcopy(record)
    done = lifecycle.end(record, tomb, op, NOW)

    assert (False, remembered) == (done.ended, done.tomb)
    assert before == record


# -- renewal and counters


@pytest.mark.parametrize(
    ("record", "now", "open_until"),
    [
        (live(turns=2, open_until_ms=NOW + 300), NOW + 200, NOW + 500),
        (live(turns=2, open_until_ms=NOW + 900), NOW + 200, NOW + 900),
        (live(turns=2, open_until_ms=NOW + 300), NOW - 900, NOW + 300),
        (live(turns=2, open_until_ms=NOW + 300), NOW + 1000, None),
        (ended(turns=2), NOW, None),
    ],
    ids=["later", "never earlier", "clock stepped back", "too late", "ended"],
)
def test_renew(record: SessionRecord, now: int, open_until: int | None) -> None:
    """An open turn is held for another turn timeout while its session is alive."""
    before = copy.deepcopy(record)

    assert (open_until is not None) is lifecycle.renew(record, LIMITS, now)
    before.open_until_ms = before.open_until_ms if open_until is None else open_until
    assert before == record


def test_merge_into_an_ended_record_that_nobody_reported() -> None:
    """What another worker had not written yet when the session was ended still counts; the end is not moved by it."""
    record = ended()
    end_ms, completed = record.ended_ms, record.completed

    assert merge(record, Add("s", at_ms=NOW + 10**9, completed=1, input_tokens=5))
    assert (completed + 1, 5, end_ms) == (record.completed, record.input_tokens, record.ended_ms)
    assert end_ms is not None and record.last_ms <= end_ms


@pytest.mark.parametrize(
    "record", [ended(lease_token="t", attempts=1), ended(attempts=1)], ids=["claimed", "handed back"]
)
def test_S21_merge_into_a_reported_record_is_refused(record: SessionRecord) -> None:
    """Writes after the end was first reported fail and change nothing."""
    before = copy.deepcopy(record)

    assert not merge(record, Add("s", at_ms=NOW + 99, completed=1, input_tokens=5, user_id="a", attributes={"x": 1}))
    assert before == record


TOKENS = st.none() | st.integers(0, 10**12)


@given(st.lists(st.tuples(TOKENS, TOKENS, TOKENS), max_size=6))
def test_merge_sums_what_is_known(items: list[tuple[int | None, int | None, int | None]]) -> None:
    """Unknown plus unknown stays unknown; anything known makes the sum of what is known."""
    record = live()
    for one, two, three in items:
        merge(record, Add("s", input_tokens=one, output_tokens=two, cost_microusd=three))
    sums = [[x for x in column if x is not None] for column in zip(*items, strict=True)] or [[], [], []]

    assert [sum(s) if s else None for s in sums] == [record.input_tokens, record.output_tokens, record.cost_microusd]


def test_merge_names_the_user_once() -> None:
    """The first user keeps the session here too."""
    record = live()
    merge(record, Add("s", user_id="a"))
    merge(record, Add("s", user_id="b"))

    assert "a" == record.user_id


# -- all of it at once

USERS = st.sampled_from([None, "a", "b"])
TIMES = st.integers(NOW - 2000, NOW + 3000)
RECORDS = st.none() | st.builds(
    live,
    last_ms=TIMES,
    origin_ms=st.integers(NOW - 51_000, NOW),
    open_until_ms=TIMES,
    turns=st.integers(1, 3),
    user_id=USERS,
    bound_ms=st.none() | TIMES,
    generation=st.integers(1, 3),
    reason=st.sampled_from([None, None, None, *END_REASONS]),
    next_id=st.sampled_from([None, "x"]),
)
TOMBS = st.none() | st.builds(Tombstone, st.sampled_from([None, "x"]), st.integers(1, 3), st.booleans())
TOUCHES = st.builds(
    ask,
    st.sampled_from([None, "s", "s", "s"]),
    turn=st.booleans(),
    own=st.booleans(),
    keep=st.booleans(),
    given_user=USERS,
    claimed_user=USERS,
    previous_id=st.sampled_from([None, "p", "s"]),
    origin_ms=st.none() | TIMES,
    recover_turns=st.none() | st.integers(0, 5),
)


@given(RECORDS, TOMBS, TOUCHES, TIMES)
def test_G13_turn_is_counted_in_exactly_one_session(
    record: SessionRecord | None, tomb: Tombstone | None, op: Touch, now: int
) -> None:
    """Every touch extends one record, makes one record, or names another id to touch: never two, never none."""
    before = copy.deepcopy(record)
    change = touch(record, tomb, op, now)
    outcome = change.touched.outcome

    assert 1 == change.extended + (change.made is not None) + (outcome == "moved")
    if change.extended:
        assert before is not None
        assert record is not None
        assert (before.turns + op.turn, change.touched.turn_number) == (record.turns, record.turns)
    if change.made is not None:
        assert (change.made.session_id, change.made.turns) == (change.touched.session_id, change.touched.turn_number)
        assert change.made.previous_id != change.made.session_id
        assert change.made.origin_ms <= change.touched.now_ms


@given(RECORDS, TOMBS, TOUCHES, TIMES)
def test_G16_touch_of_a_full_store_begins_nothing_and_changes_nothing_else(
    record: SessionRecord | None, tomb: Tombstone | None, op: Touch, now: int
) -> None:
    """What would make one more changes nothing, and tells what it would have made; all else is as with room."""
    before, untouched = copy.deepcopy(record), copy.deepcopy(record)
    roomy, change = touch(untouched, tomb, op, now), touch(record, tomb, op, now, full=True)
    if roomy.made is None or roomy.frozen:
        assert (roomy, untouched) == (change, record)
        return
    expected = replace(roomy.touched, outcome="unstored", turn_number=None)

    assert lifecycle.Change(expected) == change
    assert before == record


def test_set_aside_record_is_revived_for_another_round() -> None:
    """It may be claimed as often as before but once, and takes no numbers: parts of its report may be delivered."""
    record = ended(lease_token="old", attempts=lifecycle.MAX_ATTEMPTS + 1, lease_until_ms=NOW)
    before = copy.deepcopy(record)
    assert (True, False) == (lifecycle.dead(record, NOW), lifecycle.dead(record, NOW - 1))

    lifecycle.revive(record)
    assert replace(before, attempts=1) == record
    assert not lifecycle.dead(record, NOW)
    assert not merge(record, Add("s", completed=1))


@given(RECORDS, TOMBS, TOUCHES, TIMES)
def test_G2_no_touch_changes_a_frozen_record(
    record: SessionRecord | None, tomb: Tombstone | None, op: Touch, now: int
) -> None:
    """What is frozen stays; what this touch freezes had reached its deadline or another user."""
    before = copy.deepcopy(record)
    change = touch(record, tomb, op, now)
    if record is None or before is None:
        return
    if before.reason is not None:
        assert before == record
        assert not change.frozen
    elif record.reason is not None:
        assert change.frozen
        assert "replaced" == record.reason or deadline(before, LIMITS) == record.ended_ms
        assert before.turns == record.turns
    if op.session_id is None:
        assert before == record


@given(RECORDS, TOMBS, TOUCHES, TIMES)
def test_S19_no_session_holds_two_users(
    record: SessionRecord | None, tomb: Tombstone | None, op: Touch, now: int
) -> None:
    """A record's user is written once; who is someone else ends up in another record."""
    before = copy.deepcopy(record)
    change = touch(record, tomb, op, now)
    if record is not None and before is not None and before.user_id is not None:
        assert before.user_id == record.user_id
    if change.extended and op.given_user is not None:
        assert op.given_user == change.touched.user_id
    if change.made is not None and op.given_user is not None:
        assert op.given_user == change.made.user_id
