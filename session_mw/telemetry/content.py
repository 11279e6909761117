"""
What was said in a turn: its lengths always, its words only with ``capture_content``.

What the user wrote is, in this order: what the application said of it (``Turn.set``); what the setting ``input_text``
finds in the request; the last message of the user in the turn's first model call. The answer is what ``output_text``
finds in the response; else the answer of the turn's last model call.

Rule 1: without ``capture_content`` no word is held longer than it takes to count it.
Rule 2: what is kept went through ``redact`` first and was cut to ``content_limit`` then. A redaction that fails keeps
    nothing.
Rule 3: nothing here raises into the application.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

from .._core import names
from .._core.dialects import INPUT_VALUE, OUTPUT_VALUE
from .._core.extract import Reading
from .._core.messages import Call, CallKind, kind_of, read
from .._core.records import AttributeValue
from .._core.rules import SpanRules
from .._core.scope import SessionScope
from .._core.turn_state import TurnState
from .._core.words import MARGIN, Words, cut, kept_characters
from .notices import once

logger = logging.getLogger("session_mw")

MAX_LINES = 64  # of a turn's conversation
Line = tuple[str, str, str, "str | None"]  # role, kind, text, tool


class Heard:
    """
    What was heard of one turn so far.

    Attributes:
        request: Reads what the client sends; None when nobody asked for that.
        response: Reads what is answered.
        kept: For the history, once the turn has ended.
        settled: Whether the turn's end was told; nothing is taken any more.
    """

    __slots__ = ("_answer", "_lines", "_question", "_room", "_seen", "kept", "request", "response", "settled")

    def __init__(self) -> None:
        self.request: Reading | None = None
        self.response: Reading | None = None
        self.kept: dict[str, AttributeValue] = {}
        self.settled = False
        self._question: tuple[tuple[int, int], Words] | None = None
        self._answer: tuple[tuple[int, int], Words] | None = None
        self._lines: list[Line] = []
        self._seen: set[tuple[str, str, str | None]] = set()
        self._room = 0

    def take(self, call: Call, rules: SpanRules, started_ns: int, ended_ns: int) -> None:
        """Take what one span says. A model's call counts before whatever is around it."""
        keep, rank = kept_characters(rules.capture, rules.limit), int(call.kind == "model")
        question, answer = call.question, call.answer
        if call.kind != "tool" and question is not None:
            order = (-rank, started_ns)
            if self._question is None or order < self._question[0]:
                self._question = order, _words(question, keep)
        if call.kind != "tool" and answer is not None:
            order = (rank, ended_ns)
            if self._answer is None or order >= self._answer[0]:
                self._answer = order, _words(answer, keep)
        if rules.capture and call.kind != "other":
            self._write_down(call, rules)

    def _write_down(self, call: Call, rules: SpanRules) -> None:
        """Keep a call's words, each once: a model's call repeats the calls before it."""
        for line in _lines(call):
            role, kind, text, tool = line
            mark = (kind, text, tool)
            if mark in self._seen or len(self._lines) >= MAX_LINES or self._room > rules.limit:
                continue
            self._seen.add(mark)
            self._room += len(text)
            self._lines.append((role, kind, text[: rules.limit + MARGIN], tool))

    @property
    def asked(self) -> Words | None:
        """What the user wrote, None when not known."""
        if self.request is not None and self.request.words.found:
            return self.request.words
        return None if self._question is None else self._question[1]

    @property
    def answered(self) -> Words | None:
        """What was answered, None when not known."""
        if self.response is not None and self.response.words.found:
            return self.response.words
        return None if self._answer is None else self._answer[1]

    @property
    def told_by_model(self) -> bool:
        """Whether a model's call told both question and answer."""
        asked, answered = self._question, self._answer
        return asked is not None and answered is not None and (asked[0][0], answered[0][0]) == (-1, 1)

    @property
    def lines(self) -> list[Line]:
        """What was said, in the order it was heard."""
        return self._lines


