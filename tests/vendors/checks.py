"""What of a request is looked at, whichever the other SDK is: see ``Process.run``."""

from __future__ import annotations

from typing import Any

from session_mw._core import names
from session_mw._core.dialects import DIALECTS

OURS = ("session", "turn")
INSIDE = ("invoke_agent reader", "inside", "inside the call", "call", "step.task", "flow.workflow")
_NAMED = [pair for row in DIALECTS.values() for pair in (*row.every.items(), *row.aliases.items())]
SESSIONS = (
    *(names.SESSION_ID, names.GEN_AI_CONVERSATION_ID, names.CONVERSATION_ID, names.CONVERSATION_SESSION_ID),
    *(theirs for ours, theirs in _NAMED if ours != names.USER_ID),
)
USERS = (names.USER_ID, *(theirs for ours, theirs in _NAMED if ours == names.USER_ID))


def spans_of(case: dict[str, Any], name: str, exporters: tuple[str, ...] = ("ours", "theirs")) -> list[dict[str, Any]]:
    """Return the spans of the trace in which a span of this name is, of both exporters."""
    trace = next(span["id"][:32] for span in case["ours"] if span["name"] == name)
    return [span for exporter in exporters for span in case[exporter] if span["id"][:32] == trace]


def said(attributes: dict[str, Any], keys: tuple[str, ...]) -> set[Any]:
    """Return what stands under *keys*."""
    return {attributes[key] for key in keys if key in attributes}


def by_name(spans: list[dict[str, Any]], keys: tuple[str, ...]) -> dict[str, set[Any]]:
    """Return what stands under *keys*, by the names of spans."""
    found: dict[str, set[Any]] = {}
    for span in spans:
        found.setdefault(span["name"], set()).update(said(span["attributes"], keys))
    return found


def torn(spans: list[dict[str, Any]], keys: tuple[str, ...]) -> list[str]:
    """Return the names of spans on which *keys* say more than one thing, or nothing."""
    return [span["name"] for span in spans if len(said(span["attributes"], keys)) != 1]
