"""Calls with LangChain and LangGraph. Every function is one turn of an application."""

from __future__ import annotations

from typing import Any

from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langgraph.graph import END, START, MessagesState, StateGraph

from .ground import ANTHROPIC_MODEL, EMBEDDING_MODEL, KEY, OPENAI_MODEL, QUESTION, Ground

ASK: Any = {"messages": [{"role": "user", "content": QUESTION}]}


def gpt(ground: Ground, **more: Any) -> ChatOpenAI:
    """Return OpenAI's chat interface at the fake."""
    return ChatOpenAI(
        model=OPENAI_MODEL, base_url=ground.openai_url, api_key=KEY, max_retries=0, use_responses_api=False, **more
    )


def claude(ground: Ground) -> ChatAnthropic:
    """Return Anthropic's interface at the fake."""
    return ChatAnthropic(model=ANTHROPIC_MODEL, base_url=ground.url, api_key=KEY, max_retries=0, max_tokens=100)


def agent(model: Any, ground: Ground) -> Any:
    """Return an agent that has the tool."""
    return create_agent(model, tools=[StructuredTool.from_function(ground.look_up, name="look_up")], name="keeper")


def openai_plain(ground: Ground) -> None:
    gpt(ground).invoke(QUESTION)


async def openai_stream(ground: Ground) -> None:
    async for _ in gpt(ground, stream_usage=True).astream(QUESTION):
        pass


def openai_stream_untold(ground: Ground) -> None:
    for _ in gpt(ground, stream_usage=False).stream(QUESTION):
        pass


def openai_responses(ground: Ground) -> None:
    ChatOpenAI(
        model=OPENAI_MODEL, base_url=ground.openai_url, api_key=KEY, max_retries=0, use_responses_api=True
    ).invoke(QUESTION)


async def anthropic_plain(ground: Ground) -> None:
    await claude(ground).ainvoke(QUESTION)


def anthropic_stream(ground: Ground) -> None:
    for _ in claude(ground).stream(QUESTION):
        pass


def openai_agent(ground: Ground) -> None:
    agent(gpt(ground), ground).invoke(ASK)


async def openai_agent_stream(ground: Ground) -> None:
    async for _ in agent(gpt(ground, stream_usage=True), ground).astream(ASK, stream_mode="messages"):
        pass


async def anthropic_agent(ground: Ground) -> None:
    await agent(claude(ground), ground).ainvoke(ASK)


async def anthropic_agent_stream(ground: Ground) -> None:
    async for _ in agent(claude(ground), ground).astream(ASK, stream_mode="messages"):
        pass


def graph(ground: Ground) -> None:
    def answer(state: MessagesState) -> Any:
        return {"messages": [gpt(ground).invoke(state["messages"])]}

    built: Any = StateGraph(MessagesState)
    built.add_node("first", answer)
    built.add_node("second", answer)
    built.add_edge(START, "first")
    built.add_edge("first", "second")
    built.add_edge("second", END)
    built.compile().invoke(ASK)


async def parallel(ground: Ground) -> None:
    await gpt(ground).abatch([QUESTION] * 5)


def threads(ground: Ground) -> None:
    gpt(ground).batch([QUESTION] * 5)


def refused(ground: Ground) -> None:
    for status in ("[429]", "[500]"):
        try:
            gpt(ground).invoke(status)
        except Exception:
            continue
        raise AssertionError(f"the server should have refused: {status}")
    gpt(ground).invoke(QUESTION)


def embeddings(ground: Ground) -> None:
    OpenAIEmbeddings(
        model=EMBEDDING_MODEL, base_url=ground.openai_url, api_key=KEY, check_embedding_ctx_length=False
    ).embed_documents(["a lamp", "another lamp"])


async def after_the_answer(ground: Ground) -> None:
    ground.later.append(openai_agent_stream(ground))


CASES = {
    "OpenAI": openai_plain,
    "OpenAI, streamed": openai_stream,
    "OpenAI, streamed, usage not asked for": openai_stream_untold,
    "OpenAI responses": openai_responses,
    "Anthropic": anthropic_plain,
    "Anthropic, streamed": anthropic_stream,
    "agent on OpenAI": openai_agent,
    "agent on OpenAI, streamed": openai_agent_stream,
    "agent on Anthropic": anthropic_agent,
    "agent on Anthropic, streamed": anthropic_agent_stream,
    "graph of two nodes": graph,
    "five at once": parallel,
    "five in threads": threads,
    "two refused, one answered": refused,
    "embeddings": embeddings,
    "after the answer, streamed": after_the_answer,
}
