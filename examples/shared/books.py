"""
The model's own books: one line a call, as a provider's billing would keep them.

They know nothing of sessions, so totals that session-mw reports can be checked against them.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

KEPT_IN_MEMORY = 10_000  # calls; a long-running example must not grow without end


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One call of the model.

    Attributes:
        call_id: The call's own id, ``gen_ai.response.id`` on its span.
        conversation: What the client calls the conversation, "" when it did not say.
        model: The model's name.
        input_tokens: Tokens of the system prompt and of every message in the context.
        output_tokens: Tokens of the answer.
        cost_microusd: Price of the call, millionths of a US dollar.
        prompt_chars: Characters of the system prompt and of every message in the context.
        answer_chars: Characters of the answer.
    """

    call_id: str
    conversation: str
    model: str
    input_tokens: int
    output_tokens: int
    cost_microusd: int
    prompt_chars: int
    answer_chars: int


class Books:
    """
    Keep entries in a JSON Lines file that several processes may share, or in memory.

    Args:
        path: The file, made at the first entry. None keeps the last 10,000 entries of this process in memory.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self._path = Path(path) if path else None
        self._memory: deque[Entry] = deque(maxlen=KEPT_IN_MEMORY)

    @classmethod
    def from_environment(cls) -> Books:
        """Keep them in the file that ``CHAT_BOOKS`` names, in memory without it."""
        return cls(os.environ.get("CHAT_BOOKS") or None)

    def add(self, entry: Entry) -> None:
        """Write one entry, whole or not at all."""
        if self._path is None:
            self._memory.append(entry)
        else:
            append_line(self._path, json.dumps(asdict(entry)))

    def entries(self) -> list[Entry]:
        """Read every entry, in the order written: of all processes from a file, of this one from memory."""
        if self._path is None:
            return list(self._memory)
        if not self._path.exists():
            return []
        return [Entry(**json.loads(line)) for line in self._path.read_text("utf-8").splitlines()]


def append_line(path: Path, line: str) -> None:
    """
    Append *line* with one ``write`` on an ``O_APPEND`` descriptor.

    The kernel then moves to the end and writes in one step, so lines of several processes never mix
    (POSIX ``write``: "no intervening file modification operation shall occur").
    """
    data = line.encode() + b"\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        written = os.write(descriptor, data)
    finally:
        os.close(descriptor)
    if written != len(data):
        raise OSError(f"writing the books {str(path)!r}: {written} of {len(data)} bytes fitted. Free some space.")


def totals(entries: Iterable[Entry]) -> dict[str, tuple[int, int, int]]:
    """Add up (input tokens, output tokens, micro-dollars) for each conversation."""
    sums: dict[str, tuple[int, int, int]] = {}
    for entry in entries:
        tokens_in, tokens_out, cost = sums.get(entry.conversation, (0, 0, 0))
        sums[entry.conversation] = (
            tokens_in + entry.input_tokens,
            tokens_out + entry.output_tokens,
            cost + entry.cost_microusd,
        )
    return sums
