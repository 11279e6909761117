"""Whatever is recorded, in whatever order and how often: the same history, in every ledger."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from session_mw._core import names
from session_mw._core.events import EventRecord, end_event, start_event
from session_mw._core.records import END_REASONS, SessionRecord, TurnRecord, UsageRecord
from session_mw._core.user_totals import Sitting, sitting_of
from session_mw.ledger import Ledger, RingLedger, SessionRow
from tests.ledger.support import T0, dump, late, make, turn, without_pk

counts = st.integers(0, 2**40)
known = st.none() | counts
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
attribute_names = st.sampled_from(["app.a", "session.score.s", "journey.name", "user.tier", "_internal"])
attribute_values = st.one_of(
    words, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False)
)
ids = st.sampled_from(["s1", "s2"])


@st.composite
def frozen(draw: st.DrawFn, session_id: str | None = None, generation: int | None = None) -> SessionRecord:
    """Draw a session as the core freezes them."""
    started = T0 + draw(st.integers(0, 10**9))
    last = started + draw(st.integers(0, 10**8))
    completed, failed = draw(st.integers(0, 50)), draw(st.integers(0, 50))
    return SessionRecord(
        session_id or draw(ids),
        started_ms=started,
        last_ms=last,
        generation=generation or draw(st.integers(1, 2)),
        turns=completed + failed + draw(st.integers(0, 3)),
        completed=completed,
        failed=failed,
        latency_ms=draw(counts) if completed + failed else 0,
        input_tokens=draw(known),
        output_tokens=draw(known),
        cost_microusd=draw(known),
        user_id=draw(st.none() | st.just("u_1")),
        previous_id=draw(st.none() | st.just("before")),
        next_id=draw(st.none() | st.just("after")),
        reason=draw(st.sampled_from(END_REASONS)),
        ended_ms=last + draw(st.integers(0, 10**8)),
        attempts=draw(st.integers(1, 5)),
        confirmed=draw(st.booleans()),
        recovered=draw(st.booleans()),
        partial=draw(st.booleans()),
        attributes=draw(st.dictionaries(attribute_names, attribute_values, max_size=4)),
    )


calls = st.builds(
    UsageRecord,
    st.sampled_from(["model", "tool", "agent", "unheard of"]),
    counts,
    counts,
    name=words,
    model=st.none() | words,
    span_id=st.none() | st.text("0123456789abcdef", min_size=16, max_size=16),
    status=st.sampled_from(["ok", "error"]),
    first_token_ms=known,
    input_tokens=known,
    reasoning_tokens=known,
    cost_microusd=known,
)


@st.composite
def finished(draw: st.DrawFn, session_id: str | None = None, generation: int | None = None) -> TurnRecord:
    """Draw a turn; one number is always the same turn."""
    number = draw(st.integers(1, 6))
    said = draw(st.fixed_dictionaries({}, optional={"turn.messages": words, "output.value": words}))
    return turn(
        session_id or draw(ids),
        number=number,
        generation=generation or draw(st.integers(1, 2)),
        latency_ms=draw(st.integers(0, 10**6)),
        status=draw(st.sampled_from(["ok", "error", "cancelled"])),
        user_id=draw(st.none() | st.just("u_1")),
        input_tokens=draw(known),
        cost_microusd=draw(known),
        attributes={**draw(st.dictionaries(attribute_names, attribute_values, max_size=2)), **said},
        usages=tuple(draw(st.lists(calls, max_size=3))),
    )


lates = st.builds(
    late,
    ids,
    st.sampled_from(["t1", "t2"]),
    st.integers(1, 2),
    tokens_in=counts,
    tokens_out=counts,
    cost=st.floats(0, 9),
)
events = st.one_of(frozen().map(start_event), frozen().map(end_event), lates)
batches = st.lists(st.one_of(st.lists(events, max_size=4), st.lists(finished(), max_size=4)), max_size=8)
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


def write(ledger: Ledger, batch: Sequence[Any]) -> None:
    """Write a batch of events or of turns."""
    if batch and isinstance(batch[0], TurnRecord):
        ledger.write_turns(batch)
    else:
        ledger.emit(batch)


def as_record(row: SessionRow) -> dict[str, object]:
    """Return what a row says, under the names that the core's record has for it."""
    same = "session_id generation started_ms last_ms user_id turns completed failed input_tokens output_tokens"
    said = {name: getattr(row, name) for name in f"{same} cost_microusd previous_id next_id ended_ms confirmed".split()}
    return {**said, "reason": row.end_reason}


