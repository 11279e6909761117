"""Each check of the demo, on evidence that is falsified in one place: it has to notice, or it proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from session_mw._core import names
from session_mw.cli.demo.checks import FROM_FILES, FROM_TELEMETRY, check_all
from session_mw.cli.demo.evidence import CHAT, ORDERS, Evidence, Telemetry
from session_mw.cli.demo.otlp import Record, Span
from session_mw.ledger import SessionRow
from tests.cli.support import good_evidence

Falsify = Callable[[Evidence], Evidence]


def failing(evidence: Evidence) -> set[str]:
    return {check.name for check in check_all(evidence) if not check.ok}


def telemetry_of(evidence: Evidence) -> Telemetry:
    assert evidence.telemetry is not None
    return evidence.telemetry


def with_session(find: Callable[[SessionRow], bool], **changes: Any) -> Falsify:
    """Change the first session that *find* likes."""

    def falsify(evidence: Evidence) -> Evidence:
        chosen = next(row for row in evidence.sessions if find(row))
        rows = tuple(replace(row, **changes) if row is chosen else row for row in evidence.sessions)
        return replace(evidence, sessions=rows)

    return falsify


def with_spans(change: Callable[[Sequence[Span]], Sequence[Span]]) -> Falsify:
    """Change the received spans."""

    def falsify(evidence: Evidence) -> Evidence:
        telemetry = telemetry_of(evidence)
        return replace(evidence, telemetry=replace(telemetry, spans=tuple(change(telemetry.spans))))

    return falsify


def with_records(change: Callable[[Sequence[Record]], Sequence[Record]]) -> Falsify:
    """Change the received log records."""

    def falsify(evidence: Evidence) -> Evidence:
        telemetry = telemetry_of(evidence)
        return replace(evidence, telemetry=replace(telemetry, records=tuple(change(telemetry.records))))

    return falsify


def first(find: Callable[[Any], bool], **changes: Any) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """Change the first item that *find* likes; a key with a dot is an attribute, None takes it away."""
    attributes = changes.pop("attributes", {})

    def change(items: Sequence[Any]) -> Sequence[Any]:
        chosen = next(item for item in items if find(item))
        said = {key: value for key, value in {**chosen.attributes, **attributes}.items() if value is not None}
        return [replace(item, **{"attributes": said, **changes}) if item is chosen else item for item in items]

    return change


def without(find: Callable[[Any], bool]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """Take the first item away that *find* likes."""

    def change(items: Sequence[Any]) -> Sequence[Any]:
        chosen = next(item for item in items if find(item))
        return [item for item in items if item is not chosen]

    return change


def named(name: str, service: str = CHAT) -> Callable[[Span], bool]:
    return lambda span: (span.name, span.service) == (name, service)


def event(name: str) -> Callable[[Record], bool]:
    return lambda record: record.event_name == name


def of_user(span: Span) -> bool:
    return span.name == "turn" and names.USER_ID in span.attributes


def caller_of_orders(span: Span) -> bool:
    return span.span_id == "turn-Grace 1-1"


def books_with(**changes: Any) -> Falsify:
    return lambda evidence: replace(evidence, books=(replace(evidence.books[0], **changes), *evidence.books[1:]))


def turns_with(**changes: Any) -> Falsify:
    return lambda evidence: replace(evidence, turns=(replace(evidence.turns[0], **changes), *evidence.turns[1:]))


def idle(row: SessionRow) -> bool:
    return row.end_reason == "idle_timeout"


def linked(row: SessionRow) -> bool:
    return row.previous_id is not None


def raw_with(content: bytes) -> Falsify:
    return lambda evidence: replace(evidence, telemetry=replace(telemetry_of(evidence), raw=(content,)))


def test_checks_hold_for_evidence_without_faults() -> None:
    """Nothing is said against what is right, and nothing is skipped."""
    checks = check_all(good_evidence())

    assert [] == [(check.name, check.problems) for check in checks if not check.ok]
    assert len(FROM_FILES) + len(FROM_TELEMETRY) == len(checks)
    assert not any(check.skipped for check in checks)


def test_checks_of_telemetry_are_skipped_without_it() -> None:
    """What went to another back end is said to be unchecked, not to be right."""
    checks = check_all(replace(good_evidence(), telemetry=None))

    assert {name for name, _, _ in FROM_TELEMETRY} == {check.name for check in checks if check.skipped}
    assert {name for name, _, _ in FROM_FILES} == {check.name for check in checks if not check.skipped}


FALSIFIED: Mapping[str, tuple[Falsify, set[str]]] = {
    "books: a token more": (books_with(input_tokens=1), {"conversations", "calls"}),
    "books: a micro-dollar more": (books_with(cost_microusd=1), {"conversations", "calls"}),
    "books: a call missing": (lambda e: replace(e, books=e.books[1:]), {"conversations", "calls"}),
    "books: a call twice": (lambda e: replace(e, books=(*e.books, e.books[0])), {"conversations"}),
    "books: another conversation": (books_with(conversation="elsewhere"), {"conversations"}),
    "turn: tokens": (turns_with(output_tokens=0), {"conversations", "totals"}),
    "turn: number twice": (turns_with(number=2), {"numbers", "identity"}),
    "turn: no number": (turns_with(number=None), {"numbers", "identity"}),
    "turn: missing": (
        lambda e: replace(e, turns=e.turns[1:]),
        {"conversations", "numbers", "totals", "identity", "traces"},
    ),
    "session: reason": (with_session(idle, end_reason="user_exit"), {"ends", "event-totals"}),
    "session: active": (with_session(idle, end_reason=None), {"ends", "event-totals"}),
    "session: missing": (
        lambda e: replace(e, sessions=e.sessions[1:]),
        {"ends", "events", "event-totals"},
    ),
    "session: twice": (lambda e: replace(e, sessions=(*e.sessions, e.sessions[0])), {"ends", "events"}),
    "session: of nobody": (
        lambda e: replace(e, sessions=(*e.sessions, replace(e.sessions[0], session_id="stranger", turns=0))),
        {"ends", "totals", "events"},
    ),
    "session: link missing": (with_session(linked, previous_id=None), {"links", "event-totals"}),
    "session: link where none is": (
        with_session(lambda row: not linked(row), previous_id="another"),
        {"links", "event-totals"},
    ),
    "session: total": (with_session(idle, input_tokens=1), {"totals", "event-totals"}),
    "session: count of turns": (with_session(idle, turns=9), {"totals", "event-totals"}),
    "session: another user": (
        with_session(lambda row: row.user_id is not None, user_id="u_stranger"),
        {"users", "event-totals"},
    ),
    "session: the login itself": (
        lambda e: replace(
            e,
            sessions=tuple(
                replace(row, user_id="finn@lamps.example") if row.user_id == "u_finn" else row for row in e.sessions
            ),
            seen=tuple(
                replace(one, user_id="finn@lamps.example") if one.user_id == "u_finn" else one for one in e.seen
            ),
        ),
        {"users", "event-totals", "identity"},
    ),
    "log: spans lost": (
        lambda e: replace(e, logs=((CHAT, "INFO: up\nFailed to export spans batch code: 404, reason: Not Found\n"),)),
        {"delivered"},
    ),
    "start: missing": (with_records(without(event("session.start"))), {"events"}),
    "end: missing": (with_records(without(event("session.end"))), {"events"}),
    "end: twice": (with_records(lambda records: [*records, records[1]]), {"events"}),
    "end: by the second service": (with_records(first(event("session.end"), service=ORDERS)), {"events"}),
    "end: tokens": (
        with_records(first(event("session.end"), attributes={names.SESSION_TOTAL_INPUT_TOKENS: 1})),
        {"event-totals", "calls"},
    ),
    "end: cost": (
        with_records(first(event("session.end"), attributes={names.SESSION_TOTAL_COST_USD: 1.0})),
        {"event-totals", "calls"},
    ),
    "end: drop-off": (
        with_records(first(event("session.end"), attributes={names.DROPOFF_DETECTED: True})),
        {"event-totals"},
    ),
    "end: no user": (with_records(first(event("session.end"), attributes={names.USER_ID: None})), {"event-totals"}),
    "span: no session": (
        with_spans(first(named("session"), attributes={names.SESSION_ID: None})),
        {"identity", "traces"},
    ),
    "span: another session": (
        with_spans(first(named("chat"), attributes={names.SESSION_ID: "session-Ben 1"})),
        {"identity", "traces", "calls"},
    ),
    "span: no user": (with_spans(first(of_user, attributes={names.USER_ID: None})), {"identity"}),
    "span: another user": (with_spans(first(of_user, attributes={names.USER_ID: "u_stranger"})), {"identity"}),
    "span: no conversation": (
        with_spans(first(named("turn"), attributes={names.GEN_AI_CONVERSATION_ID: None})),
        {"identity"},
    ),
    "span: turn that is none": (with_spans(first(named("chat"), attributes={names.TURN_NUMBER: 77})), {"identity"}),
    "span: of a call, missing": (with_spans(without(named("chat"))), {"calls"}),
    "span: of a call, other tokens": (
        with_spans(first(named("chat"), attributes={"gen_ai.usage.output_tokens": 1})),
        {"calls"},
    ),
    "span: parent missing": (with_spans(without(named("session"))), {"traces"}),
    "span: turn missing": (with_spans(without(caller_of_orders)), {"traces", "second-service"}),
    "span: second turn in a trace": (
        with_spans(lambda spans: [*spans, replace(spans[2], span_id="another")]),
        {"traces"},
    ),
    "orders: another session": (
        with_spans(first(named("GET", ORDERS), attributes={names.SESSION_ID: "session-Ada 1"})),
        {"second-service", "traces", "identity"},
    ),
    "orders: not asked": (with_spans(without(named("GET", ORDERS))), {"second-service"}),
    "orders: a session of its own": (
        with_spans(first(named("GET", ORDERS), name="session")),
        {"second-service"},
    ),
    "orders: in a trace of its own": (
        with_spans(first(named("GET", ORDERS), trace_id="alone", parent_id="")),
        {"second-service"},
    ),
    "log line: no session": (
        with_records(lambda records: [*records, Record(CHAT, "", 1, "", "answered", {})]),
        {"identity"},
    ),
    "login name in the bytes": (raw_with(b"... ada@lamps.example ..."), {"private"}),
    "message in the bytes": (raw_with(b"... Thanks, goodbye! ..."), {"private"}),
    "message in the database": (lambda e: replace(e, files=(b"Thanks, goodbye!",)), {"private"}),
    "no bytes to look at": (lambda e: replace(e, telemetry=replace(telemetry_of(e), raw=())), {"private"}),
}


@pytest.mark.parametrize("name", FALSIFIED)
def test_check_notices_what_was_falsified(name: str) -> None:
    """One falsified value makes exactly those checks fail that look at it, and each of them says what is wrong."""
    falsify, expected = FALSIFIED[name]
    evidence = falsify(good_evidence())

    assert expected == failing(evidence)
    assert all(problem for check in check_all(evidence) for problem in check.problems)


def test_every_check_was_made_to_fail() -> None:
    """A check without a falsification of its own here could be one that never fails."""
    known = {name for name, _, _ in (*FROM_FILES, *FROM_TELEMETRY)}

    assert known == {name for _, names_ in FALSIFIED.values() for name in names_}


def test_logs_that_a_back_end_for_traces_refuses_are_no_loss() -> None:
    """Only spans count: a back end for traces answers 404 to log records and metrics."""
    lines = "Failed to export logs batch code: 404\nFailed to export metrics batch code: 404\n"

    assert set() == failing(replace(good_evidence(), logs=((CHAT, lines),)))


def test_users_that_share_a_pseudonym_are_noticed() -> None:
    """Two logins are two users."""
    evidence = good_evidence()
    rows = [replace(row, user_id="u_ada") if row.user_id == "u_eve" else row for row in evidence.sessions]
    seen = [replace(one, user_id="u_ada") if one.user_id == "u_eve" else one for one in evidence.seen]
    found = {check.name: check for check in check_all(replace(evidence, sessions=tuple(rows), seen=tuple(seen)))}

    assert ("two logins share a pseudonym",) == found["users"].problems
