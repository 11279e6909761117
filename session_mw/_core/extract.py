"""
What the user wrote and what was answered, read from bodies as they pass: settings ``input_text`` and ``output_text``.

A path is written with dots (``messages.-1.content``) or brackets (``messages[-1].content``); ``$`` is the whole text.
A function gets the body, decoded from JSON where it is JSON, as text otherwise, and returns text or None. Of an event
stream (``text/event-stream``) and of JSON lines, path or function is asked for each event, and the texts are joined.

Rule 1: no body is held back or changed. Text, events and lines are counted as they pass; a JSON document has to be
    collected, up to ``MAX_BODY``, and is parsed at the end.
Rule 2: nothing raises, whatever a client sends. What cannot be read is not known: no text, no length.
Rule 3: linear time.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from .words import Words, text_of

Source = str | Callable[[Any], Any]
Path = tuple[str, ...]
MAX_BODY = 1024 * 1024  # bytes of a document, of a line: what is longer is no chat message
MAX_FIELDS = 1000
_LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/jsonlines")
_STEP = re.compile(r"\[\s*(-?\d+)\s*\]|\[\s*'([^']*)'\s*\]|\[\s*\"([^\"]*)\"\s*\]|([^.\[\]]+)")
_NOTHING = object()


def parse_path(text: str) -> Path:
    """Return the steps of a path; none for ``$``, the whole."""
    body = text.strip()
    steps = tuple(next(g for g in found.groups() if g is not None) for found in _STEP.finditer(body))
    return steps[1:] if body.startswith("$") else steps


def walk(document: Any, path: Path) -> Any:
    """Return what lies at *path* in a decoded JSON document, None when nothing does."""
    for step in path:
        if isinstance(document, dict):
            document = document.get(step)
        elif isinstance(document, list):
            try:
                document = document[int(step)]
            except (ValueError, IndexError):
                return None
        else:
            return None
    return document


def decode_json(text: str | bytes | bytearray) -> Any:
    """Return the decoded JSON document, or ``NOT_JSON``; never raises."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NOTHING


NOT_JSON = _NOTHING


class Reading:
    """
    One body, or one direction of a connection, read as it passes.

    Args:
        source: Path or function.
        content_type: As the header says; empty when unknown.
        keep: Characters to keep of what is found; 0 for counting only.
        failed: Told when the application's function raises.

    Attributes:
        size: Bytes that passed.
        words: What was found in them, complete after ``finish``.
    """

    def __init__(
        self, source: Source, content_type: str = "", keep: int = 0, failed: Callable[[Exception], None] | None = None
    ) -> None:
        self._pick = source if callable(source) else None
        self._path = () if callable(source) else parse_path(source)
        self._whole = self._pick is None and not self._path
        self._failed = failed
        self.size = 0
        self.words = Words(keep)
        self._finished = self._too_long = False
        self._pieces: list[bytes] = []
        self._held = 0
        self._event: list[bytes] = []
        self._event_size = 0
        kind, _, parameters = content_type.lower().partition(";")
        self._kind = kind.strip()
        self._events = self._kind == "text/event-stream"
        self._by_line = self._events or self._kind in _LINES
        self._decoder: codecs.IncrementalDecoder | None = None
        if self._whole and not self._by_line:
            self._decoder = codecs.getincrementaldecoder(_charset(parameters))("replace")

    def feed(self, chunk: Any) -> None:
        """Take the next bytes; anything else is passed over."""
        if not chunk or self._finished or not isinstance(chunk, (bytes, bytearray, memoryview)):
            return
        data = bytes(chunk)
        self.size += len(data)
        if self._decoder is not None:
            self.words.add(self._decoder.decode(data))
        elif self._by_line:
            self._take_lines(data)
        else:
            self._hold(data)

    def frame(self, text: str) -> None:
        """Take one message of a websocket: a document of its own; what is no JSON is the text itself."""
        document = decode_json(text) if text.lstrip()[:1] in ("{", "[", '"') and len(text) <= MAX_BODY else NOT_JSON
        if self._whole or (document is NOT_JSON and self._pick is None):
            self.words.add(text)
        else:
            self._add(text if document is NOT_JSON else document)

    def finish(self) -> None:
        """Read what is left; nothing comes after it."""
        if self._finished:
            return
        self._finished = True
        if self._decoder is not None:
            if self.size:
                self.words.add(self._decoder.decode(b"", True))
        elif self._by_line:
            self._line(b"".join(self._pieces))
            self._end_event()
        elif self._held and not self._too_long:
            self._document(b"".join(self._pieces))
        self._pieces.clear()

    def _hold(self, data: bytes) -> None:
        if self._held + len(data) > MAX_BODY:
            self._too_long = True
            self._pieces.clear()
        if not self._too_long:
            self._held += len(data)
            self._pieces.append(data)

    def _take_lines(self, data: bytes) -> None:
        first, *rest = data.split(b"\n")
        self._hold(first)
        for line in rest:
            if not self._too_long:
                self._line(b"".join(self._pieces))
            self._pieces, self._held, self._too_long = [], 0, False
            self._hold(line)

    def _line(self, line: bytes) -> None:
        line = line.strip(b"\r")
        if not self._events:
            if line.strip():
                self._item(line)
        elif not line:
            self._end_event()
        elif line.startswith(b"data:"):
            self._event_size += len(line)
            if self._event_size <= MAX_BODY:
                data = line[5:]
                self._event.append(data[1:] if data.startswith(b" ") else data)

    def _end_event(self) -> None:
        """Read one event of a stream: its data lines, joined (WHATWG HTML, 9.2.6)."""
        if self._event:
            data, self._event = b"\n".join(self._event), []
            if self._event_size <= MAX_BODY and data != b"[DONE]":
                self._item(data)
        self._event_size = 0

    def _item(self, data: bytes) -> None:
        """Read one event or line."""
        if self._whole:
            self.words.add(data.decode("utf-8", "replace"))
            return
        document = decode_json(data) if len(data) <= MAX_BODY else NOT_JSON
        if document is not NOT_JSON:
            self._add(document)
        elif self._pick is not None:
            self._add(data.decode("utf-8", "replace"))

    def _document(self, body: bytes) -> None:
        if self._kind == "application/x-www-form-urlencoded":
            self._add(_form(body))
            return
        document = decode_json(body)
        if document is not NOT_JSON:
            self._add(document)
        elif self._pick is not None:
            self._add(body.decode("utf-8", "replace"))

    def _add(self, document: Any) -> None:
        if self._pick is None:
            text = text_of(walk(document, self._path))
        else:
            try:
                text = text_of(self._pick(document))
            except Exception as error:
                text = None
                if self._failed is not None:
                    self._failed(error)
        if text is not None:
            self.words.add(text)


def _form(body: bytes) -> dict[str, str]:
    """Return the fields of a submitted form; the first of each name."""
    try:
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:  # more fields than that
        return {}
    return dict(reversed(pairs))


def _charset(parameters: str) -> str:
    """Return the codec that a Content-Type names; UTF-8 when it names none that is known, or none of text."""
    found = re.search(r"charset\s*=\s*\"?([a-z0-9._-]{1,40})", parameters)
    try:
        info = codecs.lookup(found.group(1)) if found else None
    except LookupError:
        return "utf-8"
    return info.name if info is not None and info._is_text_encoding else "utf-8"
