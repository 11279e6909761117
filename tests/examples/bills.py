"""Compares what session-mw reported of random visitors with the model provider's own books, to the micro-dollar."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from examples.agent_chat.brain import NOTES
from examples.shared.books import Entry
from session_mw.ledger import TurnRow
from tests.examples.visitors import Visitor

Sum = tuple[int, int, int]  # input tokens, output tokens, micro-dollars
NOTHING: Sum = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Reported:
    """
    What came out of session-mw.

    Attributes:
        ends: Attributes of every ``session.end``.
        late: Attributes of every ``session.usage_late``.
        turns: The history's turns of every session.
    """

    ends: Sequence[Mapping[str, Any]]
    late: Sequence[Mapping[str, Any]]
    turns: Mapping[str, Sequence[TurnRow]]


def check(visitors: Sequence[Visitor], books: Sequence[Entry], reported: Reported) -> None:
    """Compare everything, session by session."""
    ids = sessions_of(visitors, reported.turns)
    ends = {end["session.id"]: end for end in reported.ends}
    assert len(visitors) == len(reported.ends) == len(ends)
    assert set(ids) == set(ends)
    check_totals(ids, books, reported)
    check_turns(ids, ends, reported.turns)
    check_steps(ids, reported.turns)


def sessions_of(visitors: Sequence[Visitor], turns: Mapping[str, Sequence[TurnRow]]) -> dict[str, Visitor]:
    """Find each visitor's one session: by the conversations in the history, and as the answers said."""
    owners = {thread.label: visitor for visitor in visitors for thread in visitor.threads}
    found: dict[str, Visitor] = {}
    for session_id, rows in turns.items():
        (visitor,) = {id(owners[str(row.conversation_id)]): owners[str(row.conversation_id)] for row in rows}.values()
        assert {answer.session_id for answer in visitor.answers} <= {session_id}
        found[session_id] = visitor
    return found


def check_totals(ids: Mapping[str, Visitor], books: Sequence[Entry], reported: Reported) -> None:
    """``session.end``, and what came after it, is what was billed; so are its turns, and what came after them."""
    by_label: dict[str, list[Entry]] = defaultdict(list)
    for entry in books:
        by_label[entry.conversation].append(entry)
    billed = {session_id: [e for t in who.threads for e in by_label[t.label]] for session_id, who in ids.items()}
    assert len(books) == sum(map(len, billed.values()))
    sums = told([*reported.ends, *reported.late])
    assert {} == different({session_id: billed_sum(entries) for session_id, entries in billed.items()}, sums)
    in_turns = {session_id: recorded_sum(rows) for session_id, rows in reported.turns.items()}
    stayed = [session_id for session_id, who in ids.items() if not who.leaves]
    before_the_end = {s: billed_sum(entry for entry in billed[s] if entry.model != NOTES) for s in stayed}
    assert {} == different(before_the_end, {s: in_turns[s] for s in stayed})
    for session_id, entries in billed.items():
        assert all(a <= b for a, b in zip(in_turns[session_id], billed_sum(entries), strict=True))


def check_turns(
    ids: Mapping[str, Visitor], ends: Mapping[str, Mapping[str, Any]], turns: Mapping[str, Sequence[TurnRow]]
) -> None:
    """Every message is a turn, in its session and in its conversation, and nothing else is."""
    asked = {session_id: len(who.asks) for session_id, who in ids.items()}
    assert asked == {session_id: end["session.total_turns"] for session_id, end in ends.items()}
    # Who leaves may have left something running that outlasts the session: that turn is open when it ends.
    outlasted = {session_id for session_id, end in ends.items() if end["session.status"] == "abnormal"}
    assert all(ids[session_id].leaves for session_id in outlasted)
    assert {s: asked[s] for s in asked.keys() - outlasted} == {
        s: ends[s]["session.completed_turns"] for s in asked.keys() - outlasted
    }
    for session_id, who in ids.items():
        numbers = [row.number for row in turns[session_id]]
        assert list(range(1, asked[session_id] + 1)) == sorted(number or 0 for number in numbers)
        threads = Counter({thread.label: len(thread.asks) for thread in who.threads})
        assert threads == Counter(row.conversation_id for row in turns[session_id])


def check_steps(ids: Mapping[str, Visitor], turns: Mapping[str, Sequence[TurnRow]]) -> None:
    """The tool calls and agent runs of a turn are those that its visitor saw."""
    for session_id, who in ids.items():
        rows = {row.number: row.attributes for row in turns[session_id]}
        seen = {a.turn_number: (len(a.tools), 1 + a.tools.count("ask_returns_desk")) for a in who.answers}
        assert seen == {
            number: (rows[number].get("turn.tool_calls", 0), rows[number]["turn.agent_runs"]) for number in seen
        }


def different(expected: Mapping[str, Sum], actual: Mapping[str, Sum]) -> dict[str, tuple[Sum | None, Sum | None]]:
    """Return expected and actual sums, where they are not the same."""
    both = {name: (expected.get(name), actual.get(name)) for name in {*expected, *actual}}
    return {name: (one, other) for name, (one, other) in both.items() if one != other}


def billed_sum(entries: Iterable[Entry]) -> Sum:
    return summed((entry.input_tokens, entry.output_tokens, entry.cost_microusd) for entry in entries)


def recorded_sum(rows: Iterable[TurnRow]) -> Sum:
    return summed((row.input_tokens or 0, row.output_tokens or 0, row.cost_microusd or 0) for row in rows)


def told(events: Iterable[Mapping[str, Any]]) -> dict[str, Sum]:
    """Add up what events say of each session; their own sum of tokens has to fit."""
    found: dict[str, Sum] = defaultdict(lambda: NOTHING)
    for event in events:
        sent, received = event.get("session.total_input_tokens", 0), event.get("session.total_output_tokens", 0)
        assert sent + received == event.get("session.total_tokens", 0)
        cost = round(event.get("session.total_cost_usd", 0) * 1_000_000)
        found[event["session.id"]] = summed((found[event["session.id"]], (sent, received, cost)))
    return dict(found)


def summed(sums: Iterable[Sum]) -> Sum:
    sent = received = cost = 0
    for one in sums:
        sent, received, cost = sent + one[0], received + one[1], cost + one[2]
    return sent, received, cost
