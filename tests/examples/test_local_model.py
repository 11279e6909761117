"""The examples' model and its books: what the demo's totals are checked against must be right itself."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from examples.shared.books import Books, Entry, totals
from examples.shared.local_model import (
    MODEL,
    SYSTEM_PROMPT,
    LocalModel,
    count_tokens,
    intent_of,
    order_to_look_up,
)

ROOT = Path(__file__).parents[2]

CONVERSATION = [
    {"role": "user", "content": "Where is order 1042?"},
    {"role": "assistant", "content": "On its way."},
    {"role": "user", "content": "The lamp is broken!"},
]


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def model_with_spans(books: Books | None = None) -> tuple[LocalModel, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return LocalModel(books, tracer=provider.get_tracer("test")), exporter


def streamed(model: LocalModel, messages: list[dict[str, str]]) -> list[str]:
    return list(model.stream(messages))


def streamed_async(model: LocalModel, messages: list[dict[str, str]]) -> list[str]:
    async def collect() -> list[str]:
        return [word async for word in model.stream(messages)]

    return asyncio.run(collect())


both_ways = pytest.mark.parametrize("collect", [streamed, streamed_async], ids=["sync", "async"])
Collect = Callable[[LocalModel, list[dict[str, str]]], list[str]]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        (" \t\n ", 0),
        ("hello", 1),
        ("hello world", 2),
        ("It's 40 $.", 6),
        ("snake_case", 1),
        ("...", 3),
        ("Grüße aus Łódź", 3),
        ("灯は 1042 番", 3),
        ("💡💡", 2),
        ("a\u00a0b", 2),
    ],
)
def test_tokenizer_counts_runs_of_word_characters_and_single_others(text: str, tokens: int) -> None:
    """A token is a run of word characters, or one other character that is no space."""

    assert tokens == count_tokens(text)


def test_tokenizer_takes_linear_time() -> None:
    """A megabyte of punctuation is a million tokens, not a frozen worker."""

    assert 1_000_000 == count_tokens("!" * 1_000_000)


def test_usage_counts_system_prompt_and_every_message() -> None:
    """Input tokens are all that is in the context; output tokens are the answer's."""
    reply = LocalModel().complete(CONVERSATION)

    # "Where is order 1042 ?" 5, "On its way ." 4, "The lamp is broken !" 5
    assert count_tokens(SYSTEM_PROMPT) + 14 == reply.usage.input_tokens
    assert count_tokens(reply.text) == reply.usage.output_tokens


def test_price_is_exact_in_microdollars() -> None:
    """One micro-dollar an input token, four an output token: one and four dollars a million."""
    usage = LocalModel().complete(CONVERSATION).usage

    assert usage.input_tokens + 4 * usage.output_tokens == usage.cost_microusd
    assert usage.cost_microusd == round(usage.cost_usd * 1_000_000)


def test_price_of_a_known_exchange_is_fixed() -> None:
    """These figures are worked out by hand, so a change of tokenizer, prompt or price shows."""
    reply = LocalModel().complete(user("Hello"))

    # 19: You are the assistant of Harbour Lamps , a small shop . Answer briefly , kindly and truly .
    # 12: Hello ! This is Harbour Lamps . How can I help ?
    assert (20, 12, 20 + 48) == tuple(reply.usage)


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("Hello there", "greeting"),
        ("HI!", "greeting"),
        ("Where is my parcel?", "order"),
        ("hello, where is my order 1042", "order"),
        ("How much is a lamp?", "price"),
        ("Thanks, bye", "thanks"),
        ("thanks, but my order arrived broken", "complaint"),
        ("Tell me a poem", "other"),
        ("this", "other"),  # holds "hi", but not as a word
        ("", "other"),
    ],
)
def test_intent_follows_whole_words_most_urgent_first(text: str, intent: str) -> None:
    """A complaint outweighs an order, an order a price, a price a greeting; parts of words do not count."""

    assert intent == intent_of(text)


