"""
What has to hold, and whether it does.

Each check compares two sources that know nothing of each other: script, database, received bytes, model's books. A
check that could not fail would prove nothing; ``tests/cli/test_checks.py`` falsifies the evidence of each.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..._core import names
from ...ledger import SessionRow, TurnRow
from .evidence import CHAT, ORDERS, Evidence, Sums, Telemetry, spans_by_trace
from .otlp import Attributes, Record
from .script import Login, Say
from .services import HEALTH
from .talk import Seen

CALL_ID = "gen_ai.response.id"  # semantic conventions for generative AI
INPUT = "gen_ai.usage.input_tokens"
OUTPUT = "gen_ai.usage.output_tokens"
# What the SDK's exporter logs, and what session-mw makes of it.
LOST = re.compile(r"failed to export \w*(span|trace)|cannot deliver \([\w.]*trace", re.IGNORECASE)
TURN, SESSION = "turn", "session"  # names of our spans


@dataclass(frozen=True, slots=True)
class Check:
    """
    One thing that has to hold.

    Attributes:
        name: For machines.
        says: For people, one sentence.
        problems: What speaks against it.
        skipped: Why it was not looked at; empty when it was.
    """

    name: str
    says: str
    problems: tuple[str, ...] = ()
    skipped: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.problems


def check_all(evidence: Evidence) -> list[Check]:
    """Look at everything."""
    return [*_checks_of_files(evidence), *_checks_of_telemetry(evidence)]


Problems = Iterator[str]


def _checks_of_files(evidence: Evidence) -> Iterator[Check]:
    for name, says, find in FROM_FILES:
        yield Check(name, says, tuple(find(evidence)))


def _checks_of_telemetry(evidence: Evidence) -> Iterator[Check]:
    for name, says, look in FROM_TELEMETRY:
        if evidence.telemetry is None:
            yield Check(name, says, skipped="the telemetry went to your back end")
        else:
            yield Check(name, says, tuple(look(evidence, evidence.telemetry)))


# -- from the database and the books


def ends(evidence: Evidence) -> Problems:
    """Every sitting of the script is one session in the database, ended, for the reason that the script gives it."""
    ids = Counter(row.session_id for row in evidence.sessions)
    yield from (f"{session_id} is {count} times in the database" for session_id, count in ids.items() if count > 1)
    told = Counter(seen.session_id for seen in evidence.seen)
    yield from (f"{session_id} was told to {count} sittings" for session_id, count in told.items() if count > 1)
    yield from (f"{session_id} is a session that nobody sat in" for session_id in ids.keys() - told.keys())
    for seen in evidence.seen:
        row = evidence.session(seen.session_id)
        if row is None:
            yield f"{seen.sitting.key}: no session {seen.session_id} in the database"
        elif row.end_reason != seen.sitting.reason:
            yield f"{seen.sitting.key}: ended by {row.end_reason}, not by {seen.sitting.reason}"


def links(evidence: Evidence) -> Problems:
    """A session that continues another names it, and is named by it; the others name none."""
    before: Seen | None = None
    for seen in evidence.seen:
        row = evidence.session(seen.session_id)
        wanted = before.session_id if before is not None and seen.sitting.continues else None
        if row is not None and row.previous_id != wanted:
            yield f"{seen.sitting.key}: continues {row.previous_id}, not {wanted}"
        before = seen


def users(evidence: Evidence) -> Problems:
    """Who logged in has one pseudonym, the same in all of his sessions, and shares it with nobody."""
    pseudonyms: dict[str | None, set[str | None]] = defaultdict(set)
    for seen in evidence.seen:
        row = evidence.session(seen.session_id)
        if row is not None:
            pseudonyms[seen.sitting.login].add(row.user_id)
            if row.user_id != seen.user_id:
                yield f"{seen.sitting.key}: user {row.user_id} in the database, {seen.user_id} in the answers"
    for login, found in pseudonyms.items():
        if found != {None} if login is None else len(found) > 1 or found & {None, login}:
            yield f"{login or 'nobody'} is known as {', '.join(map(str, found))}"
    if len({user for found in pseudonyms.values() for user in found}) < len(pseudonyms):
        yield "two logins share a pseudonym"


def numbers(evidence: Evidence) -> Problems:
    """The turns of a session are numbered from 1 without gap or double, and are as many as the script has."""
    for seen in evidence.seen:
        found = sorted(turn.number or 0 for turn in evidence.turns_of(seen.session_id or ""))
        if found != list(range(1, seen.sitting.turns + 1)):
            yield f"{seen.sitting.key}: turns {found}, not 1..{seen.sitting.turns}"


def conversations(evidence: Evidence) -> Problems:
    """Tokens and price of each conversation's turns are those of the books, to the token and the micro-dollar."""
    booked, counted = _by_conversation(evidence)
    for key in sorted(booked.keys() | counted.keys()):
        if booked.get(key) != counted.get(key):
            yield f"{key}: {_money(counted.get(key))} in the turns, {_money(booked.get(key))} in the books"


