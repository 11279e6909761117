"""
Anthropic's answers. Tokens read from a cache or written to one stand beside ``input_tokens``, not inside.

A stream tells its usage twice, each time all of it so far: in the first event, and in the last but one.

Source:
    https://docs.anthropic.com/en/api/messages, .../api/messages-streaming, .../build-with-claude/prompt-caching
    ("total_input_tokens = cache_read_input_tokens + cache_creation_input_tokens + input_tokens").
"""

from __future__ import annotations

import json
from typing import Any

from .accounts import Entry
from .wire import OUTPUT_TOKENS, TEXT, TOOL_OUTPUT_TOKENS, WORDS, Answer, Request, arguments, event

ANNOUNCED = 2  # output tokens that the first event of a stream names


def messages(request: Request) -> Answer:
    """Answer ``/v1/messages``."""
    body = request.body
    content = _content(body)
    tools = content[0]["type"] == "tool_use"
    entry = _entry(request, tools)
    usage = {
        "input_tokens": entry.input_tokens - entry.cache_read - entry.cache_write,
        "cache_creation_input_tokens": entry.cache_write,
        "cache_read_input_tokens": entry.cache_read,
        "output_tokens": entry.output_tokens,
        "service_tier": "standard",
    }
    reason = {"stop_reason": "tool_use" if tools else "end_turn", "stop_sequence": None}
    head = {"id": f"msg_{request.id}", "type": "message", "role": "assistant", "model": body["model"]}
    payload = {**head, "content": content, **reason, "usage": usage}
    return Answer(entry, payload, _events(head, content, reason, usage))


def count_tokens(request: Request) -> Answer:
    """Answer ``/v1/messages/count_tokens``: a question, no use."""
    return Answer(Entry("count_tokens"), {"input_tokens": request.tokens})


def _content(body: dict[str, Any]) -> list[dict[str, Any]]:
    answered = any('"tool_result"' in json.dumps(message["content"]) for message in body["messages"])
    if not body.get("tools") or answered:
        return [{"type": "text", "text": TEXT, "citations": None}]
    names = [tool["name"] for tool in body["tools"]]
    return [
        {"type": "tool_use", "id": f"toolu_{n}", "name": name, "input": json.loads(arguments(name))}
        for n, name in enumerate(names)
    ]


def _events(
    head: dict[str, Any], content: list[dict[str, Any]], reason: dict[str, Any], usage: dict[str, Any]
) -> tuple[bytes, ...]:
    opened = {**head, "content": [], "stop_reason": None, "stop_sequence": None}
    opened["usage"] = {**usage, "output_tokens": ANNOUNCED}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": opened}]
    for index, block in enumerate(content):
        place = {"index": index}
        events.append({"type": "content_block_start", **place, "content_block": _opened(block)})
        for delta in _deltas(block):
            events.append({"type": "content_block_delta", **place, "delta": delta})
        events.append({"type": "content_block_stop", **place})
    told = {name: count for name, count in usage.items() if name != "service_tier"}
    events.append({"type": "message_delta", "delta": reason, "usage": told})
    events.append({"type": "message_stop"})
    return tuple(event(data, data["type"]) for data in events)


def _opened(block: dict[str, Any]) -> dict[str, Any]:
    return {**block, "text": ""} if block["type"] == "text" else {**block, "input": {}}


def _deltas(block: dict[str, Any]) -> list[dict[str, Any]]:
    if block["type"] == "text":
        return [{"type": "text_delta", "text": word} for word in WORDS]
    return [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]


def _entry(request: Request, tools: bool) -> Entry:
    return Entry(
        "messages",
        streamed=request.streamed,
        input_tokens=request.tokens + 23 + 11,
        output_tokens=TOOL_OUTPUT_TOKENS if tools else OUTPUT_TOKENS,
        cache_read=23,
        cache_write=11,
        announced=ANNOUNCED if request.streamed else 0,
    )
