"""Calls with OpenAI's own client. Every function is one turn of an application."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai

from .ground import EMBEDDING_MODEL, KEY, OPENAI_MODEL, QUESTION, Ground

ASK: Any = [{"role": "user", "content": QUESTION}]
PARAMETERS = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
TOOLS: Any = [{"type": "function", "function": {"name": "look_up", "parameters": PARAMETERS}}]
USAGE: Any = {"include_usage": True}


def client(ground: Ground, retries: int = 0) -> openai.OpenAI:
    """Return a client that talks to the fake."""
    return openai.OpenAI(base_url=ground.openai_url, api_key=KEY, max_retries=retries)


def aclient(ground: Ground) -> openai.AsyncOpenAI:
    """Return the same, asynchronous."""
    return openai.AsyncOpenAI(base_url=ground.openai_url, api_key=KEY, max_retries=0)


def chat_plain(ground: Ground) -> None:
    client(ground).chat.completions.create(model=OPENAI_MODEL, messages=ASK)


async def chat_stream(ground: Ground) -> None:
    stream = await aclient(ground).chat.completions.create(
        model=OPENAI_MODEL, messages=ASK, stream=True, stream_options=USAGE
    )
    async for _ in stream:
        pass


def chat_stream_sync(ground: Ground) -> None:
    for _ in client(ground).chat.completions.create(
        model=OPENAI_MODEL, messages=ASK, stream=True, stream_options=USAGE
    ):
        pass


def chat_stream_untold(ground: Ground) -> None:
    for _ in client(ground).chat.completions.create(model=OPENAI_MODEL, messages=ASK, stream=True):
        pass


def chat_stream_left(ground: Ground) -> None:
    stream = client(ground).chat.completions.create(model=OPENAI_MODEL, messages=ASK, stream=True, stream_options=USAGE)
    next(iter(stream))
    stream.close()


def chat_tools_plain(ground: Ground) -> None:
    messages = list(ASK)
    while True:
        answer = client(ground).chat.completions.create(model=OPENAI_MODEL, messages=messages, tools=TOOLS)
        message = answer.choices[0].message
        if not message.tool_calls:
            return
        messages.append(message)
        for call in message.tool_calls:
            found = ground.look_up(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": found})


async def chat_tools_stream(ground: Ground) -> None:
    async with aclient(ground).chat.completions.stream(
        model=OPENAI_MODEL, messages=ASK, tools=TOOLS, stream_options=USAGE
    ) as stream:
        async for _ in stream:
            pass
        message: Any = (await stream.get_final_completion()).choices[0].message
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": ground.look_up(**json.loads(call.function.arguments))}
        for call in message.tool_calls
    ]
    wishes = [call.model_dump(exclude={"function": {"parsed_arguments"}}) for call in message.tool_calls]
    wish = {"role": "assistant", "tool_calls": wishes}
    async with aclient(ground).chat.completions.stream(
        model=OPENAI_MODEL, messages=[*ASK, wish, *results], tools=TOOLS, stream_options=USAGE
    ) as stream:
        async for _ in stream:
            pass


async def chat_parallel(ground: Ground) -> None:
    asked = aclient(ground)
    await asyncio.gather(*(asked.chat.completions.create(model=OPENAI_MODEL, messages=ASK) for _ in range(5)))


def chat_refused(ground: Ground) -> None:
    for status in ("[429]", "[500]"):
        try:
            client(ground).chat.completions.create(model=OPENAI_MODEL, messages=[{"role": "user", "content": status}])
        except openai.APIStatusError:
            continue
        raise AssertionError(f"the server should have refused: {status}")
    client(ground).chat.completions.create(model=OPENAI_MODEL, messages=ASK)


def chat_retried(ground: Ground) -> None:
    client(ground, retries=1).chat.completions.create(
        model=OPENAI_MODEL, messages=[{"role": "user", "content": "[429 once]"}]
    )


def responses_plain(ground: Ground) -> None:
    client(ground).responses.create(model=OPENAI_MODEL, input=QUESTION)


async def responses_stream(ground: Ground) -> None:
    stream = await aclient(ground).responses.create(model=OPENAI_MODEL, input=QUESTION, stream=True)
    async for _ in stream:
        pass


def embeddings_plain(ground: Ground) -> None:
    client(ground).embeddings.create(model=EMBEDDING_MODEL, input=["a lamp", "another lamp"])


async def after_the_answer(ground: Ground) -> None:
    ground.later.append(chat_stream(ground))


CASES = {
    "chat": chat_plain,
    "chat, streamed": chat_stream,
    "chat, streamed, sync": chat_stream_sync,
    "chat, streamed, usage not asked for": chat_stream_untold,
    "chat, streamed, client left": chat_stream_left,
    "tools": chat_tools_plain,
    "tools, streamed": chat_tools_stream,
    "five at once": chat_parallel,
    "two refused, one answered": chat_refused,
    "answered at the second try": chat_retried,
    "responses": responses_plain,
    "responses, streamed": responses_stream,
    "embeddings": embeddings_plain,
    "after the answer, streamed": after_the_answer,
}
