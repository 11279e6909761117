"""What a store promises when it holds as many sessions as it may."""

from __future__ import annotations

from dataclasses import replace
from itertools import count, islice

from .._core.identity import shard_of
from .._core.ops import Touched
from .._core.records import Limits
from .contract_base import MINUTE, Promises, same


def near(many: int) -> list[str]:
    """Return ids of one shard: a store that is kept in shards may bound each by its share."""
    return list(islice((name for name in map("near-{}".format, count()) if shard_of(name) == 0), many))


class CapacityPromises(Promises):
    """``max_live``: nothing begins in a full store, what lives goes on."""

    @property
    def full(self) -> Limits:
        """Limits under which one session, and each that lives already, is enough."""
        return replace(self.limits, max_live=1)

    def test_G16_nothing_begins_in_a_full_store(self) -> None:
        """Whatever a touch would have made, it says so and writes nothing: no record, no pointer, no count."""
        alive, lost, new = near(3)
        self.touch(new_id=alive, limits=self.full, conversation_id="c")
        before = self.store.stats()
        asked = [
            self.touch(None, new_id=new, limits=self.full, conversation_id="c"),
            self.touch(new, own=True, limits=self.full, conversation_id="c"),
            self.touch(new, keep=True, limits=self.full),
            self.touch(lost, new_id=new, limits=self.full),
            self.touch(lost, recover_turns=3, limits=self.full),
        ]

        same([("unstored", None, None)] * 5, [(t.outcome, t.turn_number, t.conversation_turn) for t in asked])
        same([new, new, new, new, lost], [t.session_id for t in asked])
        same((before, None, None), (self.store.stats(), self.read(new), self.read(lost)))
        same(2, self._ask("count_conversation", "c", MINUTE))
        same(("recovered", 4), _told(self.touch(lost, recover_turns=3)))  # no pointer leads away from it

    def test_G16_what_lives_goes_on_in_a_full_store(self) -> None:
        """An extension is no beginning, however full the store; nor does a bound that was lowered end anything."""
        first, second = near(2)
        self.touch(new_id=first)
        self.touch(new_id=second)

        same(("extended", 2), _told(self.touch(first, limits=self.full)))
        same(("extended", 2), _told(self.touch(second, limits=self.full)))
        same(2, self.store.stats().live)

    def test_G16_end_makes_room(self) -> None:
        """One that was ended, or claimed at its deadline, is not counted any more; nor is its report waited for."""
        ids = near(6)
        self.touch(new_id=ids[0], limits=self.full)
        found = [self.touch(new_id=ids[1], limits=self.full).outcome]
        self.end(ids[0])
        found.append(self.touch(new_id=ids[2], limits=self.full).outcome)
        for name in ids[3:5]:
            self.clock.advance(ms=self.limits.idle_ms)
            found.append(self.touch(new_id=name, limits=self.full).outcome)  # nobody has noticed yet
            self.claim()
            found.append(self.touch(new_id=name, limits=self.full).outcome)
        found.append(self.touch(new_id=ids[5], limits=self.full).outcome)

        same(["unstored", "started", "unstored", "started", "unstored", "started", "unstored"], found)

    def test_G16_successor_takes_the_place_of_what_ends_with_it(self) -> None:
        """Who comes back too late, and who takes another's seat, finds room: there is no session more."""
        ids = near(3)
        self.touch(new_id=ids[0], limits=self.full, given_user="u_a")
        other = self.touch(ids[0], new_id=ids[1], limits=self.full, given_user="u_b")
        self.clock.advance(ms=self.limits.idle_ms)
        late = self.touch(ids[1], new_id=ids[2], limits=self.full)

        same([("rotated", ids[1]), ("rotated", ids[2])], [(t.outcome, t.session_id) for t in (other, late)])
        same(1, self.store.stats().live)

    def test_G16_ended_session_finds_its_successor_when_there_is_room(self) -> None:
        """A touch that found no room left no trace: what the ended session says of its user is said later, too."""
        over, alive, first, second = near(4)
        self.touch(new_id=over, given_user="u_a")
        self.end(over)
        self.touch(new_id=alive)
        refused = self.touch(over, new_id=first, limits=self.full, claimed_user="u_a")
        self.end(alive)
        found = self.touch(over, new_id=second, limits=self.full, claimed_user="u_a")

        same(
            ("unstored", first, None, over), (refused.outcome, refused.session_id, refused.user_id, refused.previous_id)
        )
        same(("rotated", second, None, over), (found.outcome, found.session_id, found.user_id, found.previous_id))

    def test_G16_unknown_token_of_a_stranger_is_refused_in_a_full_store(self) -> None:
        """A planted token starts nothing either, and the session that it names stays as it is."""
        mine, other = near(2)
        self.touch(new_id=mine)
        self.touch(mine, given_user="u_a", claimed_user="u_a")
        self.clock.advance(ms=self.limits.skew_ms)
        before = self.must_read(mine)
        refused = self.touch(mine, new_id=other, limits=self.full)

        same(("unstored", other, None), (refused.outcome, refused.session_id, refused.user_id))
        same(before, self.must_read(mine))


def _told(touched: Touched) -> tuple[str, int | None]:
    return touched.outcome, touched.turn_number
