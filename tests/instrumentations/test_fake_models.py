"""The truth is true: what the model server says on the wire is what stands in its books, in each provider's own cut."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.instrumentations.accounts import used
from tests.instrumentations.fake_models import ModelServer

MESSAGES = [{"role": "user", "content": "When are the lamps lit?"}]
CHAT = {"model": "gpt", "messages": MESSAGES}
STREAM = {"stream": True}
TOLD = {**STREAM, "stream_options": {"include_usage": True}}


def ask(models: ModelServer, key: str, path: str, body: dict[str, Any]) -> httpx.Response:
    return httpx.post(f"{models.url}/{key}/v1/{path}", json=body, trust_env=False)


def events(response: httpx.Response) -> list[Any]:
    """Return the data of every server-sent event that is JSON."""
    lines = (line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: "))
    return [json.loads(line) for line in lines if line != "[DONE]"]


def openai_sums(usage: dict[str, Any], into: str = "prompt", out: str = "completion") -> tuple[int, int]:
    """Return input and output of OpenAI's usage: cached and reasoning tokens are parts of them."""
    assert usage[f"{into}_tokens_details"]["cached_tokens"] < usage[f"{into}_tokens"]
    assert usage[f"{out}_tokens_details"]["reasoning_tokens"] < usage[f"{out}_tokens"]
    assert usage["total_tokens"] == usage[f"{into}_tokens"] + usage[f"{out}_tokens"]
    return usage[f"{into}_tokens"], usage[f"{out}_tokens"]


def anthropic_sums(usage: dict[str, Any]) -> tuple[int, int]:
    """Return input and output of Anthropic's usage: cached tokens stand beside the others."""
    cached = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]

    assert all(cached)
    return usage["input_tokens"] + sum(cached), usage["output_tokens"]


def test_chat(models: ModelServer) -> None:
    """Plain, streamed with usage, and streamed without."""
    found = [
        openai_sums(ask(models, "wire-chat", "chat/completions", CHAT).json()["usage"]),
        openai_sums(events(ask(models, "wire-chat", "chat/completions", {**CHAT, **TOLD}))[-1]["usage"]),
    ]
    untold = events(ask(models, "wire-chat", "chat/completions", {**CHAT, **STREAM}))
    book = models.accounts.book("wire-chat")

    assert [used([entry]) for entry in book[:2]] == found
    assert [True, True, False] == [entry.told for entry in book]
    assert not any("usage" in chunk for chunk in untold)


def test_responses(models: ModelServer) -> None:
    """Plain, and in the event that completes a stream."""
    body = {"model": "gpt", "input": "When are the lamps lit?"}
    plain = ask(models, "wire-responses", "responses", body).json()
    streamed = events(ask(models, "wire-responses", "responses", {**body, **STREAM}))[-1]["response"]
    book = models.accounts.book("wire-responses")

    assert [used([entry]) for entry in book] == [openai_sums(r["usage"], "input", "output") for r in (plain, streamed)]


def test_messages(models: ModelServer) -> None:
    """Plain; and a stream's first event names part of the output, the last but one all of it."""
    body = {"model": "claude", "max_tokens": 9, "messages": MESSAGES}
    plain = ask(models, "wire-messages", "messages", body).json()["usage"]
    streamed = events(ask(models, "wire-messages", "messages", {**body, **STREAM}))
    first, last = streamed[0]["message"]["usage"], streamed[-2]["usage"]
    one, two = models.accounts.book("wire-messages")

    assert [used([one]), used([two])] == [anthropic_sums(plain), anthropic_sums(last)]
    assert two.announced == first["output_tokens"] < last["output_tokens"]


def test_embeddings_and_questions(models: ModelServer) -> None:
    """An embedding has no output; asking how many tokens there would be uses none."""
    embedded = ask(models, "wire-rest", "embeddings", {"model": "embed", "input": "a lamp"}).json()["usage"]
    counted = ask(models, "wire-rest", "messages/count_tokens", {"model": "claude", "messages": MESSAGES}).json()

    assert counted["input_tokens"]
    assert (embedded["prompt_tokens"], 0) == used(models.accounts.book("wire-rest"))


@pytest.mark.parametrize(
    ("text", "statuses"), [("[429]", [429, 429]), ("[500]", [500, 500]), ("[429 once]", [429, 200])]
)
def test_failures_cost_nothing(models: ModelServer, text: str, statuses: list[int]) -> None:
    """What was refused stands in the books with no tokens."""
    key = f"wire-{text.strip('[]').replace(' ', '-')}"
    body = {"model": "gpt", "messages": [{"role": "user", "content": text}]}
    found = [ask(models, key, "chat/completions", body).status_code for _ in statuses]
    book = models.accounts.book(key)

    assert statuses == found == [entry.status for entry in book]
    assert (0, 0) == used(entry for entry in book if entry.status != 200)


def test_tools_are_wished_for_once(models: ModelServer) -> None:
    """A request with tools gets a call of each; with a result among its messages it gets an answer."""
    tools = {"tools": [{"type": "function", "function": {"name": "look_up"}}]}
    wish = ask(models, "wire-tools", "chat/completions", {**CHAT, **tools}).json()["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": wish["tool_calls"][0]["id"], "content": "dusk is at six"}
    answer = ask(models, "wire-tools", "chat/completions", {**CHAT, **tools, "messages": [*MESSAGES, wish, result]})

    assert ["look_up"] == [call["function"]["name"] for call in wish["tool_calls"]]
    assert answer.json()["choices"][0]["message"]["content"]
