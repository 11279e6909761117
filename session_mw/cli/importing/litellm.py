"""
Rows of LiteLLM's logs, as spans: what a proxy did that this package was not around, or not yet.

Two forms are known by their fields, a row a line or in lists (and ``data`` of ``/spend/logs/v2``):

* spend logs: the table ``LiteLLM_SpendLogs``, as ``/spend/logs`` and an export of the database have it;
* standard logging payloads: what LiteLLM's callbacks for files, buckets and HTTP write (``StandardLoggingPayload``).

Source: LiteLLM 1.100 to 1.110, ``schema.prisma``, ``types/utils.py`` and what they were seen to write.

Rule 1: a request to the proxy is a turn (its ``litellm_call_id``, however often it was tried): as live.
Rule 2: the session is what the client or this package said: metadata, headers, then the spend log's ``session_id``.
        A payload's ``trace_id`` names none: LiteLLM makes one up for each request. Its spend logs do the same where
        nobody named a session, and do not tell; such requests are sessions of one turn (``missing_session_id: omit``
        makes LiteLLM leave them out).
Rule 3: a key to the proxy is a user only where nobody else is named, under a pseudonym made of LiteLLM's own hash.
Rule 4: what was said is not read. A cost of nothing is unknown, unless LiteLLM says what it is made of, or the answer
        came from its cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any, Final

from ..._core import names
from ...ledger.values import whole
from .otlp import Span, Unreadable

KIND: Final = "litellm"  # of a piece of a file
TRACER: Final = "litellm"
MAX_TEXT: Final = 1_000  # characters
_NO_SERVICE: Final = ""
_HEADERS: Final = ("x-litellm-session-id", "x-session-id", "x-claude-code-session-id", "session-id")
_LABELS: Final = {
    names.SESSION_TYPE: ("session_type", "x-session-type"),
    names.SESSION_PROMPT_VERSION: ("prompt_version", "x-session-prompt-version"),
    names.SESSION_NAME: ("session_name", "x-session-name"),
}
_NOT_A_USER: Final = ("", "default_user_id", "default-user")
_OPERATIONS: Final = (("embedding", "embeddings"), ("text_completion", "text_completion"))


def is_row(found: object) -> bool:
    """Return whether an object is a row of LiteLLM's."""
    return isinstance(found, Mapping) and {"call_type", "startTime", "endTime", "model"} <= found.keys()


