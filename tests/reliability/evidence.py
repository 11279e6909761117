"""
What the clients were told, held against what the sink was given, what the history has and what the store still holds.

A turn is *acknowledged* when its client has an answer with its number. What was asked and not acknowledged may have
been counted or not: its worker may have been killed before or after the store had it.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from session_mw.ledger import Ledger
from tests.reliability.talkers import IDLE, Asked

END, START = "session.end", "session.start"


@dataclass
class Told:
    """One event as a worker wrote it down; *same* is all of it but its attempt's number, as text."""

    name: str
    uid: str
    attempt: int
    same: str
    pid: int
    batch: int
    at: float
    moment: float = field(init=False)  # of the last activity, seconds since the epoch
    said: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        timestamp_ms, _, self.said = json.loads(self.same)
        self.moment = timestamp_ms / 1000


@dataclass
class Death:
    """Who died at which failpoint, with which ends in its hands."""

    pid: int
    point: str
    uids: list[str]


def lines(path: Path) -> Iterable[Any]:
    """Return what stands in a file, without the lines that a kill has cut: nobody was told that they were written."""
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            yield json.loads(line)
        except ValueError:
            continue


class Chains:
    """Which sessions belong together: one follows the other, or a client went from one to the other."""

    def __init__(self) -> None:
        self._to: dict[str, str] = {}

    def of(self, name: str) -> str:
        """Return the session that stands for all that belong to *name*."""
        while name in self._to:
            name = self._to[name]
        return name

    def join(self, one: str, other: str) -> None:
        """Note that both belong together."""
        one, other = self.of(one), self.of(other)
        if one != other:
            self._to[one] = other


