"""What a store promises to requests."""

from __future__ import annotations

from dataclasses import replace

from .._core.ops import Add
from .._core.records import SessionRecord
from .contract_base import MINUTE, Promises, same


class TouchPromises(Promises):
    """Turns, timeouts, users, successors."""

    # -- turns

    def test_first_turn_starts_a_session(self) -> None:
        """A touch without an id makes a session under the candidate id, with turn 1."""
        touched = self.touch(new_id="first")

        same(("started", "first", 1), (touched.outcome, touched.session_id, touched.turn_number))
        same((self.clock(), self.clock(), self.clock()), (touched.started_ms, touched.now_ms, touched.origin_ms))

    def test_G13_turns_are_numbered_from_one_without_gap(self) -> None:
        """Each turn of a session gets the next number, and the record counts them."""
        first = self.touch()
        numbers = [self.touch(first.session_id).turn_number for _ in range(4)]

        same([2, 3, 4, 5], numbers)
        same(5, self.must_read(first.session_id).turns)

    def test_activity_that_is_no_turn_extends_and_counts_nothing(self) -> None:
        """``turn=False`` moves the last activity and nothing else."""
        first = self.touch()
        self.clock.advance(seconds=60)
        touched = self.touch(first.session_id, turn=False)
        record = self.must_read(first.session_id)

        same(("extended", 1), (touched.outcome, touched.turn_number))
        same((1, self.clock()), (record.turns, record.last_ms))

    def test_attributes_keep_names_and_types(self) -> None:
        """What a session starts with is handed to each of its turns; True, 1 and 1.0 stay apart."""
        given = {"a": True, "b": 1, "c": 1.0, "d": "1", "é": "\ud800 \x00 ☃"}
        first = self.touch(attributes=given)
        other = self.touch(attributes={"a": 1, "b": True, "c": 1, "d": "1"})
        found = dict(self.touch(first.session_id, attributes={"a": "late"}).attributes)

        same([(k, v, type(v)) for k, v in given.items()], [(k, v, type(v)) for k, v in found.items()])
        same([1, True, 1, "1"], list(self.must_read(other.session_id).attributes.values()))

    def test_later_requests_confirm_a_session(self) -> None:
        """A session counts as confirmed once a later request presented its token."""
        first = self.touch()
        before = self.must_read(first.session_id).confirmed
        self.touch(first.session_id)

        same((False, True), (before, self.must_read(first.session_id).confirmed))

    def test_records_read_are_copies(self) -> None:
        """Changing a record that was read changes nothing in the store."""
        first = self.touch(attributes={"a": 1})
        record = self.must_read(first.session_id)
        record.turns, record.attributes["a"] = 99, 2

        same((1, {"a": 1}), (self.must_read(first.session_id).turns, self.must_read(first.session_id).attributes))

    # -- timeouts

    def test_S22_idle_timeout_is_enforced_by_the_store(self) -> None:
        """One millisecond before the deadline a touch extends, at the deadline it starts the successor."""
        first = self.touch()
        self.clock.advance(ms=self.limits.idle_ms - 1)
        extended = self.touch(first.session_id)
        self.clock.advance(ms=self.limits.idle_ms)
        rotated = self.touch(first.session_id)

        same(("extended", 2), (extended.outcome, extended.turn_number))
        same((None, self.limits.idle_ms - 1, None), (first.idle_ms, extended.idle_ms, rotated.idle_ms))
        same(("rotated", 1, first.session_id), (rotated.outcome, rotated.turn_number, rotated.previous_id))

    def test_S24_absolute_timeout_counts_from_the_origin(self) -> None:
        """No activity moves the absolute deadline, and a session made from a token keeps the token's origin."""
        origin_ms = self.clock() - self.limits.absolute_ms + 2 * MINUTE
        self.touch("given", own=True, origin_ms=origin_ms)
        self.clock.advance(ms=2 * MINUTE - 1)
        extended = self.touch("given", own=True)
        self.clock.advance(ms=1)
        rotated = self.touch("given", own=True)

        same(("extended", origin_ms), (extended.outcome, extended.origin_ms))
        same("rotated", rotated.outcome)

    def test_open_turn_outlives_the_idle_timeout(self) -> None:
        """A turn keeps its session alive for the turn timeout; once it has ended, idleness counts again."""
        limits = replace(self.limits, turn_ms=50 * MINUTE)
        first = self.touch(limits=limits)
        self.clock.advance(ms=40 * MINUTE)
        during = self.touch(first.session_id, limits=limits)
        self.add(first.session_id, completed=2)
        self.clock.advance(ms=40 * MINUTE)

        same("extended", during.outcome)
        same("rotated", self.touch(first.session_id, limits=limits).outcome)

    def test_G12_clock_that_steps_back_ends_and_shortens_nothing(self) -> None:
        """After a step back a session is alive as long as before, and its numbers go on."""
        self.clock.advance(seconds=3600)
        first = self.touch()
        last_ms = self.clock()
        self.clock.advance(seconds=-3600)
        extended = self.touch(first.session_id)

        same(("extended", 2, last_ms), (extended.outcome, extended.turn_number, extended.now_ms))
        same([], self.claimed())
        self.clock.set(last_ms + self.limits.idle_ms - 1)
        same("extended", self.touch(first.session_id).outcome)

    def test_renewal_keeps_an_open_turn_alive(self) -> None:
        """``renew`` gives an open turn another turn timeout, and leaves ended and unknown sessions alone."""
        limits = replace(self.limits, turn_ms=40 * MINUTE)
        first, ended = self.touch(limits=limits), self.touch(limits=limits)
        self.end(ended.session_id)
        self.clock.advance(ms=35 * MINUTE)
        renewed = self.store.renew([first.session_id, ended.session_id, "unknown"], limits)
        self.clock.advance(ms=35 * MINUTE)

        same(1, renewed)
        same("extended", self.touch(first.session_id, limits=limits).outcome)

    # -- successors

    def test_G14_touches_of_an_expired_id_make_one_successor(self) -> None:
        """The first makes it, the others are sent to it; before its end was reported as well as afterwards."""
        first = self.touch()
        self.clock.advance(ms=self.limits.idle_ms)
        made = self.touch(first.session_id)
        before = [self.touch(first.session_id) for _ in range(3)]
        self.store.ack([(first.session_id, 1)], self.claim().records[0].lease_token or "", 60 * MINUTE)
        after = [self.touch(first.session_id) for _ in range(3)]

        same({("moved", made.session_id)}, {(t.outcome, t.session_id) for t in before + after})
        same(1, self.store.stats().live)

    def test_G14_successor_made_while_the_end_is_reported_stays_the_one(self) -> None:
        """The acknowledgement of an end does not forget where its session went on."""
        first = self.touch()
        self.clock.advance(ms=self.limits.idle_ms)
        self.claim()
        made = self.touch(first.session_id)
        self.store.ack([(first.session_id, 1)], "lease", 60 * MINUTE)
        after = self.touch(first.session_id)

        same(("rotated", "moved", made.session_id), (made.outcome, after.outcome, after.session_id))

    def test_G14_first_turns_of_one_provisional_id_make_one_session(self) -> None:
        """Parallel first turns with the same signed id find each other."""
        touched = [self.touch("minted", own=True, previous_id="earlier") for _ in range(3)]

        same(["started", "extended", "extended"], [t.outcome for t in touched])
        same([("minted", 1), ("minted", 2), ("minted", 3)], [(t.session_id, t.turn_number) for t in touched])
        same("earlier", touched[2].previous_id)

    def test_S16_unknown_id_is_never_adopted(self) -> None:
        """An id that the store never had, or forgot, gets a fresh session, one for all that present it."""
        touched = self.touch("forgotten", previous_id="forgotten")
        again = self.touch("forgotten", previous_id="forgotten")

        same("rotated", touched.outcome)
        same(("moved", touched.session_id), (again.outcome, again.session_id))
        same(None, self.read("forgotten"))

    def test_G9_lost_session_goes_on_under_its_id(self) -> None:
        """What a fresh token says replaces what the store lost: same id, its start, and the next number."""
        started_ms = self.clock() - MINUTE
        touched = self.touch("lost", recover_turns=7, origin_ms=started_ms, claimed_user="u")
        record = self.must_read("lost")

        same(("recovered", "lost", 8), (touched.outcome, touched.session_id, touched.turn_number))
        same((True, started_ms, "u"), (record.recovered, record.started_ms, record.user_id))
        same(1, record.open_turns)

    def test_S21_ended_session_is_not_resurrected(self) -> None:
        """Neither a touch nor a recovery nor a late write brings back what has ended."""
        first = self.touch()
        self.clock.advance(ms=self.limits.idle_ms)
        record = self.claim().records[0]
        late = self.add(first.session_id, completed=1)
        self.store.ack([(first.session_id, 1)], "lease", 60 * MINUTE)
        later = self.add(first.session_id, completed=1)
        touched = self.touch(first.session_id, recover_turns=1, origin_ms=record.started_ms)

        same((False, False), (late, later))
        same(("rotated", 1), (touched.outcome, touched.turn_number))
        same(None, self.read(first.session_id))

    def test_kept_id_begins_its_next_generation(self) -> None:
        """An id that the application chose is used again after its end; each generation has its own record."""
        first = self.touch("job-1", keep=True)
        self.clock.advance(ms=self.limits.idle_ms)
        second = self.touch("job-1", keep=True)
        self.end("job-1")
        third = self.touch("job-1", keep=True)

        found = [(t.outcome, t.session_id, t.generation, t.turn_number) for t in (first, second, third)]
        same([("started", "job-1", 1, 1), ("renewed", "job-1", 2, 1), ("renewed", "job-1", 3, 1)], found)
        same((True, True), (self.add("job-1", generation=2), self.add("job-1", generation=3, completed=1)))
        ended = {(r.session_id, r.generation, r.completed) for r in self.claim().records}
        same({("job-1", 1, 0), ("job-1", 2, 0)}, ended)
        same(False, self.add("job-1", generation=2))

    def test_kept_id_counts_generations_after_reports_in_any_order(self) -> None:
        """The newest generation speaks for the id, however late an older one's end is acknowledged."""
        self.touch("job-1", keep=True)
        self.end("job-1", "completed")
        self.claim("early")
        self.touch("job-1", keep=True)
        self.end("job-1", "completed")
        self.claim("later")
        self.store.ack([("job-1", 2)], "later", 60 * MINUTE)
        self.store.ack([("job-1", 1)], "early", 60 * MINUTE)

        same(3, self.touch("job-1", keep=True).generation)

    # -- users

    def test_first_user_keeps_the_session(self) -> None:
        """Anonymous to identified is no boundary: the turns so far belong to the user."""
        first = self.touch()
        known = self.touch(first.session_id, given_user="u_a")
        anonymous = self.touch(first.session_id)

        same(("extended", "u_a", 2), (known.outcome, known.user_id, known.turn_number))
        same(("extended", "u_a", 3), (anonymous.outcome, anonymous.user_id, anonymous.turn_number))

    def test_S19_unbound_tokens_are_refused_once_a_bound_one_was_presented(self) -> None:
        """A planted token is worth nothing after the login, but for a grace while the client updates its own."""
        first = self.touch()
        self.touch(first.session_id, given_user="u_a")
        self.clock.advance(ms=self.limits.skew_ms * 5)
        never_updated = self.touch(first.session_id)
        self.touch(first.session_id, claimed_user="u_a")
        self.clock.advance(ms=self.limits.skew_ms - 1)
        within = self.touch(first.session_id)
        self.clock.advance(ms=1)
        refused = self.touch(first.session_id)

        same(["extended", "extended", "refused"], [t.outcome for t in (never_updated, within, refused)])
        same((None, None, 1), (refused.user_id, refused.previous_id, refused.turn_number))
        same(5, self.must_read(first.session_id).turns)

    def test_S19_another_user_ends_the_session(self) -> None:
        """A session never holds two users: the first one's ends, the second one's follows it."""
        first = self.touch(given_user="u_a")
        second = self.touch(first.session_id, given_user="u_b", claimed_user="u_a")
        ended = self.claim().records[0]

        same(("rotated", "u_b", first.session_id), (second.outcome, second.user_id, second.previous_id))
        same(("replaced", "u_a", second.session_id, 1), (ended.reason, ended.user_id, ended.next_id, ended.turns))

    def test_S20_logout_voids_what_the_token_says_of_the_user(self) -> None:
        """After a logout the old token starts a session without the user, reported or not, known or provisional."""
        self.touch("seen", own=True, claimed_user="u_a")
        ends = [self.end("seen"), self.end("seen"), self.end("minted")]
        unreported = self.touch("seen", own=True, claimed_user="u_a")
        provisional = self.touch("minted", own=True, claimed_user="u_a")

        same([True, False, False], ends)
        same([("rotated", None)] * 2, [(t.outcome, t.user_id) for t in (unreported, provisional)])

    def test_S20_logout_of_an_expired_session_counts_too(self) -> None:
        """A session that had ended by itself is closed for its token all the same; its record stays as it was."""
        first = self.touch(given_user="u_a")
        self.clock.advance(ms=self.limits.idle_ms)
        before = self.claim().records[0]
        ended = self.end(first.session_id)
        touched = self.touch(first.session_id, claimed_user="u_a")

        same((False, "rotated", None), (ended, touched.outcome, touched.user_id))
        same("idle_timeout", before.reason)
        same(before, self.must_read(first.session_id))

    def test_S18_rotation_leads_to_the_named_successor(self) -> None:
        """An end that names a successor forwards the old id; the successor starts with its first turn."""
        first = self.touch()
        ended = self.end(first.session_id, "replaced", next_id="after")
        moved = self.touch(first.session_id)
        started = self.touch("after", own=True, previous_id=first.session_id)

        same((True, "moved", "after"), (ended, moved.outcome, moved.session_id))
        same(("started", first.session_id), (started.outcome, started.previous_id))
        same("after", self.claim().records[0].next_id)

    # -- what turns bring

    def test_counters_add_up_and_unknown_stays_unknown(self) -> None:
        """Sums are exact; a number that nobody reported is None, not zero."""
        first = self.touch()
        self.add(first.session_id, completed=1, latency_ms=40, input_tokens=3)
        self.add(first.session_id, failed=1, latency_ms=2, input_tokens=4, cost_microusd=0)
        record = self.must_read(first.session_id)

        same((1, 1, 42), (record.completed, record.failed, record.latency_ms))
        same((7, None, 0), (record.input_tokens, record.output_tokens, record.cost_microusd))

    def test_attributes_are_merged_and_removed(self) -> None:
        """An added attribute replaces an earlier one, None removes it, the others stay."""
        first = self.touch(attributes={"a": 1, "b": "x", "c": True})
        self.add(first.session_id, attributes={"a": 1.0, "d": "new"})
        self.add(first.session_id, attributes={"b": None, "d": "newer", "never": None})
        attributes = dict(self.touch(first.session_id).attributes)

        same({"a": 1.0, "c": True, "d": "newer"}, attributes)
        same(float, type(attributes["a"]))

    def test_late_activity_counts_and_zero_changes_nothing(self) -> None:
        """The end of a turn is activity; an item without a time is none, and none is ever taken back."""
        first = self.touch()
        self.clock.advance(ms=MINUTE)
        self.add(first.session_id, at_ms=0)
        before = self.must_read(first.session_id).last_ms
        self.add(first.session_id)
        self.add(first.session_id, at_ms=first.now_ms)

        same((first.now_ms, self.clock()), (before, self.must_read(first.session_id).last_ms))

    def test_group_of_items_is_answered_one_by_one(self) -> None:
        """One call for many items; unknown sessions and other generations are refused, the rest is kept."""
        first = self.touch()
        items = [Add(first.session_id, completed=1), Add("unknown"), Add(first.session_id, 2), Add(first.session_id)]

        same([True, False, False, True], self._ask("add", items))
        same([], self._ask("add", []))
        same(1, self.must_read(first.session_id).completed)

    def test_absurd_numbers_and_texts_stop_nobody(self) -> None:
        """A number beyond 64 bits, a lone surrogate, NaN: the item is taken and others are kept."""
        first = self.touch()
        odd = {"s": "\udfff", "n": float("inf"), "l": "x" * 100_000}

        same(True, self.add(first.session_id, completed=1, input_tokens=10**30, attributes=odd))
        same(1, self.must_read(first.session_id).completed)

    # -- conversations

    def test_turns_of_a_conversation_are_numbered_across_sessions(self) -> None:
        """A conversation has its own count; what is no turn, or only forwarded, is not counted."""
        first = self.touch(conversation_id="c")
        self.touch(first.session_id, conversation_id="c", turn=False)
        self.clock.advance(ms=self.limits.idle_ms)
        rotated = self.touch(first.session_id, conversation_id="c")
        moved = self.touch(first.session_id, conversation_id="c")
        plain = self.touch(rotated.session_id)

        same([1, 2], [first.conversation_turn, rotated.conversation_turn])
        same([None, None], [moved.conversation_turn, plain.conversation_turn])
        same(3, self._ask("count_conversation", "c", MINUTE))

    def test_conversation_counter_is_forgotten_after_its_time(self) -> None:
        """Kept for at least its time after the last turn, and not for ever."""
        numbers = [self._ask("count_conversation", "c", MINUTE) for _ in range(2)]
        self.clock.advance(ms=MINUTE - 1)
        numbers.append(self._ask("count_conversation", "c", MINUTE))
        self.clock.advance(ms=MINUTE - 1)
        numbers.append(self._ask("count_conversation", "c", MINUTE))
        self.clock.advance(ms=3 * MINUTE)
        numbers.append(self._ask("count_conversation", "c", MINUTE))

        same([1, 2, 3, 4, 1], numbers)

    def test_unknown_session_has_no_record(self) -> None:
        """Reading creates nothing."""
        same(None, self.read("unknown"))
        same(0, self.store.stats().live)

    def test_new_record_says_what_is_known_and_no_more(self) -> None:
        """A fresh record holds its start and its open turn; everything else is absent."""
        self.touch(new_id="first", partial=True)
        now_ms = self.clock()
        expected = SessionRecord(
            "first",
            started_ms=now_ms,
            last_ms=now_ms,
            origin_ms=now_ms,
            open_until_ms=now_ms + self.limits.turn_ms,
            turns=1,
            partial=True,
        )

        same(expected, self.must_read("first"))