def test_answer_depends_on_the_context() -> None:
    """The order named earlier is remembered from the history, not from the process."""
    model = LocalModel()

    assert "order 1042" in model.complete(CONVERSATION).text
    assert "order 1042" not in model.complete(CONVERSATION[2:]).text


def test_answer_uses_what_a_tool_found() -> None:
    """A tool's message behind an order question is the answer."""
    messages = [*user("Where is order 1042?"), {"role": "tool", "content": "Order 1042 is at the harbour."}]

    assert "Order 1042 is at the harbour." == LocalModel().complete(messages).text


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Where is order 1042?", "1042"),
        ("order #007", "007"),
        ("order 12", None),
        ("order 12345678901", None),
        ("order ١٠٤٢", None),  # the service's path takes ASCII digits only
        ("my lamp 1042 is broken", None),
    ],
)
def test_tool_is_wanted_for_order_questions_with_a_number(text: str, number: str | None) -> None:
    """Only a question about an order, with a number of three to ten digits, needs the order service."""

    assert number == order_to_look_up(user(text))


def test_answers_are_the_same_in_every_process() -> None:
    """Same messages, same answer and usage, whatever the hash seed; only call ids differ."""
    code = (
        "import json; from examples.shared.local_model import *\n"
        f"asked = [{CONVERSATION!r}, {user('Hello')!r}, {user('?')!r}]\n"
        "replies = [LocalModel().complete(messages) for messages in asked]\n"
        "print(json.dumps([[reply.intent, reply.text, *reply.usage] for reply in replies]))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "12345")
    }

    assert 1 == len(outputs)


@both_ways
@pytest.mark.parametrize("text", ["Hello", "Where is order 1042?", "Tell me a poem", ""])
def test_stream_joined_is_the_whole_answer(collect: Collect, text: str) -> None:
    """Words keep the space behind them, so nothing is lost or added by streaming."""
    model = LocalModel()
    words = collect(model, user(text))

    assert model.complete(user(text)).text == "".join(words)
    assert 1 < len(words)


@both_ways
def test_stream_is_booked_as_the_same_call_in_one_piece_is(collect: Collect) -> None:
    """How an answer is delivered changes nothing in the books but the call's id."""
    model = LocalModel()
    collect(model, CONVERSATION)
    model.complete(CONVERSATION)
    one, other = model.books.entries()

    assert one.call_id != other.call_id
    assert one == Entry(**{**_fields(other), "call_id": one.call_id})


def _fields(entry: Entry) -> dict[str, object]:
    return {name: getattr(entry, name) for name in Entry.__slots__}


@both_ways
def test_span_of_a_stream_ends_with_it(collect: Collect) -> None:
    """One call makes one client span named as the semantic conventions say."""
    model, spans = model_with_spans()
    collect(model, CONVERSATION)
    (span,) = spans.get_finished_spans()

    assert f"chat {MODEL}" == span.name
    assert trace.SpanKind.CLIENT == span.kind


def test_stream_left_early_is_still_booked_whole() -> None:
    """The answer was written before the first word went out, so leaving saves nothing, and the span ends."""
    model, spans = model_with_spans()
    stream = iter(model.stream(CONVERSATION))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    (entry,) = model.books.entries()

    assert model.complete(CONVERSATION).usage.output_tokens == entry.output_tokens
    assert 2 == len(spans.get_finished_spans())


def test_stream_never_started_is_no_call() -> None:
    """Nothing is booked and no span is opened before the first word is asked for."""
    model, spans = model_with_spans()
    model.stream(CONVERSATION)

    assert [] == model.books.entries()
    assert () == spans.get_finished_spans()


