"""What the user wrote and what was answered, found in bodies of every kind as they pass."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_mw._core.extract import MAX_BODY, Reading, parse_path, walk

JSON, SSE, LINES = "application/json", "text/event-stream", "application/x-ndjson"
CHAT = {"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "héllo"}], "n": 3}


def read(source: Any, kind: str, *chunks: bytes, keep: int = 1000) -> Reading:
    reading = Reading(source, kind, keep)
    for chunk in chunks:
        reading.feed(chunk)
    reading.finish()
    return reading


def found(reading: Reading) -> tuple[int, str] | None:
    return (reading.words.length, reading.words.text) if reading.words.found else None


PATHS = [
    ("message", ("message",)),
    ("messages.-1.content", ("messages", "-1", "content")),
    ("messages[-1].content", ("messages", "-1", "content")),
    ("$.messages[0]['content']", ("messages", "0", "content")),
    ('choices.0.delta["content"]', ("choices", "0", "delta", "content")),
    ("$", ()),
]


@pytest.mark.parametrize(("text", "steps"), PATHS, ids=[p[0] for p in PATHS])
def test_parse_path_knows_dots_and_brackets(text: str, steps: tuple[str, ...]) -> None:
    """Both ways of writing a path mean the same steps."""
    assert steps == parse_path(text)


WALKS = [
    ("messages[-1].content", "héllo"),
    ("messages.0.role", "system"),
    ("n", 3),
    ("messages[7].content", None),
    ("messages.first", None),
    ("n.deeper", None),
    ("nothing", None),
]


@pytest.mark.parametrize(("path", "value"), WALKS)
def test_walk_finds_or_says_none(path: str, value: Any) -> None:
    """A path that leads nowhere is no error."""
    assert value == walk(CHAT, parse_path(path))


BODIES: list[Any] = [
    ("messages[-1].content", JSON, json.dumps(CHAT).encode(), "héllo"),
    ("messages[-1].content", "", json.dumps(CHAT).encode(), "héllo"),
    ("n", JSON, json.dumps(CHAT).encode(), "3"),
    ("c", JSON, b'{"c": [{"type": "text", "text": "a"}, {"type": "image_url"}, {"text": "b"}]}', "ab"),
    ("message", "application/x-www-form-urlencoded", b"message=h%C3%A9+there&message=second&x=", "hé there"),
    ("$", "text/plain; charset=utf-8", "héllo".encode(), "héllo"),
    ("$", "text/plain; charset=latin-1", "héllo".encode("latin-1"), "héllo"),
    ("$", "text/plain; charset=zip", "héllo".encode(), "héllo"),
    ("$", JSON, b'{"a": 1}', '{"a": 1}'),
    ("a", LINES, b'{"a": "x"}\n\n{"b": 1}\n{"a": "y"}', "xy"),
    ("d.t", SSE, b'event: x\r\ndata: {"d": {"t": "on"}}\r\n\r\ndata:{"d": {"t": "e"}}\n\ndata: [DONE]\n\n', "one"),
    ("t", SSE, b'data: {"t":\ndata: "joined"}\n\n: comment\n\ndata: {"t": "!"}', "joined!"),
    ("$", SSE, b"data: one\n\ndata: two\n\ndata: [DONE]\n\n", "onetwo"),
    (lambda body: body["n"] * 2, JSON, json.dumps(CHAT).encode(), "6"),
    (lambda body: body.upper(), "text/plain", b"shout", "SHOUT"),
    (lambda body: body.get("t"), SSE, b'data: {"t": "a"}\n\ndata: {"x": 0}\n\n', "a"),
]


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(("source", "kind", "body", "text"), BODIES)
def test_reading_finds_the_text_however_the_body_is_cut(
    source: Any, kind: str, body: bytes, text: str, size: int
) -> None:
    """Chunks may end anywhere, in the middle of a character too; length and text are the same."""
    chunks = [body[i : i + size] for i in range(0, len(body), size)]

    reading = read(source, kind, *chunks)

    assert (len(text), text) == found(reading)
    assert len(body) == reading.size


NOT_THERE: list[Any] = [
    ("message", JSON, b""),
    ("message", JSON, b'{"message": '),
    ("message", JSON, b'{"message": null}'),
    ("message", JSON, b'{"message": true}'),
    ("message", JSON, b"\xff\xfe\x00"),
    ("message", "text/plain", b"just words"),
    ("message", SSE, b"data: words\n\n"),
    ("message", JSON, b"[" * 100_000),
    ("message", JSON, b'{"message": ' + b"9" * 10_000 + b"}"),
    ("message", "application/x-www-form-urlencoded", b"a&" * 5_000),
    ("message", JSON, b'{"message": "' + b"x" * MAX_BODY + b'"}'),
    ("$", "text/plain", b""),
]


@pytest.mark.parametrize(("source", "kind", "body"), NOT_THERE)
def test_reading_of_what_is_not_there_is_unknown(source: str, kind: str, body: bytes) -> None:
    """What cannot be read has no text and no length, never zero."""
    assert found(read(source, kind, body)) is None


def test_reading_counts_beyond_what_it_keeps() -> None:
    """Only so many characters are kept; the length is the whole."""
    reading = read("$", "text/plain", *["é".encode() * 1000] * 50, keep=10)

    assert (50_000, "é" * 10) == found(reading)


def test_reading_that_keeps_nothing_holds_no_word() -> None:
    """Where content may not be kept, words are counted and let go."""
    reading = read("message", JSON, b'{"message": "geheim"}', keep=0)

    assert (6, "") == found(reading)
    assert [] == reading._pieces


def test_reading_goes_on_after_a_line_that_is_too_long() -> None:
    """One oversized event is passed over; those after it count."""
    reading = read("t", SSE, b'data: {"t": "' + b"x" * MAX_BODY + b'"}\n\n', b'data: {"t": "ok"}\n\n')

    assert (2, "ok") == found(reading)


def test_reading_of_an_event_with_endless_lines_is_bounded() -> None:
    """An event that never ends is not collected for ever."""
    reading = Reading("t", SSE)
    for _ in range(40):
        reading.feed(b"data: " + b"x" * 100_000 + b"\n")

    assert sum(map(len, reading._event)) <= MAX_BODY


def test_reading_tells_of_a_function_that_fails() -> None:
    """The application's function may raise: that is told, and the text is unknown."""
    told: list[Exception] = []
    reading = Reading(lambda body: body["missing"], JSON, 10, told.append)
    reading.feed(b"{}")
    reading.finish()

    assert found(reading) is None
    assert [KeyError] == [type(error) for error in told]