@settings(unhurried, max_examples=40)  # each opens a new file
@given(session=frozen())
def test_end_event_comes_back_as_the_core_knew_it(session: SessionRecord) -> None:
    """Everything that a frozen record says can be read back from the history, money to the millionth."""
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("sqlite", "memory"):
            ledger = make(kind, folder)
            event = end_event(session)
            ledger.emit([event])
            row = ledger.session(session.session_id)
            ledger.close()

            assert row is not None
            assert {name: getattr(session, name) for name in as_record(row)} == as_record(row)
            assert event.attributes.get(names.SESSION_TOTAL_TOKENS) == row.total_tokens
            assert event.attributes[names.SESSION_DURATION_MS] == row.duration_ms
            assert event.attributes.get(names.SESSION_AVG_TURN_LATENCY_MS) == row.avg_turn_latency_ms
            for name, value in session.attributes.items():
                assert (None if name.startswith("_") else value) == row.attributes.get(name)


def forget_said(ledger: Ledger) -> list[int]:
    """Forget in threes what was said before a moment; which of turns that began together goes first is not promised."""
    rounds = [ledger.forget_content_older_than(T0 + 4_000, 3)]
    while rounds[-1] == 3:
        rounds.append(ledger.forget_content_older_than(T0 + 4_000, 3))
    return rounds


@settings(unhurried, max_examples=40)
@given(batches=batches, ends=st.lists(st.tuples(st.just("u_1"), frozen().map(sitting_of)), max_size=4))
def test_every_ledger_tells_the_same_history(
    batches: list[list[EventRecord] | list[TurnRecord]], ends: list[tuple[str, Sitting]]
) -> None:
    """SQLite and the ring answer alike after any records, also in pages, totals and retention."""
    with tempfile.TemporaryDirectory() as folder:
        ledgers = [make(kind, folder) for kind in ("sqlite", "memory")]
        for ledger in ledgers:
            for batch in batches:
                write(ledger, batch)
        on_disk, in_memory = ledgers

        assert in_memory.sessions() == on_disk.sessions()
        assert in_memory.score_names() == on_disk.score_names()
        assert dump(in_memory, "s1", "s2") == dump(on_disk, "s1", "s2")
        for session_id in ("s1", "s2"):
            assert list(map(without_pk, in_memory.turns(session_id, 1))) == list(
                map(without_pk, on_disk.turns(session_id, 1))
            )
        assert in_memory.user_totals("u_1") == on_disk.user_totals("u_1")
        assert in_memory.user_totals_at(ends) == on_disk.user_totals_at(ends)
        assert forget_said(in_memory) == forget_said(on_disk)
        assert dump(in_memory, "s1", "s2") == dump(on_disk, "s1", "s2")
        assert in_memory.forget_older_than(T0 + 10**8, 9) == on_disk.forget_older_than(T0 + 10**8, 9)
        assert dump(in_memory, "s1", "s2") == dump(on_disk, "s1", "s2")
        on_disk.close()


@unhurried
@given(
    data=st.data(),
    session=frozen("s1", 1),
    turns=st.lists(finished("s1", 1), max_size=4, unique_by=lambda one: one.number),
    started=st.booleans(),
    usage=st.lists(st.integers(1, 9), max_size=2),
)
def test_order_and_repetition_do_not_matter_once_the_end_is_in(
    data: st.DataObject, session: SessionRecord, turns: list[TurnRecord], started: bool, usage: list[int]
) -> None:
    """Start, end, turns and late usage lead to one row, whoever was first and however often they came."""
    ends: list[EventRecord | TurnRecord] = [end_event(session), *([start_event(session)] if started else [])]
    lates = [late(turn=f"t{i}", tokens_in=tokens) for i, tokens in enumerate(usage)]
    records = [*ends, *lates, *turns]
    shuffled = data.draw(st.permutations(records + data.draw(st.lists(st.sampled_from(records), max_size=4))))
    one, other = RingLedger(), RingLedger()
    for item in records:
        write(one, [item])
    for item in shuffled:
        write(other, [item])

    assert dump(one, "s1") == dump(other, "s1")
