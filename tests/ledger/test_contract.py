"""What every ledger promises, whatever it is kept in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from session_mw._core import names
from session_mw._core.events import EventRecord
from session_mw._core.records import END_REASONS, AttributeValue, TurnRecord
from session_mw.ledger import Ledger, SessionRow, TurnRow
from tests.ledger.support import DAY, T0, dump, end, late, only, record, start, turn


def test_end_of_an_unknown_session_is_kept_whole(ledger: Ledger) -> None:
    """An end alone says everything there is to know."""
    took = ledger.emit([end(previous_id="s0", next_id="s2")])

    assert took is True
    assert SessionRow(
        pk=1,
        session_id="s1",
        generation=1,
        started_ms=T0,
        last_ms=T0 + 60_000,
        user_id="u_1",
        type="chat",
        prompt_version="v2",
        status="timed_out",
        end_reason="idle_timeout",
        outcome="abandoned",
        confirmed=True,
        ended_ms=T0 + 60_000 + 1_800_000,
        duration_ms=60_000,
        turns=3,
        completed=2,
        failed=1,
        latency_ms=900,
        input_tokens=100,
        output_tokens=40,
        total_tokens=140,
        cost_microusd=1_234,
        previous_id="s0",
        next_id="s2",
        attributes={
            "journey.stage": "cart",
            names.SESSION_STATUS: "errored",
            names.SESSION_OUTCOME_SOURCE: "implied",
            names.DROPOFF_DETECTED: True,
            names.DROPOFF_LAST_TURN: 3,
            names.DROPOFF_TIME_SINCE_LAST_TURN_MS: 1_800_000,
        },
    ) == ledger.session("s1")


def test_turn_is_kept_whole(ledger: Ledger) -> None:
    """What was recorded of a turn comes back, its trace taken apart."""
    attributes: dict[str, AttributeValue]
    attributes = {names.SESSION_PROMPT_VERSION: "v2", names.TURN_ACTION: "search", names.TURN_INTENT: "buy", "n": 1.5}
    ledger.write_turns(
        [
            TurnRecord(
                "s1",
                1,
                2,
                T0,
                300,
                "error",
                "conversation-1",
                "u_1",
                f"{'a' * 32}-{'b' * 16}-00",
                "TimeoutError",
                25,
                10,
                20,
                30,
                attributes,
            )
        ]
    )

    assert [
        TurnRow(
            pk=1,
            session_id="s1",
            generation=1,
            number=2,
            started_ms=T0,
            latency_ms=300,
            status="error",
            conversation_id="conversation-1",
            trace_id="a" * 32,
            span_id="b" * 16,
            sampled=False,
            error_type="TimeoutError",
            first_chunk_ms=25,
            action="search",
            intent="buy",
            prompt_version="v2",
            input_tokens=10,
            output_tokens=20,
            cost_microusd=30,
            attributes=attributes,
        )
    ] == ledger.turns("s1")


@pytest.mark.parametrize("reason", END_REASONS)
def test_status_tells_who_left_from_what_was_ended(ledger: Ledger, reason: str) -> None:
    """Timed out are those whom idle or absolute timeout ended; all other ends were somebody's decision."""
    ledger.emit([end(reason=reason)])

    row = only(ledger.sessions())
    assert reason == row.end_reason
    assert ("timed_out" if reason in ("idle_timeout", "max_lifetime") else "ended") == row.status


def test_unknown_is_none_and_never_zero(ledger: Ledger) -> None:
    """Tokens and cost that nobody reported are not zero."""
    ledger.emit([end(input_tokens=None, output_tokens=None, cost_microusd=None)])
    ledger.write_turns([turn()])

    row, one = only(ledger.sessions()), ledger.turns("s1")[0]
    assert (None, None, None, None) == (row.input_tokens, row.output_tokens, row.total_tokens, row.cost_microusd)
    assert (None, None, None) == (one.input_tokens, one.output_tokens, one.cost_microusd)


def test_zero_is_not_unknown(ledger: Ledger) -> None:
    """A session of a free model cost nothing, and that is known."""
    ledger.emit([end(input_tokens=0, output_tokens=None, cost_microusd=0)])

    row = only(ledger.sessions())
    assert (0, None, 0, 0) == (row.input_tokens, row.output_tokens, row.total_tokens, row.cost_microusd)


