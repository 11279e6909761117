"""How much people do in a session, and how many sessions end well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...ledger import Engagement
from ...ledger.analytics import Spread
from ...ledger.shown import many, shown_ms, shown_number
from ..charts import Chart, columns, round_count, stride
from ..list import dash
from .documents import plain
from .groups import percent
from .sight import Asking, Sight
from .window import analyzing

LONGEST = 50  # "and more"


@dataclass(frozen=True, slots=True)
class Metric:
    """
    One quantity.

    Attributes:
        name: For people.
        median: Half of them are no larger.
        mean: Average.
        p90: Nine in ten are no larger.
        count: Over how many.
        definition: What is counted.
    """

    name: str
    median: str
    mean: str
    p90: str
    count: str
    definition: str


def find(asking: Asking) -> Engagement:
    """Ask."""
    return asking.visit.ledger.engagement(analyzing(asking))


def values(asking: Asking, found: Engagement) -> dict[str, Any]:
    """Return what the page shows."""
    return {
        "figures": _figures(found) if found.sessions else [],
        "metrics": _metrics(found),
        "chart": _lengths(asking, found) if found.lengths else None,
        "outcomes": _outcomes(found),
        "told": many(found.sessions, "session") if found.sessions else "",
        "part": found.stopped,
    }


def _figures(found: Engagement) -> list[tuple[str, str, str]]:
    return [
        ("Session length", _count(found.turns.median), f"turns, mean {_count(found.turns.mean)}"),
        ("Session duration", _time(found.duration_ms.median), f"mean {_time(found.duration_ms.mean)}"),
        ("Messages a session", _count(found.messages.median), f"of the user, mean {_count(found.messages.mean)}"),
        ("Resolution rate", percent(found.resolution_rate), f"of {found.settled:,} with a known outcome"),
    ]


def _metrics(found: Engagement) -> list[Metric]:
    return [
        _metric("Session length", found.turns, _count, "sessions", "turns of a session, one trace or more each"),
        _metric("Session duration", found.duration_ms, _time, "sessions", "from its start to its last activity"),
        _metric("Active time", found.active_ms, _time, "sessions",
            "the latencies of a session's turns: the time in which somebody waited for an answer"),
        _metric("Messages a session", found.messages, _count, "sessions", "messages of the user: one a turn"),
        _metric("Pause between turns", found.gap_ms, _time, "pauses",
            "from the end of a turn to the begin of the next one of its session"),
        _metric("Sessions a user", found.sessions_per_user, _count, "users", "of the users that are known"),
    ]  # fmt: skip


def _metric(name: str, spread: Spread, shown: Callable[[float | None], str], unit: str, definition: str) -> Metric:
    count = f"{spread.count:,} {unit if spread.count != 1 else unit[:-1]}"
    return Metric(name, shown(spread.median), shown(spread.mean), shown(spread.p90), count, definition)


def _count(number: float | None) -> str:
    return dash("-") if number is None else f"{number:,.0f}" if number == int(number) else f"{number:,.1f}"


def _time(ms: float | None) -> str:
    return dash(shown_ms(ms))


def _lengths(asking: Asking, found: Engagement) -> Chart:
    longest = max(found.lengths)
    points = [
        (f"{turns}+" if turns == LONGEST else str(turns), found.lengths.get(turns, 0))
        for turns in range(1, longest + 1)
    ]
    single = found.lengths.get(1, 0) / found.sessions
    return columns("lengths", "Sessions by their number of turns", [*points], shown_number, first="Turns",
        link=lambda turns: asking.listed(f"turn_count:{turns}" if turns.isdigit() else f"turn_count:>={LONGEST}"),
        top=round_count, headline=f"{percent(single)} have one turn", every=stride(len(points)),
        definition="How many sessions have one turn, two, three ... A session of one turn is a bounce.")  # fmt: skip


def _outcomes(found: Engagement) -> list[tuple[str, str, str, float]]:
    """Return kinds of outcomes: class, name, count, and hundredths of all sessions."""
    kinds = (
        ("busy", "resolved", found.resolved),
        ("left", "escalated or abandoned", found.settled - found.resolved),
        ("ground", "unknown", found.unknown),
    )
    return [(kind, name, f"{count:,}", round(100 * count / max(1, found.sessions), 2)) for kind, name, count in kinds]


def document(asking: Asking, found: Engagement) -> dict[str, Any]:
    """Return the same for programs."""
    return {**plain(found)}


ENGAGEMENT = Sight("analytics/engagement", "Engagement", "analytics/engagement.html", find, values, document, slow=True)
