"""
A language model for examples: no network, no randomness, no clock, exact prices.

Rules:
    1. The same messages give the same answer, always.
    2. A token is a run of word characters, or one other character that is no space: ``\\w+|[^\\w\\s]``.
    3. Input tokens are those of the system prompt and of every message; output tokens those of the answer.
    4. Prices are whole dollars per million tokens, that is whole micro-dollars per token: costs are exact.
    5. The answer is written at once and handed out word by word: who leaves early has still used all of it.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from opentelemetry import trace

from session_mw import TokenUsage

from .books import Books, Entry

MODEL = "local-small-1"
INPUT_PRICE = 1  # US dollars per million tokens
OUTPUT_PRICE = 4  # US dollars per million tokens
SYSTEM_PROMPT = "You are the assistant of Harbour Lamps, a small shop. Answer briefly, kindly and truly."

Intent = Literal["complaint", "order", "price", "thanks", "greeting", "other"]
Messages = Sequence[Mapping[str, str]]  # {"role": "user", "assistant" or "tool", "content": ...}, oldest first

_TOKEN = re.compile(r"\w+|[^\w\s]")
_WORD = re.compile(r"\S+\s*")
_ORDER_NUMBER = re.compile(r"(?<!\d)\d{3,10}(?!\d)", re.ASCII)

# The first intent with a matching word wins: "thanks, but my lamp is broken" is a complaint.
_VOCABULARY: dict[Intent, set[str]] = {
    "complaint": {"broken", "damaged", "wrong", "refund", "complaint", "angry", "disappointed", "late"},
    "order": {"order", "orders", "parcel", "package", "delivery", "shipping", "shipped", "track", "tracking"},
    "price": {"price", "prices", "cost", "costs", "much", "expensive", "cheap", "discount", "pay"},
    "thanks": {"thanks", "thank", "bye", "goodbye", "cheers"},
    "greeting": {"hello", "hi", "hey", "morning", "evening"},
}


class Usage(NamedTuple):
    """What one call used: tokens, and its price in millionths of a US dollar."""

    input_tokens: int
    output_tokens: int
    cost_microusd: int

    @property
    def cost_usd(self) -> float:
        """The price in US dollars."""
        return self.cost_microusd / 1_000_000


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says to a list of messages."""

    call_id: str
    model: str
    intent: Intent
    text: str
    usage: Usage

    @property
    def words(self) -> list[str]:
        """The answer in pieces, each a word with the space behind it; joined they are the text."""
        return _WORD.findall(self.text)


class ReplyStream:
    """
    A reply that comes word by word, with ``for`` or with ``async for``.

    The call begins with the first word asked for. Its span is never made current: a span that is current
    across a ``yield`` would leak into whatever runs between two words.
    """

    def __init__(self, model: LocalModel, reply: Reply, entry: Entry) -> None:
        self.reply = reply
        self._model = model
        self._entry = entry

    def __iter__(self) -> Iterator[str]:
        span = self._start()
        try:
            for word in self.reply.words:
                time.sleep(self._model.seconds_per_word)
                yield word
        finally:
            span.end()

    async def __aiter__(self) -> AsyncIterator[str]:
        span = self._start()
        try:
            for word in self.reply.words:
                await asyncio.sleep(self._model.seconds_per_word)
                yield word
        finally:
            span.end()

    def _start(self) -> trace.Span:
        self._model.books.add(self._entry)
        attributes = _attributes(self.reply)
        return self._model.tracer.start_span(_SPAN_NAME, kind=trace.SpanKind.CLIENT, attributes=attributes)


class LocalModel:
    """
    Answer customers of a lamp shop.

    Args:
        books: Where calls are written down. None means in memory.
        seconds_per_word: Pause before each word of a stream, seconds. 0 means none.
        tracer: Makes the spans. None means the global provider's.
    """

    def __init__(
        self,
        books: Books | None = None,
        *,
        seconds_per_word: float = 0.0,
        tracer: trace.Tracer | None = None,
    ) -> None:
        self.books = books or Books()
        self.tracer = tracer or trace.get_tracer("examples.local_model")
        self.seconds_per_word = seconds_per_word

    @classmethod
    def from_environment(cls) -> LocalModel:
        """Read ``CHAT_BOOKS`` (a file; default memory) and ``CHAT_WORD_MS`` (milliseconds; default 25)."""
        milliseconds = float(os.environ.get("CHAT_WORD_MS", "25"))
        return cls(Books.from_environment(), seconds_per_word=milliseconds / 1000)

    def complete(self, messages: Messages, conversation: str = "") -> Reply:
        """
        Answer in one piece.

        Args:
            messages: The conversation, oldest first, the customer's new message last.
            conversation: What the client calls the conversation, for the books only.
        """
        reply = think(messages)
        attributes = _attributes(reply)
        with self.tracer.start_as_current_span(_SPAN_NAME, kind=trace.SpanKind.CLIENT, attributes=attributes):
            self.books.add(_entry(messages, reply, conversation))
        return reply

    def stream(self, messages: Messages, conversation: str = "") -> ReplyStream:
        """Answer word by word; the arguments are those of :meth:`complete`."""
        reply = think(messages)
        return ReplyStream(self, reply, _entry(messages, reply, conversation))


