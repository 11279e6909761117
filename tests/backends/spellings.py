"""
What the seeds tell people to type into a back end's filter, and what Phoenix takes today for the same.

Phoenix has two filters: for sessions (what the earliest root span says stands in ``attributes[...]``) and for spans.
``test_phoenix`` sends each of these; the README shows the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Spelling:
    """
    One filter.

    Attributes:
        seed: As the seed has it.
        sessions: For Phoenix' list of sessions.
        spans: For its list of spans; empty where spans know no such thing.
        fits: Whether a session of ours is meant, of the user with that pseudonym where it is about a user; None where
            it is too near to the limit to tell.
    """

    seed: str
    sessions: str
    spans: str
    fits: Callable[[Any, str], bool | None]


def beyond(value: int, limit: int, margin: int) -> bool | None:
    """Return whether *value* is larger, None within the margin: where it is rounded."""
    return None if abs(value - limit) < margin else value > limit


SPELLINGS = [
    Spelling(
        'session.type = "code-review"',
        'attributes["session.type"] == "code-review"',
        'session.type == "code-review"',
        lambda row, _: row.type == "code-review",
    ),
    Spelling(
        'session.prompt_version = "v2"',
        'attributes["session.prompt_version"] == "v2"',
        'session.prompt_version == "v2"',
        lambda row, _: row.prompt_version == "v2",
    ),
    Spelling(
        'session.name = "async-refactor"',
        'attributes["session.name"] == "async-refactor"',
        'session.name == "async-refactor"',
        lambda row, _: row.name == "async-refactor",
    ),
    Spelling(
        'session.type = "code-review" AND session.prompt_version = "v2"',
        'attributes["session.type"] == "code-review" and attributes["session.prompt_version"] == "v2"',
        'session.type == "code-review" and session.prompt_version == "v2"',
        lambda row, _: (row.type, row.prompt_version) == ("code-review", "v2"),
    ),
    Spelling(
        "user:user-123",
        'user.id == "{pseudonym}"',
        'user.id == "{pseudonym}"',
        lambda row, pseudonym: row.user_id == pseudonym,
    ),
    Spelling("last 24 hours", 'start_time > "{yesterday}"', 'start_time > "{yesterday}"', lambda row, _: True),
    Spelling("duration:>1000", "duration_ms > 1000", "", lambda row, _: beyond(row.duration_ms, 1000, 2)),
    Spelling("trace_count:>5", "num_traces > 5", "", lambda row, _: row.turns > 5),
    Spelling("cost:>0.002", "total_cost > 0.002", "", lambda row, _: row.cost_microusd > 2000),
    Spelling("has_errors:true", "num_traces_with_error > 0", "", lambda row, _: row.failed > 0),
]


def markdown() -> str:
    """Return the table of the README."""
    shown = {"pseudonym": "u_...", "yesterday": "2026-01-15T00:00:00Z"}
    lines = ["| as it was typed | sessions | spans |", "|---|---|---|"]
    for one in SPELLINGS:
        spans = f"`{one.spans.format(**shown)}`" if one.spans else "-"
        lines.append(f"| `{one.seed}` | `{one.sessions.format(**shown)}` | {spans} |")
    return "\n".join(lines)
