"""Comparisons of whole groups: asked of a ledger, cut to when both ran, and adjusted for how many they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ...exceptions import FilterError
from ..filters import Filter
from ..samples import METRICS, Sample, Sampling, metric_named
from ..summary import field_named, natural
from .families import Adjustment, holm
from .figures import Comparison, Draft, Member, draft, finished, looked_into, members, side
from .periods import Day, Drift, Ratio, Window, days_of, drift_of, period, ratio_of, window_of

ANONYMOUS = 0.2  # from this share of sessions without a user on, intervals are too narrow
MOST_ARMS = 12


class Samples(Protocol):
    """A ledger, as far as it is asked here."""

    def samples(self, asked: Sampling) -> list[Sample]:
        """Return what single sessions say."""


@dataclass(frozen=True, slots=True)
class Question:
    """
    What is to be compared.

    Attributes:
        by: Name of the field, or attribute, that tells the groups apart.
        arms: Its values; each is compared with the first.
        metric: The one that the question is about.
        others: Those that are looked at besides; their intervals share the risk.
        where: Only sessions that fit it.
        include_unconfirmed: Also those that nobody confirmed: bots, webhooks.
        whole_period: Not only from when both ran.
        split: How users were meant to be shared out between the arms, in any unit; None when nobody says.
        tail: Also the 95th percentiles.
        offset_ms: How far the reader's clock is ahead of UTC, for days.
        seconds: How long the history may take to answer.

    Raises:
        FilterError: There is no such field or metric, or no two arms, or *split* is none of them.
    """

    by: str
    arms: tuple[str, ...]
    metric: str = "cost"
    others: tuple[str, ...] = ()
    where: Filter | None = None
    include_unconfirmed: bool = False
    whole_period: bool = False
    split: tuple[float, ...] | None = None
    tail: bool = False
    offset_ms: int = 0
    seconds: float = 5.0

    def __post_init__(self) -> None:
        field_named(self.by)
        for name in self.metrics:
            metric_named(name)
        if not 2 <= len(set(self.arms)) == len(self.arms) <= MOST_ARMS:
            raise _refusal(" ".join(self.arms), f"there are 2 to {MOST_ARMS} different values to compare")
        sound = self.split is None or all(0 < part < math.inf for part in self.split)
        if self.split is not None and not (sound and len(self.split) == len(self.arms)):
            shown = ":".join(f"{part:g}" for part in self.split)
            raise _refusal(shown, f"an intended split has a number above 0 for each of the {len(self.arms)} values")

    @property
    def metrics(self) -> tuple[str, ...]:
        """All that is compared, the one that matters first."""
        return tuple(dict.fromkeys((self.metric, *self.others)))

    @property
    def sampling(self) -> Sampling:
        """What the history is asked."""
        return Sampling(self.by, self.arms, self.metrics, self.where, self.include_unconfirmed, self.seconds)


def _refusal(text: str, message: str) -> FilterError:
    return FilterError(message, text, 0, len(text), "")


EVERYTHING = tuple(METRICS)


@dataclass(frozen=True, slots=True)
class Arm:
    """
    One group, within the window.

    Attributes:
        name: Its value.
        users: Units; a session without a user is one.
        sessions: All of them but *mixed*.
        anonymous: Those without a user.
        active: Those that go on.
        mixed: Left out, since some of their turns belong to another group.
        outside: Left out, since they started when the other group did not run.
        first_ms: Start of the first session, also outside the window.
        last_ms: Start of the last one.
    """

    name: str
    users: int
    sessions: int
    anonymous: int
    active: int
    mixed: int
    outside: int
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class Pair:
    """
    Two groups.

    Attributes:
        a: The first.
        b: The second.
        window: Which of their sessions are compared.
        both: Users who are in both.
        comparisons: By metric, the one that matters first; those that nobody knows anything of are missing.
        days: Sessions a day, also outside the window.
        drift: How the shares of both moved over the days of the window; None when they did not.
        ratio: Whether users were shared out as intended; None when nobody said how.
    """

    a: Arm
    b: Arm
    window: Window
    both: int
    comparisons: Mapping[str, Comparison]
    days: tuple[Day, ...]
    drift: Drift | None
    ratio: Ratio | None = None

    @property
    def anonymous(self) -> bool:
        """Whether so many sessions have no user that intervals are too narrow."""
        return any(arm.anonymous > ANONYMOUS * arm.sessions for arm in (self.a, self.b))


@dataclass(frozen=True, slots=True)
class Report:
    """
    The answer.

    Attributes:
        asked: The question.
        pairs: The first value with each of the others that has sessions.
        missing: Values that no session has.
        compared: How many comparisons share the risk of a false difference, beside the first metric's own.
        first: How many of the first metric share it.
    """

    asked: Question
    pairs: tuple[Pair, ...]
    missing: tuple[str, ...] = ()
    compared: int = 0
    first: int = 0


def report(ledger: Samples, asked: Question) -> Report:
    """
    Compare.

    Raises:
        StoreUnavailable: The history did not answer in time.
    """
    return report_of(ledger.samples(asked.sampling), asked)


def report_of(samples: Sequence[Sample], asked: Question) -> Report:
    """Compare what a history said."""
    arms: dict[str, list[Sample]] = {name: [] for name in asked.arms}
    for one in samples:
        arms[one.arm].append(one)
    missing = tuple(name for name, mine in arms.items() if not mine)
    base = asked.arms[0]
    if base in missing:
        return Report(asked, (), missing)
    drafts = [_draft(asked, base, name, arms[base], arms[name]) for name in asked.arms[1:] if name not in missing]
    return _finished(asked, drafts, missing)


@dataclass(frozen=True, slots=True)
class _Drafted:
    """A pair before it is known how many comparisons there are."""

    pair: Pair
    drafts: Mapping[str, Draft]


def _draft(asked: Question, a: str, b: str, first: list[Sample], second: list[Sample]) -> _Drafted:
    window = window_of(first, second, asked.whole_period)
    left, right = window.within(first), window.within(second)
    mine, theirs = members(a, left), members(b, right)
    one, other = ({user for user, _, _ in group} for group in (mine, theirs))
    pair = Pair(
        _arm(a, first, left, len(one)),
        _arm(b, second, right, len(other)),
        window,
        len(one & other),
        {},
        tuple(days_of(first, second, asked.offset_ms)),
        drift_of(days_of(left, right, asked.offset_ms)),
        _ratio(asked, a, b, len(one), len(other)),
    )
    return _Drafted(pair, dict(_drafts(asked, mine, theirs)))


def _ratio(asked: Question, a: str, b: str, one: int, other: int) -> Ratio | None:
    if asked.split is None or not one + other:
        return None
    meant = dict(zip(asked.arms, asked.split, strict=True))
    return ratio_of((one, other), (meant[a], meant[b]))


def _drafts(asked: Question, mine: list[Member], theirs: list[Member]) -> list[tuple[str, Draft]]:
    found = []
    for place, name in enumerate(asked.metrics):
        share, first = metric_named(name).share, place == 0
        drafted = draft(side(mine, place, share, deep=first), side(theirs, place, share, deep=first))
        if first or drafted.a.sessions or drafted.b.sessions:
            found.append((name, drafted))
    return found


def _arm(name: str, everything: list[Sample], inside: list[Sample], users: int) -> Arm:
    used = [one for one in inside if not one.mixed]
    return Arm(
        name,
        users,
        sessions=len(used),
        anonymous=sum(one.user is None for one in used),
        active=sum(one.active for one in used),
        mixed=len(inside) - len(used),
        outside=len(everything) - len(inside),
        first_ms=period(everything)[0],
        last_ms=period(everything)[1],
    )


def _finished(asked: Question, drafts: list[_Drafted], missing: tuple[str, ...]) -> Report:
    first = _adjusted(drafts, (asked.metric,))
    others = _adjusted(drafts, asked.metrics[1:])
    pairs = []
    for number, one in enumerate(drafts):
        comparisons = {
            name: finished(name, metric_named(name), drafted, {**first, **others}.get((number, name)))
            for name, drafted in one.drafts.items()
        }
        main = asked.metric
        comparisons[main] = looked_into(comparisons[main], one.drafts[main], asked.tail)
        pairs.append(replace(one.pair, comparisons=comparisons))
    return Report(asked, tuple(pairs), missing, len(others), len(first))


def _adjusted(drafts: list[_Drafted], metrics: Sequence[str]) -> dict[tuple[int, str], Adjustment]:
    """Return Holm's adjustments of some metrics over all pairs."""
    family = {
        (number, name): one.drafts[name].plain
        for number, one in enumerate(drafts)
        for name in metrics
        if name in one.drafts
    }
    known = {place: estimate.p for place, estimate in family.items() if estimate is not None}
    return dict(zip(known, holm(list(known.values())), strict=True))


def in_natural_order(values: Sequence[str]) -> list[str]:
    """Return values as people count: v9 before v10."""
    return sorted(values, key=natural)
