"""What ``export --format otlp`` writes, an import reads back."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from session_mw._core import names
from session_mw._core.events import end_event, start_event
from session_mw._core.records import SessionRecord, TurnRecord, UsageRecord
from session_mw._core.rules import SpanRules
from session_mw.cli.importing.gathered import Found, Gathered
from session_mw.cli.importing.otlp import pieces, span_of
from session_mw.cli.importing.traces import Reading
from session_mw.cli.importing.writing import Writer
from session_mw.ledger import Ledger, RingLedger
from session_mw.ledger.otlp import resource_spans
from tests.cli.importing.support import bring, opened
from tests.cli.looking.history import made, run
from tests.ledger.support import DAY, T0, without_pk
from tests.ledger.test_properties import finished, frozen, unhurried

KEYS = [("s1", 1), ("s1", 2), ("s2", 1)]
Session = tuple[SessionRecord, bool, list[TurnRecord]]


@st.composite
def sessions(draw: st.DrawFn, number: int) -> Session:
    """Draw a session, whether it has ended, and its turns: with spans or without, their traces kept or not."""
    key = KEYS[number]
    turns = draw(st.lists(finished(*key), max_size=4, unique_by=lambda turn: turn.number))
    traced = []
    for turn in turns:
        trace = f"{number + 1:031x}{turn.number or 0:x}-{number + 1:015x}{turn.number or 0:x}"
        traced.append(turn._replace(trace=draw(st.sampled_from(["", f"{trace}-00", f"{trace}-01"]))))
    return draw(frozen(*key)), draw(st.booleans()), traced


def told(drawn: list[Session]) -> RingLedger:
    """Return a history that was told of sessions live."""
    ledger = RingLedger()
    for record, ended, turns in drawn:
        ledger.write_turns(turns)
        began = replace(record, started_ms=T0)  # before its first turn, as sessions do
        ledger.emit([end_event(record) if ended else start_event(began)])
    return ledger


def imported(requests: list[str], content: bool = True) -> RingLedger:
    """Return a history that has read export requests."""
    ledger = RingLedger()
    reading = Reading(SpanRules(capture=content))
    with closing(Gathered()) as gathered:
        for text in requests:
            for _, resource, scope, element in pieces(json.loads(text)):
                gathered.add_span(span_of(resource, scope, element))
        gathered.index()
        for spans in gathered.each_trace():
            for found in reading.read(spans):
                gathered.add_turn(found) if isinstance(found, Found) else gathered.add_event(found)
        # Nothing is so old here that an end would be assumed.
        Writer(ledger, T0, idle_ms=365 * DAY).write(gathered, lambda text: None)
    return ledger


def exported(ledger: Ledger) -> list[str]:
    """Return what the export writes of a history."""
    rows = ledger.sessions()
    return [
        json.dumps(resource_spans(row, ledger.turns(row.session_id, row.generation, content=True), version="1"))
        for row in rows
    ]


def sayings(ledger: Ledger) -> list[object]:
    """Return all that a history says of the sessions and their turns."""
    rows = [ledger.session(*key) for key in KEYS]
    return [
        (row and without_pk(row), [without_pk(turn) for turn in ledger.turns(*key, content=True)])
        for key, row in zip(KEYS, rows, strict=True)
    ]


histories = st.tuples(*(sessions(number) for number in range(len(KEYS))))


def check_an_import_gives_back_what_was_exported(drawn: tuple[Session, ...]) -> None:
    """The same sessions, ended or not, and the same turns, with what was said."""
    ledger = told(list(drawn))

    assert sayings(ledger) == sayings(imported(exported(ledger)))


test_an_import_gives_back_what_was_exported = settings(unhurried, max_examples=5)(
    given(drawn=histories)(check_an_import_gives_back_what_was_exported)
)
test_an_import_gives_back_whatever_was_exported = pytest.mark.timeout(400)(
    pytest.mark.landing(
        settings(unhurried, max_examples=200)(given(drawn=histories)(check_an_import_gives_back_what_was_exported))
    )
)


def test_the_commands_do_the_same(tmp_path: Path) -> None:
    """Through files, into an empty history; and again into the very same one, which changes nothing."""
    first, second = (f"sqlite:///{tmp_path}/{name}.db" for name in ("first", "second"))
    made(first)
    file = str(tmp_path / "out.jsonl")
    run("export", "--format", "otlp", "-o", file, "--unconfirmed", "--ledger", first)
    before = everything(opened(first))
    result = bring(second, file)
    again = bring(first, file)

    assert 5 == len(before)
    assert "imported 5 sessions (5 new), 3 turns (3 new) from 8 spans" in result.stdout
    assert before == everything(opened(second))
    assert "imported 5 sessions (0 new), 3 turns (0 new)" in again.stdout
    assert before == everything(opened(first))


def everything(ledger: Ledger) -> dict[str, object]:
    """Return all sessions of a history with their turns, by id."""
    return {
        row.session_id: (without_pk(row), [without_pk(turn) for turn in ledger.turns(row.session_id)])
        for row in ledger.sessions()
    }


def test_calls_come_back_with_their_turn() -> None:
    """With their sums and where they were made; nothing is priced that had no price."""
    whole = {"input_tokens": 9, "output_tokens": 3, "cache_read_tokens": 4, "reasoning_tokens": 1}
    calls = (
        UsageRecord("agent", T0, 90, "support", span_id=f"{2:016x}"),
        UsageRecord("model", T0 + 10, 50, "chat gpt-4o", "gpt-4o", "openai", f"{3:016x}", f"{2:016x}", **whole),
        UsageRecord(
            "tool",
            T0 + 70,
            10,
            "lookup",
            span_id=f"{4:016x}",
            parent_id=f"{2:016x}",
            status="error",
            error_type="KeyError",
        ),
    )
    ledger = RingLedger()
    ledger.write_turns(
        [TurnRecord("s1", 1, 1, T0, 100, "ok", trace=f"{1:032x}-{1:016x}-01", input_tokens=9, usages=calls)]
    )
    exported = resource_spans(ledger.sessions()[0], ledger.turns("s1"), ledger.usages("s1"), version="1")
    found = imported([json.dumps(exported)])

    assert [without_pk(call) for call in ledger.usages("s1")] == [without_pk(call) for call in found.usages("s1")]
    assert sayings(ledger) == sayings(found)


def test_what_was_said_is_left_out_unless_it_is_asked_for() -> None:
    """An export has what was captured; an import keeps it with --content only."""
    said = {names.TURN_MESSAGES: "[]", "output.value": "an answer"}
    turn = TurnRecord("s1", 1, 1, T0, 10, "ok", trace=f"{1:032x}-{1:016x}-01", attributes=said)
    ledger = RingLedger()
    ledger.write_turns([turn])
    (kept,) = imported(exported(ledger)).turns("s1", content=True)
    (bare,) = imported(exported(ledger), content=False).turns("s1", content=True)

    assert said == kept.content
    assert {} == bare.content
