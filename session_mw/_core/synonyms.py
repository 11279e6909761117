"""
Under which names spans of any SDK say whose they are: the conventions' first, then each back end's own.

What ``dialects`` writes is read back by the same table. The rest: Langfuse's ingestion (the order is its own), MLflow's
trace metadata, LangSmith's mapping of OpenTelemetry attributes, OpenInference's prompt templates.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from . import names
from .dialects import DIALECTS
from .records import AttributeValue

MAX_ID: Final = 1_000  # characters; nobody's id is longer, and a text is none
MAX_TEXT: Final = 500  # characters of what is said of a session
MAX_SAID: Final = 64  # things said of a session
MAX_JSON: Final = 16 * 1024  # characters


def _theirs(ours: str) -> tuple[str, ...]:
    rows = DIALECTS.values()
    return tuple(theirs[ours] for row in rows for theirs in (row.aliases, row.every) if ours in theirs)


SESSION: Final = (
    names.SESSION_ID,
    *_theirs(names.SESSION_ID),
    "mlflow.trace.session",
    "langfuse.observation.metadata.langfuse_session_id",
    "langfuse.trace.metadata.langfuse_session_id",
    "ai.telemetry.metadata.sessionId",
    "langsmith.metadata.session_id",
)
CONVERSATION: Final = (
    names.GEN_AI_CONVERSATION_ID,
    names.CONVERSATION_ID,
    *_theirs(names.GEN_AI_CONVERSATION_ID),
    "langsmith.metadata.conversation_id",
)
USER: Final = (
    names.USER_ID,
    *_theirs(names.USER_ID),
    "mlflow.trace.user",
    "langfuse.observation.metadata.langfuse_user_id",
    "langfuse.trace.metadata.langfuse_user_id",
    "ai.telemetry.metadata.userId",
    "posthog.distinct_id",
    "enduser.id",
)
LABELS: Final[Mapping[str, tuple[str, ...]]] = {
    names.SESSION_TYPE: (names.SESSION_TYPE,),
    names.SESSION_NAME: (names.SESSION_NAME, "langfuse.trace.name", "traceloop.workflow.name"),
    names.SESSION_PROMPT_VERSION: (
        names.SESSION_PROMPT_VERSION,
        "llm.prompt_template.version",
        "langfuse.observation.prompt.version",
    ),
}
# Said of the session as a whole, by our names.
OF_SESSIONS: Final = (
    names.SESSION_PREVIOUS_ID,
    names.SESSION_CHANNEL,
    names.SESSION_CLIENT_VERSION,
    names.SESSION_LOCALE,
    names.SESSION_OUTCOME,
    names.SESSION_OUTCOME_SOURCE,
    names.SESSION_USER_SATISFACTION,
    names.USER_TIER,
    names.USER_ORG_ID,
)
_METADATA: Final = (f"{names.METADATA}.", *(row.metadata for row in DIALECTS.values() if row.metadata))
_IDS: Final = frozenset({*SESSION, *CONVERSATION, *USER})


def first(attributes: Mapping[str, Any], keys: Iterable[str]) -> str | None:
    """Return the first id that is there as text without blanks around it, None when there is none."""
    for key in keys:
        value = attributes.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value) if value.bit_length() <= 64 else None
        if isinstance(value, str):
            found = value.strip().strip('"').strip()  # MLflow writes its attributes as JSON
            if found and len(found) <= MAX_ID:
                return found
    return None


def labels(attributes: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """Return type, name and prompt version by our names, as far as a span says them."""
    found = ((name, first(attributes, keys)) for name, keys in LABELS.items())
    return {name: value for name, value in found if value is not None}


def of_session(attributes: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """Return what a span says of its session as a whole by our names: who, where from, and the application's own."""
    said: dict[str, AttributeValue] = {}
    for name in OF_SESSIONS:
        if name in attributes:
            _say(said, name, attributes[name])
    for key, value in _json(attributes.get(names.METADATA)).items():
        _say(said, f"{names.METADATA}.{key}", value)
    for key, value in attributes.items():
        if key.startswith(f"{names.SESSION_SCORE}."):
            _say(said, key, value)
        elif key.startswith(_METADATA) and key not in _IDS:
            prefix = max((p for p in _METADATA if key.startswith(p)), key=len)
            _say(said, f"{names.METADATA}.{key[len(prefix) :]}", value)
    return said


def _json(value: object) -> Mapping[str, Any]:
    """Return OpenInference's metadata: one JSON object as text."""
    if not isinstance(value, str) or len(value) > MAX_JSON:
        return {}
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _say(said: dict[str, AttributeValue], name: str, value: object) -> None:
    if len(said) < MAX_SAID and len(name) <= MAX_TEXT and isinstance(value, (str, bool, int, float)):
        said[name] = value[:MAX_TEXT] if isinstance(value, str) else value
