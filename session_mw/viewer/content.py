"""
What was said, which three gates keep: it was captured, the actor may see it, and the audit was told.

The history keeps it apart and reads it when it is asked to; whatever leaves the viewer passes through here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._core import names
from ..ledger import SessionRow, TurnRow
from .visits import Visit

MOST_CHARACTERS, MOST_LINES = 2_000, 20


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
    """

    role: str
    kind: str
    name: str
    text: str
    length: int

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


def messages(turn: TurnRow) -> list[Message]:
    """Return what was said in a turn; nothing where it cannot be read."""
    try:
        lines = json.loads(str(turn.content.get(names.TURN_MESSAGES, "[]")))
    except (ValueError, RecursionError):
        lines = []
    found = [_message(line) for line in lines if isinstance(line, dict)] if isinstance(lines, list) else []
    return found or _whole(turn)


def _whole(turn: TurnRow) -> list[Message]:
    sides = (("user", "input.value"), ("assistant", "output.value"))
    return [_message({"role": role, "text": turn.content[name]}) for role, name in sides if name in turn.content]


def _message(line: dict[str, Any]) -> Message:
    text = str(line.get("text") or "")
    shown = "\n".join(text[:MOST_CHARACTERS].split("\n")[:MOST_LINES])
    kind, name = str(line.get("type") or "text"), str(line.get("name") or "")
    return Message(str(line.get("role") or "unknown"), kind, name, shown, len(text))
