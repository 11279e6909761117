"""
What was said in a model or tool call, read from the attributes that an instrumentation put on its span.

Read are: the GenAI conventions (``gen_ai.input.messages``, ``gen_ai.output.messages``, ``gen_ai.tool.call.*``) and
their older events (``gen_ai.user.message``, ``gen_ai.choice``); OpenInference (``llm.input_messages.N...``,
``input.value``); OpenLLMetry (``gen_ai.prompt.N...``, ``traceloop.entity.*``); Langfuse (``langfuse.observation.*``);
and inside their JSON the shapes of OpenAI, Anthropic and LangChain.

Rule 1: nothing raises, whatever stands there.
Rule 2: bounded: JSON over ``MAX_JSON`` characters is not parsed, and of many messages the last ``MAX_MESSAGES`` count.
Rule 3: linear time: attributes are gone through once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .extract import NOT_JSON, decode_json
from .shapes import MAX_MESSAGES, Message, Part, from_json, message_of

MAX_JSON = 1024 * 1024
CallKind = Literal["model", "tool", "other", "none"]
Attributes = Mapping[str, Any]
Events = Iterable[tuple[str, Attributes]]


@dataclass(frozen=True, slots=True)
class Call:
    """
    What one span says of a conversation.

    Attributes:
        kind: A call of a model, of a tool, something around them, or nothing of the kind.
        asked: Messages that went in.
        answered: Messages that came out.
    """

    kind: CallKind
    asked: tuple[Message, ...] = ()
    answered: tuple[Message, ...] = ()

    @property
    def question(self) -> str | None:
        """The last words of the user."""
        for message in reversed(self.asked):
            if message.role == "user" and message.text is not None:
                return message.text
        return None

    @property
    def answer(self) -> str | None:
        """The answer's words."""
        texts = [m.text for m in self.answered if m.role == "assistant" and m.text is not None]
        return "".join(texts) if texts else None


_MODEL_OPERATIONS = frozenset({"chat", "text_completion", "generate_content", "completion"})
_KINDS: Mapping[str, CallKind] = {
    "llm": "model",
    "generation": "model",
    "chat_model": "model",
    "completion": "model",
    "chat": "model",
    "tool": "tool",
    "embedding": "none",
    "retriever": "none",
    "reranker": "none",
    "guardrail": "none",
    "evaluator": "none",
}
_KIND_NAMES = ("openinference.span.kind", "traceloop.span.kind", "langfuse.observation.type", "langsmith.span.kind")


def kind_of(attributes: Attributes) -> CallKind:
    """Return what kind of call a span with *attributes* is."""
    operation = attributes.get("gen_ai.operation.name")
    if not isinstance(operation, str):
        operation = None
    if operation in _MODEL_OPERATIONS:
        return "model"
    if operation == "execute_tool":
        return "tool"
    if operation == "embeddings":
        return "none"
    for name in _KIND_NAMES:
        value = attributes.get(name)
        if isinstance(value, str):
            return _KINDS.get(value.lower(), "other")
    if operation is not None:
        return "other"
    if "gen_ai.request.model" in attributes or "llm.request.type" in attributes:
        return "model"
    return "other" if any(name in attributes for name in (*_WRAPPED_IN, *_WRAPPED_OUT)) else "none"


_WRAPPED_IN = ("langfuse.observation.input", "traceloop.entity.input", "input.value", "gen_ai.prompt")
_WRAPPED_OUT = ("langfuse.observation.output", "traceloop.entity.output", "output.value", "gen_ai.completion")
_TELLING = frozenset({"gen_ai.operation.name", "gen_ai.request.model", "llm.request.type", *_KIND_NAMES})
_WHOLE = frozenset(
    {"gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.tool.call.arguments", "gen_ai.tool.call.result"}
    | {"tool.parameters", *_WRAPPED_IN, *_WRAPPED_OUT}
)
ASKED_FOR = _TELLING | _WHOLE  # a span without any of them says nothing, see ``speaks``


def speaks(attributes: Attributes, span: Any) -> bool:
    """
    Return whether ``read`` could find any words: a quick look, since most spans say nothing.

    Args:
        attributes: The span's.
        span: Its events are looked at only where they may hold words.
    """
    if not _WHOLE.isdisjoint(attributes):
        return True
    if _TELLING.isdisjoint(attributes):
        return False
    return any(key.startswith(_FLAT) for key in attributes) or bool(span.events)


def read(attributes: Attributes, events: Events = (), name: str = "") -> Call:
    """
    Return what a finished span says.

    Args:
        attributes: The span's.
        events: Name and attributes of its events.
        name: The span's, for a tool that says no name of its own.
    """
    kind = kind_of(attributes)
    if kind == "none":
        return Call("none")
    if kind == "tool":
        return _tool(attributes, name)
    flat = _flattened(attributes)
    said = _of_events(events)
    asked = _messages(attributes.get("gen_ai.input.messages"), "user")
    asked = asked or flat["in"] or said["in"] or _wrapped(attributes, _WRAPPED_IN, "user")
    answered = _messages(attributes.get("gen_ai.output.messages"), "assistant")
    answered = answered or flat["out"] or said["out"] or _wrapped(attributes, _WRAPPED_OUT, "assistant")
    return Call(kind, tuple(asked[-MAX_MESSAGES:]), tuple(answered[-MAX_MESSAGES:]))


