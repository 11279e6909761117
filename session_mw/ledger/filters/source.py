"""A text that is read from left to right, with the places of what was read."""

from __future__ import annotations

import re

from ...exceptions import FilterError

SPACE = re.compile(r"(?:\s|\#[^\n]*)+")  # a comment begins where a word could
BARE = re.compile(r"[^\s\"'()\[\],;]+")
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_-]*[A-Za-z0-9_])*")
QUOTED = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'", re.DOTALL)
ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class Source:
    """
    The text of a filter and how far it was read.

    Args:
        text: The filter.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self._began = 0  # of what was taken last

    def skip(self) -> None:
        """Go on behind spaces, line ends and comments."""
        if found := SPACE.match(self.text, self.at):
            self.at = found.end()

    def ended(self) -> bool:
        """Return whether nothing is left but space."""
        self.skip()
        return self.at >= len(self.text)

    def peek(self, *texts: str) -> bool:
        """Return whether one of *texts* stands here."""
        return self.text.startswith(texts, self.at)

    def take(self, pattern: re.Pattern[str] | str) -> re.Match[str] | None:
        """Read *pattern*, if it stands here."""
        found = (re.compile(re.escape(pattern)) if isinstance(pattern, str) else pattern).match(self.text, self.at)
        if found is not None:
            self._began, self.at = self.at, found.end()
        return found

    def keyword(self, *words: str) -> str | None:
        """Read one of the keywords *words*, in capitals or not, if it stands here as a word of its own."""
        found = BARE.match(self.text, self.at)
        if found is None or found[0].upper() not in words:
            return None
        self._began, self.at = self.at, found.end()
        return found[0].upper()

    def string(self) -> str | None:
        """Read a text in quotes, if one begins here."""
        if not self.peek('"', "'"):
            return None
        found = self.take(QUOTED)
        if found is None:
            raise self.error("this quote is not closed", self.at, self.at + 1)
        return ESCAPED.sub(r"\1", found[1] if found[1] is not None else found[2])

    def last(self, message: str, hint: str = "") -> FilterError:
        """Return an error about what was taken last."""
        return self.error(message, self._began, self.at, hint)

    def here(self, message: str, hint: str = "") -> FilterError:
        """Return an error about what stands here."""
        found = BARE.match(self.text, self.at)
        return self.error(message, self.at, found.end() if found else self.at + 1, hint)

    def error(self, message: str, start: int, end: int, hint: str = "") -> FilterError:
        """Return an error about a place."""
        return FilterError(message, self.text, start, end, hint)
