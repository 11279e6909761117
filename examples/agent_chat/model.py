"""
Your model provider and its instrumented client, in one module that needs no network. Everything else in this example
is your application, and counts nothing.

**The provider** (``Provider``) answers, has bad moments, and bills: each call is a line in its own books
(``CHAT_BOOKS`` names a file). It reuses prompts it has seen (they are cheaper), thinks before it calls tools, and
stops, and stops billing, when somebody hangs up.

**The client** (``Client``) hands answers out, and describes each call by OpenTelemetry's conventions for generative AI,
as an instrumentation of a real client library does: a span a call with what the provider said it used. As agent
frameworks do, it repeats the sum of an agent's calls on the agent's own span.

A token is what ``count_tokens`` says. Prices are whole micro-dollars per token, so costs are exact.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from opentelemetry import trace

from session_mw import TokenUsage

from ..shared.books import Books, Entry
from ..shared.local_model import SYSTEM_PROMPT, count_tokens
from .brain import ASSISTANT, DESK, NOTES, Message, Thought, ToolRequest, think

Piece = str | ToolRequest

WINDOW = 220  # tokens that the assistant's model takes
OVERLOADED, CRASHED = 23, 29  # of so many calls, one is turned away at once, one fails when the work is done
_WORD = re.compile(r"\S+\s*")
ONCE = 40  # micro-dollars that the desk's provider takes for each call, whatever its length


@dataclass(frozen=True, slots=True)
class Price:
    """Micro-dollars per token."""

    fresh: int
    reused: int
    written: int


PRICES: Mapping[str, Price] = {ASSISTANT: Price(3, 1, 15), DESK: Price(1, 1, 4), NOTES: Price(1, 1, 2)}


@dataclass(frozen=True, slots=True)
class Used:
    """
    What the provider says a call used.

    Attributes:
        read: Tokens of the prompt, those that it had seen before included.
        reused: Of these, the ones that it had seen before.
        written: Tokens of the answer, those of thinking included.
        thought: Of these, the ones that nobody sees.
        microusd: What it costs.
    """

    read: int
    reused: int
    written: int
    thought: int
    microusd: int


class ModelUnavailable(Exception):
    """
    The model did not answer. Try again.

    Attributes:
        used: What it used, and bills, nevertheless; None for nothing.
    """

    def __init__(self, reason: str, used: Used | None = None) -> None:
        super().__init__(reason)
        self.used = used


# ---- the provider


class Provider:
    """
    Answers, and keeps the books.

    Args:
        books: Where calls are written down. None means in memory.
    """

    def __init__(self, books: Books | None = None) -> None:
        self.books = books or Books()

    def answer(self, model: str, messages: Sequence[Message], label: str, attempt: int) -> Answer:
        """
        Work out an answer.

        Raises:
            ModelUnavailable: It is overloaded, or fails when the work is done. One attempt says nothing about the next.
        """
        chance = zlib.crc32(repr((model, [dict(message) for message in messages], attempt)).encode())
        if chance % OVERLOADED == 0:
            raise ModelUnavailable("overloaded")
        answer = Answer(self, model, messages, label, think(model, messages), chance)
        if chance % CRASHED == 0:
            raise ModelUnavailable("internal error", answer.bill(0))
        return answer


class Answer:
    """One answer, billed when it is over."""

    def __init__(
        self, provider: Provider, model: str, messages: Sequence[Message], label: str, thought: Thought, chance: int
    ) -> None:
        self.id = "answer_" + secrets.token_hex(12)
        self.pieces: list[Piece] = [*thought.requests, *_WORD.findall(thought.text)]
        self._provider = provider
        self._model = model
        self._label = label
        self._prompt = [SYSTEM_PROMPT, *(message["content"] for message in messages)]
        self._thinking = chance % 37 if thought.requests else 0

    def bill(self, given: int) -> Used:
        """Write down what the call used, *given* pieces of the answer handed out."""
        said = "".join(str(piece) for piece in self.pieces[:given])
        read, written = sum(map(count_tokens, self._prompt)), count_tokens(said) + self._thinking
        # What stood before the customer's second message was in the prompt of the first.
        reused = sum(map(count_tokens, self._prompt[:-1])) if self._model == ASSISTANT and len(self._prompt) > 2 else 0
        price = PRICES[self._model]
        cost = (read - reused) * price.fresh + reused * price.reused + written * price.written
        cost += ONCE if self._model == DESK else 0
        chars = sum(map(len, self._prompt))
        self._provider.books.add(Entry(self.id, self._label, self._model, read, written, cost, chars, len(said)))
        return Used(read, reused, written, self._thinking, cost)


def size_of(said: Message | Sequence[Message]) -> int:
    """Return how much of the model's window a message takes, or a history."""
    messages = [said] if isinstance(said, Mapping) else said
    return sum(count_tokens(message["content"]) for message in messages)


