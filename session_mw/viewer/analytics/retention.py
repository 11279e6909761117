"""Who comes back: users by the week of their first session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...ledger import Retention
from ...ledger.analytics import Cohort
from ...ledger.shown import many, shown_number
from .documents import plain
from .groups import percent
from .sight import Asking, Sight
from .window import analyzing

WEEKS = 12
DAYS = 7 * WEEKS
SHADES = 8


@dataclass(frozen=True, slots=True)
class Cell:
    """A share of a cohort, for people; ``shade`` is 0 to 8."""

    shown: str
    count: str
    shade: int


def find(asking: Asking) -> Retention:
    """Ask."""
    return asking.visit.ledger.retention(analyzing(asking, days=DAYS, from_monday=True), WEEKS)


def values(asking: Asking, found: Retention) -> dict[str, Any]:
    """Return what the page shows."""
    users = sum(cohort.users for cohort in found.cohorts)
    width = max(
        (at + 1 for one in found.cohorts for at, count in enumerate(one.active) if count is not None), default=0
    )
    return {
        "told": f"{many(users, 'user')} in {many(len(found.cohorts), 'cohort')}" if users else "",
        "part": found.stopped,
        "weeks": range(width),
        "rows": [(one.week.isoformat(), shown_number(one.users), _cells(one, width)) for one in found.cohorts],
        "mean": _together(found.cohorts, width),
    }


def _cells(cohort: Cohort, width: int) -> list[Cell | None]:
    pairs = list(zip(cohort.active, cohort.shares, strict=True))[:width]
    return [None if count is None or share is None else _cell(count, share) for count, share in pairs]


def _cell(count: int, share: float) -> Cell:
    return Cell(percent(share), shown_number(count), min(SHADES, round(SHADES * share + 0.49)) if share else 0)


def _together(cohorts: tuple[Cohort, ...], width: int) -> list[Cell | None]:
    """Return the shares of all users whose k-th week was looked at."""
    found: list[Cell | None] = []
    for week in range(width):
        known = [(one.active[week], one.users) for one in cohorts if week < len(one.active)]
        pairs = [(active, users) for active, users in known if active is not None]
        users = sum(count for _, count in pairs)
        active = sum(count for count, _ in pairs)
        found.append(_cell(active, active / users) if users else None)
    return found


def document(asking: Asking, found: Retention) -> dict[str, Any]:
    """Return the same for programs."""
    return {**plain(found)}


RETENTION = Sight(
    "analytics/retention", "Retention", "analytics/retention.html", find, values, document, slow=True, days=DAYS
)
