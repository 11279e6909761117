"""Questions that daily sums answer: overview, engagement, retention."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ..filters.tree import Node
from .answers import LONGEST, Cohort, Day, Engagement, Overview, Retention, Totals
from .asked import Analyzing
from .bundles import SUMS, Bundle, bundles, different
from .calendar import Days, as_date, monday
from .sources import Source
from .spreads import median_of, spread, spread_of

MOST_DAYS = 3_660  # that a list of days fills up: beyond it only those with sessions are in it


class Overviewing:
    """Sums, in all and for each day."""

    lists: Sequence[str] = ("users", "durations", "actives")
    merges = True
    oldest_first = False

    def __init__(self, asked: Analyzing) -> None:
        self.asked = asked
        self.tree: Node = asked.within
        self._days: dict[int, list[Bundle]] = {}

    def take(self, source: Source) -> None:
        self.add(bundles(source.rows(), Days(self.asked.tz)))

    def add(self, some: Iterable[Bundle]) -> None:
        for bundle in some:
            self._days.setdefault(bundle.day, []).append(bundle)

    def answer(self, stopped: bool) -> Overview:
        totals = {day: _totals(mine) for day, mine in self._days.items()}
        every = [bundle for mine in self._days.values() for bundle in mine]
        days = tuple(Day(as_date(day), totals.get(day, Totals())) for day in _filled(totals))
        return Overview(_totals(every, list(totals.values())), days, stopped)


def _filled(days: Iterable[int]) -> Iterable[int]:
    found = sorted(days)
    if not found or found[-1] - found[0] > MOST_DAYS:
        return found
    return range(found[0], found[-1] + 1)


def users_of(some: Sequence[Bundle]) -> int:
    """Return how many different users there are."""
    known = some[0].different if len(some) == 1 else None
    return different(one.users for one in some) if known is None else known


def _totals(some: Sequence[Bundle], parts: Sequence[Totals] = ()) -> Totals:
    sums = dict(zip(SUMS, (sum(column) for column in zip(*(one.sums for one in some), strict=True)), strict=False))
    kept = {name: sums.get(name, 0) for name in SUMS if name in Totals.__slots__}
    return Totals(
        **kept,
        users=users_of(some),
        median_duration_ms=median_of([one.durations for one in some], _known(one.median_duration_ms for one in parts)),
        median_active_ms=median_of([one.actives for one in some], _known(one.median_active_ms for one in parts)),
    )


def _known(values: Iterable[int | None]) -> list[int]:
    return [value for value in values if value is not None]


class Engaging:
    """How much people do in a session."""

    lists: Sequence[str] = ("users", "durations", "actives", "ended", "going", "gaps")
    merges = False
    oldest_first = False

    def __init__(self, asked: Analyzing) -> None:
        self.asked = asked
        self.tree: Node = asked.within
        self._found: list[Bundle] = []

    def take(self, source: Source) -> None:
        self.add(bundles(source.rows(), Days(self.asked.tz), source.gaps()))

    def add(self, some: Iterable[Bundle]) -> None:
        self._found.extend(some)

    def answer(self, stopped: bool) -> Engagement:
        sums = dict.fromkeys(SUMS, 0)
        turns: Counter[int] = Counter()
        users: Counter[int] = Counter()
        values: dict[str, list[int]] = {"durations": [], "actives": [], "gaps": []}
        for one in self._found:
            for name, value in zip(SUMS, one.sums, strict=True):
                sums[name] += value
            turns.update(one.ended)
            turns.update(one.going)
            users.update(one.users)
            for name, mine in values.items():
                mine.extend(getattr(one, name))
        return Engagement(
            sessions=sums["sessions"],
            turns=spread_of(turns),
            lengths=_lengths(turns),
            duration_ms=spread(sorted(values["durations"])),
            active_ms=spread(sorted(values["actives"])),
            gap_ms=spread(sorted(values["gaps"])),
            sessions_per_user=spread_of(Counter(users.values())),
            users=len(users),
            resolved=sums["resolved"],
            settled=sums["settled"],
            stopped=stopped,
        )


def _lengths(turns: Counter[int]) -> dict[int, int]:
    found: Counter[int] = Counter()
    for length, sessions in turns.items():
        found[min(length, LONGEST)] += sessions
    return dict(sorted(found.items()))


class Retaining:
    """
    Users by the week of their first session.

    Args:
        asked: Which sessions. Earlier ones are read as well: they tell who is new.
        weeks: How many after the first one.
    """

    lists: Sequence[str] = ("users",)
    merges = False
    oldest_first = True  # whoever is met first is new

    def __init__(self, asked: Analyzing, weeks: int) -> None:
        self.asked = asked
        self.tree: Node = Analyzing(asked.where, asked.include_unconfirmed, until_ms=asked.until_ms).within
        self._weeks = max(0, min(weeks, 520))
        self._users: dict[int, set[int]] = {}
        self._sessions = 0

    def take(self, source: Source) -> None:
        self.add(bundles(source.rows(), Days(self.asked.tz)))

    def add(self, some: Iterable[Bundle]) -> None:
        for bundle in some:
            self._sessions += len(bundle.users)
            self._users.setdefault(monday(bundle.day), set()).update(bundle.users)

    def answer(self, stopped: bool) -> Retention:
        since = self.asked.since_ms
        earliest = None if since is None else monday(Days(self.asked.tz)(since))
        newest = max(self._users, default=0)
        known: set[int] = set()
        cohorts = []
        for week in sorted(self._users):
            users = self._users[week] - known
            known |= users
            if users and (earliest is None or week >= earliest):
                cohorts.append(Cohort(as_date(week), len(users), self._active(users, week, newest)))
        return Retention(self._sessions, tuple(cohorts), stopped)

    def _active(self, users: set[int], week: int, newest: int) -> tuple[int | None, ...]:
        weeks = (week + 7 * k for k in range(self._weeks + 1))
        return tuple(len(users & self._users.get(one, set())) if one <= newest else None for one in weeks)
