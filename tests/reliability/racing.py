"""
Touches of one session from six sides at once, around its deadline, while two sweepers end what is due.

Processes where processes share a store, threads where threads do. Each side opens the store for itself; what it found
comes back through a queue.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import get_context
from queue import SimpleQueue
from typing import Any

from session_mw._core.flows import follow
from session_mw._core.identity import make_session_id
from session_mw._core.ops import Claim, SessionStore, Touch, Touched
from session_mw._core.records import Limits
from session_mw._drive import run_sync
from tests.patience import PATIENCE

PARALLEL, SWEEPERS = 6, 2
SHORT = Limits(idle_ms=30, absolute_ms=3_600_000, turn_ms=1, skew_ms=60_000)
LEASE_MS = 60_000  # nobody dies here: whoever claims acknowledges
Open = Callable[[], SessionStore]
End = tuple[str, int, "str | None", "str | None"]  # session, turns, which it continues, which continues it
NEAR = (0.002, 0.001)  # seconds around the deadline: of all touches together, and of each beside the others


class Threads:
    """Sides that are threads of this process."""

    start = staticmethod(lambda work, *args: _started(threading.Thread(target=work, args=args, daemon=True)))
    queue, event = SimpleQueue, threading.Event


class Processes:
    """Sides that are forked processes."""

    _fork = get_context("fork")
    start = staticmethod(lambda work, *args: _started(Processes._fork.Process(target=work, args=args, daemon=True)))
    queue, event = _fork.SimpleQueue, _fork.Event


def _started(side: Any) -> Any:
    side.start()
    return side


def new_id(keep: str | None = None) -> str:
    """Return a session id of the shard of *keep*."""
    return make_session_id(secrets.token_bytes(24), keep=keep)


def turn(store: SessionStore, session_id: str | None) -> Touched:
    """Begin a turn as requests do: who is sent on follows."""
    first = Touch(session_id, lambda: new_id(session_id), SHORT)
    touched = store.touch(first)
    return run_sync(follow(first, touched), store) if touched.outcome == "moved" else touched


def touching(open_store: Open, inbox: Any, outbox: Any) -> None:
    """Begin a turn of each session that *inbox* names, at the moment that it names."""
    try:
        store = open_store()
        while (item := inbox.get()) is not None:
            session_id, at = item
            time.sleep(max(0.0, at - time.time()))
            touched = turn(store, session_id)
            outbox.put(("turn", touched.session_id, touched.turn_number))
    except BaseException as error:
        outbox.put(("failed", repr(error), 0))


def sweeping(open_store: Open, stop: Any, outbox: Any) -> None:
    """End what is due until told to stop."""
    try:
        store = open_store()
        while not stop.is_set():
            if ends := sweep(store):
                outbox.put(("ended", ends, 0))
    except BaseException as error:
        outbox.put(("failed", repr(error), 0))


def sweep(store: SessionStore) -> list[End]:
    """End what is due, once; returns what ended."""
    token = secrets.token_hex(4)
    records = store.claim(Claim(token, SHORT, 50, LEASE_MS)).records
    if not records:
        time.sleep(0.001)
        return []
    acked = store.ack([(r.session_id, r.generation) for r in records], token, 600_000)
    assert acked == len(records)
    return [(r.session_id, r.turns, r.previous_id, r.next_id) for r in records]


@dataclass
class Found:
    """
    What came of a race.

    Attributes:
        given: Turn numbers that were given out, by session.
        ended: How often each session was reported.
        turns: How many turns its report counts.
        successors: How many sessions continue each one; under None how many continue none.
        closed_by_touch: Sessions that the touch ended that came too late.
        extended: Trials in which the touches came in time.
        failures: Of the sides.
    """

    given: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    ended: Counter[str] = field(default_factory=Counter)
    turns: dict[str, int] = field(default_factory=dict)
    successors: Counter[str | None] = field(default_factory=Counter)
    closed_by_touch: int = 0
    extended: int = 0
    failures: list[str] = field(default_factory=list)

    def end(self, ends: list[End]) -> None:
        """Note ends."""
        for session_id, turns, previous_id, next_id in ends:
            self.ended[session_id] += 1
            self.turns[session_id] = turns
            self.successors[previous_id] += 1
            self.closed_by_touch += next_id is not None

    def miscounted(self) -> list[str]:
        """Sessions whose turns are not those that were given out, from 1 without a gap."""
        names = self.given.keys() | self.turns.keys()
        return [n for n in names if sorted(self.given.get(n, [])) != list(range(1, self.turns.get(n, 0) + 1))]

    def forked(self) -> list[str | None]:
        """Sessions that several continue."""
        return [name for name, count in self.successors.items() if name is not None and count > 1]

    def doubled(self) -> list[str]:
        """Sessions that were reported several times."""
        return [name for name, count in self.ended.items() if count > 1]


class Race:
    """
    Runs trials one after the other.

    Args:
        sides: ``Threads`` or ``Processes``.
        open_store: Called by each side for itself.
    """

    def __init__(self, sides: Any, open_store: Open) -> None:
        self.found = Found()
        self._out, self._stop = sides.queue(), sides.event()
        self._inboxes = [sides.queue() for _ in range(PARALLEL)]
        self._sides = [sides.start(touching, open_store, inbox, self._out) for inbox in self._inboxes]
        self._sides += [sides.start(sweeping, open_store, self._stop, self._out) for _ in range(SWEEPERS)]
        self._store = open_store()

    def run(self, trials: int) -> Found:
        """Run so many, end every session, and return what came of it."""
        try:
            for number in range(trials):
                self._trial(NEAR[0] * (number % 11 - 5) / 5)
                if self.found.failures:
                    break
        finally:
            self._over()
        return self.found

    def _trial(self, late: float) -> None:
        """Begin a session, and have all touch it *late* seconds after its deadline, or before."""
        found = self.found
        first = turn(self._store, None)
        for inbox in self._inboxes:
            beside = random.uniform(-NEAR[1], NEAR[1])
            inbox.put((first.session_id, (first.now_ms + SHORT.idle_ms) / 1000 + late + beside))
        found.given[first.session_id].append(first.turn_number or 0)
        stayed = heard = 0
        while heard < PARALLEL and not found.failures:
            told = self._hear()
            if told is not None:
                heard += 1
                stayed += told == first.session_id
        found.extended += stayed == PARALLEL

    def _hear(self) -> str | None:
        """Take one message; returns the session that a turn went to."""
        kind, told, number = self._out.get()
        if kind == "turn":
            self.found.given[told].append(number)
            return str(told)
        if kind == "ended":
            self.found.end(told)
        else:
            self.found.failures.append(told)
        return None

    def _over(self) -> None:
        """Stop all sides, and end what has not ended."""
        self._stop.set()
        for inbox in self._inboxes:
            inbox.put(None)
        for side in self._sides:
            side.join(10 * PATIENCE)
        while not self._out.empty():
            self._hear()
        limit = time.monotonic() + 10 * PATIENCE
        while (stats := self._store.stats()).live + stats.ended and time.monotonic() < limit:
            self.found.end(sweep(self._store))