def price(model: str, provider: str | None, used: TokenUsage) -> float | None:
    """
    Return what a call costs, US dollars. For the setting ``price_for``.

    None for the desk's model: its provider says with each call what it took, which no price list knows.
    """
    if model not in (ASSISTANT, NOTES) or used.input_tokens is None or used.output_tokens is None:
        return None
    known, reused = PRICES[model], used.cache_read_tokens or 0
    fresh = (used.input_tokens - reused) * known.fresh
    return (fresh + reused * known.reused + used.output_tokens * known.written) / 1_000_000


# ---- the client, instrumented


async def no_pause(model: str) -> None:
    """Hand out pieces without pauses, but let others run."""
    await asyncio.sleep(0)


def pause_of(seconds: float) -> Callable[[str], Awaitable[None]]:
    """Return a pause of so many seconds."""

    async def pause(model: str) -> None:
        await asyncio.sleep(seconds)

    return pause


class Client:
    """
    The provider's client library.

    Args:
        provider: Whose models are asked. None means one with books in memory.
        tracer: Makes the spans. None means the global provider's.
        pause: Awaited before each piece of an answer, with the model's name.
    """

    def __init__(
        self,
        provider: Provider | None = None,
        *,
        tracer: trace.Tracer | None = None,
        pause: Callable[[str], Awaitable[None]] = no_pause,
    ) -> None:
        self.provider = provider or Provider()
        self.tracer = tracer or trace.get_tracer("examples.agent_chat.model")
        self.pause = pause

    @classmethod
    def from_environment(cls) -> Client:
        """Read ``CHAT_BOOKS`` (a file; default memory) and ``CHAT_WORD_MS`` (milliseconds; default 25)."""
        seconds = float(os.environ.get("CHAT_WORD_MS", "25")) / 1000
        return cls(Provider(Books.from_environment()), pause=pause_of(seconds))

    def stream(self, model: str, messages: Sequence[Message], *, label: str = "", attempt: int = 1) -> Stream:
        """
        Ask *model*, and get its answer piece by piece: words, or tools to call.

        Args:
            model: Its name.
            messages: The conversation, oldest first.
            label: Stands in the provider's books, so that you can tell your calls apart.
            attempt: Of the same question, from 1.
        """
        return Stream(self, model, messages, label, attempt)

    async def complete(self, model: str, messages: Sequence[Message], *, label: str = "", attempt: int = 1) -> str:
        """Ask *model*, and get its answer as one text."""
        async with self.stream(model, messages, label=label, attempt=attempt) as stream:
            return "".join([str(piece) async for piece in stream])


class Stream:
    """
    An answer under way: ``async with client.stream(...) as stream: async for piece in stream: ...``

    Its span is never made current: one that is current across a ``yield`` would leak into whatever runs in between.
    """

    _answer: Answer
    _span: trace.Span

    def __init__(self, client: Client, model: str, messages: Sequence[Message], label: str, attempt: int) -> None:
        self._client = client
        self._asked = (model, messages, label, attempt)
        self._given = 0

    async def __aenter__(self) -> Stream:
        model = self._asked[0]
        self._agent = trace.get_current_span()
        self._span = self._client.tracer.start_span(
            f"chat {model}",
            kind=trace.SpanKind.CLIENT,
            attributes={
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "harbour",
                "gen_ai.request.model": model,
            },
        )
        try:
            self._answer = self._client.provider.answer(*self._asked)
        except ModelUnavailable as error:
            self._span.set_status(trace.StatusCode.ERROR, str(error))
            self._end(error.used)
            raise
        self._span.set_attribute("gen_ai.response.id", self._answer.id)
        return self

    async def __aiter__(self) -> AsyncIterator[Piece]:
        for piece in self._answer.pieces:
            await self._client.pause(self._asked[0])
            self._given += 1
            yield piece

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end(self._answer.bill(self._given))

    def _end(self, used: Used | None) -> None:
        """Write on the span what the provider said."""
        if used is not None:
            self._span.set_attributes(described(self._asked[0], used))
            repeat(self._agent, self._asked[0], used)
        self._span.end()


def described(model: str, used: Used) -> dict[str, Any]:
    """Describe what a call used, by the conventions; details where there is something to say."""
    known: dict[str, Any] = {
        "gen_ai.response.model": model,
        "gen_ai.usage.input_tokens": used.read,
        "gen_ai.usage.output_tokens": used.written,
    }
    if used.reused:
        known["gen_ai.usage.cache_read.input_tokens"] = used.reused
    if used.thought:
        known["gen_ai.usage.reasoning.output_tokens"] = used.thought
    if model == DESK:
        known["gen_ai.usage.cost"] = used.microusd / 1_000_000
    return known


def repeat(agent: trace.Span, model: str, used: Used) -> None:
    """Add what a call used to the sums on its agent's span, as frameworks do. Whoever adds spans up counts it twice."""
    said: Mapping[str, Any] = getattr(agent, "attributes", None) or {}
    if not agent.is_recording() or said.get("gen_ai.operation.name") != "invoke_agent":
        return
    agent.set_attribute("gen_ai.response.model", model)
    for key, more in (("gen_ai.usage.input_tokens", used.read), ("gen_ai.usage.output_tokens", used.written)):
        agent.set_attribute(key, said.get(key, 0) + more)