def _words(text: str, keep: int) -> Words:
    words = Words(keep)
    words.add(text)
    return words


def _lines(call: Call) -> Iterator[Line]:
    """Yield what a call adds to the conversation: the user's last message, and what came out; of a tool, both sides."""
    asked = call.asked if call.kind == "tool" else [m for m in call.asked if m.role == "user" and m.text][-1:]
    for message in (*asked, *call.answered):
        for part in message.parts:
            if part.text:
                yield message.role, part.kind, part.text, part.name


def listens(rules: SpanRules) -> bool:
    """Return whether request or response have to be watched."""
    return rules.input_text is not None or rules.output_text is not None


def heard_of(turn: TurnState) -> Heard:
    """Return what was heard of *turn*; begins to listen."""
    heard = turn.heard
    if not isinstance(heard, Heard):
        heard = turn.heard = Heard()
    return heard


def reads_request(turn: TurnState, rules: SpanRules, content_type: str) -> Reading | None:
    """Begin to read the request of *turn*; None when nobody asked for its text."""
    if rules.input_text is None:
        return None
    found = heard_of(turn).request = _reading(rules.input_text, rules, content_type)
    return found


def take_request(turn: TurnState, rules: SpanRules, text: str) -> None:
    """Take what the user wrote in *turn*, where no request's body brings it: it is counted, and kept with the rest."""
    reading = heard_of(turn).request = Reading("$", "", kept_characters(rules.capture, rules.limit))
    reading.frame(text)


def reads_response(turn: TurnState, rules: SpanRules, content_type: str, encoding: str = "") -> Reading | None:
    """Begin to read the response of *turn*; None when nobody asked for its text, or it is compressed."""
    if rules.output_text is None or encoding.strip().lower() not in ("", "identity"):
        return None
    found = heard_of(turn).response = _reading(rules.output_text, rules, content_type)
    return found


def _reading(source: str | Callable[..., Any], rules: SpanRules, content_type: str) -> Reading:
    return Reading(source, content_type, kept_characters(rules.capture, rules.limit), _extractor_failed)


def _extractor_failed(error: Exception) -> None:
    kind = type(error).__name__
    text = "the function in input_text or output_text failed: %s. The turn has no text and no length from it."
    once("extractor:" + kind, logger.error, text, kind, every=60)


def note(turn: TurnState, rules: SpanRules, span: Any) -> None:
    """
    Take what a finished span says of the conversation. Called at the end of each span inside a turn.

    Args:
        turn: The turn that the span belongs to. What comes after its end is too late.
        rules: Whether words are kept, or counted only.
        span: The SDK's finished span: ``attributes``, ``events``, ``name``, ``start_time``, ``end_time``.
    """
    if turn.ended:
        return
    try:
        attributes = span.attributes
        if not attributes or not _tells(kind_of(attributes), turn, rules):
            return
        events = ((event.name, event.attributes or {}) for event in span.events)
        call = read(attributes, events, span.name)
        if call.asked or call.answered:
            heard_of(turn).take(call, rules, span.start_time or 0, span.end_time or 0)
    except Exception as error:
        kind = type(error).__name__
        once("content:" + kind, logger.error, "cannot read what a span says: %s", kind)


def _tells(kind: CallKind, turn: TurnState, rules: SpanRules) -> bool:
    """Return whether a span of *kind* can tell anything new: what stands around model calls ends after them."""
    if kind == "tool":
        return rules.capture
    if kind == "other":
        return turn.heard is None or not turn.heard.told_by_model
    return kind == "model"


def preview(scope: SessionScope) -> None:
    """Show what is known by now, where an instrumentation ends the server's span before the body has been sent."""
    turn = scope.turn
    if turn is None or turn.heard is None or turn.ended or not scope.rules.capture:
        return
    try:
        if turn.heard.request is not None:
            turn.heard.request.finish()
        _show(scope, turn, turn.heard)
    except Exception as error:
        once("content:settle", logger.error, "cannot settle what was said in a turn: %s", type(error).__name__)


