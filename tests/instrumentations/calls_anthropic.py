"""Calls with Anthropic's own client. Every function is one turn of an application."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic

from .ground import ANTHROPIC_MODEL, KEY, QUESTION, Ground

ASK: Any = [{"role": "user", "content": QUESTION}]
SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
TOOLS: Any = [{"name": "look_up", "input_schema": SCHEMA}]
COMMON: Any = {"model": ANTHROPIC_MODEL, "max_tokens": 100}


def client(ground: Ground, retries: int = 0) -> anthropic.Anthropic:
    """Return a client that talks to the fake."""
    return anthropic.Anthropic(base_url=ground.url, api_key=KEY, max_retries=retries)


def aclient(ground: Ground) -> anthropic.AsyncAnthropic:
    """Return the same, asynchronous."""
    return anthropic.AsyncAnthropic(base_url=ground.url, api_key=KEY, max_retries=0)


def messages_plain(ground: Ground) -> None:
    client(ground).messages.create(**COMMON, messages=ASK)


async def messages_async(ground: Ground) -> None:
    await aclient(ground).messages.create(**COMMON, messages=ASK)


async def messages_stream(ground: Ground) -> None:
    async for _ in await aclient(ground).messages.create(**COMMON, messages=ASK, stream=True):
        pass


def messages_stream_sync(ground: Ground) -> None:
    for _ in client(ground).messages.create(**COMMON, messages=ASK, stream=True):
        pass


async def messages_stream_helper(ground: Ground) -> None:
    async with aclient(ground).messages.stream(**COMMON, messages=ASK) as stream:
        async for _ in stream.text_stream:
            pass


def tools_plain(ground: Ground) -> None:
    asked = client(ground)
    answer: Any = asked.messages.create(**COMMON, messages=ASK, tools=TOOLS)
    asked.messages.create(**COMMON, messages=[*ASK, *_results(ground, answer)], tools=TOOLS)


async def tools_stream(ground: Ground) -> None:
    asked = aclient(ground)
    async with asked.messages.stream(**COMMON, messages=ASK, tools=TOOLS) as stream:
        answer: Any = await stream.get_final_message()
    async with asked.messages.stream(**COMMON, messages=[*ASK, *_results(ground, answer)], tools=TOOLS) as stream:
        await stream.get_final_message()


def _results(ground: Ground, answer: Any) -> list[Any]:
    wishes = [block for block in answer.content if block.type == "tool_use"]
    results = [
        {"type": "tool_result", "tool_use_id": wish.id, "content": ground.look_up(**wish.input)} for wish in wishes
    ]
    return [
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in answer.content]},
        {"role": "user", "content": results},
    ]


async def parallel(ground: Ground) -> None:
    asked = aclient(ground)
    await asyncio.gather(*(asked.messages.create(**COMMON, messages=ASK) for _ in range(5)))


def refused(ground: Ground) -> None:
    for status in ("[429]", "[500]"):
        try:
            client(ground).messages.create(**COMMON, messages=[{"role": "user", "content": status}])
        except anthropic.APIStatusError:
            continue
        raise AssertionError(f"the server should have refused: {status}")
    client(ground).messages.create(**COMMON, messages=ASK)


def retried(ground: Ground) -> None:
    client(ground, retries=1).messages.create(**COMMON, messages=[{"role": "user", "content": "[429 once]"}])


def counted_first(ground: Ground) -> None:
    asked = client(ground)
    asked.messages.count_tokens(model=ANTHROPIC_MODEL, messages=ASK)
    asked.messages.create(**COMMON, messages=ASK)


async def after_the_answer(ground: Ground) -> None:
    ground.later.append(messages_stream(ground))


CASES = {
    "messages": messages_plain,
    "messages, async": messages_async,
    "messages, streamed": messages_stream,
    "messages, streamed, sync": messages_stream_sync,
    "messages, stream helper": messages_stream_helper,
    "tools": tools_plain,
    "tools, streamed": tools_stream,
    "five at once": parallel,
    "two refused, one answered": refused,
    "answered at the second try": retried,
    "tokens asked first": counted_first,
    "after the answer, streamed": after_the_answer,
}