def totals(evidence: Evidence) -> Problems:
    """What a session ended with is the sum of its turns."""
    for row in evidence.sessions:
        turns = evidence.turns_of(row.session_id)
        summed, kept = add(map(sums_of_turn, turns)), _of_session(row)
        if summed != kept or row.turns != len(turns):
            yield (
                f"{row.session_id}: ended with {row.turns} turns, {_money(kept)}; its {len(turns)} turns make "
                f"{_money(summed)}"
            )


def delivered(evidence: Evidence) -> Problems:
    """No exporter said that it lost spans. (Logs and metrics may be more than a back end for traces takes.)"""
    for service, log in evidence.logs:
        lost = Counter(line.strip() for line in log.splitlines() if LOST.search(line))
        yield from (f"{service}, {times} times: {line}" for line, times in lost.items())


def _by_conversation(evidence: Evidence) -> tuple[dict[str, Sums], dict[str, Sums]]:
    booked: dict[str, list[Sums]] = defaultdict(list)
    counted: dict[str, list[Sums]] = defaultdict(list)
    for call in evidence.books:
        booked[call.conversation].append(call.sums)
    for turn in evidence.turns:
        counted[turn.conversation_id or ""].append(sums_of_turn(turn))
    return {key: add(sums) for key, sums in booked.items()}, {key: add(sums) for key, sums in counted.items()}


# -- from the received bytes


def starts_and_ends(evidence: Evidence, telemetry: Telemetry) -> Problems:
    """Each session has one session.start and one session.end among the received log records."""
    wanted = Counter[str | None](row.session_id for row in evidence.sessions)
    for event in (names.EVENT_START, names.EVENT_END):
        found = Counter(session_of(record.attributes) for record in telemetry.events(event))
        wrong = (key for key in wanted.keys() | found.keys() if found[key] != wanted[key])
        yield from (f"{found[key]} {event} of {key}, which is {wanted[key]} times in the database" for key in wrong)
        strangers = {record.service for record in telemetry.events(event)} - {CHAT}
        yield from (f"{service} reported a {event}" for service in strangers)


def ends_say_the_same(evidence: Evidence, telemetry: Telemetry) -> Problems:
    """session.end says what the database says: user, reason, turns, tokens, price, and whether the user dropped off."""
    for record in telemetry.events(names.EVENT_END):
        row = evidence.session(session_of(record.attributes))
        if row is None:
            yield f"session.end of {session_of(record.attributes)}, which is not in the database"
            continue
        said = {names.DROPOFF_DETECTED: False, **record.attributes}
        for name, kept in _of_end(row).items():
            if said.get(name) != kept:
                yield f"{row.session_id}: {name} is {said.get(name)!r}, not {kept!r}"


def sums_of_calls(evidence: Evidence, telemetry: Telemetry) -> Problems:
    """Each call in the books is one span; session.end's totals are the books' sums over the session's spans."""
    calls = {call.call_id: call for call in evidence.books}
    spans = Counter(str(span.attributes[CALL_ID]) for span in telemetry.spans if CALL_ID in span.attributes)
    yield from (f"{spans[key]} spans of call {key}" for key in calls.keys() | spans.keys() if spans[key] != 1)
    booked: dict[str | None, list[Sums]] = defaultdict(list)
    for span in telemetry.spans:
        call = calls.get(str(span.attributes.get(CALL_ID)))
        if call is not None:
            booked[session_of(span.attributes)].append(call.sums)
            if (span.attributes.get(INPUT), span.attributes.get(OUTPUT)) != call.sums[:2]:
                yield f"the span of call {call.call_id} has other tokens than the books"
    for record in telemetry.events(names.EVENT_END):
        session_id, said = session_of(record.attributes), _said(record)
        if said != add(booked[session_id]):
            yield f"{session_id}: session.end says {_money(said)}, the books {_money(add(booked[session_id]))}"