def test_mean_latency_is_that_of_the_event(ledger: Ledger) -> None:
    """The row's mean over its finished turns is what ``session.end`` told everybody."""
    event = end(latency_ms=1_000)
    ledger.emit([event])

    assert event.attributes[names.SESSION_AVG_TURN_LATENCY_MS] == only(ledger.sessions()).avg_turn_latency_ms


def test_mean_latency_is_unknown_while_no_turn_ended(ledger: Ledger) -> None:
    """There is no mean of nothing."""
    ledger.emit([start()])

    assert only(ledger.sessions()).avg_turn_latency_ms is None


def test_outcome_has_its_column(ledger: Ledger) -> None:
    """What came out is asked for so often that it is no attribute among others."""
    ledger.emit([end(attributes={names.SESSION_OUTCOME: "resolved", names.SESSION_OUTCOME_SOURCE: "confirmed"})])

    row = only(ledger.sessions())
    assert "resolved" == row.outcome
    assert names.SESSION_OUTCOME not in row.attributes
    assert "confirmed" == row.attributes[names.SESSION_OUTCOME_SOURCE]


# -- the same again


def test_same_records_again_change_nothing(ledger: Ledger) -> None:
    """Delivery is at least once: whatever comes with a known ``log.record.uid`` was there already."""
    events = [start(), end(), late(tokens_in=7)]
    turns = [turn(number=1), turn(number=2)]
    ledger.emit(events)
    ledger.write_turns(turns)
    before = dump(ledger, "s1")

    assert ledger.emit(events) is True
    assert ledger.emit(list(reversed(events))) is True
    ledger.write_turns([*turns, *turns])

    assert before == dump(ledger, "s1")
    assert 1 == len(ledger.sessions())


def test_same_record_twice_in_one_batch_counts_once(ledger: Ledger) -> None:
    """A sink may be handed a duplicate together with the original."""
    ledger.emit([end(), end(), late(tokens_in=7), late(tokens_in=7)])
    ledger.write_turns([turn(), turn()])

    assert 107 == only(ledger.sessions()).input_tokens
    assert 1 == len(ledger.turns("s1"))


def test_end_reported_again_by_another_worker_changes_nothing(ledger: Ledger) -> None:
    """A repeated report differs in ``session.emit_attempt`` only, and that is not history."""
    ledger.emit([end(attempts=1)])
    before = dump(ledger, "s1")

    ledger.emit([end(attempts=2)])

    assert before == dump(ledger, "s1")
    assert names.SESSION_EMIT_ATTEMPT not in only(ledger.sessions()).attributes


def test_turn_number_is_known_once(ledger: Ledger) -> None:
    """A turn is known by session, generation and number; the first word counts."""
    ledger.write_turns([turn(number=1, trace="", latency_ms=10)])
    ledger.write_turns([turn(number=1, trace="", latency_ms=20)])

    assert [10] == [one.latency_ms for one in ledger.turns("s1")]
    assert 1 == only(ledger.sessions()).turns


def test_turn_with_the_number_of_another_is_kept(ledger: Ledger) -> None:
    """A store that lost a session counts on from its cookie: the same number, but not the same turn."""
    ledger.write_turns([turn(number=1, trace=f"{'a' * 32}-{'1' * 16}-01")])
    ledger.write_turns([turn(number=1, trace=f"{'b' * 32}-{'2' * 16}-01", started_ms=T0 + 9_000)])

    assert [(1, "1" * 16), (1, "2" * 16)] == [(one.number, one.span_id) for one in ledger.turns("s1")]
    assert 2 == only(ledger.sessions()).turns


def test_turns_without_number_are_kept(ledger: Ledger) -> None:
    """With the store away nobody counts, but it happened."""
    ledger.write_turns([turn(number=None), turn(number=None), turn(number=None, trace=f"{'a' * 32}-{'1' * 16}-01")])
    ledger.write_turns([turn(number=None, trace=f"{'a' * 32}-{'1' * 16}-01")])

    assert [None, None, None] == [one.number for one in ledger.turns("s1")]
    assert 3 == only(ledger.sessions()).turns


# -- sessions in progress


def test_started_session_is_active(ledger: Ledger) -> None:
    """From its start on a session can be looked at."""
    ledger.emit([start(previous_id="s0")])

    row = only(ledger.sessions())
    assert ("active", None, None, None) == (row.status, row.ended_ms, row.end_reason, row.confirmed)
    assert (T0, T0, "u_1", "chat", "v2", "s0") == (
        row.started_ms,
        row.last_ms,
        row.user_id,
        row.type,
        row.prompt_version,
        row.previous_id,
    )
    assert {"journey.stage": "cart"} == row.attributes


