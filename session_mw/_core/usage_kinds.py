"""
Which kind of work a span stands for, and the name of the agent or tool, in each convention's own words.

A word that is not in the table (``CHAIN``, ``workflow``, ``create_agent``, ``retrieval``) is no kind that is counted:
building an agent is no run of it, and what a chain or workflow did is told by the spans below it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_MODEL, _EMBEDDING, _AGENT, _TOOL = "model", "embedding", "agent", "tool"

KINDS: Final[Mapping[str, Mapping[str, str]]] = {
    "gen_ai.operation.name": {  # OpenTelemetry
        "chat": _MODEL,
        "text_completion": _MODEL,
        "generate_content": _MODEL,
        "embeddings": _EMBEDDING,
        "invoke_agent": _AGENT,
        "execute_tool": _TOOL,
    },
    "openinference.span.kind": {"llm": _MODEL, "embedding": _EMBEDDING, "agent": _AGENT, "tool": _TOOL},
    "traceloop.span.kind": {"agent": _AGENT, "tool": _TOOL},
    "llm.request.type": {"chat": _MODEL, "completion": _MODEL, "embedding": _EMBEDDING},  # OpenLLMetry
    "langfuse.observation.type": {
        "generation": _MODEL,
        "embedding": _EMBEDDING,
        "agent": _AGENT,
        "tool": _TOOL,
    },
    "langsmith.span.kind": {"llm": _MODEL, "embedding": _EMBEDDING, "tool": _TOOL},
    "mlflow.spanType": {  # in JSON, so in quotation marks
        "chat_model": _MODEL,
        "llm": _MODEL,
        "embedding": _EMBEDDING,
        "agent": _AGENT,
        "tool": _TOOL,
    },
    "agentops.span.kind": {"llm": _MODEL, "agent": _AGENT, "tool": _TOOL},
    "lmnr.span.type": {"llm": _MODEL, "tool": _TOOL},
    "ai.operationId": {  # Vercel AI SDK
        "ai.generatetext.dogenerate": _MODEL,
        "ai.streamtext.dostream": _MODEL,
        "ai.generateobject.dogenerate": _MODEL,
        "ai.streamobject.dostream": _MODEL,
        "ai.embed.doembed": _EMBEDDING,
        "ai.embedmany.doembed": _EMBEDDING,
        "ai.toolcall": _TOOL,
    },
}
KIND_KEYS: Final = frozenset(KINDS)

NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    _TOOL: ("gen_ai.tool.name", "tool.name", "ai.toolCall.name", "traceloop.entity.name"),
    _AGENT: ("gen_ai.agent.name", "agent.name", "traceloop.entity.name"),
}
_VERBS: Final = ("execute_tool ", "invoke_agent ")  # what OpenTelemetry puts before the name in a span's name
_MAX_NAME: Final = 200  # characters; the shortest limit of a back end


def kind_of(attributes: Mapping[str, Any]) -> str:
    """Return ``model``, ``embedding``, ``agent`` or ``tool``; empty for anything else. The first that knows wins."""
    for key, words in KINDS.items():
        if key in attributes:
            word = attributes[key]
            kind = words.get(word) or words.get(word.strip('"').lower()) if isinstance(word, str) else None
            if kind is not None:
                return kind
    return ""


def step_of(attributes: Mapping[str, Any], kind: str, name: str) -> str:
    """
    Return the name of an agent or tool.

    Args:
        attributes: Of the span.
        kind: ``agent`` or ``tool``.
        name: Of the span.
    """
    for key in NAMES[kind]:
        given = attributes.get(key)
        if isinstance(given, str) and given:
            return given[:_MAX_NAME]
    for verb in _VERBS:
        name = name.removeprefix(verb)
    return name[:_MAX_NAME] or kind
