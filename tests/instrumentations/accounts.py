"""
What a model server writes down of every call: the truth that reported and counted tokens are held against.

Words: *input* is everything the model read, whatever part of it came from a cache or was put into one; *output* is
everything it wrote, reasoning included. Providers cut this differently on the wire (OpenAI: cached tokens are a part of
the input; Anthropic: they stand beside it); the books do not.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One call.

    Attributes:
        api: ``chat``, ``responses``, ``embeddings``, ``messages`` or ``count_tokens``.
        status: HTTP status of the answer. A call that failed cost nothing.
        streamed: Whether the answer came as server-sent events.
        told: Whether the answer says what was used. OpenAI's chat streams say it only when asked to.
        input_tokens: All that was read.
        output_tokens: All that was written.
        cache_read: The part of the input that came from a cache.
        cache_write: The part of the input that was put into a cache. Anthropic only.
        reasoning: The part of the output that nobody sees.
        announced: Output tokens that the stream's first event names already. Anthropic only.
    """

    api: str
    status: int = 200
    streamed: bool = False
    told: bool = True
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0
    announced: int = 0


class Accounts:
    """One book for each key; safe from any thread."""

    def __init__(self) -> None:
        self._books: dict[str, list[Entry]] = {}
        self._lock = threading.Lock()

    def add(self, key: str, entry: Entry) -> int:
        """Write *entry* into the book *key* and return its number there, from 1."""
        with self._lock:
            book = self._books.setdefault(key, [])
            book.append(entry)
            return len(book)

    def count(self, key: str) -> int:
        """Return how many calls stand in the book *key*."""
        with self._lock:
            return len(self._books.get(key, ()))

    def book(self, key: str) -> tuple[Entry, ...]:
        """Return the calls in the book *key*, in order."""
        with self._lock:
            return tuple(self._books.get(key, ()))


def used(entries: Iterable[Entry]) -> tuple[int, int]:
    """Return input and output tokens of all calls together."""
    tokens_in = tokens_out = 0
    for entry in entries:
        tokens_in += entry.input_tokens
        tokens_out += entry.output_tokens
    return tokens_in, tokens_out