def settle(scope: SessionScope, turn: TurnState) -> None:
    """
    Close what was heard of *turn*: lengths into its attributes and, with ``capture_content``, words onto its spans.

    Args:
        scope: The session; its open spans of the turn's trace are server, session and turn span.
        turn: The turn; ``turn.heard.kept`` is for the history. What was settled once is settled.
    """
    heard = turn.heard
    if heard is None or heard.settled:
        return
    heard.settled = True
    try:
        for reading in (heard.request, heard.response):
            if reading is not None:
                reading.finish()
        turn.attributes = {**_lengths(heard), **turn.attributes}
        if scope.rules.capture:
            _show(scope, turn, heard)
    except Exception as error:
        once("content:settle", logger.error, "cannot settle what was said in a turn: %s", type(error).__name__)


def _lengths(heard: Heard) -> dict[str, AttributeValue]:
    """Return the lengths of what was said; of a body that was read in vain, its bytes."""
    found: dict[str, AttributeValue] = {}
    sides = (
        (heard.asked, heard.request, names.TURN_INPUT_LENGTH, names.TURN_REQUEST_BODY_BYTES),
        (heard.answered, heard.response, names.TURN_OUTPUT_LENGTH, names.TURN_RESPONSE_BODY_BYTES),
    )
    for words, reading, length, size in sides:
        if words is not None:
            found[length] = words.length
        elif reading is not None and reading.size:
            found[size] = reading.size
    return found


def _show(scope: SessionScope, turn: TurnState, heard: Heard) -> None:
    rules = scope.rules
    asked = _allowed(rules, "input", heard.asked)
    answered = _allowed(rules, "output", heard.answered)
    lines = _conversation(rules, heard.lines)
    shown = rules.dressing.content(asked, answered)
    heard.kept = {key: value for key, value in shown.items() if key in (INPUT_VALUE, OUTPUT_VALUE)}
    if lines:
        heard.kept[names.TURN_MESSAGES] = json.dumps(lines, ensure_ascii=False)
    if not shown or turn.span is None:
        return
    trace_id = turn.span.get_span_context().trace_id
    # A websocket's turns have traces of their own: its server span holds many of them.
    for span in [span for line in scope.lines() for span in line.spans]:
        if span.is_recording() and span.get_span_context().trace_id == trace_id:
            span.set_attributes(shown)


def _allowed(rules: SpanRules, kind: str, words: Words | None) -> str | None:
    return None if words is None else allowed(rules, kind, words.text)


def allowed(rules: SpanRules, kind: str, text: str) -> str | None:
    """
    Return what of *text* may be shown: redacted first, cut then.

    Args:
        rules: Limit and redaction.
        kind: What it is: ``input``, ``output``, ``text``, ``reasoning``, ``tool_call``, ``tool_result``.
        text: The words.

    Returns:
        None when the redaction says so or fails.
    """
    if rules.redact is not None:
        try:
            redacted = rules.redact(text, kind)
        except Exception as error:
            what = type(error).__name__
            once("redact:" + what, logger.error, "the setting redact failed: %s. Nothing is kept then.", what, every=60)
            return None
        if redacted is None:
            return None
        if not isinstance(redacted, str):
            what = type(redacted).__name__
            once("redact:type", logger.error, "the setting redact returned %s, not text. Nothing is kept then.", what)
            return None
        text = redacted
    return cut(text, rules.limit)


def _conversation(rules: SpanRules, lines: list[Line]) -> list[dict[str, str]]:
    """Return what was said as JSON objects, together no longer than the limit."""
    shown: list[dict[str, str]] = []
    room = rules.limit
    for role, kind, text, tool in lines:
        fit = allowed(rules, kind, text)
        if fit is None:
            continue
        fit = cut(fit, room)
        if not fit:
            continue
        room -= len(fit.encode("utf-8"))
        name = None if tool is None else allowed(rules, "tool_name", tool)
        shown.append({"role": role, "type": kind, "text": fit, **({"name": name[:200]} if name else {})})
    return shown
