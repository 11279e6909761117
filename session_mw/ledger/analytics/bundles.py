"""
Sessions of one day that have type, prompt version, channel and confirmation in common, summed up.

What cannot be summed is kept value by value, in a few bytes each: durations, lengths, and users as a hash of 64 bits
(of a million users two are taken for one in one history of forty million). So medians and different users are exact
over any days.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from itertools import chain, repeat
from typing import Any

from ..summary import SETTLED

# What a row is made of, and in which order.
ROW = (
    "pk", "started_ms", "last_ms", "type", "prompt_version", "channel", "confirmed", "user_id", "status", "outcome",
    "turns", "completed", "failed", "duration_ms", "total_tokens", "cost_microusd", "latency_ms",
)  # fmt: skip
SUMS = (
    "sessions", "anonymous", "turns", "failed", "with_errors", "duration_ms", "tokens", "counted", "cost_microusd",
    "priced", "latency_ms", "finished", "resolved", "settled",
)  # fmt: skip
LISTS = ("users", "durations", "actives", "ended", "going", "gaps")
MERGED = ("users", "durations", "actives")  # those that are also kept of whole days
Row = Sequence[Any]


def _list() -> array[int]:
    return array("q")


@dataclass(slots=True)
class Bundle:
    """
    Sums over sessions, and lists of what single ones say, each in rising order once it is ``tidy``.

    Attributes:
        day: On which they started, see ``calendar.Days``.
        type: They have in common.
        prompt_version: The last one that they used.
        channel: They have in common.
        unconfirmed: Nobody confirmed them: bots, webhooks.
        started_ms: First and last start.
        last_ms: First and last end of activity.
        sums: By the names of ``SUMS``.
        users: A hash for each session with a user.
        durations: Of each session.
        actives: Sum of latencies, of each session that knows it.
        ended: Turns of each session that has ended.
        going: Turns of each that has not.
        gaps: Between turns.
        different: How many users there are, where each is in the list once; None: that is to be counted.
    """

    day: int
    type: str | None
    prompt_version: str | None
    channel: str | None
    unconfirmed: bool
    started_ms: tuple[int, int]
    last_ms: tuple[int, int]
    sums: list[int] = field(default_factory=lambda: [0] * len(SUMS))
    users: array[int] = field(default_factory=_list)
    durations: array[int] = field(default_factory=_list)
    actives: array[int] = field(default_factory=_list)
    ended: array[int] = field(default_factory=_list)
    going: array[int] = field(default_factory=_list)
    gaps: array[int] = field(default_factory=_list)
    different: int | None = None

    def tidy(self) -> Bundle:
        """Put the lists in order."""
        for name in LISTS:
            setattr(self, name, array("q", sorted(getattr(self, name))))
        return self


@lru_cache(maxsize=65_536)
def user_key(user_id: str) -> int:
    """Return a number that stands for a user; the same in every process."""
    return int.from_bytes(blake2b(user_id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big", signed=True)


def bundles(
    rows: Iterable[Row], day_of: Callable[[int], int], gaps: Mapping[int, Sequence[int]] | None = None
) -> list[Bundle]:
    """
    Sum sessions up.

    Args:
        rows: The columns ``ROW`` of each.
        day_of: Tells the day of a start.
        gaps: Between the turns of sessions, by their ``pk``; none were asked for when None.
    """
    found: dict[tuple[Any, ...], Bundle] = {}
    for row in rows:
        _, started, last, type_, version, channel, confirmed = row[:7]
        unconfirmed = confirmed is not None and not confirmed
        key = (day_of(started), type_, version, channel, unconfirmed)
        bundle = found.get(key)
        if bundle is None:
            bundle = found[key] = Bundle(*key, (started, started), (last, last))
        _add(bundle, row, (gaps or {}).get(row[0], ()))
    return [bundle.tidy() for bundle in found.values()]


def merged(some: Sequence[Bundle]) -> Bundle:
    """Return the lists of ``MERGED`` of bundles of one day together, whatever their type, version and channel."""
    first = some[0]
    whole = Bundle(first.day, None, None, None, first.unconfirmed, first.started_ms, first.last_ms)
    whole.users = array("q", sorted(set[int]().union(*(one.users for one in some))))
    whole.durations = array("q", sorted(chain.from_iterable(one.durations for one in some)))
    whole.actives = array("q", sorted(chain.from_iterable(one.actives for one in some)))
    whole.different = len(whole.users)
    return whole


PARTS = 16
FEW = 20_000


def different(runs: Iterable[Sequence[int]]) -> int:
    """
    Return how many different values there are.

    Of many they are counted part by part of their range: sets that fit into a processor's cache take half the time.

    Args:
        runs: Each in rising order.
    """
    left = [run for run in runs if run]
    if sum(map(len, left)) <= FEW:
        return len(set[int]().union(*left))
    low, high = min(run[0] for run in left), max(run[-1] for run in left)
    found, begins = 0, [0] * len(left)
    for part in range(1, PARTS + 1):
        ends = list(map(bisect_right, left, repeat(low + (high - low) * part // PARTS), begins))
        found += len(set[int]().union(*(run[begin:end] for run, begin, end in zip(left, begins, ends, strict=True))))
        begins = ends
    return found


def _add(bundle: Bundle, row: Row, gaps: Sequence[int]) -> None:
    _, started, last, _, _, _, _, user, status, outcome, turns, completed, failed, duration, tokens, cost, latency = row
    low, high = bundle.started_ms
    if not low <= started <= high:
        bundle.started_ms = (min(low, started), max(high, started))
    low, high = bundle.last_ms
    if not low <= last <= high:
        bundle.last_ms = (min(low, last), max(high, last))
    one = (
        1, user is None, turns, failed, failed > 0, duration, tokens or 0, tokens is not None, cost or 0,
        cost is not None, latency or 0, 0 if latency is None else completed + failed, outcome == "resolved",
        outcome in SETTLED,
    )  # fmt: skip
    bundle.sums = [total + more for total, more in zip(bundle.sums, one, strict=True)]
    if user is not None:
        bundle.users.append(user_key(user))
    bundle.durations.append(duration)
    if latency is not None:
        bundle.actives.append(latency)
    (bundle.going if status == "active" else bundle.ended).append(turns)
    bundle.gaps.extend(gaps)