@pytest.mark.parametrize(
    ("source", "frame", "text"),
    [("t", '{"t": "a"}', "a"), ("t", "just words", "just words"), ("$", '{"t": 1}', '{"t": 1}'), ("t", "[1", "[1")],
)
def test_frame_is_a_document_or_the_text_itself(source: str, frame: str, text: str) -> None:
    """A websocket's message is JSON that the path leads into, or what the user wrote."""
    reading = Reading(source, "", 100)
    reading.frame(frame)
    reading.frame(frame)
    reading.finish()

    assert (2 * len(text), 2 * text) == found(reading)


@given(
    st.sampled_from(["a", "a.b[0]", "$", "[", "a..b", "[['x", lambda body: body]),
    st.sampled_from([JSON, SSE, LINES, "", "text/plain; charset=\x00", "application/x-www-form-urlencoded"]),
    st.lists(st.binary(max_size=60), max_size=8),
)
def test_reading_never_raises(source: Any, kind: str, chunks: list[bytes]) -> None:
    """Whatever a client sends, in whatever pieces."""
    reading = read(source, kind, *chunks)

    assert sum(map(len, chunks)) == reading.size


def test_reading_takes_linear_time_for_tiny_chunks() -> None:
    """Ten times the chunks of one line take about ten times as long, not a hundred."""

    def seconds(chunks: int) -> float:
        reading, begin = Reading("t", SSE), time.thread_time()
        for _ in range(chunks):
            reading.feed(b"x")
        reading.finish()
        return time.thread_time() - begin

    few = min(seconds(10_000) for _ in range(3))

    assert min(seconds(100_000) for _ in range(2)) < 30 * few
