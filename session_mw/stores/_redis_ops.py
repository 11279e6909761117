"""
What the Redis store asks of its scripts, and what it makes of their answers. No I/O: both faces drive these generators.

A step yields the calls of one round trip and is sent their replies. ``touch`` is one round trip for the turn of a
session that lives and for a first turn. It is two where a session that ended is followed by another (its id and its
attributes are made and sent only then), and one more in a cluster when the conversation's counter lies elsewhere: it is
counted after the touch because a touch that is only sent on is no turn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from itertools import chain
from typing import Any, TypeVar

from .._core import names
from .._core.identity import SHARDS, shard_of
from .._core.lifecycle import CONVERSATION_MS, PASSIVE
from .._core.marks import KEPT_MS, Mark
from .._core.ops import UNHELD, Add, Claim, Claimed, End, Key, Note, StoreStats, Touch, Touched
from .._core.records import Limits, SessionRecord
from ._redis_scripts import Call, script
from ._redis_words import attributes_of, fit, named, or_empty, record_of, text_of, told, user_text

R = TypeVar("R")
T = TypeVar("T")
Steps = Generator[Sequence[Call], Sequence[Any], R]

CHUNK = 100  # sessions a call works on before Redis lets others in: about 2 ms
TOGETHER = 5  # shards that a claim asks in one round trip, for as many sessions altogether
LOOKS = 4  # live sessions a claim looks at, for each that it may return: those that were touched since are filed again


def shards(prefix: str) -> tuple[str, ...]:
    """Return the names of all shards: hash tags, so that what is named after one lies in one slot of a cluster."""
    return tuple(f"{{{prefix}:{shard}}}" for shard in range(SHARDS))


class Space:
    """
    The names of keys, and what the time is.

    Args:
        prefix: First part of every key.
        clock: Returns milliseconds since the epoch, for tests; None: the server's clock decides.
        together: Tells whether one script may touch two shards.
    """

    def __init__(self, prefix: str, clock: Callable[[], int] | None, together: Callable[[int, int], bool]) -> None:
        self.shards = shards(prefix)
        self._clock = clock
        self.together = together

    def now(self) -> object:
        """Return the first argument of every script."""
        return "" if self._clock is None else self._clock()

    def call(self, name: str, shard: int, *args: object) -> Call:
        """Return a call of a script for one shard."""
        return Call(script(name), shard, (self.shards[shard],), (self.now(), *args))

    def counter(self, conversation_id: str) -> tuple[int, str]:
        """Return where a conversation's counter lies, and its key."""
        shard = shard_of(conversation_id)
        return shard, f"{self.shards[shard]}:v:{conversation_id}"


# -- requests


def touch(space: Space, ask: Touch) -> Steps[Touched]:
    """Begin a turn, or note activity."""
    if ask.session_id is None or ask.own:  # it will be made, most likely
        call = _touch(space, ask, make=True)
        reply = (yield [call])[0]
    else:
        call = _touch(space, ask, make=False)
        reply = (yield [call])[0]
        if reply == b"?":
            call = _touch(space, ask, make=True)
            reply = (yield [call])[0]
    touched = _touched(ask, told(reply[0] if isinstance(reply, list) else reply))
    if isinstance(reply, list):
        yield from _make_elsewhere(space, ask, touched, reply[1:])
    if ask.conversation_id is not None and ask.turn and touched.outcome not in UNHELD and len(call.keys) == 1:
        touched.conversation_turn = yield from count_conversation(space, ask.conversation_id, CONVERSATION_MS)
    return touched


