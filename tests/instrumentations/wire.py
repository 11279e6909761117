"""What the two providers' answers are made of: requests, answers, server-sent events."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .accounts import Entry

TEXT = "Lamps are lit at dusk, harbour lamps first."
WORDS = [word + " " for word in TEXT.split(" ")]
OUTPUT_TOKENS = 17  # of TEXT
REASONING_TOKENS = 6  # beside it, where the provider has such a thing
TOOL_OUTPUT_TOKENS = 29


@dataclass(frozen=True, slots=True)
class Request:
    """
    One call.

    Attributes:
        id: Stands in the answer's id; unique.
        body: As sent.
        tokens: Of the body, all of it.
    """

    id: str
    body: dict[str, Any]
    tokens: int

    @property
    def streamed(self) -> bool:
        """Whether events are asked for."""
        return bool(self.body.get("stream"))


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What is sent, and what is written down.

    Attributes:
        entry: For the books.
        payload: The whole answer.
        events: The same as server-sent events.
    """

    entry: Entry
    payload: dict[str, Any]
    events: tuple[bytes, ...] = ()


def event(data: Any, name: str | None = None) -> bytes:
    """Return one server-sent event."""
    text = data if isinstance(data, str) else json.dumps(data)
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {text}\n\n".encode()


def arguments(tool: str) -> str:
    """Return what the model passes to *tool*: JSON text, as it stands on the wire."""
    return json.dumps({"place": f"the harbour of {tool}"})
