"""
The background of a process: writes what turns brought, reports starts, and ends sessions nobody came back to.

One thread per process (``_worker``), leaderless: every worker sweeps, leases and fencing tokens keep them apart.
A session's end is acknowledged only when every sink said SUCCESS; otherwise the lease runs out and any worker reports
it again, with the same ``log.record.uid``. Nothing here depends on a drain: at worst the counters of the last moments
before a kill are lost, never a session.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from ._adds import Adds, first
from ._core.counting import together
from ._core.events import EventRecord, end_event, late_event, start_event
from ._core.open_turns import OpenTurns
from ._core.ops import Add, Claim, Claimed, End, Key
from ._core.pace import Pace
from ._core.records import SessionRecord, TurnRecord
from ._core.turn_state import TurnState
from ._late_ends import LateEnds
from ._plan import Plan as Plan
from ._worker import DRAIN_SECONDS, Budget, Worker
from .telemetry import prices
from .telemetry._unhurried import unhurried
from .telemetry.dead_letters import mourn
from .telemetry.notices import once
from .telemetry.suppress import suppressed

logger = logging.getLogger("session_mw")

PRUNE_SECONDS = 600.0  # history is kept for days; ten minutes more or less do not matter
IDLE_SECONDS = 1.0  # longest sleep: how late an end may be noticed when nothing else wakes the thread
BATCH = 500  # records a claim: bounds the time that a store is held (performance: 1.5-6 ms)
LEASE_MS = 30_000  # longer than any sink's timeout (10 s), shorter than anybody's patience
MAX_QUEUE = 10_000
MAX_LOOKS = 100  # claims in a row that only filed sessions again, before the thread does something else


_PARTIAL = (
    "tokens were used here for a session of another service that this service's store does not know: the session's "
    "totals lack them (a session.usage_late with usage.partial tells of each). Give both services the same store."
)
_RANDOM = random.SystemRandom()
_backgrounds: weakref.WeakSet[Background] = weakref.WeakSet()


def _after_fork() -> None:
    for background in list(_backgrounds):
        background.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _jitter() -> float:
    """Keep workers from sweeping in step. Not the global generator: forked workers share its seed."""
    return _RANDOM.uniform(0.5, 1.5)


class Background(Worker):
    """
    Owns the queue of one engine, and the thread that works it off.

    Args:
        plan: What to do.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__(threaded=plan.mode != "request")
        self._plan = plan
        self._adds = Adds(plan.metrics.dropped)
        self._starts: deque[EventRecord] = deque()
        self._turns: deque[TurnRecord] = deque()
        self._ends = LateEnds(plan.metrics.dropped)
        self._leases: dict[str, list[Key]] = {}  # claimed and not answered for yet
        self.stepwise = plan.mode == "request"  # shells have to call ``step`` after responses: there is no thread
        self._due: float | None = None  # when a session may be due next, monotonic seconds
        self._pace = Pace()
        self.behind = False  # whether the last sweep left something that is due
        self._others: bool | None = None  # whether all that came here was of sessions that other services own
        self._prune_at = time.monotonic() + PRUNE_SECONDS * _jitter()
        self._open, self._renew_at = OpenTurns(), 0.0
        self._renew_seconds = plan.limits.turn_ms / 3000  # so one renewal may fail, and the turn is still held
        _backgrounds.add(self)

    def forget(self) -> None:
        """Begin anew in a forked child: what is queued belongs to the parent, whose thread is not here."""
        self._starts, self._turns = deque(), deque()
        self._adds, self._ends = Adds(self._plan.metrics.dropped), LateEnds(self._plan.metrics.dropped)
        self._leases, self._open = {}, OpenTurns()
        self._forget_thread()

    # -- called by shells, must cost next to nothing

    def add(self, item: Add) -> None:
        """Queue what a turn brought; the oldest is dropped, and counted, when the store cannot keep up."""
        self._adds.put(item)
        if not item.remote:
            self._others = False
        elif self._others is None:
            self._others = True
        if not self._wake.is_set():
            self._awake()

    def started(self, event: EventRecord) -> None:
        """Queue a ``session.start``."""
        if len(self._starts) < MAX_QUEUE:
            self._starts.append(event)
        self._awake()

    def turn(self, item: Add | None, turn: TurnRecord | None) -> None:
        """Queue a finished turn: its counters for the store, its line for the history."""
        if item is not None:
            self.add(item)
        if turn is None:
            return
        if len(self._turns) < MAX_QUEUE:
            self._turns.append(turn)
        else:
            self._plan.metrics.dropped("queue_full")
        if item is None and not self._wake.is_set():
            self._awake()

    def end_later(self, ask: End) -> None:
        """Queue an end that the store did not take."""
        self._ends.add(ask)
        self._awake()

    def opened(self, turn: TurnState) -> None:
        """Keep the session of *turn* alive for as long as it runs here."""
        self._open.add(turn)
        self._others = False
        if self._thread is None:
            self._awake()

    def closed(self, turn: TurnState) -> None:
        """Let go of *turn*: it has ended."""
        self._open.remove(turn)

    def take(self, session_id: str) -> list[Add]:
        """Take what is queued for one session out of the queue: it has to be written before the session is ended."""
        return self._adds.take(session_id)

    def kick(self) -> None:
        """Sweep soon: a session was just ended."""
        self._due = 0.0
        self._pace.hurry()
        self._awake()

    # -- the thread

    def step(self, limit: int = BATCH) -> int:
        """
        Do what is due now: write counters, report starts, sweep.

        Args:
            limit: At most so many sessions a claim; a thread goes on while there are more. 0 does not sweep.

        Returns:
            How many ends were reported and acknowledged.
        """
        with suppressed():
            self._guard("write counters", self._flush_adds)
            self._guard("end sessions", partial(self._ends.write, self._plan.store))
            self._guard("report starts", self._flush_starts)
            self._guard("write history", self._flush_turns)
            self._guard("forget and sum up history", self._prune)
            if time.monotonic() >= self._renew_at:
                self._guard("keep open turns alive", self.renew)
            if self._plan.mode == "off" or not limit or self._others:
                return 0
            return self._guard("sweep", lambda: self.sweep(limit)) or 0

    def _nap(self) -> float:
        """Return how long to sleep, seconds: until the next session is due, at most about a second."""
        seconds = min(IDLE_SECONDS, max(0.05, self._renew_seconds))
        if self._due is not None:
            seconds = min(seconds, max(0.005, self._due - time.monotonic()))
        return seconds * _jitter()

    def pass_by(self) -> None:
        """Write what is queued, and sweep a little, after a response (serverless: nothing else ever runs)."""
        began = time.monotonic()
        limit = self._pace.limit if self._pace.due(began) else 0
        done = self.step(limit)
        if limit:
            self._pace.took(began, time.monotonic(), done >= limit)

    async def pass_by_in_thread(self) -> None:
        """Do so off the event loop, if there is anything to do."""
        if self._queued() or self._pace.due(time.monotonic()):
            await asyncio.to_thread(self.pass_by)

    def _guard(self, what: str, work: Callable[[], int]) -> int | None:
        """Nothing that fails here may stop the thread or reach the application; each cause is said once a minute."""
        try:
            return work()
        except Exception as error:
            reason = getattr(error, "reason", "store_error")
            if reason != "breaker_open":  # the store is away, which was said; it is not asked until it may be back
                kind = type(error).__name__
                once(f"{what}:{kind}", logger.error, "cannot %s: %s: %s", what, kind, error, every=60)
                self._plan.metrics.dropped(reason)
            return None

    def _flush_adds(self) -> int:
        written = self._adds.write(self._plan.store, BATCH * 2, self._report_late)
        if self._adds:
            self._go_on()
        return written

    def _report_late(self, late: Sequence[Add]) -> None:
        """
        Report what came after its session's end: usage is never lost, it is a record of its own.

        One for each session, whatever came of it together: a call's tokens and its price come one after the other.
        """
        self._plan.metrics.dropped("late", len(late))
        if any(item.remote for item in late):
            once("usage-partial", logger.warning, _PARTIAL)
        now_ms = self._plan.clock()
        events = [late_event(item, now_ms, secrets.token_hex(8)) for item in together(late)]
        self._deliver([event for event in events if event is not None])

    def _flush_starts(self) -> int:
        events = first(self._starts, BATCH)
        if events and self._deliver(events):
            self._plan.store.confirm_start([event.key for event in events])
        # What was not delivered is reported with the session's end: the record still says so.
        return len(events)

    def _flush_turns(self) -> int:
        turns = first(self._turns, BATCH)
        if turns and self._plan.write_turns is not None:
            try:
                self._plan.write_turns(turns)
            except Exception:
                self._turns.extendleft(reversed(turns))  # writing one again changes nothing
                raise
        if self._turns:
            self._go_on()
        return len(turns)

    def renew(self) -> int:
        """Renew the sessions of turns that have been open for a while; returns how many were."""
        self._renew_at = time.monotonic() + self._renew_seconds
        sessions = self._open.overdue()
        batches = (sessions[at : at + BATCH] for at in range(0, len(sessions), BATCH))
        return sum(self._plan.store.renew(batch, self._plan.limits) for batch in batches)

    def _prune(self) -> int:
        """Forget history past its retention and sum up its days, now and then and a bounded batch at a time."""
        now = time.monotonic()
        if self._plan.prune is None or now < self._prune_at:
            return 0
        forgotten = self._plan.prune()
        self._prune_at = now + (1.0 if forgotten else PRUNE_SECONDS)
        return forgotten

    def _deliver(self, events: Sequence[EventRecord]) -> bool:
        """Hand *events* to every sink; True only when all took them."""
        delivered = True
        if not events:
            return delivered
        for sink in self._plan.sinks:
            try:
                took = sink.emit(events)
            except Exception as error:
                kind = type(error).__name__
                text = "sink %s failed: %s: %s. What it did not take is reported again."
                once(f"sink:{sink.name}:{kind}", logger.error, text, sink.name, kind, error, every=60)
                took = False
            delivered = took and delivered
        return delivered

    def sweep(self, limit: int = BATCH) -> int:
        """Claim sessions whose end is due, report them, and acknowledge what every sink took."""
        done = looks = 0
        self.behind = False
        while True:
            token = secrets.token_hex(8)
            self._due = None  # should the store fail: what was due is no reason to ask it every moment
            claimed = self._plan.store.claim(Claim(token, self._plan.limits, limit, LEASE_MS))
            self._learn(claimed)
            if not claimed.records:
                # Nothing ended among those looked at: others may be due behind them.
                if self.behind and looks < MAX_LOOKS and self._plan.mode != "request" and not self._closing():
                    looks += 1
                    continue
                return done
            self._leases[token] = [(record.session_id, record.generation) for record in claimed.records]
            try:
                done += self._report(claimed.records, token, claimed.now_ms)
            finally:
                self._leases.pop(token, None)
            # A store may hand out fewer than asked for: what is due says whether there are more.
            if not self.behind or self._plan.mode == "request" or self._closing():
                return done

    def _learn(self, claimed: Claimed) -> None:
        """Note what time it is in the store, and when a sweep has to look again."""
        if not self._plan.clock.own:
            self._plan.clock.heard(claimed.now_ms)
        next_ms = claimed.next_due_ms
        self._due = None if next_ms is None else time.monotonic() + (next_ms - claimed.now_ms) / 1000
        self.behind = next_ms is not None and next_ms <= claimed.now_ms

    def _report(self, records: Sequence[SessionRecord], token: str, now_ms: int) -> int:
        if self._plan.settle is not None:
            records = self._plan.settle(records, token)
        if not records:
            return 0
        events: list[EventRecord] = []
        for record in unhurried(records):
            if not record.start_emitted:
                events.append(start_event(record))
            events.append(end_event(record))
        keys: list[Key] = [(record.session_id, record.generation) for record in records]
        if not self._deliver(events):
            # Back off by attempts, so that a dead collector is not hammered; the lease would expire anyway.
            delay = min(60_000, 1_000 * 2 ** min(6, max(record.attempts for record in records)))
            self._plan.store.nack(keys, token, delay)
            mourn(records, self._plan.metrics)
            return 0
        acked = self._plan.store.ack(keys, token, self._plan.tombstone_ms)
        for record in records:
            self._count(record, now_ms)
        return acked

    def _count(self, record: SessionRecord, now_ms: int) -> None:
        duration = max(0, record.last_ms - record.started_ms) / 1000
        self._plan.metrics.session_ended(record.reason or "store_lost", duration)
        self._plan.metrics.sweep_lag(max(0, now_ms - (record.ended_ms or now_ms)) / 1000)

    # -- the end of a process

    def drain(self, timeout: float = DRAIN_SECONDS) -> None:
        """
        Write what is queued, report what is due and hand back what is leased, within *timeout* seconds altogether.

        Called on lifespan shutdown and at exit; correctness does not depend on it.
        """
        budget = Budget(timeout)
        if self._used:
            prices.settle(budget.left(0.25))
        super().drain(budget.left())

    def _queued(self) -> int:
        return len(self._adds) + len(self._ends) + len(self._starts) + len(self._turns)

    def _last(self) -> None:
        """End the sessions that do not outlive the process, with all that their turns brought."""
        closing = getattr(self._plan.store, "drain", None)
        if closing is not None:
            self._guard("write counters", self._flush_adds)
            self._guard("end sessions", lambda: closing("shutdown"))

    def _hand_back(self) -> None:
        """Write what the store takes, and give up leases: another process reports these ends, at once."""
        with suppressed():
            self._guard("write counters", self._flush_adds)
            for token, keys in list(self._leases.items()):
                self._guard("hand sessions back", partial(self._plan.store.nack, keys, token, 0))
            self._guard("write history", self._flush_turns)
