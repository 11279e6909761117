"""
JSON of any length, an element at a time.

What files hold: a request a line (OpenTelemetry's file exporters), or one document, perhaps over many lines. Lines are
read one by one, so that a broken one costs nothing but itself. A document, or a long line, is walked: objects and lists
down to the spans are entered, and only what is inside them is decoded; its resource has to stand before its spans, as
all known writers have it.
"""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterator
from itertools import chain
from typing import Any, BinaryIO

from . import litellm
from .otlp import NO_REQUEST, Piece, Unreadable, pieces

MAX_TEXT = 64 * 1024 * 1024  # bytes of a line, characters of an element
WHOLE = 4 * 1024 * 1024  # bytes of a line that is decoded at once: what comes of it is ten times as large
CHUNK = 1024 * 1024
Found = tuple[int, "Piece | Unreadable"]  # number of the line, 0 in a document

_ENTERED = {"resourceSpans", "scopeSpans", "instrumentationLibrarySpans", "resourceLogs", "scopeLogs"}
_LEAVES = {"spans", "logRecords"}
_BLANK = " \t\r\n"


def read_text(file: BinaryIO) -> Iterator[Found]:
    """Yield what a file of JSON holds, and what is wrong with it."""
    head = _head(file)
    if _is_document(head):
        yield from _walk(0, Scanner(file, head))
    else:
        yield from _lines(file, head)


def _head(file: BinaryIO) -> list[bytes]:
    """Return the first lines, until two of them are not blank."""
    head: list[bytes] = []
    while sum(not line.isspace() for line in head) < 2 and (line := file.readline(MAX_TEXT + 1)):
        head.append(line)
    return head


def _is_document(head: list[bytes]) -> bool:
    """Return whether lines are parts of one document: none of them is a value of its own."""
    lines = [line for line in head if not line.isspace()]
    if lines and len(lines[0]) > MAX_TEXT:
        return True
    return len(lines) > 1 and not any(_is_object(line) for line in lines)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), (dict, list))
    except (ValueError, RecursionError):
        return False


# -- a request a line


def _lines(file: BinaryIO, head: list[bytes]) -> Iterator[Found]:
    rest = iter(lambda: file.readline(MAX_TEXT + 1), b"")
    number, inside = 0, False
    for line in chain(head, rest):
        if not inside:
            number += 1
            yield from _line(number, line)
        inside = len(line) > MAX_TEXT and not line.endswith(b"\n")


def _line(number: int, line: bytes) -> Iterator[Found]:
    if line.isspace():
        return
    if len(line) > MAX_TEXT:
        yield number, Unreadable(f"longer than {MAX_TEXT >> 20} MB")
        return
    if len(line) > WHOLE:
        yield from _walk(number, Scanner(io.BytesIO(line), []))
        return
    try:
        for piece in _pieces(json.loads(line.rstrip())):
            yield number, piece
    except RecursionError:
        yield number, Unreadable("nested too deeply")
    except ValueError as error:
        yield number, Unreadable(f"no JSON ({_reason(error)})")
    except Unreadable as error:
        yield number, error


def _pieces(document: Any) -> Iterator[Piece]:
    """Yield what a document holds: parts of OTLP's requests, or rows of LiteLLM's logs."""
    for one in document if isinstance(document, list) else [document]:
        if litellm.is_log(one):
            yield from _rows(one)
        else:
            yield from pieces(one)


def _rows(document: dict[str, Any]) -> Iterator[Piece]:
    return ((litellm.KIND, {}, {}, row) for row in litellm.rows_of(document))


def _reason(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}, column {error.colno}"
    return "not UTF-8" if isinstance(error, UnicodeError) else "a number that is too long"


# -- one document


def _walk(number: int, scanner: Scanner) -> Iterator[Found]:
    try:
        while scanner.peek():
            yield from ((number, piece) for piece in scanner.request())
    except Unreadable as error:
        yield number, error
    except RecursionError:
        yield number, Unreadable("nested too deeply")
    except UnicodeError:
        yield number, Unreadable("not UTF-8")


class Scanner:
    """Walks over JSON that is read in chunks. Never holds more than a chunk and an element."""

    def __init__(self, file: BinaryIO, head: list[bytes]) -> None:
        self._chunks = chain(head, iter(lambda: file.read(CHUNK), b""))
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._decoder = json.JSONDecoder()
        self._text, self._at, self._over = "", 0, False

    def _more(self) -> bool:
        """Read on; False at the end."""
        if self._over:
            return False
        chunk = next(self._chunks, b"")
        self._over = not chunk
        self._text = self._text[self._at :] + self._decode.decode(chunk, self._over)
        self._at = 0
        return True

    def peek(self) -> str:
        """Return the next character that is not blank, without taking it; empty at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _BLANK:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def take(self, expected: str) -> None:
        """Take the next character that is not blank."""
        if self.peek() != expected:
            raise Unreadable(f"broken JSON: {expected!r} was expected" if self.peek() else "it ends in the middle")
        self._at += 1

    def value(self) -> Any:
        """Take a whole value."""
        self.peek()
        needed = 0
        while True:
            try:
                found, end = self._decoder.raw_decode(self._text, self._at)
                if end < len(self._text) or self._over:  # else a number may go on
                    self._at = end
                    return found
            except json.JSONDecodeError as error:
                if self._over:
                    raise Unreadable(f"broken JSON ({error.msg})") from None
            except ValueError:
                raise Unreadable("a number that is too long") from None
            needed = max(2 * needed, CHUNK)  # so that trying again stays linear
            while len(self._text) - self._at < needed and self._more():
                if len(self._text) - self._at > MAX_TEXT:
                    raise Unreadable(f"an element of more than {MAX_TEXT >> 20} MB")

    def items(self, close: str) -> Iterator[None]:
        """Stand before each item of a list or an object in turn, whose opening bracket was taken."""
        if self.peek() != close:
            yield
            while self.peek() == ",":
                self.take(",")
                yield
        self.take(close)

    def request(self) -> Iterator[Piece]:
        """Take an export request, or a list of them."""
        if self.peek() == "[":
            self.take("[")
            for _ in self.items("]"):
                yield from self._object({}, top=True)
        else:
            yield from self._object({}, top=True)

    def _object(self, known: dict[str, Any], top: bool = False) -> Iterator[Piece]:
        known, seen = dict(known), False
        self.take("{")
        for _ in self.items("}"):
            key = self.value()
            self.take(":")
            seen = seen or str(key).startswith("resource")
            if isinstance(key, str) and key in _ENTERED | _LEAVES and self.peek() == "[":
                self.take("[")
                for _ in self.items("]"):
                    if key in _ENTERED:
                        yield from self._object(known)
                    else:
                        yield key, _dict(known.get("resource")), _dict(known.get("scope")), self.value()
            else:
                known["scope" if key == "instrumentationLibrary" else str(key)] = self.value()
        if top and not seen:
            if not litellm.is_log(known):
                raise Unreadable(NO_REQUEST)
            yield from _rows(known)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