def test_turn_of_an_unknown_session_makes_it(ledger: Ledger) -> None:
    """Turns may be written before anybody told of their session."""
    ledger.write_turns([turn(user_id="u_1", attributes={names.SESSION_TYPE: "api"})])

    row = only(ledger.sessions())
    assert ("active", "s1", 1, "u_1", "api", 1) == (
        row.status,
        row.session_id,
        row.generation,
        row.user_id,
        row.type,
        row.turns,
    )


def test_active_session_counts_its_turns(ledger: Ledger) -> None:
    """Until its end says so, the numbers of a session are the sums over its turns."""
    ledger.emit([start()])
    ledger.write_turns(
        [
            turn(number=1, input_tokens=10, cost_microusd=5),
            turn(number=2, status="error", output_tokens=7),
            turn(number=3, status="cancelled", input_tokens=1),
        ]
    )

    row = only(ledger.sessions())
    assert (3, 2, 1) == (row.turns, row.completed, row.failed)
    assert (11, 7, 18, 5) == (row.input_tokens, row.output_tokens, row.total_tokens, row.cost_microusd)
    assert (T0, T0 + 3_300, 3_300) == (row.started_ms, row.last_ms, row.duration_ms)
    assert (900, 300) == (row.latency_ms, row.avg_turn_latency_ms)


def test_turns_begun_are_at_least_the_highest_number(ledger: Ledger) -> None:
    """A turn whose record was lost was begun all the same."""
    ledger.write_turns([turn(number=4)])

    assert 4 == only(ledger.sessions()).turns


def test_newest_turn_says_which_prompts_are_in_use(ledger: Ledger) -> None:
    """An active session shows the prompt version of its latest turn, whatever order they were written in."""
    ledger.emit([start()])
    ledger.write_turns([turn(number=2, attributes={names.SESSION_PROMPT_VERSION: "v4"})])
    ledger.write_turns([turn(number=1, attributes={names.SESSION_PROMPT_VERSION: "v3"})])

    row = only(ledger.sessions())
    assert ("v4", T0, T0 + 2_300) == (row.prompt_version, row.started_ms, row.last_ms)
    assert ["v3", "v4"] == [one.prompt_version for one in ledger.turns("s1")]


def test_start_that_comes_late_fills_what_is_missing(ledger: Ledger) -> None:
    """Turns may be written before the start: what they said is newer, what they did not say comes from it."""
    ledger.write_turns([turn(number=2, user_id="u_1", attributes={names.SESSION_PROMPT_VERSION: "v3"})])
    ledger.emit([start(user_id=None, previous_id="s0")])

    row = only(ledger.sessions())
    assert ("u_1", "v3", "chat", "s0") == (row.user_id, row.prompt_version, row.type, row.previous_id)
    assert (T0, T0 + 2_300, 2_300) == (row.started_ms, row.last_ms, row.duration_ms)


def test_session_begins_with_its_first_turn(ledger: Ledger) -> None:
    """Without a start, the earliest turn is the start, whichever was written first."""
    ledger.write_turns([turn(number=2), turn(number=1)])

    row = only(ledger.sessions())
    assert (T0 + 1_000, T0 + 2_300) == (row.started_ms, row.last_ms)


def test_end_has_the_last_word(ledger: Ledger) -> None:
    """History says what every other sink was told, also where its own count was another."""
    ledger.write_turns([turn(number=9, input_tokens=999, attributes={names.SESSION_TYPE: "api"})])
    ledger.emit([end()])

    row = only(ledger.sessions())
    assert (3, 2, 1, 100, "chat") == (row.turns, row.completed, row.failed, row.input_tokens, row.type)


def test_turn_after_the_end_is_kept_and_changes_no_total(ledger: Ledger) -> None:
    """The record of the last turn may arrive after the session was ended; only its trace was not known yet."""
    ledger.emit([end()])
    before = only(ledger.sessions())
    ledger.write_turns([turn(number=3, input_tokens=5)])

    assert replace(before, traces=1) == only(ledger.sessions())
    assert [3] == [one.number for one in ledger.turns("s1")]


def test_start_after_the_end_changes_nothing(ledger: Ledger) -> None:
    """Order on the wire is not promised."""
    ledger.emit([end()])
    before = only(ledger.sessions())
    ledger.emit([start(attributes={names.SESSION_TYPE: "other", "x": 1})])

    assert before == only(ledger.sessions())