def spans_are_named(evidence: Evidence, telemetry: Telemetry) -> Problems:
    """Every span and log record says its session, its user once known, and in a turn its turn and conversation."""
    seen_by = {seen.session_id: seen for seen in evidence.seen}
    turns = {(turn.session_id, turn.number): turn for turn in evidence.turns}
    probes = {span.trace_id for span in telemetry.spans if span.path == HEALTH}  # no visitor's, so no session's
    spans = (span for span in telemetry.spans if span.trace_id not in probes)
    things: list[tuple[str, Attributes]] = [
        *((f"span {span.title!r} of {span.service}", span.attributes) for span in spans),
        *((f"record {_title(record)} of {record.service}", record.attributes) for record in telemetry.records),
    ]
    for what, attributes in things:
        seen = seen_by.get(session_of(attributes))
        if seen is None:
            yield f"{what}: session.id is {session_of(attributes)!r}"
        else:
            turn = turns.get((seen.session_id or "", attributes.get(names.TURN_NUMBER)))
            yield from (f"{what} in {seen.sitting.key}: {problem}" for problem in _misnamed(attributes, seen, turn))


def _misnamed(attributes: Attributes, seen: Seen, turn: TurnRow | None) -> Problems:
    number, user = attributes.get(names.TURN_NUMBER), attributes.get(names.USER_ID)
    known = seen.sitting.known_from is not None and number is not None and number >= seen.sitting.known_from
    if user != seen.user_id and (known or user is not None):
        yield f"user.id is {user!r}, not {seen.user_id!r}"
    if number is None:
        return
    if turn is None:
        yield f"turn.number is {number!r}, which is no turn of this session"
    for name in (names.CONVERSATION_ID, names.GEN_AI_CONVERSATION_ID):
        if attributes.get(name) != seen.conversation:
            yield f"{name} is {attributes.get(name)!r}, not {seen.conversation!r}"


def traces_are_turns(evidence: Evidence, telemetry: Telemetry) -> Problems:
    """Each turn of the database is one trace, which is whole and has one session."""
    found = {turn.trace_id: turn for turn in evidence.turns}
    traces = spans_by_trace(telemetry)
    lost = (found[key] for key in found if key not in traces)
    yield from (f"turn {turn.number} of {turn.session_id} has no trace" for turn in lost)
    for trace_id, spans in traces.items():
        ids = {span.span_id for span in spans}
        yield from (f"{span.name!r} lost its parent" for span in spans if span.parent_id and span.parent_id not in ids)
        if len({session_of(span.attributes) for span in spans}) > 1:
            yield f"trace {trace_id} has several sessions"
        turns = [span for span in spans if span.name == TURN]
        wanted = [found[trace_id].span_id] if trace_id in found else []
        if [span.span_id for span in turns] != wanted:
            yield f"trace {trace_id} has {len(turns)} turn spans, and {len(wanted)} in the database"


def second_service(evidence: Evidence, telemetry: Telemetry) -> Problems:
    """The service behind answers within the same trace and session, and opens no session or turn of its own."""
    wanted = {seen.session_id: seen.sitting.orders for seen in evidence.seen if seen.sitting.orders}
    traces, asked = spans_by_trace(telemetry), Counter[str | None]()
    for span in (span for span in telemetry.spans if span.service == ORDERS):
        callers = {other.span_id: other for other in traces[span.trace_id] if other.service == CHAT}
        if span.name in (SESSION, TURN):
            yield f"{ORDERS} opened a {span.name} span"
        elif span.parent_id in callers:
            asked[session_of(span.attributes)] += 1
            if session_of(span.attributes) != session_of(callers[span.parent_id].attributes):
                yield f"{span.name!r} of {ORDERS} is in another session than its caller"
    if asked != wanted:
        yield f"{ORDERS} was asked {dict(asked)} times, the script says {wanted}"


