"""What a store promises to those who report ends."""

from __future__ import annotations

from dataclasses import replace

from .._core.lifecycle import MAX_ATTEMPTS
from .._core.ops import Note, StoreStats
from .._core.records import SessionRecord
from .contract_base import MINUTE, Promises, same


def essence(record: SessionRecord) -> SessionRecord:
    """Return *record* without what says how far its report has come."""
    return replace(record, lease_token=None, lease_until_ms=0, attempts=0)


class EndPromises(Promises):
    """Claims, leases, acknowledgements, tombstones."""

    def test_G1_session_nobody_returns_to_is_claimed_at_its_deadline(self) -> None:
        """Not one millisecond earlier; the end is the deadline, the last activity stays what it was."""
        first = self.touch()
        self.clock.advance(ms=self.limits.idle_ms - 1)
        early = self.claimed()
        self.clock.advance(ms=5 * MINUTE)
        record = self.claim("token").records[0]

        same([], early)
        same(("idle_timeout", first.now_ms + self.limits.idle_ms), (record.reason, record.ended_ms))
        same((first.now_ms, "token", 1), (record.last_ms, record.lease_token, record.attempts))
        same(None, self.claim().records or None)

    def test_S24_activity_does_not_postpone_the_absolute_deadline(self) -> None:
        """A session that is kept busy ends at its absolute timeout, with that reason."""
        first = self.touch()
        while self.clock.advance(ms=20 * MINUTE) < first.now_ms + self.limits.absolute_ms:
            self.touch(first.session_id)
        record = self.claim().records[0]

        same(("max_lifetime", first.now_ms + self.limits.absolute_ms), (record.reason, record.ended_ms))

    def test_S55_touched_session_is_not_ended(self) -> None:
        """A claim decides by the last activity, not by the one it was filed under."""
        first, second = self.touch(), self.touch()
        self.clock.advance(ms=20 * MINUTE)
        self.touch(first.session_id)
        self.clock.advance(ms=10 * MINUTE)

        same([second.session_id], self.claimed())
        self.store.ack([(second.session_id, 1)], "lease", MINUTE)
        self.clock.advance(ms=20 * MINUTE - 1)
        same([], self.claimed())
        self.clock.advance(ms=1)
        same([first.session_id], self.claimed())

    def test_S55_end_is_handed_to_one_claimer(self) -> None:
        """Under a lease a session is not handed out again; several claimers share what is due."""
        ids = sorted(self.touch().session_id for _ in range(5))
        self.clock.advance(ms=self.limits.idle_ms)
        shares = [self.claimed(lease_token=token, limit=2) for token in ("a", "b", "c", "d")]

        same([2, 2, 1, 0], [len(share) for share in shares])
        same(ids, sorted(session_id for share in shares for session_id in share))

    def test_G2_end_is_reported_the_same_each_time(self) -> None:
        """A lease that ran out is taken over; the record is equal but for lease and attempts."""
        first = self.touch(attributes={"a": 1})
        self.touch(first.session_id)
        self.clock.advance(ms=self.limits.idle_ms)
        one = self.claim("one", lease_ms=1000).records[0]
        self.add(first.session_id, completed=1, attributes={"a": 2})
        self.touch(first.session_id)
        self.clock.advance(ms=1000)
        two = self.claim("two").records[0]

        same(essence(one), essence(two))
        same([("one", 1), ("two", 2)], [(r.lease_token, r.attempts) for r in (one, two)])

    def test_G2_what_is_worked_out_for_an_end_is_kept_with_it(self) -> None:
        """Totals over a user's sessions are asked for once: whoever reports the end again says the same."""
        self.touch(new_id="first", attributes={"a": 1})
        self.clock.advance(ms=self.limits.idle_ms)
        before = self.claim("one", lease_ms=1000).records[0]
        written = self.store.annotate([Note("first", 1, {"b": True, "c": 2.0, "d": "e"})], "one")
        self.clock.advance(ms=1000)
        after = self.claim("two").records[0]

        same([True], written)
        same({"a": 1}, before.attributes)
        same({"a": 1, "b": True, "c": 2.0, "d": "e", "_frozen": True}, after.attributes)
        same([bool, float], [type(after.attributes[name]) for name in ("b", "c")])
        same(essence(replace(before, attributes=after.attributes)), essence(after))

    def test_G2_what_is_worked_out_for_an_end_is_kept_once(self) -> None:
        """The first is what others may have been told; also that nothing could be worked out."""
        self.touch(new_id="first")
        self.clock.advance(ms=self.limits.idle_ms)
        self.claim("one", lease_ms=1000)
        first = self.store.annotate([Note("first")], "one")
        again = self.store.annotate([Note("first", 1, {"b": 1})], "one")
        self.store.nack([("first", 1)], "one", 0)
        self.claim("two")
        later = self.store.annotate([Note("first", 1, {"b": 2})], "two")

        same(([True], [False], [False]), (first, again, later))
        same({"_frozen": True}, self.must_read("first").attributes)

    def test_G4_only_the_holder_of_the_lease_adds_to_an_end(self) -> None:
        """Not a lease that ran out, nor one that was handed back; nothing is added to the living and the unknown."""
        self.touch(new_id="first")
        self.clock.advance(ms=self.limits.idle_ms)
        self.touch(new_id="alive")
        self.claim("one", lease_ms=1000)
        self.clock.advance(ms=1000)
        self.claim("two", lease_ms=1000)
        notes = [Note("alive", 1, {"b": 1}), Note("first", 1, {"b": 1}), Note("first", 2), Note("unknown")]
        late = self.store.annotate(notes, "one")
        self.store.nack([("first", 1)], "two", 0)
        handed_back = self.store.annotate(notes, "two")
        self.claim("three")
        mine = self.store.annotate(notes, "three")

        same([False] * 4, late)
        same([False] * 4, handed_back)
        same([False, True, False, False], mine)
        same({}, self.must_read("alive").attributes)
        same([], self.store.annotate([], "three"))

    def test_G4_lease_that_ran_out_cannot_acknowledge(self) -> None:
        """The fencing token of an earlier claim means nothing any more."""
        self.touch(new_id="first")
        self.clock.advance(ms=self.limits.idle_ms)
        self.claim("one", lease_ms=1000)
        self.clock.advance(ms=1000)
        self.claim("two", lease_ms=1000)
        key = [("first", 1)]

        same((0, 0), (self.store.ack(key, "one", MINUTE), self.store.nack(key, "one", 0)))
        same(1, self.store.stats().claimed)
        same((1, 0), (self.store.ack(key, "two", MINUTE), self.store.ack(key, "two", MINUTE)))

    def test_acknowledged_end_is_gone(self) -> None:
        """What remains is a tombstone, for as long as was asked."""
        self.touch(new_id="first")
        self.clock.advance(ms=self.limits.idle_ms)
        self.claim()
        acked = self.store.ack([("first", 1), ("unknown", 1)], "lease", MINUTE)

        same(1, acked)
        same(None, self.read("first"))
        same(StoreStats(tombstones=1), self.store.stats())
        self.clock.advance(ms=60 * MINUTE)
        same([], self.claimed())

    def test_handed_back_end_is_due_again_after_its_delay(self) -> None:
        """A claimer whose sink failed says when to try again."""
        self.touch(new_id="first")
        self.clock.advance(ms=self.limits.idle_ms)
        self.claim()
        released = self.store.nack([("first", 1), ("unknown", 1)], "lease", 5000)
        self.clock.advance(ms=4999)
        early = self.claimed()
        self.clock.advance(ms=1)

        same((1, []), (released, early))
        same(2, self.claim("again").records[0].attempts)
        same([], self.claimed())

    def test_G10_end_that_is_never_taken_is_set_aside(self) -> None:
        """After more than 20 attempts a session is kept and counted, and not tried for ever."""
        self.touch(new_id="first")
        self.clock.advance(ms=self.limits.idle_ms)
        tries = 0
        while self.claimed():
            tries += 1
            self.store.nack([("first", 1)], "lease", 10)
            self.clock.advance(ms=10)

        same(MAX_ATTEMPTS + 1, tries)
        same(StoreStats(dead=1), self.store.stats())
        same(tries, self.must_read("first").attempts)
        self.clock.advance(ms=self.limits.absolute_ms)
        same([], self.claimed())

    def test_G10_end_that_was_set_aside_is_revived(self) -> None:
        """Told to, a store has it claimed 20 times more; the record is the same, and takes no numbers."""
        self.touch(new_id="first", attributes={"a": 1})
        self.clock.advance(ms=self.limits.idle_ms)
        first = self._give_up("first")
        revived = [self.store.revive(10), self.store.revive(10)]
        late = self.add("first", completed=1)
        again = self._give_up("first")

        same(([1, 0], False), (revived, late))
        same((MAX_ATTEMPTS + 1, MAX_ATTEMPTS), (len(first), len(again)))
        same([essence(first[0])] * MAX_ATTEMPTS, [essence(record) for record in again])
        same(StoreStats(dead=1), self.store.stats())
        self.store.revive(10)
        self.claim("last")
        same((1, StoreStats(tombstones=1)), (self.store.ack([("first", 1)], "last", MINUTE), self.store.stats()))

    def test_G10_only_what_was_set_aside_is_revived(self) -> None:
        """Not the living, not what waits or is leased; and no more than asked for."""
        for name in ("a", "b", "c"):
            self.touch(new_id=name)
            self.end(name)
        while self.claimed():
            self.store.nack([("a", 1), ("b", 1), ("c", 1)], "lease", 0)
        self.touch(new_id="alive")
        self.touch(new_id="waits")
        self.end("waits")
        self.touch(new_id="leased")
        self.end("leased")
        self.claim("other", limit=1)
        revived = [self.store.revive(2), self.store.revive(0)]
        stats = self.store.stats()
        revived.append(self.store.revive(9))

        same([2, 0, 1], revived)
        same((1, 4, 1, 1), (stats.live, stats.ended, stats.claimed, stats.dead))
        same(4, len(self.claimed()))

    def _give_up(self, session_id: str) -> list[SessionRecord]:
        """Claim and hand back the end of a session until it is set aside; returns what was claimed."""
        claimed: list[SessionRecord] = []
        while found := self.claim().records:
            claimed += found
            self.store.nack([(session_id, 1)], "lease", 10)
            self.clock.advance(ms=10)
        return claimed

    def test_explicit_end_is_due_at_once(self) -> None:
        """Leaving is activity: the last activity is the end."""
        self.touch(new_id="first")
        self.clock.advance(ms=MINUTE)
        self.end("first", "completed")
        record = self.claim().records[0]

        same(("completed", self.clock(), self.clock()), (record.reason, record.ended_ms, record.last_ms))

    def test_forced_end_is_no_activity(self) -> None:
        """A session that was replaced was last active when its user was."""
        first = self.touch(new_id="first")
        self.clock.advance(ms=MINUTE)
        self.end("first", "replaced", next_id="second")
        record = self.claim().records[0]

        same(("replaced", self.clock(), first.now_ms), (record.reason, record.ended_ms, record.last_ms))

    def test_end_found_by_a_touch_is_due_at_once(self) -> None:
        """Who comes back too late ends the session at its deadline, and names the successor in it."""
        first = self.touch(new_id="first")
        self.clock.advance(ms=self.limits.idle_ms + MINUTE)
        self.touch("first", new_id="second")
        record = self.claim().records[0]

        same(("first", "second"), (record.session_id, record.next_id))
        same(("idle_timeout", first.now_ms + self.limits.idle_ms), (record.reason, record.ended_ms))

    def test_sweeper_that_sleeps_until_next_due_misses_nothing(self) -> None:
        """``next_due_ms`` is never later than the next end, although touches do not move the queue."""
        self.touch(new_id="a")
        self.clock.advance(ms=7 * MINUTE)
        self.touch(new_id="b")
        self.touch("a")
        ends: dict[str, int] = {}
        looks = 0
        while (next_ms := (claimed := self.claim()).next_due_ms) is not None and looks < 50:
            ends.update({r.session_id: self.clock() for r in claimed.records})
            self.store.ack([(r.session_id, 1) for r in claimed.records], "lease", MINUTE)
            if not claimed.records:
                self.clock.set(max(next_ms, self.clock() + 1))
                looks += 1
        due_ms = self.clock() if not ends else ends["b"]

        same({"a": due_ms, "b": due_ms}, ends)
        same(True, looks < 50)

    def test_turn_that_ends_early_does_not_hide_its_session(self) -> None:
        """A long open turn postpones the look at its session by an idle time at most."""
        limits = replace(self.limits, idle_ms=MINUTE, turn_ms=60 * MINUTE)
        self.touch(new_id="first", limits=limits)
        looks = []
        for _ in range(3):
            next_ms = self.claim(limits=limits).next_due_ms
            self.clock.set(next_ms or 0)
            looks.append(next_ms)
        self.add("first", completed=1)
        self.clock.advance(ms=MINUTE)

        same(["first"], self.claimed(limits=limits))

    def test_limit_of_a_claim_is_kept(self) -> None:
        """What is left is due at once."""
        for _ in range(7):
            self.touch()
        self.clock.advance(ms=self.limits.idle_ms)
        claimed = self.claim(limit=3)

        same(3, len(claimed.records))
        same(True, claimed.next_due_ms is not None and claimed.next_due_ms <= claimed.now_ms)
        same((4, 3), (len(self.claimed()), self.store.stats().claimed - 4))

    def test_explicit_end_waits_for_counters_of_other_workers(self) -> None:
        """An end may be held back for a moment: what another worker writes meanwhile is in the report."""
        self.touch(new_id="a")
        self.end("a", settle_ms=1_000)
        before = self.claim().records
        counted = self.add("a", completed=1, input_tokens=7)
        self.clock.advance(ms=1_000)
        (record,) = self.claim().records

        same(([], True), (before, counted))
        same((1, 7, "user_exit"), (record.completed, record.input_tokens, record.reason))
        same(False, self.add("a", completed=1))

    def test_start_is_confirmed_once_it_was_reported(self) -> None:
        """Whether alive or ended; other generations and unknown ids are not."""
        self.touch(new_id="alive")
        self.touch(new_id="ended")
        self.end("ended")
        keys = [("alive", 1), ("ended", 1), ("alive", 2), ("unknown", 1)]

        same(2, self.store.confirm_start(keys))
        same([True, True], [self.must_read(i).start_emitted for i in ("alive", "ended")])
        same(True, self.claim().records[0].start_emitted)

    def test_G14_what_is_counted_is_what_is_there(self) -> None:
        """Numbers of sessions alive, ended, leased; the earliest one that waits."""
        for name in ("a", "b", "c", "d"):
            self.touch(new_id=name)
        self.end("a")
        self.end("b")
        before = self.store.stats()
        self.claim(limit=1)

        same((2, 2, 0), (before.live, before.ended, before.claimed))
        same((2, 2, 1), (self.store.stats().live, self.store.stats().ended, self.store.stats().claimed))
        same((self.clock(), self.clock()), (before.oldest_due_ms, before.now_ms))

    def test_scrub_removes_what_expired_and_nothing_else(self) -> None:
        """Tombstones go after their time, a bounded number a call."""
        for name in ("a", "b", "c"):
            self.touch(new_id=name)
            self.end(name, "completed")
        self.claim()
        self.store.ack([("a", 1), ("b", 1)], "lease", MINUTE)
        self.store.ack([("c", 1)], "lease", 3 * MINUTE)
        early = self.store.scrub(100)
        self.clock.advance(ms=2 * MINUTE)
        removed = [self.store.scrub(1), self.store.scrub(100), self.store.scrub(100)]

        same((0, [1, 1, 0], 1), (early, removed, self.store.stats().tombstones))

    def test_S20_closed_session_is_remembered_longer_than_asked(self) -> None:
        """A token is void after a logout for as long as it may be presented."""
        self.touch(new_id="first", given_user="u_a")
        self.end("first", ttl_ms=MINUTE)
        self.claim()
        self.store.ack([("first", 1)], "lease", MINUTE)
        self.clock.advance(ms=23 * 60 * MINUTE)
        self.store.scrub(100)
        touched = self.touch("first", claimed_user="u_a", previous_id="first")

        same(("rotated", None), (touched.outcome, touched.user_id))
