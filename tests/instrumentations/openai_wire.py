"""
OpenAI's answers. Cached tokens are a part of the input, reasoning tokens a part of the output.

Source:
    https://platform.openai.com/docs/api-reference: chat/object, chat-streaming, responses/object,
    responses-streaming, embeddings/object.
"""

from __future__ import annotations

import base64
import struct
from typing import Any

from .accounts import Entry
from .wire import OUTPUT_TOKENS, REASONING_TOKENS, TEXT, TOOL_OUTPUT_TOKENS, WORDS, Answer, Request, arguments, event

CREATED = 1_790_000_000
VECTOR = (0.25, -0.5, 0.125)


def chat(request: Request) -> Answer:
    """Answer ``/v1/chat/completions``."""
    body = request.body
    calls = _chat_calls(body)
    asked = (body.get("stream_options") or {}).get("include_usage", False)
    entry = _entry("chat", request, bool(calls), told=not request.streamed or asked)
    message: dict[str, Any] = {"role": "assistant", "content": None if calls else TEXT, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    head = {"id": f"chatcmpl-{request.id}", "created": CREATED, "model": body["model"]}
    usage = {
        "prompt_tokens": entry.input_tokens,
        "completion_tokens": entry.output_tokens,
        "total_tokens": entry.input_tokens + entry.output_tokens,
        "prompt_tokens_details": {"cached_tokens": entry.cache_read, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": entry.reasoning, "audio_tokens": 0},
    }
    reason = "tool_calls" if calls else "stop"
    choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
    payload = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
    return Answer(entry, payload, _chat_events(head, calls, reason, usage if asked else None))


def _chat_calls(body: dict[str, Any]) -> list[dict[str, Any]]:
    if not body.get("tools") or any(message["role"] == "tool" for message in body["messages"]):
        return []
    wanted = [tool["function"]["name"] for tool in body["tools"]]
    return [
        {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": arguments(name)}}
        for n, name in enumerate(wanted)
    ]


def _chat_events(
    head: dict[str, Any], calls: list[dict[str, Any]], reason: str, usage: dict[str, Any] | None
) -> tuple[bytes, ...]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "" if not calls else None}]
    if calls:
        deltas += [{"tool_calls": [{"index": n, **call}]} for n, call in enumerate(calls)]
    else:
        deltas += [{"content": word} for word in WORDS]
    head = {**head, "object": "chat.completion.chunk"}
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": reason})
    told = {} if usage is None else {"usage": None}
    chunks = [{**head, "choices": [choice], **told} for choice in choices]
    if usage is not None:
        chunks.append({**head, "choices": [], "usage": usage})
    return (*map(event, chunks), event("[DONE]"))


def responses(request: Request) -> Answer:
    """Answer ``/v1/responses``."""
    body = request.body
    output = _response_output(request)
    entry = _entry("responses", request, output[0]["type"] == "function_call")
    usage = {
        "input_tokens": entry.input_tokens,
        "input_tokens_details": {"cached_tokens": entry.cache_read, "cache_write_tokens": 0},
        "output_tokens": entry.output_tokens,
        "output_tokens_details": {"reasoning_tokens": entry.reasoning},
        "total_tokens": entry.input_tokens + entry.output_tokens,
    }
    begun = {
        "id": f"resp_{request.id}",
        "object": "response",
        "created_at": CREATED,
        "model": body["model"],
        "status": "in_progress",
        "output": [],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": body.get("tools") or [],
        "top_p": 1.0,
        "usage": None,
    }
    done = {**begun, "status": "completed", "output": output, "usage": usage}
    return Answer(entry, done, _response_events(begun, done, output))


def _response_output(request: Request) -> list[dict[str, Any]]:
    body, items = request.body, request.body["input"]
    answered = isinstance(items, list) and any(item.get("type") == "function_call_output" for item in items)
    if body.get("tools") and not answered:
        return [
            {
                "id": f"fc_{request.id}_{n}",
                "type": "function_call",
                "status": "completed",
                "call_id": f"call_{n}",
                "name": tool["name"],
                "arguments": arguments(tool["name"]),
            }
            for n, tool in enumerate(body["tools"])
        ]
    text = {"type": "output_text", "text": TEXT, "annotations": [], "logprobs": []}
    return [
        {"id": f"msg_{request.id}", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
    ]


def _response_events(begun: dict[str, Any], done: dict[str, Any], output: list[dict[str, Any]]) -> tuple[bytes, ...]:
    events: list[dict[str, Any]] = [{"type": "response.created", "response": begun}]
    for index, item in enumerate(output):
        place = {"output_index": index, "item_id": item["id"]}
        events.append({"type": "response.output_item.added", "output_index": index, "item": _opened(item)})
        if item["type"] == "message":
            part = {**place, "content_index": 0}
            empty = {**item["content"][0], "text": ""}
            events.append({"type": "response.content_part.added", **part, "part": empty})
            for word in WORDS:
                events.append({"type": "response.output_text.delta", **part, "delta": word, "logprobs": []})
            events.append({"type": "response.output_text.done", **part, "text": TEXT, "logprobs": []})
            events.append({"type": "response.content_part.done", **part, "part": item["content"][0]})
        else:
            said = {"arguments": item["arguments"]}
            events.append({"type": "response.function_call_arguments.delta", **place, "delta": item["arguments"]})
            events.append({"type": "response.function_call_arguments.done", **place, "name": item["name"], **said})
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": "response.completed", "response": done})
    return tuple(event({**data, "sequence_number": n}, data["type"]) for n, data in enumerate(events))


def _opened(item: dict[str, Any]) -> dict[str, Any]:
    empty: dict[str, Any] = {"content": []} if item["type"] == "message" else {"arguments": ""}
    return {**item, **empty, "status": "in_progress"}


def embeddings(request: Request) -> Answer:
    """Answer ``/v1/embeddings``: there is no output, and nothing is cached."""
    body = request.body
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    vector: Any = list(VECTOR)
    if body.get("encoding_format") == "base64":
        vector = base64.b64encode(struct.pack("<3f", *VECTOR)).decode()
    data = [{"object": "embedding", "index": n, "embedding": vector} for n in range(len(texts))]
    usage = {"prompt_tokens": request.tokens, "total_tokens": request.tokens}
    payload = {"object": "list", "model": body["model"], "data": data, "usage": usage}
    return Answer(Entry("embeddings", input_tokens=request.tokens), payload)


def _entry(api: str, request: Request, tools: bool, told: bool = True) -> Entry:
    written = TOOL_OUTPUT_TOKENS if tools else OUTPUT_TOKENS
    return Entry(
        api,
        streamed=request.streamed,
        told=told,
        input_tokens=request.tokens,
        output_tokens=written + REASONING_TOKENS,
        cache_read=request.tokens // 3,
        reasoning=REASONING_TOKENS,
    )