def nothing_private(evidence: Evidence, telemetry: Telemetry) -> Problems:
    """No login name and nothing that a visitor wrote is in the received bytes or in the database."""
    places = {"the received bytes": telemetry.raw, "the database": evidence.files}
    steps = [step for visitor in evidence.visitors for step in visitor.steps]
    words = [step.user if isinstance(step, Login) else step.text for step in steps if isinstance(step, Login | Say)]
    for place, contents in places.items():
        if not contents:
            yield f"{place} are empty"
        for word in words:
            if any(word.encode() in content for content in contents):
                yield f"{word!r} is in {place}"


# -- small things


def add(sums: Iterable[Sums]) -> Sums:
    """Add up."""
    total = (0, 0, 0)
    for tokens_in, tokens_out, cost in sums:
        total = total[0] + tokens_in, total[1] + tokens_out, total[2] + cost
    return total


def sums_of_turn(turn: TurnRow) -> Sums:
    """Return input tokens, output tokens and cost of a turn."""
    return turn.input_tokens or 0, turn.output_tokens or 0, turn.cost_microusd or 0


def _of_session(row: SessionRow) -> Sums:
    return row.input_tokens or 0, row.output_tokens or 0, row.cost_microusd or 0


def _said(record: Record) -> Sums:
    said = record.attributes
    cost = said.get(names.SESSION_TOTAL_COST_USD) or 0.0
    tokens = said.get(names.SESSION_TOTAL_INPUT_TOKENS) or 0, said.get(names.SESSION_TOTAL_OUTPUT_TOKENS) or 0
    return *tokens, round(cost * 1_000_000)


def _of_end(row: SessionRow) -> dict[str, Any]:
    """Return what ``session.end`` has to say of *row*, by name."""
    cost = None if row.cost_microusd is None else row.cost_microusd / 1_000_000
    return {
        names.USER_ID: row.user_id,
        names.SESSION_NAME: row.name,
        names.SESSION_PREVIOUS_ID: row.previous_id,
        names.SESSION_END_REASON: row.end_reason,
        names.SESSION_TOTAL_TURNS: row.turns,
        names.SESSION_TOTAL_INPUT_TOKENS: row.input_tokens,
        names.SESSION_TOTAL_OUTPUT_TOKENS: row.output_tokens,
        names.SESSION_TOTAL_TOKENS: row.total_tokens,
        names.SESSION_TOTAL_COST_USD: cost,
        names.SESSION_DURATION_MS: row.duration_ms,
        names.DROPOFF_DETECTED: row.end_reason == "idle_timeout",
    }


def session_of(attributes: Attributes) -> str | None:
    """Return the ``session.id`` among *attributes*."""
    found = attributes.get(names.SESSION_ID)
    return None if found is None else str(found)


def _title(record: Record) -> str:
    return record.event_name or repr(record.body)


def _money(sums: Sums | None) -> str:
    if sums is None:
        return "nothing"
    return f"{sums[0]} + {sums[1]} tokens, ${sums[2] / 1_000_000:.6f}"


FROM_FILES: tuple[tuple[str, str, Callable[[Evidence], Iterable[str]]], ...] = (
    ("ends", "every session ended once, for the right reason", ends),
    ("links", "who came back or took over is linked to the session before", links),
    ("users", "each login has one pseudonym, in all of its sessions", users),
    ("numbers", "the turns of each session are numbered 1..n, without gap or double", numbers),
    ("conversations", "tokens and cost of each conversation are those of the model's own books", conversations),
    ("totals", "what each session ended with is the sum of its turns", totals),
    ("delivered", "no exporter reported lost spans", delivered),
)
FROM_TELEMETRY: tuple[tuple[str, str, Callable[[Evidence, Telemetry], Iterable[str]]], ...] = (
    ("events", "each session sent one session.start and one session.end", starts_and_ends),
    ("event-totals", "session.end says what the database says, drop-off included", ends_say_the_same),
    ("calls", "each call in the books is one span, and session.end has their sum", sums_of_calls),
    ("identity", "every span and log record carries session.id, and user.id once it is known", spans_are_named),
    ("traces", "each turn is one trace, whole, with one session", traces_are_turns),
    ("second-service", "the service behind carries on the same session and opens none", second_service),
    ("private", "no login name and no message is in the telemetry or the database", nothing_private),
)