def test_span_of_a_stream_is_not_current_between_words() -> None:
    """A span that were current across a yield would become the parent of other people's spans."""
    model, _ = model_with_spans()
    before = trace.get_current_span()

    assert [before] * 3 == [
        trace.get_current_span() for _, _ in zip(range(3), model.stream(CONVERSATION), strict=False)
    ]


def test_span_carries_the_semantic_conventions_and_the_books_figures() -> None:
    """gen_ai.* attributes and the books tell the same story about the same call id."""
    model, spans = model_with_spans()
    model.complete(CONVERSATION, "c-1")
    (span,), (entry,) = spans.get_finished_spans(), model.books.entries()

    assert {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "local",
        "gen_ai.request.model": MODEL,
        "gen_ai.response.model": MODEL,
        "gen_ai.response.id": entry.call_id,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": entry.input_tokens,
        "gen_ai.usage.output_tokens": entry.output_tokens,
    } == dict(span.attributes or {})


def test_books_note_lengths_not_texts() -> None:
    """The books hold sizes and prices, never what was said."""
    model = LocalModel()
    reply = model.complete(CONVERSATION, "c-1")
    (entry,) = model.books.entries()

    assert "c-1" == entry.conversation
    assert len(SYSTEM_PROMPT) + sum(len(message["content"]) for message in CONVERSATION) == entry.prompt_chars
    assert len(reply.text) == entry.answer_chars


def test_books_of_four_processes_share_one_file(tmp_path: Path) -> None:
    """Lines of several writers never mix, get lost or come twice."""
    path = tmp_path / "books.jsonl"
    code = (
        "from examples.shared.local_model import LocalModel\n"
        "model = LocalModel.from_environment()\n"
        "for number in range(250): model.complete([{'role': 'user', 'content': 'x ' * number}], 'c' * number)"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env={"CHAT_BOOKS": str(path)}) for _ in range(4)
    ]
    assert [0] * 4 == [writer.wait(timeout=50) for writer in writers]
    entries = Books(path).entries()

    assert 1_000 == len({entry.call_id for entry in entries}) == len(entries)
    assert sorted([*range(250)] * 4) == sorted(len(entry.conversation) for entry in entries)


def test_books_hold_one_line_an_entry_whatever_the_conversation_is_called(tmp_path: Path) -> None:
    """A line break in what a client sends does not break the file."""
    books = Books(tmp_path / "books.jsonl")
    names = ["a\nb", "c\u2028d\x85e", "\ud800", '"}{', ""]
    for name in names:
        LocalModel(books).complete(user("Hello"), name)

    assert names == [entry.conversation for entry in books.entries()]
    assert len(names) == len((tmp_path / "books.jsonl").read_bytes().splitlines())


def test_books_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    """What customers cost is nobody else's business."""
    LocalModel(Books(tmp_path / "books.jsonl")).complete(user("Hello"))

    assert 0o600 == (tmp_path / "books.jsonl").stat().st_mode & 0o777


def test_books_make_no_file_before_the_first_call(tmp_path: Path) -> None:
    """Construction does no I/O, and books without a file are empty."""
    books = Books(tmp_path / "books.jsonl")

    assert [] == books.entries()
    assert [] == list(tmp_path.iterdir())


def test_totals_add_up_per_conversation() -> None:
    """Totals are the sums over a conversation's calls, and nobody else's."""
    model = LocalModel()
    usages = [model.complete(user(text), "a").usage for text in ("Hello", "How much is it?")]
    other = model.complete(user("Bye"), "b").usage

    expected = {"a": tuple(map(sum, zip(*usages, strict=True))), "b": tuple(other)}
    assert expected == totals(model.books.entries())


def test_entry_round_trips_through_json(tmp_path: Path) -> None:
    """The file's lines are plain JSON objects with the documented names."""
    books = Books(tmp_path / "books.jsonl")
    LocalModel(books).complete(user("Hello"), "c-1")
    line = json.loads((tmp_path / "books.jsonl").read_text())

    assert list(Entry.__slots__) == list(line)