class Evidence:
    """
    Everything that is known after a run.

    Args:
        folder: With the workers' files.
        asked: Every request of every client.
        killed: Processes that were killed, or died at a failpoint.
    """

    def __init__(self, folder: Path, asked: Sequence[Asked], killed: set[int]) -> None:
        told = [Told(*line) for line in lines(folder / "events")]
        self.ends: dict[str, list[Told]] = defaultdict(list)
        for each in told:
            if each.name == END:
                self.ends[each.said["session.id"]].append(each)
        self.started = {each.said["session.id"] for each in told if each.name == START}
        self.asked, self.killed = asked, killed
        self.calls = {request: (name, turn) for request, name, turn in lines(folder / "calls")}
        self.deaths = [Death(*line) for line in lines(folder / "deaths")]
        self._last = {each.pid: each.batch for each in told if each.name == END}  # of each process

    # -- sessions

    @property
    def given(self) -> dict[str, list[int]]:
        """The numbers of acknowledged turns, by session."""
        given: dict[str, list[int]] = defaultdict(list)
        for each in self.asked:
            if each.session_id is not None and each.turn is not None:
                given[each.session_id].append(each.turn)
        return given

    def lost(self) -> list[str]:
        """Sessions with a turn that the store acknowledged whose end, or whose start, nobody was told of."""
        known = self.given.keys() | {name for name, turn in self.calls.values() if turn is not None}
        return [name for name in known if name not in self.ends or name not in self.started]

    def turns(self, session_id: str) -> int:
        """How many turns the end of a session counts; 0 without one."""
        ends = self.ends.get(session_id)
        return ends[0].said["session.total_turns"] if ends else 0

    def unacknowledged(self) -> list[Asked]:
        """Requests that have no answer with a number."""
        return [each for each in self.asked if each.turn is None]

    def miscounted(self) -> list[str]:
        """
        What is wrong with the numbers.

        Of each session: numbers twice, or beyond its count. Of each chain of sessions (an answer that never came may
        have begun the next): acknowledged <= counted <= acknowledged + unacknowledged; and so altogether, with the
        sessions that no client ever heard of. What neither a client nor the application ever saw is no more than what
        may have died on the way between.
        """
        wrong = [
            f"{name}: {sorted(given)} of {self.turns(name)}"
            for name, given in self.given.items()
            if len(set(given)) != len(given) or max(given) > self.turns(name)
        ]
        return wrong + self._chains() + self._unseen()

    def _chains(self) -> list[str]:
        chain = Chains()
        for name, ends in self.ends.items():
            chain.join(name, ends[0].said.get("session.previous_id", name))
        counted, known, maybe = Counter[str](), Counter[str](), Counter[str]()
        for each in self.asked:
            if each.presented and each.session_id:
                chain.join(each.presented, each.session_id)
        for each in self.asked:
            if each.turn is None:
                maybe[chain.of(each.presented or "")] += 1
            elif each.session_id is not None:
                known[chain.of(each.session_id)] += 1
        for name in self.ends:
            counted[chain.of(name)] += self.turns(name)
        wrong = [
            f"chain {root}: {known[root]} <= {counted[root]} <= {known[root] + maybe[root]}"
            for root in known
            if not known[root] <= counted[root] <= known[root] + maybe[root]
        ]
        spare = counted.total() - known.total()
        return wrong if spare <= maybe.total() else [*wrong, f"{spare} turns too many, {maybe.total()} unanswered"]

    def _unseen(self) -> list[str]:
        seen: dict[str, set[int]] = defaultdict(set)
        for name, turn in self.calls.values():
            if turn is not None:
                seen[name].add(turn)
        missing = {name: self.turns(name) - len(numbers) for name, numbers in seen.items()}
        extra = sum(missing.values()) + sum(self.turns(name) for name in self.ends if name not in seen)
        may = sum(self.calls.get(each.request_id, ("", None))[1] is None for each in self.unacknowledged())
        wrong = [f"{name}: {n} turns too few" for name, n in missing.items() if n < 0]
        return wrong if extra <= may else [*wrong, f"{extra} turns that nobody saw, at most {may} died on the way"]

    # -- duplicates

    def again(self) -> list[Told]:
        """Reports of ends that were repeated later by somebody."""
        return [each for ends in self.ends.values() for each in ends[:-1]]

    def differing(self) -> list[str]:
        """Sessions whose reports do not agree in every byte but ``session.emit_attempt``, which has to rise."""
        return [
            name
            for name, ends in self.ends.items()
            if len({(each.uid, each.same) for each in ends}) > 1
            or any(a.attempt >= b.attempt for a, b in pairwise(ends))
        ]

    def unexcused(self) -> list[Told]:
        """Repeated reports that were not in the last batch of a process that was killed."""
        return [each for each in self.again() if each.pid not in self.killed or each.batch != self._last[each.pid]]

    def in_hands(self) -> int:
        """How many ends killed processes had reported last: so many may have come again."""
        batches = {(pid, batch) for pid, batch in self._last.items() if pid in self.killed}
        return sum((each.pid, each.batch) in batches for ends in self.ends.values() for each in ends)

    def wrong_at_failpoints(self) -> list[str]:
        """Ends that were not reported exactly once, and once more for each death between their report and its ack."""
        expected = Counter({ends[0].uid: 1 for ends in self.ends.values()})
        for death in self.deaths:
            if death.point in ("after_emit", "before_ack"):
                expected.update(death.uids)
        found = {ends[0].uid: len(ends) for ends in self.ends.values()}
        return [f"{uid}: {found.get(uid, 0)} times, not {n}" for uid, n in expected.items() if found.get(uid) != n]

    def repeated(self, death: Death) -> int:
        """How many ends of a dead worker's batch it had reported, and somebody did again."""
        return sum(each.uid in death.uids and each.pid == death.pid for each in self.again())

    # -- the history, and time

    def missing_in(self, ledger: Ledger) -> list[str]:
        """Sessions whose end the history does not have, or with another number of turns."""
        rows = {name: ledger.session(name) for name in self.ends}
        return [n for n, row in rows.items() if row is None or row.end_reason is None or row.turns != self.turns(n)]

    def late(self) -> dict[str, float]:
        """The seconds from a session's last activity plus idle timeout to the first report of its end."""
        return {name: ends[0].at - ends[0].moment - IDLE for name, ends in self.ends.items()}