def count_tokens(text: str) -> int:
    """Count tokens: ``"It's 40 $."`` has six (It, ', s, 40, $, .)."""
    return len(_TOKEN.findall(text))


def intent_of(text: str) -> Intent:
    """Tell what a customer wants, by the words of one message."""
    words = set(re.findall(r"\w+", text.lower()))
    return next((intent for intent, vocabulary in _VOCABULARY.items() if words & vocabulary), "other")


def order_number(messages: Messages) -> str | None:
    """Find the order number (three to ten digits) the customer named last, None if there was none."""
    for message in reversed(messages):
        if message["role"] == "user" and (found := _ORDER_NUMBER.findall(message["content"])):
            return str(found[-1])
    return None


def order_to_look_up(messages: Messages) -> str | None:
    """Name the order the model would look up with a tool before it answers, None when it needs none."""
    return order_number(messages) if intent_of(_last_of_user(messages)) == "order" else None


def think(messages: Messages) -> Reply:
    """Work out the reply. Apart from the call's id it depends on *messages* alone."""
    intent = intent_of(_last_of_user(messages))
    text = _answer(intent, messages)
    tokens_in = count_tokens(SYSTEM_PROMPT) + sum(count_tokens(message["content"]) for message in messages)
    tokens_out = count_tokens(text)
    usage = Usage(tokens_in, tokens_out, tokens_in * INPUT_PRICE + tokens_out * OUTPUT_PRICE)
    return Reply("call_" + secrets.token_hex(12), MODEL, intent, text, usage)


def price(model: str, provider: str | None, usage: TokenUsage) -> float | None:
    """Return what a call costs, US dollars; None for other models. For the setting ``price_for``."""
    if model != MODEL or usage.input_tokens is None or usage.output_tokens is None:
        return None
    return (usage.input_tokens * INPUT_PRICE + usage.output_tokens * OUTPUT_PRICE) / 1_000_000


_SPAN_NAME = f"chat {MODEL}"


def _attributes(reply: Reply) -> dict[str, str | int | tuple[str, ...]]:
    """Describe the call by the OpenTelemetry semantic conventions for generative AI."""
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "local",
        "gen_ai.request.model": MODEL,
        "gen_ai.response.model": MODEL,
        "gen_ai.response.id": reply.call_id,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": reply.usage.input_tokens,
        "gen_ai.usage.output_tokens": reply.usage.output_tokens,
    }


def _entry(messages: Messages, reply: Reply, conversation: str) -> Entry:
    return Entry(
        call_id=reply.call_id,
        conversation=conversation,
        model=MODEL,
        input_tokens=reply.usage.input_tokens,
        output_tokens=reply.usage.output_tokens,
        cost_microusd=reply.usage.cost_microusd,
        prompt_chars=len(SYSTEM_PROMPT) + sum(len(message["content"]) for message in messages),
        answer_chars=len(reply.text),
    )


def _last_of_user(messages: Messages) -> str:
    return next((message["content"] for message in reversed(messages) if message["role"] == "user"), "")


def _tool_result(messages: Messages) -> str | None:
    """Return what a tool said after the customer's last message, None if no tool was asked."""
    last = messages[-1] if messages else {"role": ""}
    return last["content"] if last["role"] == "tool" else None


def _answer(intent: Intent, messages: Messages) -> str:
    number = order_number(messages)
    met_before = sum(message["role"] == "user" for message in messages) > 1
    if intent == "order":
        return _tool_result(messages) or _about_order(number)
    if intent == "complaint":
        about = f" about order {number}" if number else ""
        return f"I am sorry{about}. Send us a photo, and a new lamp leaves tomorrow; you keep the old one."
    if intent == "price":
        return "Table lamps cost 40 dollars, floor lamps 90. From two lamps on, delivery is free."
    if intent == "thanks":
        return "You are welcome. Enjoy the light, and come back any time!"
    if intent == "greeting":
        return "Hello again! What else can I do?" if met_before else "Hello! This is Harbour Lamps. How can I help?"
    return "I can help with orders, prices and complaints. Which of these is it about?"


def _about_order(number: str | None) -> str:
    if number is None:
        return "Gladly. What is the order number? It stands at the top of your receipt."
    return f"Order {number} is packed and leaves our harbour today. It will be with you within two days."
