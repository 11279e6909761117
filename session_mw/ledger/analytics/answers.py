"""
What the history answers about many sessions.

A session belongs to the day on which it started. Shares are fractions, times are milliseconds, money is millionths of a
US dollar; None is unknown, never zero. Each answer says on how many sessions it stands (``sessions``) and whether it
was stopped by its time (``stopped``): then only a part of the sessions was looked at, the newest unless it says else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from .shares import Settling, share

STEPS = 6  # of a session that flows tell apart; what comes later is one
TOP = 20
LONGEST = 50  # turns that drop-off tells apart


@dataclass(frozen=True, slots=True)
class Spread:
    """
    How a quantity is spread.

    Attributes:
        count: How many values.
        median: Half of them are no larger (nearest rank); None when there is none.
        mean: Their average. A few that are very long move it: read the median first.
        p90: Nine in ten are no larger (nearest rank).
    """

    count: int = 0
    median: float | None = None
    mean: float | None = None
    p90: float | None = None


@dataclass(frozen=True, slots=True)
class Totals(Settling):
    """
    Sums over sessions.

    Attributes:
        sessions: How many.
        users: Different ones, as far as they are known.
        anonymous: Sessions without a user.
        turns: Begun.
        failed: Turns that ended with an error.
        with_errors: Sessions with such turns.
        tokens: Sum over the sessions that know.
        counted: Sessions that know their tokens.
        cost_microusd: Sum over the sessions that know.
        priced: Sessions that know their cost.
        resolved: Sessions.
        settled: Sessions whose outcome is known: resolved, escalated or abandoned.
        median_duration_ms: From a session's start to its last activity.
        median_active_ms: Time in which somebody waited for an answer: the latencies of a session's turns.
    """

    sessions: int = 0
    users: int = 0
    anonymous: int = 0
    turns: int = 0
    failed: int = 0
    with_errors: int = 0
    tokens: int = 0
    counted: int = 0
    cost_microusd: int = 0
    priced: int = 0
    resolved: int = 0
    settled: int = 0
    median_duration_ms: int | None = None
    median_active_ms: int | None = None

    @property
    def error_share(self) -> float | None:
        """Share of the sessions with errors."""
        return share(self.with_errors, self.sessions)

    @property
    def priced_share(self) -> float | None:
        """Share of the sessions that know their cost: of the others it is unknown, not zero."""
        return share(self.priced, self.sessions)


@dataclass(frozen=True, slots=True)
class Day:
    """One day of ``Analyzing.tz`` with the sessions that started on it."""

    day: date
    totals: Totals


@dataclass(frozen=True, slots=True)
class Overview:
    """
    Sums, in all and for each day.

    Attributes:
        totals: Of all.
        days: From the first day with sessions to the last, also those without any.
        stopped: See above.
    """

    totals: Totals
    days: tuple[Day, ...]
    stopped: bool = False

    @property
    def sessions(self) -> int:
        """How many it stands on."""
        return self.totals.sessions


@dataclass(frozen=True, slots=True)
class Engagement(Settling):
    """
    How much people do in a session.

    Attributes:
        sessions: See above.
        turns: Session length: turns of a session; the same as messages that its user sent.
        lengths: How many sessions have one turn, two, three ... by their number; 50 stands for 50 and more.
        duration_ms: From a session's start to its last activity.
        active_ms: Latencies of its turns: the time in which somebody waited.
        gap_ms: From the end of a turn to the begin of the next in the same session; 0 where they overlap.
        sessions_per_user: Of the users that are known.
        users: How many these are.
        resolved: Sessions.
        settled: Sessions that were resolved, escalated or abandoned.
        stopped: See above.
    """

    sessions: int
    turns: Spread
    lengths: dict[int, int]
    duration_ms: Spread
    active_ms: Spread
    gap_ms: Spread
    sessions_per_user: Spread
    users: int
    resolved: int
    settled: int
    stopped: bool = False

    @property
    def messages(self) -> Spread:
        """Messages of a session: one for each turn."""
        return self.turns


@dataclass(frozen=True, slots=True)
class Counted:
    """An action, or several in a row, and in how many sessions; ``None`` stands for a turn that named no action."""

    actions: tuple[str | None, ...]
    sessions: int
    share: float


@dataclass(frozen=True, slots=True)
class FirstActions:
    """
    What sessions begin with.

    Attributes:
        sessions: Those with a turn in the history: shares are of them.
        top: The 20 most frequent first actions.
        other: Sessions that begin with any other.
        stopped: See above.
    """

    sessions: int
    top: tuple[Counted, ...]
    other: int
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class FlowStep:
    """
    What follows what at one place of a session.

    Attributes:
        step: From the n-th turn to the one behind it; 7 stands for all later places.
        total: How often there was one behind it: shares are of that.
        top: The 20 most frequent pairs.
        other: All other pairs.
    """

    step: int
    total: int
    top: tuple[Counted, ...]
    other: int


@dataclass(frozen=True, slots=True)
class Flows:
    """Conversation flows: which action follows which, step by step. ``sessions`` are those with a turn."""

    sessions: int
    steps: tuple[FlowStep, ...]
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Paths:
    """The first three actions of a session (fewer where it has fewer), the 20 most frequent; ``other`` is the rest."""

    sessions: int
    top: tuple[Counted, ...]
    other: int
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Side:
    """
    Paths and last actions of one kind of sessions.

    Attributes:
        sessions: How many with a turn in the history: shares are of them.
        paths: Their first three actions, the 20 most frequent.
        last: Their last action, the 20 most frequent.
    """

    sessions: int
    paths: tuple[Counted, ...]
    last: tuple[Counted, ...]


@dataclass(frozen=True, slots=True)
class Resolution:
    """
    What resolved sessions do, beside unresolved ones.

    Attributes:
        sessions: All that were looked at.
        resolved: Outcome resolved.
        unresolved: Outcome escalated or abandoned.
        unknown: Sessions without a known outcome: on neither side.
        stopped: See above.
    """

    sessions: int
    resolved: Side
    unresolved: Side
    unknown: int
    stopped: bool = False

    @property
    def rate(self) -> float | None:
        """Resolved / (resolved + escalated + abandoned), of sessions with a turn in the history."""
        return share(self.resolved.sessions, self.resolved.sessions + self.unresolved.sessions)


@dataclass(frozen=True, slots=True)
class DropOff:
    """
    Where sessions end.

    Attributes:
        sessions: Those that have ended; who is still there has not left.
        reaching: How many of them have at least one turn, two, three ...: up to the longest, 50 at most.
        last: Last action before leaving, of sessions that ended escalated or abandoned; the 20 most frequent.
        unresolved: How many those are: the shares of ``last`` are of them.
        stopped: See above.
    """

    sessions: int
    reaching: tuple[int, ...]
    last: tuple[Counted, ...]
    unresolved: int
    stopped: bool = False

    @property
    def shares(self) -> tuple[float, ...]:
        """Share of the ended sessions that reach turn 1, 2, 3 ..."""
        return tuple(count / self.sessions for count in self.reaching)

    @property
    def biggest_drop(self) -> tuple[int, float] | None:
        """After which turn most leave, and which share of the ended sessions that is; None when none has ended."""
        shares = [*self.shares, 0.0] if len(self.reaching) < LONGEST else list(self.shares)
        drops = [(before - after, -turn) for turn, (before, after) in enumerate(pairwise(shares), 1)]
        if not drops:
            return None
        drop, turn = max(drops)
        return -turn, drop


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """
    A step of a funnel.

    Attributes:
        action: What has to happen.
        sessions: In how many it did, after all steps before.
        of_previous: Share of the sessions that took the step before; of the first step None.
        of_first: Share of the sessions that took the first step.
        convert_ms: Time from the step before (the begins of both turns), over the sessions that took both.
    """

    action: str
    sessions: int
    of_previous: float | None
    of_first: float | None
    convert_ms: Spread

    @property
    def drop_off(self) -> float | None:
        """Share of the sessions that took the step before and not this one."""
        return None if self.of_previous is None else 1 - self.of_previous


@dataclass(frozen=True, slots=True)
class Funnel:
    """
    Steps that happen in one session in this order; others may occur between. Each counts from its first occurrence.

    Attributes:
        sessions: All that were looked at.
        steps: One for each.
        convert_ms: Time from the first step to the last, over the sessions that took all.
        stopped: See above.
    """

    sessions: int
    steps: tuple[FunnelStep, ...]
    convert_ms: Spread
    stopped: bool = False

    @property
    def conversion(self) -> float | None:
        """Share of the sessions that took the first step which took all."""
        return self.steps[-1].of_first if self.steps else None


@dataclass(frozen=True, slots=True)
class Cohort:
    """
    Users whose first session was in the same week.

    Attributes:
        week: Its Monday.
        users: How many.
        active: How many of them had a session in that week, one week later, two ...; None: that week was not looked at.
    """

    week: date
    users: int
    active: tuple[int | None, ...]

    @property
    def shares(self) -> tuple[float | None, ...]:
        """The same as shares of its users; the first is 1."""
        return tuple(None if count is None else count / self.users for count in self.active)


@dataclass(frozen=True, slots=True)
class Retention:
    """
    Users by the week of their first session, and how many came again k weeks later.

    A user's first session is the first one that the history still has, also before ``since_ms``: that only leaves
    out earlier cohorts. The newest week is not over. When stopped, the oldest sessions were looked at, not the newest.

    Attributes:
        sessions: See above; those without a user are not among them.
        cohorts: In the order of their weeks.
        stopped: See above.
    """

    sessions: int
    cohorts: tuple[Cohort, ...]
    stopped: bool = False
