"""The conversation: what was said as far as it may be seen, and its shape where it may not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import Any

from .._core import names
from ..ledger import TurnRow, UsageRow
from ..ledger.documents import moment
from ..ledger.shown import many, shown_ms, shown_number
from .content import Message, messages, whole_messages
from .lanes import tokens_of
from .list import NOTHING
from .zones import day_time

MOST_SHAPES = 50  # calls of a turn whose words are not shown


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a turn: who, when, how much, and the calls made for it where their words are not shown."""

    who: str
    time: str
    iso: str
    facts: list[str]
    messages: list[Message]
    trouble: str = ""
    work: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A turn: what was asked, what came back, and where all of it is shown."""

    number: str
    sides: list[Side]
    whole: str = ""


def exchanges(
    turns: Sequence[TurnRow],
    calls: Mapping[int, Sequence[UsageRow]],
    only: bool,
    zone: tzinfo,
    whole: Callable[[TurnRow], str],
) -> list[Exchange]:
    """
    Return turns as a conversation.

    Args:
        turns: As the actor may see them.
        calls: Of these turns, by their ``pk``.
        only: Without tools and thinking.
        zone: Of the times.
        whole: Returns a link to a turn's own page.
    """
    return [
        Exchange(
            str(turn.number or NOTHING), _sides(turn, messages(turn), calls.get(turn.pk, ()), only, zone), whole(turn)
        )
        for turn in turns
    ]


def whole(turn: TurnRow, calls: Sequence[UsageRow], zone: tzinfo) -> tuple[list[Side], bool]:
    """Return all of a turn, as far as a page holds it, and whether something is left out."""
    said, cut = whole_messages(turn)
    return _sides(turn, said, calls, False, zone), cut


def _sides(
    turn: TurnRow, messages: Sequence[Message], calls: Sequence[UsageRow], only: bool, zone: tzinfo
) -> list[Side]:
    said = [one for one in messages if not only or (one.kind == "text" and one.role in ("user", "assistant"))]
    asked = [one for one in said if one.role == "user"]
    answered = _timed([one for one in said if one.role != "user"], calls)
    done_ms = turn.started_ms + turn.latency_ms
    facts = turn.attributes
    user = [*_words(facts, names.TURN_INPUT_TYPE, names.TURN_INPUT_LENGTH)]
    user += ["with attachments"] if facts.get(names.TURN_HAS_ATTACHMENTS) is True else []
    answer = [*_words(facts, names.TURN_OUTPUT_TYPE, names.TURN_OUTPUT_LENGTH), *_work(facts, only)]
    answer += [shown_ms(turn.latency_ms)]
    answer += [f"{shown_number(tokens_of(turn))} tokens"] if tokens_of(turn) is not None else []
    trouble = {"error": f"error {turn.error_type or ''}".strip(), "cancelled": "the client left"}.get(turn.status, "")
    work = [] if only or said else [_shape(call) for call in calls[:MOST_SHAPES] if call.kind in ("tool", "agent")]
    thought = sum(call.reasoning_tokens or 0 for call in calls)
    work += [("Thinking", f"{shown_number(thought)} tokens", "")] if thought and not only and not said else []
    return [
        Side(
            "User", day_time(turn.started_ms, zone), moment(turn.started_ms) or "", user or ["no length known"], asked
        ),
        Side("Assistant", day_time(done_ms, zone), moment(done_ms) or "", answer, answered, trouble, work),
    ]


def _shape(call: UsageRow) -> tuple[str, str, str]:
    """Return what a call was, how long it took, and what failed."""
    failed = "" if call.status == "ok" else call.error_type or "error"
    return (
        f"{call.kind.capitalize()} {call.name}".strip(),
        shown_ms(call.latency_ms) + ("" if failed else " ok"),
        failed,
    )


def _timed(said: Sequence[Message], calls: Sequence[UsageRow]) -> list[Message]:
    """Return messages in which calls of tools say how long they took: the nth of a name is the nth that ran."""
    ran: dict[str, list[UsageRow]] = {}
    for call in calls:
        if call.kind == "tool":
            ran.setdefault(call.name, []).append(call)
    found = []
    for one in said:
        mine = ran.get(one.name) if one.kind == "tool_call" else None
        if mine:
            _, took, failed = _shape(mine.pop(0))
            one = replace(one, took=f"{took}, {failed}" if failed else took)
        found.append(one)
    return found


def _words(facts: Any, kind: str, length: str) -> list[str]:
    found = [str(facts[kind])] if isinstance(facts.get(kind), str) else []
    size = facts.get(length)
    return [*found, many(size, "character")] if type(size) is int else found


def _work(facts: Any, only: bool) -> list[str]:
    if only:
        return []
    counts = ((names.TURN_AGENT_RUNS, "agent run"), (names.TURN_TOOL_CALLS, "tool call"))
    return [many(facts[name], thing) for name, thing in counts if type(facts.get(name)) is int and facts[name]]