def rows_of(document: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the rows of an object: itself, or those of a page of ``/spend/logs/v2``."""
    if is_row(document):
        yield document
    elif isinstance(document.get("data"), list):
        yield from document["data"]


def is_log(document: object) -> bool:
    """Return whether an object is a row, or a page of them."""
    if not isinstance(document, Mapping):
        return False
    data = document.get("data")
    return is_row(document) or (isinstance(data, list) and all(is_row(one) for one in data) and bool(data))


def span_of(row: Any) -> Span:
    """
    Return the span of a row.

    Raises:
        Unreadable: It is no row, or has no id or time.
    """
    if not is_row(row):
        raise Unreadable("no row of LiteLLM's logs: call_type, model, startTime and endTime are expected")
    name = _text(row.get("request_id")) or _text(row.get("id"))
    start, end = _time(row["startTime"]), _time(row["endTime"])
    if not name or not start:
        raise Unreadable("a row of LiteLLM's logs without an id, or without a time")
    end = max(start, end)
    metadata = _object(row.get("metadata"))
    call = _text(row.get("litellm_call_id")) or _text(metadata.get("litellm_call_id")) or name
    failed = row.get("status") == "failure"
    said = {**_usage(row, metadata), **_who(row, metadata), **_model(row, start, end)}
    if failed:
        said[names.ERROR_TYPE] = _error(row, metadata)
    ids = _digest("call", call)[:32], _digest("row", name)[:16]
    return Span(*ids, "", f"chat {_text(row['model'])}", TRACER, _NO_SERVICE, start, end, failed, _known(said))


def _model(row: Mapping[str, Any], start: int, end: int) -> dict[str, Any]:
    kind = _text(row["call_type"])
    operation = next((ours for theirs, ours in _OPERATIONS if theirs in kind), "chat")
    provider = _text(row.get("custom_llm_provider"))
    model = _text(row["model"])
    first = _time(row.get("completionStartTime"))
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model.removeprefix(provider + "/") if provider else model,
        # LiteLLM writes the end where it did not stream.
        "gen_ai.response.time_to_first_chunk": (first - start) / 1e9 if start <= first < end else None,
    }


def _usage(row: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    used = _object(metadata.get("usage_object")) or _object(metadata.get("additional_usage_values"))
    into, out = _object(used.get("prompt_tokens_details")), _object(used.get("completion_tokens_details"))
    failed = row.get("status") == "failure" and not whole(row.get("total_tokens"))
    return {
        "gen_ai.usage.input_tokens": None if failed else whole(row.get("prompt_tokens")),
        "gen_ai.usage.output_tokens": None if failed else whole(row.get("completion_tokens")),
        "gen_ai.usage.cache_read.input_tokens": whole(used.get("cache_read_input_tokens") or into.get("cached_tokens")),
        "gen_ai.usage.cache_write.input_tokens": whole(
            used.get("cache_creation_input_tokens") or into.get("cache_creation_tokens")
        ),
        "gen_ai.usage.reasoning.output_tokens": whole(out.get("reasoning_tokens")),
        "gen_ai.usage.cost": None if failed else _cost(row, metadata),
    }


def _cost(row: Mapping[str, Any], metadata: Mapping[str, Any]) -> float | None:
    """Return US dollars, None when nobody knows (Rule 4)."""
    told = row.get("spend", row.get("response_cost"))
    if isinstance(told, bool) or not isinstance(told, (int, float)):
        return None
    broken_down = row.get("cost_breakdown") or metadata.get("cost_breakdown")
    return float(told) if told or broken_down or str(row.get("cache_hit")).lower() == "true" else None


def _who(row: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    asked, spent = _object(metadata.get("requester_metadata")), _object(metadata.get("spend_logs_metadata"))
    headers = {str(key).lower(): value for key, value in _object(metadata.get("requester_custom_headers")).items()}
    agent = _agent(row, metadata, asked)
    session = _first(spent.get("session_id"), asked.get("session_id"), *(headers.get(name) for name in _HEADERS))
    session = session or _first(row.get("session_id"), agent.get("session_id"))
    own = _first(headers.get("x-claude-code-session-id"), agent.get("session_id"))
    labels = {
        name: _first(spent.get(key), asked.get(key), headers.get(header)) for name, (key, header) in _LABELS.items()
    }
    return {
        names.SESSION_ID: session,
        names.USER_ID: _user(row, metadata, agent),
        names.AGENT_SESSION_ID: own if own != session else None,
        **labels,
    }


def _agent(row: Mapping[str, Any], metadata: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Claude Code says of itself in Anthropic's ``metadata.user_id``, which LiteLLM takes for the user."""
    for text in (row.get("end_user"), metadata.get("user_api_key_end_user_id"), asked.get("user_id")):
        if isinstance(text, str) and text.startswith("{"):
            return _object(text)
    return {}


def _user(row: Mapping[str, Any], metadata: Mapping[str, Any], agent: Mapping[str, Any]) -> str | None:
    said = (row.get("end_user"), metadata.get("user_api_key_end_user_id"))
    named = [text for text in said if isinstance(text, str) and not text.startswith("{")]
    found = _first(agent.get("account_uuid"), agent.get("device_id"), *named)
    found = found or _first(row.get("user"), metadata.get("user_api_key_user_id"))
    if found is not None:
        return found
    key = _first(row.get("api_key"), metadata.get("user_api_key_hash"), metadata.get("user_api_key"))
    return None if key is None else "u_" + _digest("key", key)[:32]


def _error(row: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """Return what failed: a class or a status, never a message."""
    told = _object(row.get("error_information")) or _object(metadata.get("error_information"))
    return _first(told.get("error_class"), told.get("error_code")) or "error"


def _first(*found: object) -> str | None:
    """Return the first that is a text and says something."""
    texts = (_text(one).strip() for one in found)
    return next((text for text in texts if text not in _NOT_A_USER), None)


def _known(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if value is not None and value != ""}


def _digest(purpose: str, text: str) -> str:
    """Return hexadecimal digits that are the same for the same row, today and tomorrow."""
    return hashlib.sha256(f"litellm {purpose}\n{text}".encode("utf-8", "replace")).hexdigest()


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        return ""
    return value.encode("utf-8", "replace").decode("utf-8")


def _object(value: object) -> dict[str, Any]:
    """Return an object, also where it stands as JSON in a text: the database's columns do."""
    if isinstance(value, str) and value[:1] == "{":
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def _time(value: object) -> int:
    """Return nanoseconds since the epoch of seconds, or of an ISO text (UTC where it names no zone); 0 for no time."""
    try:
        if isinstance(value, str):
            at = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
            value = (at if at.tzinfo is not None else at.replace(tzinfo=timezone.utc)).timestamp()
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return 0
        found = round(value * 1_000_000) * 1_000
    except (ValueError, OverflowError):
        return 0
    return found if 0 < found < 253_402_300_800 * 10**9 else 0
