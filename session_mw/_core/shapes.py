"""
Messages as people's APIs write them in JSON: OpenAI, Anthropic, Gemini, LangChain, and the GenAI conventions' parts.

Nothing raises, whatever stands there; of many messages the last ``MAX_MESSAGES`` count, nested ``_DEPTH`` deep at most.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .words import text_of

MAX_MESSAGES = 256
MAX_PARTS = 256
_DEPTH = 6

PartKind = Literal["text", "reasoning", "tool_call", "tool_result"]


@dataclass(frozen=True, slots=True)
class Part:
    """
    One piece of a message.

    Attributes:
        kind: What it is.
        text: Words, or arguments or result of a tool as they were written.
        name: The tool's.
    """

    kind: PartKind
    text: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """
    One message.

    Attributes:
        role: ``user``, ``assistant``, ``system``, ``tool``.
        parts: What it says.
    """

    role: str
    parts: tuple[Part, ...]

    @property
    def text(self) -> str | None:
        """Its words without reasoning and tools, None when it has none."""
        texts = [part.text for part in self.parts if part.kind == "text"]
        return "".join(texts) if texts else None


_ROLES = {
    "human": "user",
    "humanmessage": "user",
    "ai": "assistant",
    "aimessage": "assistant",
    "aimessagechunk": "assistant",
    "model": "assistant",
    "systemmessage": "system",
    "developer": "system",
    "function": "tool",
    "toolmessage": "tool",
}

_HOLDERS = ("messages", "choices", "generations", "output", "input", "message", "delta", "kwargs", "candidates")
_TEXTS = ("prompt", "query", "question", "text", "answer", "response", "result", "output_text", "outputs", "inputs")


def from_json(document: Any, role: str, depth: int = 0) -> list[Message]:
    """Return the messages in a decoded document of any of the known shapes; *role* where they name none."""
    if depth > _DEPTH:
        return []
    if isinstance(document, str):
        return [Message(role, (Part("text", document),))]
    if isinstance(document, list):
        found: list[Message] = []
        for item in document[-MAX_MESSAGES:]:
            found += from_json(item, role, depth + 1)
        return found[-MAX_MESSAGES:]
    if not isinstance(document, dict):
        return []
    if any(key in document for key in ("content", "parts", "tool_calls", "role")):
        return message_of(document, role)
    for key in (*_HOLDERS, *_TEXTS):
        if document.get(key):
            return from_json(document[key], role, depth + 1)
    part = _part(document) if "type" in document else None
    return [Message(role, (part,))] if part is not None else []


def message_of(document: Mapping[str, Any], role: str) -> list[Message]:
    """Return one message object as a message; LangChain's say ``type`` for role."""
    named = document.get("role") or document.get("type")
    if isinstance(named, str) and named not in ("message", "constructor"):
        role = _ROLES.get(named.lower(), named.lower())
    parts: list[Part] = []
    thought = document.get("reasoning_content")
    if isinstance(thought, str) and thought:
        parts.append(Part("reasoning", thought))
    content = document.get("parts", document.get("content"))
    if role == "tool":
        parts += _results(content, document.get("name"))
    else:
        parts += _parts(content)
    calls = document.get("tool_calls")
    for call in calls[:MAX_PARTS] if isinstance(calls, list) else ():
        made = _tool_call(call)
        if made is not None:
            parts.append(made)
    return [Message(role, tuple(parts))] if parts else []


def _results(content: Any, name: Any) -> list[Part]:
    found = _parts(content)
    tool = name if isinstance(name, str) else None
    return [Part("tool_result", p.text, p.name or tool) if p.kind == "text" else p for p in found]


def _parts(content: Any) -> list[Part]:
    if isinstance(content, str):
        return [Part("text", content)]
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        return []
    return [part for item in content[:MAX_PARTS] if (part := _part(item)) is not None]


_PART_KINDS: Mapping[str, PartKind] = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "reasoning": "reasoning",
    "thinking": "reasoning",
    "tool_call": "tool_call",
    "tool_use": "tool_call",
    "function_call": "tool_call",
    "tool_call_response": "tool_result",
    "tool_result": "tool_result",
    "function_call_output": "tool_result",
}


def _part(item: Any) -> Part | None:
    """Return one part of a message; images, files and the like are none."""
    if isinstance(item, str):
        return Part("text", item)
    if not isinstance(item, dict):
        return None
    named = item.get("type", "text")
    kind = _PART_KINDS.get(named) if isinstance(named, str) else None
    if kind is None:
        return None
    if kind == "tool_call":
        return _tool_call(item)
    if kind == "tool_result":
        result = next((item[k] for k in ("response", "result", "content", "output") if k in item), None)
        return _written("tool_result", result, item.get("name"))
    for key in ("content", "text", "thinking", "summary"):
        text = text_of(item.get(key))
        if text is not None:
            return Part(kind, text)
    return None


def _tool_call(item: Any) -> Part | None:
    if not isinstance(item, dict):
        return None
    inner = item.get("function")
    call = inner if isinstance(inner, dict) else item
    given = next((call[k] for k in ("arguments", "input", "args") if k in call), None)
    return _written("tool_call", {} if given is None else given, call.get("name"))


def _written(kind: PartKind, value: Any, name: Any) -> Part | None:
    """Return arguments or a result as a part: text as it is, anything else as JSON."""
    if value is None:
        return None
    tool = name if isinstance(name, str) else None
    if isinstance(value, str):
        return Part(kind, value, tool)
    try:
        return Part(kind, json.dumps(value, ensure_ascii=False), tool)
    except (TypeError, ValueError, RecursionError):
        return None