def _tool(attributes: Attributes, span_name: str) -> Call:
    """Return the call of a tool: its arguments went in, its result came out."""
    names = (attributes.get(key) for key in ("gen_ai.tool.name", "tool.name", "traceloop.entity.name"))
    name = next((found for found in names if isinstance(found, str)), span_name) or None
    given = _first_text(attributes, ("gen_ai.tool.call.arguments", *_WRAPPED_IN, "tool.parameters"))
    result = _first_text(attributes, ("gen_ai.tool.call.result", *_WRAPPED_OUT))
    asked = () if given is None else (Message("assistant", (Part("tool_call", given, name),)),)
    answered = () if result is None else (Message("tool", (Part("tool_result", result, name),)),)
    return Call("tool", asked, answered)


def _first_text(attributes: Attributes, keys: Sequence[str]) -> str | None:
    for key in keys:
        value = attributes.get(key)
        if isinstance(value, str) and value:
            return value
    return None


def _wrapped(attributes: Attributes, keys: Sequence[str], role: str) -> list[Message]:
    """Read the first attribute that holds a whole input or output: text, or JSON of some shape."""
    for key in keys:
        value = attributes.get(key)
        if isinstance(value, str) and value:
            mime = attributes.get(key.replace(".value", ".mime_type")) if key.endswith(".value") else None
            found = _messages(value, role, mime if isinstance(mime, str) else "")
            if found:
                return found
    return []


def _messages(value: Any, role: str, mime: str = "application/json") -> list[Message]:
    """
    Read messages from an attribute.

    Args:
        value: Text or JSON.
        role: Of messages that name none.
        mime: What it is; empty when nobody says: then what looks as JSON is JSON, and the rest text.
    """
    if not isinstance(value, str) or not value:
        return []
    if mime == "text/plain" or (not mime and value.lstrip()[:1] not in ("{", "[", '"')):
        return [Message(role, (Part("text", value),))]
    if len(value) > MAX_JSON:
        return []
    document = decode_json(value)
    return [] if document is NOT_JSON else from_json(document, role)


_PREFIXES = {
    "llm.input_messages.": "in",
    "llm.output_messages.": "out",
    "gen_ai.prompt.": "in",
    "gen_ai.completion.": "out",
}


_FLAT = tuple(_PREFIXES)


def _flattened(attributes: Attributes) -> dict[str, list[Message]]:
    """Return messages that were written as one attribute a field, as ``llm.input_messages.0.message.content``."""
    found: dict[str, dict[int, dict[str, Any]]] = {"in": {}, "out": {}}
    for key, value in attributes.items():
        for prefix, side in _PREFIXES.items():
            if key.startswith(prefix):
                number, _, field = key[len(prefix) :].partition(".")
                if number.isdecimal() and len(number) <= 6:
                    found[side].setdefault(int(number), {})[field.removeprefix("message.")] = value
    sides = (("in", "user"), ("out", "assistant"))
    return {side: [m for _, f in sorted(found[side].items()) for m in _of_fields(f, role)] for side, role in sides}


def _of_fields(fields: Mapping[str, Any], role: str) -> list[Message]:
    """Return the message that these fields make up."""
    calls: dict[str, dict[str, Any]] = {}
    parts: dict[str, dict[str, Any]] = {}
    for key, value in fields.items():
        group, _, rest = key.partition(".")
        number, _, rest = rest.partition(".")
        last = rest.rpartition(".")[2]
        if group == "tool_calls":
            calls.setdefault(number, {})[last] = value
        elif group == "contents":
            parts.setdefault(number, {})[last] = value
    content = fields.get("content")
    if isinstance(content, str) and content[:1] == "[" and len(content) <= MAX_JSON:
        decoded = decode_json(content)  # OpenLLMetry writes a list of parts as JSON; a text may begin with a bracket
        if isinstance(decoded, list) and all(isinstance(item, dict) and "type" in item for item in decoded):
            content = decoded
    thought = fields.get("reasoning_content", fields.get("reasoning"))
    document = {
        "role": fields.get("role", role),
        "name": fields.get("name"),
        "content": [*_in_order(parts)] if parts else content,
        "reasoning_content": thought,
        "tool_calls": [*_in_order(calls)],
    }
    return message_of(document, role)


def _in_order(numbered: Mapping[str, Any]) -> list[Any]:
    usual = [key for key in numbered if key.isdecimal() and len(key) <= 6]
    return [numbered[key] for key in sorted(usual, key=int)]


_EVENT_ROLES = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}


def _of_events(events: Events) -> dict[str, list[Message]]:
    """Return messages from a span's events, as the conventions had them before 1.37."""
    found: dict[str, list[Message]] = {"in": [], "out": []}
    for name, attributes in events:
        if name in _EVENT_ROLES:
            role = _EVENT_ROLES[name]
            found["in"] += message_of({"role": role, **_decoded(attributes)}, role)
        elif name == "gen_ai.choice":
            body = _decoded(attributes)
            message = body.get("message")
            inner = message if isinstance(message, dict) else {"content": message} if message else body
            found["out"] += message_of({"role": "assistant", **inner}, "assistant")
        elif name in ("gen_ai.content.prompt", "gen_ai.content.completion"):
            side, role = ("in", "user") if name.endswith("prompt") else ("out", "assistant")
            value = attributes.get("gen_ai.prompt" if side == "in" else "gen_ai.completion")
            found[side] += _messages(value, role, "")
        elif name == "gen_ai.client.inference.operation.details":
            found["in"] += _messages(attributes.get("gen_ai.input.messages"), "user")
            found["out"] += _messages(attributes.get("gen_ai.output.messages"), "assistant")
    return found


def _decoded(attributes: Attributes) -> dict[str, Any]:
    """Return an event's attributes, JSON among them decoded."""
    body: dict[str, Any] = {}
    for key, value in attributes.items():
        if isinstance(value, str) and value[:1] in ("{", "[") and len(value) <= MAX_JSON:
            decoded = decode_json(value)
            body[key] = value if decoded is NOT_JSON else decoded
        else:
            body[key] = value
    return body
