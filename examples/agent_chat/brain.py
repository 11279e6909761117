"""
What the local models say: no network, no randomness, no clock. The same messages always give the same thoughts.

A thought is tools to call or words to say, never both. Three models think here, as different as their prices: the
assistant (it plans, calls tools and words the answer), the returns desk (a specialist that the assistant may ask), and
the note taker (it sums a chat up in one line).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..shared.local_model import intent_of
from ..shared.local_model import think as small_talk

ASSISTANT, DESK, NOTES = "harbour-agent-2", "harbour-desk-1", "harbour-notes-1"
MAX_CALLS = 4  # tools at a time

Message = Mapping[str, Any]  # {"role": "user", "assistant" or "tool", "content": str, and for tools "name"}

_ORDER = re.compile(r"(?<![\d.])\d{3,10}(?![\d.])", re.ASCII)
_SUM = re.compile(r"\d[\d.]*(?:\s*[-+*/]\s*\d[\d.]*)+", re.ASCII)


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A tool that the model wants called."""

    name: str
    arguments: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.name}({json.dumps(dict(self.arguments))})"


@dataclass(frozen=True, slots=True)
class Thought:
    """What a model answers: tools to call, or else words to say."""

    requests: tuple[ToolRequest, ...] = ()
    text: str = ""


def think(model: str, messages: Sequence[Message]) -> Thought:
    """Answer *messages*, oldest first, as *model* would."""
    if model == NOTES:
        return Thought(text=f"The customer wants: {intent_of(last_of_user(messages))}.")
    if model == DESK:
        return Thought(text=small_talk([{"role": "user", "content": f"refund: {last_of_user(messages)}"}]).text)
    found = [message["content"] for message in since_the_question(messages) if message["role"] == "tool"]
    if found:
        return Thought(text=" ".join(found))
    requests = tuple(wanted(last_of_user(messages)))[:MAX_CALLS]
    return Thought(requests) if requests else Thought(text=small_talk(in_brief(messages)).text)


def wanted(question: str) -> Iterator[ToolRequest]:
    """Name the tools that a question needs; they do not need each other, so they may run side by side."""
    intent, rest = intent_of(question), question
    for expression in _SUM.findall(question):
        yield ToolRequest("calculate", {"expression": expression})
        rest = rest.replace(expression, " ")
    numbers = dict.fromkeys(_ORDER.findall(rest))
    if intent == "complaint":
        yield ToolRequest("ask_returns_desk", {"question": question})
    if intent in ("order", "complaint"):
        for number in numbers:
            yield ToolRequest("look_up_order", {"number": number})


def last_of_user(messages: Sequence[Message]) -> str:
    """Return what the customer said last."""
    return next((message["content"] for message in reversed(messages) if message["role"] == "user"), "")


def since_the_question(messages: Sequence[Message]) -> list[Message]:
    """List what came after the customer's last message: the assistant's requests and what the tools said."""
    asked = max((at for at, message in enumerate(messages) if message["role"] == "user"), default=-1)
    return list(messages[asked + 1 :])


def in_brief(messages: Sequence[Message]) -> list[dict[str, str]]:
    """List who said what, as the small talk takes it."""
    return [{"role": message["role"], "content": message["content"]} for message in messages]