def _touch(space: Space, ask: Touch, make: bool) -> Call:
    limits, session_id = ask.limits, ask.session_id
    letters = ("t" if ask.turn else "") + ("o" if ask.own else "") + ("k" if ask.keep else "")
    shard = shard_of(ask.new_id if session_id is None else session_id)
    more: list[object] = []
    if make:
        letters += "m" if shard_of(ask.new_id) == shard else "me"
        more = [ask.new_id, or_empty(ask.previous_id), or_empty(ask.origin_ms), or_empty(ask.recover_turns)]
        most = "" if limits.max_live is None else -(-limits.max_live // SHARDS)  # of this shard
        more += ["1" if ask.partial else "", most, *named(ask.attributes)]
    keys = [space.shards[shard]]
    if ask.conversation_id is not None:
        other, counter = space.counter(ask.conversation_id)
        keys += [counter] if space.together(shard, other) else []
    args = (
        space.now(),
        session_id or "",
        limits.idle_ms,
        limits.absolute_ms,
        limits.turn_ms,
        limits.skew_ms,
        limits.settle_ms,
        user_text(ask.given_user),
        user_text(ask.claimed_user),
        letters,
        CONVERSATION_MS,
        *more,
    )
    return Call(script("touch"), shard, tuple(keys), args)


def _touched(ask: Touch, found: list[Any]) -> Touched:
    touched = Touched(*found)
    if touched.attributes is None:  # a session that begins here begins with what was asked
        touched.attributes = dict(ask.attributes)
    elif touched.attributes:
        touched.attributes = attributes_of(touched.attributes)  # type: ignore[arg-type]  # as JSON has them
    return touched


def _make_elsewhere(space: Space, ask: Touch, touched: Touched, fields: Sequence[bytes]) -> Steps[None]:
    """
    Write down a session whose id, the application's choice, lies in another shard than the one that it follows.

    Its predecessor points to it already. If this process dies in between, whoever follows the pointer starts it.
    """
    turn_ms: object = ask.limits.turn_ms if ask.turn else ""
    args = (touched.session_id, ask.limits.idle_ms, ask.limits.absolute_ms, turn_ms, *fields)
    found = (yield [space.call("make", shard_of(touched.session_id), *args)])[0]
    if found:
        touched.turn_number, touched.started_ms = int(found[0]), int(found[1])


def end(space: Space, ask: End) -> Steps[bool]:
    """End a session now."""
    passive = "1" if ask.reason in PASSIVE else ""
    args = (ask.session_id, ask.reason, or_empty(ask.next_id), ask.ttl_ms, ask.settle_ms, passive)
    return bool((yield [space.call("end", shard_of(ask.session_id), *args)])[0])


def read(space: Space, session_id: str) -> Steps[SessionRecord | None]:
    """Return the newest record."""
    text = (yield [space.call("read", shard_of(session_id), session_id)])[0]
    return None if text is None else record_of(told(text))


def count_conversation(space: Space, conversation_id: str, ttl_ms: int) -> Steps[int]:
    """Count a turn of a conversation."""
    shard, counter = space.counter(conversation_id)
    call = Call(script("count"), shard, (space.shards[shard], counter), (space.now(), ttl_ms))
    return int((yield [call])[0])


# -- behind requests


def _by_shard(items: Sequence[T], id_of: Callable[[T], str]) -> list[tuple[int, list[int]]]:
    """Return the places of *items* by shard, at most ``CHUNK`` together."""
    groups: dict[int, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        groups[shard_of(id_of(item))].append(place)
    return [
        (shard, places[first : first + CHUNK])
        for shard, places in groups.items()
        for first in range(0, len(places), CHUNK)
    ]


def add(space: Space, items: Sequence[Add]) -> Steps[list[bool]]:
    """Add what turns brought."""
    groups = _by_shard(items, lambda item: item.session_id)
    parts: dict[int, int] = defaultdict(int)
    calls = []
    for shard, places in groups:
        mark = () if not items[0].mark else _mark(items[0].mark, parts[shard])
        parts[shard] += 1
        calls.append(space.call("add", shard, text_of([_added(items[p]) for p in places]), *mark))
    return _in_place(len(items), groups, (yield calls) if calls else [])


def _mark(mark: Mark, part: int) -> tuple[object, ...]:
    """Return by what a call is known again: its batch's mark, and which part of a shard's it is; the same each time."""
    return (f"{mark.lane}.{part}" if part else mark.lane, mark.number, KEPT_MS)


def _added(item: Add) -> list[object]:
    return [
        item.session_id,
        item.generation,
        item.at_ms,
        item.completed,
        item.failed,
        fit(item.latency_ms),
        fit(item.input_tokens),
        fit(item.output_tokens),
        fit(item.cost_microusd),
        False if item.user_id is None else text_of(item.user_id),
        named(item.attributes) if item.attributes else [],
    ]


def _in_place(count: int, groups: Sequence[tuple[int, list[int]]], replies: Sequence[Sequence[int]]) -> list[bool]:
    done = [False] * count
    for (_, places), found in zip(groups, replies, strict=True):
        for place, taken in zip(places, found, strict=True):
            done[place] = bool(taken)
    return done


def renew(space: Space, session_ids: Sequence[str], limits: Limits) -> Steps[int]:
    """Keep sessions with an open turn alive."""
    groups = _by_shard(session_ids, lambda session_id: session_id)
    given = (limits.idle_ms, limits.absolute_ms, limits.turn_ms)
    calls = [space.call("renew", shard, *given, *(session_ids[p] for p in places)) for shard, places in groups]
    return sum((yield calls) if calls else [])


def _keyed(space: Space, name: str, keys: Sequence[Key], *given: object) -> Steps[int]:
    """Run a script that takes ids and generations and tells how many."""
    groups = _by_shard(keys, lambda key: key[0])
    told = [text_of([part for p in places for part in keys[p]]) for _, places in groups]
    calls = [space.call(name, shard, *given, text) for (shard, _), text in zip(groups, told, strict=True)]
    return sum((yield calls) if calls else [])


def ack(space: Space, keys: Sequence[Key], lease_token: str, ttl_ms: int) -> Steps[int]:
    """Forget sessions whose end was reported."""
    return (yield from _keyed(space, "ack", keys, lease_token, ttl_ms))


def nack(space: Space, keys: Sequence[Key], lease_token: str, delay_ms: int) -> Steps[int]:
    """Hand leased sessions back."""
    return (yield from _keyed(space, "nack", keys, lease_token, delay_ms))


def confirm_start(space: Space, keys: Sequence[Key]) -> Steps[int]:
    """Note that ``session.start`` reached its sink."""
    return (yield from _keyed(space, "confirm", keys))


def annotate(space: Space, notes: Sequence[Note], lease_token: str) -> Steps[list[bool]]:
    """Add what was worked out for the report of ends."""
    groups = _by_shard(notes, lambda note: note.session_id)
    calls = [
        space.call(
            "annotate",
            shard,
            lease_token,
            names.FROZEN,
            text_of([[n.session_id, n.generation, named(n.attributes)] for n in (notes[p] for p in places)]),
        )
        for shard, places in groups
    ]
    return _in_place(len(notes), groups, (yield calls) if calls else [])


# -- sweeping


def _wide(space: Space, name: str) -> list[Call]:
    """Return the calls that ask a script about all shards: one, or in a cluster one each."""
    if space.together(0, 1):
        return [Call(script(name), 0, space.shards, (space.now(),))]
    return [space.call(name, shard) for shard in range(SHARDS)]


def claim(space: Space, ask: Claim, order: Callable[[list[int]], None]) -> Steps[Claimed]:
    """
    Freeze and lease sessions whose end is due.

    One call looks at all shards, since nearly always nothing is due. Those where something is are asked in an order of
    this worker's own, so that several do not wait for each other.

    Args:
        space: Of the store.
        ask: What is asked.
        order: Puts the shards in order, in place.
    """
    replies = yield _wide(space, "due")
    now_ms = int(replies[0][0])
    first = [int(due) if due else None for reply in replies for due in reply[1]]
    shards = [shard for shard, due in enumerate(first) if due is not None and due <= now_ms]
    order(shards)
    records: list[SessionRecord] = []
    looks = ask.limit * LOOKS
    while shards and looks > 0 and len(records) < ask.limit:
        # Redis works off what one client has sent before it looks at another's: a round trip has to be little work too.
        left = min(CHUNK, ask.limit - len(records))
        together = shards[: min(TOGETHER, left)]
        most = left // len(together)
        replies = yield [_claim(space, ask, shard, most, min(looks, most)) for shard in together]
        for shard, (due, filed, text) in zip(together, replies, strict=True):
            records += [record_of(row) for row in told(text)]
            looks -= int(filed)
            first[shard] = int(due) if due else None
            if not due or int(due) > now_ms:
                shards.remove(shard)
    return Claimed(records, now_ms, min((due for due in first if due is not None), default=None))


def _claim(space: Space, ask: Claim, shard: int, most: int, looks: int) -> Call:
    limits = ask.limits
    args = (limits.idle_ms, limits.absolute_ms, ask.lease_token, ask.lease_ms, most, looks)
    return space.call("claim", shard, *args)


# -- keeping house


def stats(space: Space) -> Steps[StoreStats]:
    """Count what there is."""
    replies = yield _wide(space, "stats")
    live, ended, claimed, dead, tombs = (sum(column) for column in list(zip(*replies, strict=True))[:5])
    due = min((int(reply[5]) for reply in replies if reply[5]), default=None)
    return StoreStats(live, ended, claimed, dead, tombs, due, int(replies[0][6]))


def scrub(space: Space, limit: int) -> Steps[int]:
    """Remove tombstones that have expired, at most *limit*."""
    return (yield from _some(space, "stale", "scrub", limit))


def revive(space: Space, limit: int) -> Steps[int]:
    """Let ends that were set aside be claimed again, at most *limit*."""
    return (yield from _some(space, "aside", "revive", limit))


def _some(space: Space, look: str, work: str, limit: int) -> Steps[int]:
    """Ask one script which shards have something to do, and have another do it, at most *limit* times."""
    replies = yield _wide(space, look)
    left, calls = limit, []
    for shard, found in enumerate(chain.from_iterable(replies)):
        most = min(left, found)
        left -= most
        calls += [space.call(work, shard, min(CHUNK, most - first)) for first in range(0, most, CHUNK)]
    return sum((yield calls) if calls else [])


def refile(space: Space, keys: Sequence[bytes]) -> Steps[int]:
    """Put sessions that no queue knows back into theirs; *keys* are those of records."""
    found: dict[int, list[str]] = defaultdict(list)
    for key in keys:
        name, _, session_id = key.decode().partition(":s:")
        found[space.shards.index(name)].append(session_id)
    calls = [space.call("refile", shard, *ids) for shard, ids in found.items()]
    return sum((yield calls) if calls else [])
