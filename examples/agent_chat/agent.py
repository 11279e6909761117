"""
The agent: it asks the model, calls the tools that the model names, and goes on until there are words to say.

The blocks say what happens (``agent_run``, ``tool_call``). What it takes, the model client's spans say: nothing is
counted here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from session_mw import agent_run, manage_context, tool_call

from .brain import ASSISTANT, DESK, NOTES, Message, ToolRequest
from .model import WINDOW, Client, ModelUnavailable, Piece, size_of
from .tools import TOOLS, ToolError

ATTEMPTS = 3  # of each call
ROUNDS = 4  # of tools, for one question
SORRY = "I am sorry, I cannot think right now. Please try again in a minute."


@dataclass(frozen=True, slots=True)
class ToolUsed:
    """A tool has been called."""

    name: str


def drop_oldest(history: list[dict[str, str]]) -> list[dict[str, str]]:
    """Keep the newer half of a history."""
    return history[len(history) // 2 + 1 :]


make_room = manage_context(count=size_of, limit=WINDOW, prune=drop_oldest, threshold=0.7)


class Assistant:
    """
    Answers one customer.

    Args:
        client: Of the models.
        label: What the provider is to write on its bill.
    """

    def __init__(self, client: Client, label: str) -> None:
        self._client = client
        self._label = label
        self._tools = {**TOOLS, "ask_returns_desk": self.ask_returns_desk}

    @agent_run("assistant")
    async def answer(self, history: list[dict[str, str]], question: str) -> AsyncGenerator[str | ToolUsed, None]:
        """Answer *question* word by word; in between, name the tools that were called."""
        new = {"role": "user", "content": question}
        messages: list[Message] = [*make_room(history, new).history, new]
        try:
            for _ in range(ROUNDS):
                requests: list[ToolRequest] = []
                async with aclosing(self._ask(messages)) as pieces:
                    async for piece in pieces:
                        if isinstance(piece, ToolRequest):
                            requests.append(piece)
                        else:
                            yield piece
                if not requests:
                    return
                results = await asyncio.gather(*map(self._use, requests))
                messages += [{"role": "assistant", "content": " ".join(map(str, requests))}, *results]
                for request in requests:
                    yield ToolUsed(request.name)
        except ModelUnavailable:
            yield SORRY

    async def _ask(self, messages: Sequence[Message]) -> AsyncGenerator[Piece, None]:
        """Ask the model until it answers."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._client.stream(ASSISTANT, messages, label=self._label, attempt=attempt) as stream:
                    async for piece in stream:
                        yield piece
                return
            except ModelUnavailable:
                if attempt == ATTEMPTS:
                    raise

    async def _use(self, request: ToolRequest) -> Message:
        """Call a tool; what it says, or why it cannot, is for the model to read."""
        try:
            said: str = await self._tools[request.name](**request.arguments)
        except (ToolError, ModelUnavailable) as error:
            said = str(error)
        return {"role": "tool", "name": request.name, "content": said}

    @tool_call("ask_returns_desk")
    async def ask_returns_desk(self, question: str) -> str:
        """Ask the specialist for returns: another agent, run as a tool."""
        with agent_run("returns desk"):
            return await self._client.complete(DESK, [{"role": "user", "content": question}], label=self._label)


async def take_notes(client: Client, label: str, messages: Sequence[Message]) -> str | None:
    """Sum a chat up for the people at the counter, when the customer has the answer. No note is no harm."""
    try:
        with agent_run("note taker"):
            return await client.complete(NOTES, messages, label=label)
    except ModelUnavailable:
        return None
