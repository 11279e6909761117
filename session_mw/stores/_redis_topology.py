"""Which node of a cluster has which of our shards: of one server, the only one has all."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from .._core.identity import SHARDS
from .._settings.redis_url import Address, RedisTarget
from ._redis_scripts import Call

STALE_SECONDS = 2.0  # a request looks for the nodes of a cluster itself only when nothing behind it has for so long


class Topology:
    """
    Which node has which shard. Values are replaced as a whole, so readers need no lock.

    Args:
        target: What the URL says.
        slots: The cluster's slot of each shard.
    """

    def __init__(self, target: RedisTarget, slots: Sequence[int]) -> None:
        self._slots = slots
        self._seeds = target.addresses
        self.cluster = target.cluster
        self._nodes: list[Address] | None = None if target.cluster else [target.addresses[0]] * SHARDS
        self._asked, self._at, self.stale = 0, 0.0, False

    def node_of(self, shard: int) -> Address:
        """Return where *shard* lies, as far as is known."""
        assert self._nodes is not None
        return self._nodes[shard]

    def nodes(self) -> dict[Address, int]:
        """Return all masters, each with one of its shards."""
        assert self._nodes is not None
        return {address: shard for shard, address in enumerate(self._nodes)}

    def together(self, one: int, other: int) -> bool:
        """Return whether a script may touch both shards."""
        return not self.cluster or self._slots[one] == self._slots[other]

    def due(self, behind: bool) -> Address | None:
        """Return whom to ask for the map now, None when that is not needed; another one each time."""
        patience = 0.0 if behind else STALE_SECONDS
        if self._nodes is not None and (not self.stale or time.monotonic() < self._at + patience):
            return None
        known: list[Address] = list(dict.fromkeys((*(self._nodes or ()), *self._seeds)))
        self._asked += 1
        self._at = time.monotonic()
        return known[self._asked % len(known)]

    def learn(self, slots: Sequence[Any], asked: Address) -> bool:
        """Read the answer to CLUSTER SLOTS; False when some are nobody's at present."""
        found: list[Address | None] = [None] * SHARDS
        for first, last, master, *_ in slots:
            host = master[0].decode() if master[0] else asked[0]  # empty: the node that was asked
            for shard, slot in enumerate(self._slots):
                if first <= slot <= last:
                    found[shard] = (host, int(master[1]))
        nodes = [address for address in found if address is not None]
        if len(nodes) < SHARDS:
            return False
        self._nodes, self.stale = nodes, False
        return True

    def moved(self, error: Any) -> Address:
        """Return where a node says that a slot lies, and note it; others may have moved too."""
        there: Address = (error.host, error.port)
        if self._nodes is not None:
            known = zip(self._slots, self._nodes, strict=True)
            self._nodes = [there if slot == error.slot_id else address for slot, address in known]
        self.lost()
        return there

    def lost(self) -> None:
        """Note that the map may be wrong."""
        if self.cluster and not self.stale:
            self.stale, self._at = True, time.monotonic()

    def by_node(self, calls: Sequence[Call]) -> dict[Address, list[int]]:
        """Return the positions of *calls*, by the node that has to run them."""
        groups: dict[Address, list[int]] = defaultdict(list)
        for place, call in enumerate(calls):
            groups[self.node_of(call.shard)].append(place)
        return groups
