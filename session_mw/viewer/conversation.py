"""The conversation: what was said as far as it may be seen, and its shape where it may not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from .._core import names
from ..ledger import TurnRow
from ..ledger.documents import moment
from ..ledger.shown import many, shown_ms, shown_number
from .content import Message, messages
from .lanes import tokens_of
from .list import NOTHING
from .zones import day_time


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a turn: who, when, and how much."""

    who: str
    time: str
    iso: str
    facts: list[str]
    messages: list[Message]
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A turn: what was asked, and what came back."""

    number: str
    sides: list[Side]


def exchanges(turns: Sequence[TurnRow], only: bool, zone: tzinfo) -> list[Exchange]:
    """
    Return turns as a conversation.

    Args:
        turns: As the actor may see them.
        only: Without tools and thinking.
        zone: Of the times.
    """
    return [Exchange(str(turn.number or NOTHING), _sides(turn, only, zone)) for turn in turns]


def _sides(turn: TurnRow, only: bool, zone: tzinfo) -> list[Side]:
    said = [one for one in messages(turn) if not only or (one.kind == "text" and one.role in ("user", "assistant"))]
    asked = [one for one in said if one.role == "user"]
    answered = [one for one in said if one.role != "user"]
    done_ms = turn.started_ms + turn.latency_ms
    facts = turn.attributes
    user = [*_words(facts, names.TURN_INPUT_TYPE, names.TURN_INPUT_LENGTH)]
    user += ["with attachments"] if facts.get(names.TURN_HAS_ATTACHMENTS) is True else []
    answer = [*_words(facts, names.TURN_OUTPUT_TYPE, names.TURN_OUTPUT_LENGTH), *_work(facts, only)]
    answer += [shown_ms(turn.latency_ms)]
    answer += [f"{shown_number(tokens_of(turn))} tokens"] if tokens_of(turn) is not None else []
    trouble = {"error": f"error {turn.error_type or ''}".strip(), "cancelled": "the client left"}.get(turn.status, "")
    return [
        Side(
            "User", day_time(turn.started_ms, zone), moment(turn.started_ms) or "", user or ["no length known"], asked
        ),
        Side("Assistant", day_time(done_ms, zone), moment(done_ms) or "", answer, answered, trouble),
    ]


def _words(facts: Any, kind: str, length: str) -> list[str]:
    found = [str(facts[kind])] if isinstance(facts.get(kind), str) else []
    size = facts.get(length)
    return [*found, many(size, "character")] if type(size) is int else found


def _work(facts: Any, only: bool) -> list[str]:
    if only:
        return []
    counts = ((names.TURN_AGENT_RUNS, "agent run"), (names.TURN_TOOL_CALLS, "tool call"))
    return [many(facts[name], thing) for name, thing in counts if type(facts.get(name)) is int and facts[name]]