def test_user_who_became_known_by_a_turn_is_kept(ledger: Ledger) -> None:
    """Identified in a turn whose counters were lost: whoever asks to be forgotten must be found."""
    ledger.emit([start(user_id=None)])
    ledger.write_turns([turn(user_id="u_1")])
    ledger.emit([end(user_id=None)])

    assert "u_1" == only(ledger.sessions()).user_id


# -- late usage


def test_late_usage_is_added_to_the_end(ledger: Ledger) -> None:
    """What a model reported after the freeze belongs to the session's totals."""
    ledger.emit([end()])
    ledger.emit([late(turn="t1", tokens_in=7, tokens_out=3, cost=0.000_006), late(turn="t2", tokens_in=1)])

    row = only(ledger.sessions())
    assert (108, 43, 151, 1_240) == (row.input_tokens, row.output_tokens, row.total_tokens, row.cost_microusd)


def test_late_usage_before_the_end_is_not_lost(ledger: Ledger) -> None:
    """Late usage may be written before the end that it is late for."""
    ledger.emit([late(tokens_in=7)])
    ledger.emit([end(input_tokens=None)])

    row = only(ledger.sessions())
    assert ("timed_out", 7, 40, 47) == (row.status, row.input_tokens, row.output_tokens, row.total_tokens)


# -- generations


def test_generations_are_sessions_of_their_own(ledger: Ledger) -> None:
    """An id that the application uses again names the newest session of that id, and the older one stays."""
    ledger.emit([end(generation=1)])
    ledger.write_turns([turn(number=1, generation=1), turn(number=1, generation=2, started_ms=T0 + DAY)])
    ledger.emit([start(generation=2, started_ms=T0 + DAY)])

    newest, first = ledger.session("s1"), ledger.session("s1", 1)
    assert newest is not None
    assert first is not None
    assert (2, "active") == (newest.generation, newest.status)
    assert (1, "timed_out") == (first.generation, first.status)
    assert [2, 1] == [row.generation for row in ledger.sessions()]
    assert [T0 + DAY] == [one.started_ms for one in ledger.turns("s1")]
    assert [T0 + 1_000] == [one.started_ms for one in ledger.turns("s1", 1)]


# -- a sink among others


def test_no_records_are_taken(ledger: Ledger) -> None:
    """Nothing to do is done."""
    assert ledger.emit([]) is True
    ledger.write_turns([])


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(EventRecord("app.custom", T0, {"a": 1}, key=("s1", 1)), id="another event"),
        pytest.param(EventRecord(names.EVENT_END, T0, {}), id="of no session"),
    ],
)
def test_events_that_are_no_history_are_taken_and_not_kept(ledger: Ledger, event: EventRecord) -> None:
    """Refusing them would hold up everything behind them for ever."""
    assert ledger.emit([event]) is True
    assert [] == ledger.sessions()


def test_event_without_key_belongs_to_the_session_it_names(ledger: Ledger) -> None:
    """An event that was rebuilt from its attributes is filed all the same."""
    ledger.emit([replace(end(), key=("", 1))])

    assert "s1" == only(ledger.sessions()).session_id


def test_end_without_numbers_keeps_what_was_counted(ledger: Ledger) -> None:
    """An end of somebody else's making may say little; what it leaves open stays as it was."""
    ledger.write_turns([turn(number=1), turn(number=2, status="error")])
    ledger.emit([EventRecord(names.EVENT_END, T0 + 5_000, {names.SESSION_END_REASON: "completed"}, key=("s1", 1))])

    row = only(ledger.sessions())
    assert ("ended", 2, 1, 1) == (row.status, row.turns, row.completed, row.failed)
    assert (T0 + 1_000, T0 + 5_000, T0 + 5_000) == (row.started_ms, row.last_ms, row.ended_ms)


def test_long_batch_is_taken_whole(ledger: Ledger) -> None:
    """A batch longer than any part it may be written in is there when ``emit`` says so."""
    records = [event for i in range(120) for event in (start(f"s{i}"), end(f"s{i}"))]

    assert ledger.emit(records) is True
    ledger.write_turns([turn("s0", number=n) for n in range(1, 131)])

    rows = ledger.sessions(1_000)
    assert {f"s{i}" for i in range(120)} == {row.session_id for row in rows if row.status == "timed_out"}
    assert list(range(1, 131)) == [one.number for one in ledger.turns("s0")]
    assert record("s0").turns == ledger.sessions(1_000)[-1].turns
