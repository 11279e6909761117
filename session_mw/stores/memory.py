"""
Sessions in the memory of one process: nothing to install, nothing to configure, nothing kept over a restart.

Several workers on ``memory://`` hold several truths: tokens carry the boot id of the store that made them, so that the
mistake is noticed. A forked child starts with an empty store: the parent's sessions are the parent's.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Sequence

from .._clocks import store_clock
from .._core import counting, lifecycle
from .._core.ops import UNHELD, Add, Claim, Claimed, End, Key, Note, StoreStats, Touch, Touched
from .._core.records import EndReason, Limits, SessionRecord, Tombstone
from ._forks import forget_after_fork
from ._pieces import PIECE, let_in, pieces
from ._remembered import Counters, Graves
from ._rows import CONFIRMED, START_EMITTED, Row, Sets, attributes_of, next_look, pack, twin_of, unpack, with_one
from ._wheel import Wheel, least

SCRUB = 200  # forgotten tombstones and counters a claim removes in passing


class MemoryStore:
    """
    Keep live sessions in this process.

    Thread-safe; no call waits for anything but the lock, which a sweep lets go of after every ``PIECE`` of sessions.
    Records that are handed out are not changed by the store any more.

    Args:
        clock: Returns milliseconds since the epoch; this machine's by default, whose steps end no session.

    Attributes:
        clock: By which sessions live and end.
    """

    is_async = False
    name = "memory"

    def __init__(self, clock: Callable[[], int] | None = None) -> None:
        self._clock = self.clock = store_clock(clock, own=True)
        self._reset()
        forget_after_fork(self)

    def _reset(self) -> None:
        """Begin with nothing: at construction, and in a forked child."""
        self._lock = threading.Lock()
        self._boot_id: str | None = None
        self._limits: Limits | None = None
        self._live: dict[str, Row] = {}
        self._looks: Wheel[Row] = Wheel()
        self._ended: dict[Key, SessionRecord] = {}
        self._reports: Wheel[Key] = Wheel()
        self._graves = Graves()
        self._counters = Counters()
        self._sets = Sets()

    @property
    def boot_id(self) -> str:
        """A text that no other process and no other store has: these sessions die with this process."""
        boot_id = self._boot_id
        if boot_id is None:
            with self._lock:
                boot_id = self._boot_id = self._boot_id or f"{os.getpid()}.{secrets.token_hex(6)}"
        return boot_id

    # -- requests

    def touch(self, ask: Touch, /) -> Touched:
        """
        Begin a turn, or note activity.

        The usual case, a session well alive whose user is the same, is done here in place, to the same effect as
        ``lifecycle.touch``; a property test compares them.
        """
        with self._lock:
            now_ms = self._clock()  # while nobody sets it
            row = self._live.get(ask.session_id or "")
            if row is None:
                return self._touch_slowly(ask, None, now_ms)
            limits, last_ms, claimed = ask.limits, row.last_ms, ask.claimed_user
            at_ms = now_ms if now_ms > last_ms else last_ms
            user = ask.given_user or claimed
            if (
                at_ms >= last_ms + limits.idle_ms
                or at_ms >= row.origin_ms + limits.absolute_ms
                or (row.user_id is not None and row.user_id != user)
                or ask.conversation_id is not None
            ):
                return self._touch_slowly(ask, row, now_ms)
            if row.user_id is None:
                row.user_id = user
            if row.bound_ms is None and claimed is not None and claimed == row.user_id:
                row.bound_ms = at_ms
            row.last_ms = at_ms
            row.flags |= CONFIRMED
            if ask.turn:
                row.turns += 1
                row.open_until_ms = at_ms + limits.turn_ms
            rare, kept = row.rare, row.kept
            return Touched(
                "extended",
                row.session_id,
                row.turns,
                row.started_ms,
                at_ms,
                row.origin_ms,
                rare[0],
                rare[5],
                row.user_id,
                None,
                kept if kept.__class__ is dict else attributes_of(kept),
                at_ms - last_ms,
            )

    def _touch_slowly(self, ask: Touch, row: Row | None, now_ms: int) -> Touched:
        """Let the core decide, and write down what it says. The lock is held."""
        self._limits = ask.limits
        record = None if row is None else unpack(row)
        tomb = None if ask.session_id is None else self._tomb(ask.session_id, now_ms)
        most = ask.limits.max_live
        change = lifecycle.touch(record, tomb, ask, now_ms, most is not None and len(self._live) >= most)
        if row is not None and record is not None:
            if change.extended:
                pack(record, row, self._sets, row.kept)
            elif change.frozen:
                self._reports.file([self._freeze(row, record)], max(record.ended_ms or now_ms, record.lease_until_ms))
        if change.tomb is not None and ask.session_id is not None:
            self._bury(ask.session_id, change.tomb, now_ms, lifecycle.forward_ms(ask.limits))
        if change.made is not None:
            self._insert(change.made, ask.limits, now_ms)
        touched = change.touched
        if ask.conversation_id is not None and ask.turn and touched.outcome not in UNHELD:
            touched.conversation_turn = self._counters.count(ask.conversation_id, lifecycle.CONVERSATION_MS, now_ms)
        return touched

    def _insert(self, record: SessionRecord, limits: Limits, now_ms: int) -> None:
        row = self._live[record.session_id] = pack(record, Row(), self._sets, None)
        self._looks.file([row], lifecycle.next_look(record, limits, now_ms))

    def _freeze(self, row: Row, record: SessionRecord) -> Key:
        """Move a frozen record from the living to those whose end has to be reported."""
        del self._live[row.session_id]
        row.kept = None
        key = (record.session_id, record.generation)
        self._ended[key] = record
        if record.generation > 1:  # of the first, the record itself is found
            self._graves.put(record.session_id, lifecycle.epitaph(record), None)
        return key

    def _tomb(self, session_id: str, now_ms: int) -> Tombstone | None:
        """Return what an ended session says to those who present its id."""
        tomb = self._graves.get(session_id, now_ms)
        if tomb is None and (record := self._ended.get((session_id, 1))) is not None:
            return lifecycle.epitaph(record)
        return tomb

    def _bury(self, session_id: str, tomb: Tombstone, now_ms: int, ttl_ms: int) -> None:
        """Write a tombstone; it does not expire while the end has not been reported."""
        waiting = (session_id, tomb.generation) in self._ended
        self._graves.put(session_id, tomb, None if waiting else now_ms + lifecycle.kept_ms(tomb, ttl_ms))

    def add(self, items: Sequence[Add], /) -> list[bool]:
        """Add what turns brought; False where the end was reported, or nothing is known of the session."""
        with self._lock:
            return [self._add(item) for item in items]

    def _add(self, item: Add) -> bool:
        row = self._live.get(item.session_id)
        if row is None or row.rare[0] != item.generation:
            ended = self._ended.get((item.session_id, item.generation))
            return ended is not None and lifecycle.merge(ended, item)
        kept = row.kept if not item.attributes else with_one(row.kept, item.attributes)
        if kept is not None and counting.only_a_turn(item):  # usually, and to the same effect as ``lifecycle.merge``
            row.kept = kept
            row.completed += item.completed
            row.latency_ms += item.latency_ms
            row.last_ms = max(row.last_ms, item.at_ms)
            return True
        record = unpack(row)
        lifecycle.merge(record, item)
        pack(record, row, self._sets, row.kept)
        return True

    def end(self, ask: End, /) -> bool:
        """End a session now; True when this call ended it."""
        now_ms = self._clock()
        with self._lock:
            row = self._live.get(ask.session_id)
            record = None if row is None else unpack(row)
            done = lifecycle.end(record, self._tomb(ask.session_id, now_ms), ask, now_ms)
            if row is not None and record is not None:
                self._reports.file([self._freeze(row, record)], max(record.ended_ms or now_ms, record.lease_until_ms))
            elif done.tomb is not None:
                self._bury(ask.session_id, done.tomb, now_ms, ask.ttl_ms)
            return done.ended

    def renew(self, session_ids: Sequence[str], limits: Limits, /) -> int:
        """Keep sessions with an open turn alive for another ``limits.turn_ms``; returns how many."""
        now_ms, renewed = self._clock(), 0
        with self._lock:
            for session_id in session_ids:
                row = self._live.get(session_id)
                if row is None:
                    continue
                record = unpack(row)
                if lifecycle.renew(record, limits, now_ms):
                    row.open_until_ms = record.open_until_ms
                    renewed += 1
        return renewed

    def read(self, session_id: str, /) -> SessionRecord | None:
        """Return a copy of the newest record of *session_id*, None when there is none."""
        with self._lock:
            row = self._live.get(session_id)
            if row is not None:
                return unpack(row)
            tomb = self._tomb(session_id, self._clock())
            record = self._ended.get((session_id, tomb.generation)) if tomb is not None else None
            return twin_of(record) if record is not None else None

    def count_conversation(self, conversation_id: str, ttl_ms: int, /) -> int:
        """Count a turn of a conversation; returns its number, from 1. Forgotten *ttl_ms* after the last one."""
        now_ms = self._clock()
        with self._lock:
            return self._counters.count(conversation_id, ttl_ms, now_ms)

    # -- sweeping

    def claim(self, ask: Claim, /) -> Claimed:
        """Freeze and lease up to ``ask.limit`` sessions whose end is due."""
        now_ms, records, more = self._clock(), list[SessionRecord](), True
        while more and len(records) < ask.limit:
            with self._lock:
                self._limits = ask.limits
                records += self._claim_ended(ask, now_ms, min(PIECE, ask.limit - len(records)))
                records += self._claim_live(ask, now_ms, min(PIECE, ask.limit - len(records)))
                more = self._reports.ready(now_ms) is not None or self._looks.ready(now_ms) is not None
            let_in()
        with self._lock:
            self._scrub(now_ms, SCRUB)
            if not self._live and not self._ended:
                self._clock.set()
            return Claimed(records, now_ms, least(self._reports.next_ms(), self._looks.next_ms()))

    def _claim_ended(self, ask: Claim, now_ms: int, limit: int) -> list[SessionRecord]:
        """Lease ended sessions that nobody has a lease on."""
        claimed: list[SessionRecord] = []

        def look(key: Key) -> int | None:
            record = self._ended.get(key)
            return None if record is None or lifecycle.dead(record, now_ms) else record.lease_until_ms

        for key in self._reports.take(now_ms, limit, look):
            if self._ended[key].lease_until_ms <= now_ms:  # not filed twice and leased a moment ago
                claimed.append(self._lease(key, ask, now_ms))
        return claimed

    def _lease(self, key: Key, ask: Claim, now_ms: int) -> SessionRecord:
        record = self._ended[key] = twin_of(self._ended[key])
        lifecycle.lease(record, ask.lease_token, now_ms + ask.lease_ms)
        self._reports.file([key], record.lease_until_ms)
        return record

    def _claim_live(self, ask: Claim, now_ms: int, limit: int) -> list[SessionRecord]:
        """Freeze and lease live sessions whose deadline has passed."""
        limits, token, until_ms = ask.limits, ask.lease_token, now_ms + ask.lease_ms
        due = self._looks.take(now_ms, limit, lambda row: next_look(row, limits, now_ms))
        claimed, keys = [], []
        for row in due:
            record = unpack(row)
            lifecycle.expire(record, limits, now_ms)
            keys.append(self._freeze(row, record))
            lifecycle.lease(record, token, until_ms)
            claimed.append(record)
        self._reports.file(keys, until_ms)
        return claimed

    def ack(self, keys: Sequence[Key], lease_token: str, ttl_ms: int, /) -> int:
        """Forget sessions whose end was reported, where *lease_token* holds the lease; returns how many."""
        return sum(self._ack(some, lease_token, ttl_ms) for some in pieces(keys))

    def _ack(self, keys: Sequence[Key], lease_token: str, ttl_ms: int) -> int:
        now_ms, acked = self._clock(), 0
        with self._lock:
            for key in keys:
                record = self._ended.get(key)
                if record is None or record.lease_token != lease_token:
                    continue
                tomb = lifecycle.remember(self._graves.get(key[0], now_ms), lifecycle.bury(record))
                del self._ended[key]
                self._bury(key[0], tomb, now_ms, ttl_ms)
                acked += 1
        return acked

    def nack(self, keys: Sequence[Key], lease_token: str, delay_ms: int, /) -> int:
        """Hand leased sessions back, to be claimed again *delay_ms* from now; returns how many."""
        retry_ms, released = self._clock() + delay_ms, 0
        with self._lock:
            for key in keys:
                record = self._ended.get(key)
                if record is None or record.lease_token != lease_token:
                    continue
                record = self._ended[key] = twin_of(record)
                lifecycle.release(record, retry_ms)
                self._reports.file([key], retry_ms)
                released += 1
        return released

    def annotate(self, notes: Sequence[Note], lease_token: str, /) -> list[bool]:
        """Add what was worked out for the report of ends, once, where *lease_token* holds the lease; returns where."""
        with self._lock:
            return [self._annotate(note, lease_token) for note in notes]

    def _annotate(self, note: Note, lease_token: str) -> bool:
        key = (note.session_id, note.generation)
        if (record := self._ended.get(key)) is None:
            return False
        twin = self._ended[key] = twin_of(record)  # what was handed out does not change
        return lifecycle.annotate(twin, note, lease_token)

    def confirm_start(self, keys: Sequence[Key], /) -> int:
        """Note that ``session.start`` reached its sink; returns for how many sessions."""
        confirmed = 0
        with self._lock:
            for key in keys:
                row = self._live.get(key[0])
                if row is not None and row.rare[0] == key[1]:
                    row.flags |= START_EMITTED
                    confirmed += 1
                elif key in self._ended:
                    record = self._ended[key] = twin_of(self._ended[key])
                    record.start_emitted = True
                    confirmed += 1
        return confirmed

    # -- keeping house

    def stats(self) -> StoreStats:
        """Return what the store holds at present."""
        now_ms = self._clock()
        with self._lock:
            due_ms = least(self._reports.next_ms(), self._looks.next_ms())
            ended = list(self._ended.values())
            dead = sum(lifecycle.dead(record, now_ms) for record in ended)
            return StoreStats(
                live=len(self._live),
                ended=len(ended) - dead,
                claimed=sum(r.lease_token is not None and r.lease_until_ms > now_ms for r in ended),
                dead=dead,
                tombstones=self._graves.count(),
                oldest_due_ms=due_ms if due_ms is not None and due_ms <= now_ms else None,
                now_ms=now_ms,
            )

    def scrub(self, limit: int, /) -> int:
        """Remove up to *limit* tombstones and counters that have expired; returns how many."""
        with self._lock:
            return self._scrub(self._clock(), limit)

    def revive(self, limit: int, /) -> int:
        """Let up to *limit* ends that were set aside be claimed again; returns how many."""
        now_ms = self._clock()
        with self._lock:
            keys = [key for key, record in self._ended.items() if lifecycle.dead(record, now_ms)][:limit]
            for key in keys:
                record = self._ended[key] = twin_of(self._ended[key])
                lifecycle.revive(record)
            self._reports.file(keys, now_ms)
        return len(keys)

    def _scrub(self, now_ms: int, limit: int) -> int:
        return self._graves.scrub(now_ms, limit) + self._counters.scrub(now_ms, limit)

    def drain(self, reason: EndReason = "shutdown") -> int:
        """
        End every live session, so that a last claim returns them all: the process is about to stop.

        Returns:
            How many there were. Those whose deadline had passed ended by it, not by *reason*.
        """
        now_ms = self._clock()
        with self._lock:
            rows = list(self._live.values())
            for row in rows:
                record = unpack(row)
                if self._limits is None or not lifecycle.expire(record, self._limits, now_ms):
                    lifecycle.freeze(record, reason, max(now_ms, record.last_ms))
                self._reports.file([self._freeze(row, record)], record.ended_ms or now_ms)
        return len(rows)

    def close(self) -> None:
        """End every live session (see ``drain``): a last claim returns them."""
        self.drain()
