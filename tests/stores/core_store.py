"""The core's own decisions over two dictionaries: what every answer of a store has to be, to the last field."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from session_mw._core import lifecycle
from session_mw._core.identity import SHARDS, shard_of
from session_mw._core.ops import UNHELD, Add, Claim, End, Key, Note, Touch, Touched
from session_mw._core.records import Limits, SessionRecord, Tombstone


class CoreStore:
    """
    Does what a touch, an end or a claim decides, and nothing cleverly.

    Args:
        clock: Returns milliseconds since the epoch.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.newest: dict[str, SessionRecord] = {}
        self.aside: dict[Key, SessionRecord] = {}
        self.tombs: dict[str, tuple[Tombstone, int]] = {}
        self.counts: dict[str, int] = {}

    def _tomb(self, session_id: str, kept: bool) -> Tombstone | None:
        tomb, expires = self.tombs.get(session_id, (None, 0))
        return tomb if kept or expires > self._clock() else None

    def _bury(self, session_id: str, tomb: Tombstone, ttl_ms: int) -> None:
        expires = self._clock() + lifecycle.kept_ms(tomb, ttl_ms)
        self.tombs[session_id] = (tomb, max(expires, self.tombs.get(session_id, (None, 0))[1]))

    def touch(self, ask: Touch) -> Touched:
        presented = ask.session_id or ""
        record = self.newest.get(presented)
        tomb = self._tomb(presented, record is not None)
        change = lifecycle.touch(record, tomb, ask, self._clock(), self._full(ask))
        if change.tomb is not None:
            self._bury(presented, change.tomb, lifecycle.forward_ms(ask.limits))
        made = change.made
        if made is not None:
            if made.session_id == presented:
                self.tombs.pop(presented, None)
                if record is not None:
                    self.aside[presented, record.generation] = record
            self.newest[made.session_id] = made
        touched = copy.deepcopy(change.touched)
        if ask.conversation_id is not None and ask.turn and touched.outcome not in UNHELD:
            number = self.counts[ask.conversation_id] = self.counts.get(ask.conversation_id, 0) + 1
            touched.conversation_turn = number
        return touched

    def _full(self, ask: Touch) -> bool:
        """Whether there is room in the shard that is asked: each has its share."""
        shard, most = shard_of(ask.session_id or ask.new_id), ask.limits.max_live
        live = sum(record.reason is None and shard_of(name) == shard for name, record in self.newest.items())
        return most is not None and live >= -(-most // SHARDS)

    def _find(self, session_id: str, generation: int) -> SessionRecord | None:
        record = self.newest.get(session_id)
        return record if record and record.generation == generation else self.aside.get((session_id, generation))

    def add(self, items: Sequence[Add]) -> list[bool]:
        found = [(self._find(item.session_id, item.generation), item) for item in items]
        return [record is not None and lifecycle.merge(record, item) for record, item in found]

    def end(self, ask: End) -> bool:
        record = self.newest.get(ask.session_id)
        done = lifecycle.end(record, self._tomb(ask.session_id, record is not None), ask, self._clock())
        if done.tomb is not None:
            self._bury(ask.session_id, done.tomb, ask.ttl_ms)
        return done.ended

    def renew(self, session_ids: Sequence[str], limits: Limits) -> int:
        found = [self.newest.get(session_id) for session_id in session_ids]
        return sum(record is not None and lifecycle.renew(record, limits, self._clock()) for record in found)

    def read(self, session_id: str) -> SessionRecord | None:
        return copy.deepcopy(self.newest.get(session_id))

    def claim(self, ask: Claim) -> list[SessionRecord]:
        """Claim everything that is due, in any order."""
        now_ms, claimed = self._clock(), []
        for record in (*self.newest.values(), *self.aside.values()):
            if record.reason is None:
                lifecycle.expire(record, ask.limits, now_ms)
            due = record.reason is not None and max(record.lease_until_ms, record.ended_ms or 0) <= now_ms
            if due and record.attempts <= lifecycle.MAX_ATTEMPTS:
                lifecycle.lease(record, ask.lease_token, now_ms + ask.lease_ms)
                claimed.append(copy.deepcopy(record))
        return claimed

    def _leased(self, key: Key, lease_token: str) -> SessionRecord | None:
        record = self._find(*key)
        return record if record is not None and record.lease_token == lease_token else None

    def ack(self, keys: Sequence[Key], lease_token: str, ttl_ms: int) -> int:
        acked = 0
        for key in keys:
            record = self._leased(key, lease_token)
            if record is None:
                continue
            self._bury(key[0], lifecycle.remember(self._tomb(key[0], True), lifecycle.bury(record)), ttl_ms)
            if self.newest.get(key[0]) is record:
                del self.newest[key[0]]
            else:
                del self.aside[key]
            acked += 1
        return acked

    def nack(self, keys: Sequence[Key], lease_token: str, delay_ms: int) -> int:
        leased = [record for key in keys if (record := self._leased(key, lease_token)) is not None]
        for record in leased:
            lifecycle.release(record, self._clock() + delay_ms)
        return len(leased)

    def annotate(self, notes: Sequence[Note], lease_token: str) -> list[bool]:
        found = [(self._find(note.session_id, note.generation), note) for note in notes]
        return [record is not None and lifecycle.annotate(record, note, lease_token) for record, note in found]

    def revive(self, limit: int) -> int:
        records = (*self.newest.values(), *self.aside.values())
        dead = [record for record in records if lifecycle.dead(record, self._clock())]
        for record in dead[:limit]:
            lifecycle.revive(record)
        return len(dead[:limit])

    def confirm_start(self, keys: Sequence[Key]) -> int:
        found = [record for key in keys if (record := self._find(*key)) is not None]
        for record in found:
            record.start_emitted = True
        return len(found)
