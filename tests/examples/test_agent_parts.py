"""The agent's tools, its local models and what they bill, apart from any request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from examples.agent_chat.agent import SORRY, Assistant, ToolUsed, make_room
from examples.agent_chat.brain import ASSISTANT, DESK, ToolRequest, think
from examples.agent_chat.model import WINDOW, Client, ModelUnavailable, Provider, price, size_of
from examples.agent_chat.tools import ToolError, calculate, look_up_order
from session_mw import TokenUsage

SUMS = {
    "3 * 40 + 2 * 90": "3 * 40 + 2 * 90 comes to 300.",
    "1/8": "1/8 comes to 0.125.",
    "10 - 2 - 3": "10 - 2 - 3 comes to 5.",
    "(1 + 2) * 3": "(1 + 2) * 3 comes to 9.",
}
NO_SUMS = ("1 / 0", "2 ** 99", "lamps", "__import__('os')", "True + 1", "1 +", "1, 2", "", "-" * 150 + "1", "1+" * 150)


@pytest.mark.parametrize(("expression", "expected"), SUMS.items())
def test_calculator_works_out_sums(expression: str, expected: str) -> None:
    """Numbers with the four operators and brackets."""
    assert expected == asyncio.run(calculate(expression))


@pytest.mark.parametrize("expression", NO_SUMS)
def test_calculator_refuses_everything_else(expression: str) -> None:
    """What a model writes is never run as code, and its mistakes are told to the model."""
    with pytest.raises(ToolError, match="cannot work out"):
        asyncio.run(calculate(expression))


def test_order_is_found_or_not() -> None:
    """Where an order is follows from its number; one in seven does not exist."""
    assert "Order 1042 is" in asyncio.run(look_up_order("1042"))
    with pytest.raises(ToolError, match="no order 1043"):
        asyncio.run(look_up_order("1043"))


def user(*said: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text} for text in said]


WANTED = {
    "Where is order 1042?": [("look_up_order", "1042")],
    "What is 3 * 400?": [("calculate", "3 * 400")],
    "Track orders 100 and 200, and what is 5 / 2?": [
        ("calculate", "5 / 2"),
        ("look_up_order", "100"),
        ("look_up_order", "200"),
    ],
    "My lamp from order 500 is broken": [
        ("ask_returns_desk", "My lamp from order 500 is broken"),
        ("look_up_order", "500"),
    ],
    "Hello": [],
}


@pytest.mark.parametrize(("question", "expected"), WANTED.items())
def test_model_names_the_tools_it_needs(question: str, expected: list[tuple[str, str]]) -> None:
    """All at once: they do not need each other."""
    thought = think(ASSISTANT, user(question))

    assert expected == [(request.name, *request.arguments.values()) for request in thought.requests]
    assert bool(thought.text) is not bool(thought.requests)


def test_model_answers_from_what_the_tools_said() -> None:
    """Only from what they said since the question."""
    before = [*user("Where is order 1?"), {"role": "tool", "name": "look_up_order", "content": "On a ship."}]

    assert "On a ship." == think(ASSISTANT, before).text
    assert "On a ship." not in think(ASSISTANT, [*before, *user("Hello")]).text


class Watched:
    """A client whose spans and books are looked at."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.client = Client(Provider(), tracer=provider.get_tracer("test"))

    @property
    def said(self) -> dict[str, Any]:
        (span,) = self.exporter.get_finished_spans()
        return dict(span.attributes or {})

    @property
    def billed(self) -> list[tuple[int, int, int]]:
        return [(e.input_tokens, e.output_tokens, e.cost_microusd) for e in self.client.provider.books.entries()]

    async def ask(self, messages: Sequence[dict[str, Any]], model: str = ASSISTANT, pieces: int = 1_000) -> list[Any]:
        found: list[Any] = []
        async with self.client.stream(model, messages) as stream:
            async for piece in stream:
                found.append(piece)
                if len(found) == pieces:
                    break
        return found


