"""
Text that is counted whole and kept in part; and the text in what people's APIs wrap it in.

Lengths are characters. What is kept is bounded, and cut to bytes only after the application's redaction saw it: a
secret that a cut went through would not be recognised.
"""

from __future__ import annotations

from typing import Any

MARGIN = 4096  # characters kept beyond the limit, for redaction to recognise what lies across it
_DEPTH = 6


class Words:
    """
    Text that comes in pieces.

    Args:
        keep: Characters to keep; 0 keeps none, and only counts.

    Attributes:
        length: Characters so far.
        found: Whether any piece came, be it empty.
    """

    __slots__ = ("_keep", "_pieces", "found", "length")

    def __init__(self, keep: int = 0) -> None:
        self._keep = keep
        self._pieces: list[str] = []
        self.length = 0
        self.found = False

    def add(self, text: str) -> None:
        """Take another piece."""
        room = self._keep - self.length
        if room > 0 and text:
            self._pieces.append(text[:room])
        self.length += len(text)
        self.found = True

    @property
    def text(self) -> str:
        """What was kept."""
        return "".join(self._pieces)


def kept_characters(capture: bool, limit: int) -> int:
    """Return how many characters to hold of a content that may take *limit* bytes in the end."""
    return limit + MARGIN if capture else 0


def cut(text: str, limit: int) -> str:
    """Return the beginning of *text* that takes at most *limit* bytes of UTF-8, no character cut in two."""
    if len(text) <= limit and text.isascii():
        return text
    data = text[:limit].encode("utf-8", "replace")  # lone surrogates are no UTF-8
    return data[:limit].decode("utf-8", "ignore")


def text_of(value: Any, depth: int = 0) -> str | None:
    """
    Return the text of a JSON value: a text, a number, a list of parts, an object that holds its text.

    Returns:
        None when there is none in it.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None or depth > _DEPTH:
        return None
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (list, tuple)):
        texts = [text for part in value if (text := text_of(part, depth + 1)) is not None]
        return "".join(texts) if texts else None
    if isinstance(value, dict):
        for key in ("text", "content"):
            if key in value:
                return text_of(value[key], depth + 1)
    return None
