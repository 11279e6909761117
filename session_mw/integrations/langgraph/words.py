"""
What LangChain's objects say of a model call: messages, tokens, model, provider. Nothing here raises.

Source: ``UsageMetadata`` of langchain-core: its input holds what was read from and written to a cache, its output what
was reasoned; ``LangSmithParams`` (``ls_model_name``, ``ls_provider``), which chat models give with each call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_ROLES = {"human": "user", "ai": "assistant"}
_OLD_USAGE = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}
_OWN_IDS = ("run-", "run--", "lc_", "lc-")


def model_of(metadata: Mapping[str, Any] | None, parameters: Mapping[str, Any] | None) -> str | None:
    """Return the model that is asked, None when nothing names it."""
    for source, name in ((metadata, "ls_model_name"), (parameters, "model"), (parameters, "model_name")):
        found = (source or {}).get(name)
        if isinstance(found, str) and found:
            return found
    return None


def provider_of(metadata: Mapping[str, Any] | None) -> str | None:
    """Return who runs the model, by LangChain's name."""
    found = (metadata or {}).get("ls_provider")
    return found if isinstance(found, str) and found else None


def plain(messages: Iterable[Any]) -> list[dict[str, Any]]:
    """Return messages as documents that ``_core.messages`` reads; without those that say nothing."""
    return [shown for shown in map(_plain, messages) if len(shown) > 1]


def _plain(message: Any) -> dict[str, Any]:
    if isinstance(message, Mapping):
        return dict(message)
    if isinstance(message, str):
        return {"role": "user", "content": message}
    kind = getattr(message, "type", "user")
    shown: dict[str, Any] = {"role": _ROLES.get(kind, kind)}
    for name in ("content", "tool_calls"):
        if value := getattr(message, name, None):
            shown[name] = value
    return shown


def answer_of(result: Any) -> Any:
    """Return the message of a model's first answer; of a model that speaks no messages, its text; None without one."""
    for answers in getattr(result, "generations", None) or ():
        for answer in answers:
            return getattr(answer, "message", None) or getattr(answer, "text", None)
    return None


def usage_of(result: Any) -> dict[str, int | None]:
    """Return the tokens of all answers, by the names that ``ModelCall.usage`` takes; empty when nobody told."""
    told = [_usage(answer) for answers in getattr(result, "generations", None) or () for answer in answers[:1]]
    found: dict[str, int | None] = {}
    for one in told:
        for name, value in one.items():
            found[name] = (found.get(name) or 0) + value
    return found or _old(getattr(result, "llm_output", None))


def _usage(answer: Any) -> dict[str, int]:
    said = getattr(getattr(answer, "message", None), "usage_metadata", None)
    if not isinstance(said, Mapping):
        return {}
    into, out = said.get("input_token_details") or {}, said.get("output_token_details") or {}
    named: dict[str, Any] = {
        "input_tokens": said.get("input_tokens"),
        "output_tokens": said.get("output_tokens"),
        "cache_read_tokens": into.get("cache_read"),
        "cache_write_tokens": into.get("cache_creation"),
        "reasoning_tokens": out.get("reasoning"),
    }
    return {name: value for name, value in named.items() if _is_count(value)}


def _old(output: Any) -> dict[str, int | None]:
    said = output.get("token_usage") if isinstance(output, Mapping) else None
    if not isinstance(said, Mapping):
        return {}
    return {ours: said[theirs] for theirs, ours in _OLD_USAGE.items() if _is_count(said.get(theirs))}


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def response_of(message: Any) -> dict[str, str]:
    """Return id and model of an answer, as far as the provider told: LangChain's own ids name runs, not answers."""
    said = getattr(message, "response_metadata", None)
    said = said if isinstance(said, Mapping) else {}
    found = {"id": said.get("id") or getattr(message, "id", None), "model": said.get("model_name") or said.get("model")}
    kept = {name: value for name, value in found.items() if isinstance(value, str) and value}
    if kept.get("id", "").startswith(_OWN_IDS):
        del kept["id"]
    return kept
