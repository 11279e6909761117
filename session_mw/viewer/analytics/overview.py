"""How many sessions, what they cost, how long they take, and how many have errors: in all, and for each day."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...ledger import Overview
from ...ledger.analytics import Day, Totals
from ...ledger.documents import usd
from ...ledger.shown import many, shown_ms, shown_number, shown_usd
from ..charts import Chart, columns, round_count, round_ms
from ..list import dash
from .documents import plain
from .groups import percent, round_percent
from .sight import Asking, Sight
from .window import analyzing

MOST_DAYS = 120  # columns of a chart


def find(asking: Asking) -> Overview:
    """Ask."""
    return asking.visit.ledger.overview(analyzing(asking))


def values(asking: Asking, found: Overview) -> dict[str, Any]:
    """Return what the page shows."""
    days = found.days[-MOST_DAYS:]
    return {
        "figures": figures(found.totals) if found.sessions else [],
        "charts": _charts(asking, days, found.totals) if found.sessions else [],
        "told": f"{many(found.sessions, 'session')} on {many(len(found.days), 'day')}" if found.sessions else "",
        "cut": len(found.days) > len(days),
        "part": found.stopped,
    }


def figures(totals: Totals) -> list[tuple[str, str, str]]:
    """Return names, values and remarks of sums over sessions."""
    unpriced = totals.sessions - totals.priced
    per = dash(shown_usd(usd(totals.cost_microusd / totals.priced) if totals.priced else None))
    cost = dash(shown_usd(usd(totals.cost_microusd) if totals.priced else None))
    return [
        ("Sessions", shown_number(totals.sessions), f"{totals.turns / max(1, totals.sessions):.1f} turns each"),
        ("Users", shown_number(totals.users), f"{totals.anonymous:,} sessions without one" if totals.anonymous else ""),
        (
            "Median duration",
            dash(shown_ms(totals.median_duration_ms)),
            f"active {dash(shown_ms(totals.median_active_ms))}",
        ),
        ("Cost", cost, f"{per} a session" + (f" · {unpriced:,} without a price" if unpriced and totals.priced else "")),
        ("With errors", percent(totals.error_share), many(totals.with_errors, "session")),
        ("Resolved", percent(totals.resolution_rate), f"{totals.unknown:,} unknown" if totals.unknown else "all known"),
    ]


def _charts(asking: Asking, days: Sequence[Day], totals: Totals) -> list[Chart]:
    def points(value: Callable[[Totals], float | None]) -> list[tuple[str, float | None]]:
        return [(day.day.isoformat(), value(day.totals)) for day in days]

    def on(more: str = "") -> Callable[[str], str]:
        return lambda day: asking.listed(f"started:{day}{more}")

    average = totals.sessions / len(days) if days else 0
    return [
        columns("sessions", "Sessions", points(lambda day: day.sessions), shown_number, top=round_count, link=on(),
            headline=f"{average:,.1f} a day", definition="Sessions by the day on which they started."),
        columns("duration", "Median duration", points(lambda day: day.median_duration_ms),
            lambda value: dash(shown_ms(value)), headline=dash(shown_ms(totals.median_duration_ms)), top=round_ms,
            link=on(), definition="From a session's start to its last activity; half of a day's sessions are shorter. "
            "One session that was resumed days later would move a mean, and not this."),
        columns("cost", "Cost", points(lambda day: day.cost_microusd if day.priced else None), _money,
            link=on(" cost:>=0"), headline=_money(totals.cost_microusd if totals.priced else None),
            definition="Sum over the sessions that have a price. The others are unknown, not free."),
        columns("errors", "Sessions with errors", points(lambda day: day.error_share), percent, axis=round_percent,
            link=on(" has_errors:true"),
            headline=percent(totals.error_share), definition="Share of a day's sessions in which a turn failed."),
    ]  # fmt: skip


def _money(microusd: float | None) -> str:
    return dash(shown_usd(usd(microusd)))


def document(asking: Asking, found: Overview) -> dict[str, Any]:
    """Return the same for programs."""
    return {**plain(found)}


OVERVIEW = Sight("analytics", "Analytics", "analytics/overview.html", find, values, document)
