"""Calls with pydantic-ai. Every function is one turn of an application."""

from __future__ import annotations

import asyncio
from typing import Any

from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from pydantic_ai import Agent, ModelHTTPError
from pydantic_ai.embeddings import Embedder
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from .ground import ANTHROPIC_MODEL, EMBEDDING_MODEL, KEY, OPENAI_MODEL, QUESTION, Ground


def openai_provider(ground: Ground) -> OpenAIProvider:
    """Return OpenAI at the fake."""
    return OpenAIProvider(openai_client=AsyncOpenAI(base_url=ground.openai_url, api_key=KEY, max_retries=0))


def gpt(ground: Ground) -> OpenAIChatModel:
    """Return OpenAI's chat interface at the fake."""
    return OpenAIChatModel(OPENAI_MODEL, provider=openai_provider(ground))


def claude(ground: Ground) -> AnthropicModel:
    """Return Anthropic's interface at the fake."""
    client = AsyncAnthropic(base_url=ground.url, api_key=KEY, max_retries=0)
    provider = AnthropicProvider(anthropic_client=client)
    # A model may write so much that the client asks for a stream instead: with a limit it does not.
    return AnthropicModel(ANTHROPIC_MODEL, provider=provider, settings={"max_tokens": 100})


def agent(model: Any, *tools: Any) -> Agent[None, str]:
    """Return an agent."""
    return Agent(model, name="keeper", tools=tools)


async def stream(asked: Agent[None, str]) -> None:
    """Ask, and read the answer as it comes."""
    async with asked.run_stream(QUESTION) as answer:
        async for _ in answer.stream_text():
            pass


def openai_plain(ground: Ground) -> None:
    agent(gpt(ground)).run_sync(QUESTION)


async def openai_stream(ground: Ground) -> None:
    await stream(agent(gpt(ground)))


async def responses_plain(ground: Ground) -> None:
    await agent(OpenAIResponsesModel(OPENAI_MODEL, provider=openai_provider(ground))).run(QUESTION)


async def anthropic_plain(ground: Ground) -> None:
    await agent(claude(ground)).run(QUESTION)


async def anthropic_stream(ground: Ground) -> None:
    await stream(agent(claude(ground)))


async def openai_tools(ground: Ground) -> None:
    await agent(gpt(ground), ground.look_up).run(QUESTION)


async def openai_tools_stream(ground: Ground) -> None:
    await stream(agent(gpt(ground), ground.look_up))


async def anthropic_tools(ground: Ground) -> None:
    await agent(claude(ground), ground.look_up).run(QUESTION)


async def anthropic_tools_stream(ground: Ground) -> None:
    await stream(agent(claude(ground), ground.look_up))


async def inner_agent(ground: Ground) -> None:
    async def look_up(place: str) -> str:
        """Ask another agent about *place*."""
        ground.look_up(place)
        return (await agent(claude(ground)).run(place)).output

    await agent(gpt(ground), look_up).run(QUESTION)


async def parallel(ground: Ground) -> None:
    asked = agent(gpt(ground))
    await asyncio.gather(*(asked.run(QUESTION) for _ in range(5)))


async def refused(ground: Ground) -> None:
    for status in ("[429]", "[500]"):
        try:
            await agent(gpt(ground)).run(status)
        except ModelHTTPError:
            continue
        raise AssertionError(f"the server should have refused: {status}")
    await agent(gpt(ground)).run(QUESTION)


async def embeddings(ground: Ground) -> None:
    model = OpenAIEmbeddingModel(EMBEDDING_MODEL, provider=openai_provider(ground))
    await Embedder(model).embed_documents(["a lamp", "another lamp"])


async def after_the_answer(ground: Ground) -> None:
    ground.later.append(openai_tools_stream(ground))


CASES = {
    "OpenAI": openai_plain,
    "OpenAI, streamed": openai_stream,
    "OpenAI responses": responses_plain,
    "Anthropic": anthropic_plain,
    "Anthropic, streamed": anthropic_stream,
    "agent with a tool on OpenAI": openai_tools,
    "agent with a tool on OpenAI, streamed": openai_tools_stream,
    "agent with a tool on Anthropic": anthropic_tools,
    "agent with a tool on Anthropic, streamed": anthropic_tools_stream,
    "agent in an agent": inner_agent,
    "five at once": parallel,
    "two refused, one answered": refused,
    "embeddings": embeddings,
    "after the answer, streamed": after_the_answer,
}
