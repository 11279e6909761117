"""
What was said, which three gates keep: it was captured, the actor may see it, and the audit was told.

The history keeps it apart and reads it when it is asked to; whatever leaves the viewer passes through here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from .._core import names
from ..ledger import SessionRow, TurnRow
from .visits import Visit

MOST_CHARACTERS, MOST_LINES = 2_000, 20  # of a message
MOST_OF_PAGE = 256 * 1024  # characters of all messages of a turn's own page


def captured(turns: Iterable[TurnRow]) -> bool:
    """Return whether anything that was said is kept."""
    return any(turn.captured for turn in turns)


def permitted(visit: Visit, row: SessionRow, turns: list[TurnRow]) -> list[TurnRow]:
    """Return turns as the actor may see them: with what was said, once the audit was told, or without."""
    if not visit.content or not captured(turns):
        return turns
    visit.tell("content", row.session_id)
    return visit.ledger.turns(row.session_id, row.generation, content=True, only=[turn.pk for turn in turns])


@dataclass(frozen=True, slots=True)
class Message:
    """
    One thing that was said.

    Attributes:
        role: Who said it.
        kind: ``text``, ``reasoning``, ``tool_call`` or ``tool_result``.
        name: Of the tool.
        text: As far as it is shown.
        length: Characters of all of it.
        took: How long the call took, as far as it is known.
    """

    role: str
    kind: str
    name: str
    text: str
    length: int
    took: str = ""

    @property
    def clipped(self) -> bool:
        """Whether it goes on."""
        return len(self.text) < self.length

    @property
    def who(self) -> str:
        """Who speaks, for people."""
        if self.kind.startswith("tool") or self.role == "tool":
            return f"Tool {self.name}".strip() + (" result" if self.kind == "tool_result" else "")
        return "Thinking" if self.kind == "reasoning" else self.role.capitalize()


def messages(turn: TurnRow, most: int = MOST_CHARACTERS, lines: int | None = MOST_LINES) -> list[Message]:
    """
    Return what was said in a turn; nothing where it cannot be read.

    Args:
        turn: With what was said.
        most: Characters of a message that are shown.
        lines: Of a message; None is all.
    """
    return [_message(line, most, lines) for line in _lines(turn)]


def whole_messages(turn: TurnRow, most: int = MOST_OF_PAGE) -> tuple[list[Message], bool]:
    """Return all that was said in a turn, *most* characters of it in all, and whether that left anything out."""
    found, room = [], most
    for message in messages(turn, most, None):
        kept = replace(message, text=message.text[:room])
        found.append(kept)
        room -= len(kept.text)
        if room <= 0:
            break
    return found, any(one.clipped for one in found) or len(found) < len(_lines(turn))


def _lines(turn: TurnRow) -> list[dict[str, Any]]:
    try:
        lines = json.loads(str(turn.content.get(names.TURN_MESSAGES, "[]")))
    except (ValueError, RecursionError):
        lines = []
    found = [line for line in lines if isinstance(line, dict)] if isinstance(lines, list) else []
    return found or _sides(turn)


def _sides(turn: TurnRow) -> list[dict[str, Any]]:
    sides = (("user", "input.value"), ("assistant", "output.value"))
    return [{"role": role, "text": turn.content[name]} for role, name in sides if name in turn.content]


def _message(line: dict[str, Any], most: int, lines: int | None) -> Message:
    text = str(line.get("text") or "")
    shown = text[:most] if lines is None else "\n".join(text[:most].split("\n")[:lines])
    kind, name = str(line.get("type") or "text"), str(line.get("name") or "")
    return Message(str(line.get("role") or "unknown"), kind, name, shown, len(text))