def test_price_is_what_the_provider_bills() -> None:
    """With and without prompts that were seen before, whatever the length."""
    for messages in (user("Hello"), user("Hello", "Where is order 1042?"), user(*["How much is it?"] * 9)):
        watched = Watched()
        asyncio.run(watched.ask(messages))
        said = watched.said
        used = TokenUsage(
            said["gen_ai.usage.input_tokens"],
            said["gen_ai.usage.output_tokens"],
            cache_read_tokens=said.get("gen_ai.usage.cache_read.input_tokens"),
        )

        assert [(used.input_tokens, used.output_tokens, round((price(ASSISTANT, None, used) or 0) * 1e6))] == (
            watched.billed
        )


def test_desk_says_itself_what_it_takes() -> None:
    """No price list knows it."""
    watched = Watched()
    asyncio.run(watched.ask(user("My lamp is broken"), DESK))

    assert watched.billed[0][2] == round(watched.said["gen_ai.usage.cost"] * 1_000_000)
    assert price(DESK, None, TokenUsage(1, 1)) is None


def test_who_hangs_up_pays_for_what_was_said() -> None:
    """The span says the same, and ends at once."""
    whole, part = Watched(), Watched()
    pieces = asyncio.run(whole.ask(user("Hello")))
    heard = asyncio.run(part.ask(user("Hello"), pieces=2))

    assert pieces[:2] == heard
    assert 0 < part.billed[0][1] < whole.billed[0][1]
    assert part.billed[0][:2] == (part.said["gen_ai.usage.input_tokens"], part.said["gen_ai.usage.output_tokens"])


def questions_that_fail(used: bool) -> str:
    """Find a question whose first attempt fails, with or without having used anything."""
    for number in range(10_000):
        watched = Watched()
        try:
            asyncio.run(watched.ask(user(f"Hello {number}")))
        except ModelUnavailable as error:
            if used is (error.used is not None):
                return f"Hello {number}"
    raise AssertionError("the model never fails")


@pytest.mark.parametrize("used", [False, True])
def test_failed_call_bills_what_it_used(used: bool) -> None:
    """Turned away it is nothing; failed when the work was done it is the prompt; and the agent tries again."""
    question, watched = questions_that_fail(used), Watched()
    with pytest.raises(ModelUnavailable):
        asyncio.run(watched.ask(user(question)))

    assert used is bool(watched.billed) is ("gen_ai.usage.input_tokens" in watched.said)
    assert [*"Hello!"] == [*"".join(map(str, asyncio.run(answer(watched.client, question))))[:6]]


async def answer(client: Client, question: str) -> list[str | ToolUsed]:
    return [piece async for piece in Assistant(client, "label").answer([], question)]


def test_agent_says_sorry_when_the_model_stays_away() -> None:
    """After three attempts."""

    class Away(Provider):
        asked = 0

        def answer(self, *_: Any) -> Any:
            self.asked += 1
            raise ModelUnavailable("overloaded")

    provider = Away()

    assert [SORRY] == asyncio.run(answer(Client(provider), "Hello"))
    assert 3 == provider.asked


def test_agent_tells_the_model_what_a_tool_could_not_do() -> None:
    """And the model tells the customer."""
    pieces = asyncio.run(answer(Client(), "Where are orders 1043 and 1042?"))
    words = "".join(piece for piece in pieces if isinstance(piece, str))

    assert [ToolUsed("look_up_order")] * 2 == pieces[:2]
    assert "There is no order 1043." in words
    assert "Order 1042 is" in words


def test_history_is_kept_within_the_window() -> None:
    """The newest messages stay."""
    history = user(*(f"This is message number {number} of them all" for number in range(40)))
    new = user("Hello")[0]
    window = make_room(history, new)
    kept = window.history

    assert window.pruned
    assert history[-len(kept) :] == kept
    assert size_of([*kept, new]) == window.tokens
    assert size_of(make_room(kept, new).history) <= WINDOW


def test_request_reads_as_a_call() -> None:
    """As the model is told what it asked for."""
    assert 'look_up_order({"number": "1"})' == str(ToolRequest("look_up_order", {"number": "1"}))
