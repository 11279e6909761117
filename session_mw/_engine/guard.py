"""
What stands between an engine and a store that can be away: a circuit breaker, and a stopwatch.

Both faces of a store and the background share one breaker. While it is open no call is made: a request learns that in
microseconds, with ``StoreUnavailable`` (reason ``breaker_open``). Memory never waits, so nothing stands before it.
"""

from __future__ import annotations

import os
import random
import secrets
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Sequence
from typing import ParamSpec, TypeVar

from .._core.breaker import REFUSED, Breaker
from .._core.marks import Lanes
from .._core.ops import (
    Add,
    AsyncSessionStore,
    Claim,
    Claimed,
    End,
    Key,
    Note,
    SessionStore,
    StoreStats,
    Touch,
    Touched,
)
from .._core.records import Limits, SessionRecord
from ..exceptions import StoreUnavailable

P = ParamSpec("P")
R = TypeVar("R")

ONLY_READ = ("read", "stats")
SLOW_S = 1.0  # a probe that took longer was no success: requests would run out of patience again
_RANDOM = random.SystemRandom()


class Gate:
    """
    The breaker of one engine, for its threads and loops.

    Args:
        clock: Monotonic seconds.
        observe: Told how long each call took, in seconds, and which it was.
        back: Told, when the store is back, for how many seconds it was away.
    """

    def __init__(
        self, clock: Callable[[], float], observe: Callable[[float, str], None], back: Callable[[float], None]
    ) -> None:
        self.breaker = Breaker()
        self._clock = clock
        self._observe = observe
        self._back = back
        self._lock = threading.Lock()
        self._lanes = Lanes(_name())
        _ALL.add(self)

    def after_in_child(self) -> None:
        """Begin anew in a forked child: nobody here will say what came of the parent's calls."""
        self.breaker, self._lock = Breaker(), threading.Lock()
        self._lanes = Lanes(_name())

    def away(self) -> bool:
        """Return whether the store is away, and it is too early to look whether it is back."""
        return self.breaker.state != "closed" and self.breaker.refuses(self._clock(), True)

    def enter(self, behind: bool) -> int:
        """
        Return a permit to ask the store.

        Raises:
            StoreUnavailable: It is not to be asked now.
        """
        breaker = self.breaker
        if breaker.state == "closed":  # the usual case, without a lock
            return breaker.permit
        with self._lock:
            permit = breaker.enter(self._clock(), behind)
        if permit == REFUSED:
            raise StoreUnavailable("the store is not asked: it has failed often of late.", reason="breaker_open")
        return permit

    def done(self, permit: int, op: str, began: float, result: object) -> None:
        """Hear that *op*, begun at *began* of ``time.perf_counter``, went well, with *result*."""
        seconds = time.perf_counter() - began
        self._observe(seconds, op)
        breaker = self.breaker
        if breaker.state == "closed":
            breaker.successes += 1
        elif seconds > SLOW_S:
            self._fail(permit)
        elif op in ONLY_READ or (isinstance(result, Claimed) and not result.records):
            with self._lock:
                breaker.unsure(permit, self._clock())
        else:
            self._succeed(permit)

    def _succeed(self, permit: int) -> None:
        with self._lock:
            since = self.breaker.opened_at
            closed = self.breaker.succeeded(permit)
            now = self._clock()
        if closed:
            self._back(max(0.0, now - (now if since is None else since)))

    def failed(self, permit: int, op: str, began: float) -> None:
        """Hear that *op* failed."""
        self._observe(time.perf_counter() - began, op)
        self._fail(permit)

    def _fail(self, permit: int) -> None:
        with self._lock:
            self.breaker.failed(permit, self._clock(), _RANDOM.random())

    def left(self, permit: int) -> None:
        """Hear that a call was given up: its client has left."""
        if self.breaker.state != "closed":
            with self._lock:
                self.breaker.left(permit, self._clock())

    def mark(self, items: Sequence[Add]) -> None:
        """Put a mark on what is about to be added, unless it was tried before."""
        if items and items[0].mark is None:
            items[0].mark = self._lanes.take()

    def unmark(self, items: Sequence[Add]) -> None:
        """Take the mark off: it is known what came of it."""
        if items and items[0].mark is not None:
            self._lanes.give(items[0].mark)
            items[0].mark = None


def _name() -> str:
    return secrets.token_hex(6)


_ALL: weakref.WeakSet[Gate] = weakref.WeakSet()


def _in_child() -> None:
    for gate in list(_ALL):
        gate.after_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


class GuardedStore:
    """
    A store behind a gate, synchronous face.

    Args:
        store: The store.
        gate: Before it.
        behind: Nobody waits for its calls, so they are the first that find out whether it is back.
    """

    is_async = False

    def __init__(self, store: SessionStore, gate: Gate, behind: bool = False) -> None:
        self._store = store
        self._gate = gate
        self._behind = behind
        self.boot_id, self.name = store.boot_id, store.name

    def _through(self, op: str, call: Callable[P, R], *args: P.args, **more: P.kwargs) -> R:
        gate = self._gate
        permit = gate.enter(self._behind)
        began = time.perf_counter()
        try:
            result = call(*args, **more)
        except Exception:
            gate.failed(permit, op, began)
            raise
        except BaseException:
            gate.left(permit)
            raise
        gate.done(permit, op, began, result)
        return result

    def touch(self, ask: Touch, /) -> Touched:
        """As the store's."""
        return self._through("touch", self._store.touch, ask)

    def add(self, items: Sequence[Add], /) -> list[bool]:
        """As the store's."""
        return self._through("add", self._marked, items)

    def _marked(self, items: Sequence[Add]) -> list[bool]:
        self._gate.mark(items)
        done = self._store.add(items)
        self._gate.unmark(items)
        return done

    def end(self, ask: End, /) -> bool:
        """As the store's."""
        return self._through("end", self._store.end, ask)

    def claim(self, ask: Claim, /) -> Claimed:
        """As the store's."""
        return self._through("claim", self._store.claim, ask)

    def ack(self, keys: Sequence[Key], lease_token: str, ttl_ms: int, /) -> int:
        """As the store's."""
        return self._through("ack", self._store.ack, keys, lease_token, ttl_ms)

    def nack(self, keys: Sequence[Key], lease_token: str, delay_ms: int, /) -> int:
        """As the store's."""
        return self._through("nack", self._store.nack, keys, lease_token, delay_ms)

    def annotate(self, notes: Sequence[Note], lease_token: str, /) -> list[bool]:
        """As the store's."""
        return self._through("annotate", self._store.annotate, notes, lease_token)

    def confirm_start(self, keys: Sequence[Key], /) -> int:
        """As the store's."""
        return self._through("confirm_start", self._store.confirm_start, keys)

    def renew(self, session_ids: Sequence[str], limits: Limits, /) -> int:
        """As the store's."""
        return self._through("renew", self._store.renew, session_ids, limits)

    def read(self, session_id: str, /) -> SessionRecord | None:
        """As the store's."""
        return self._through("read", self._store.read, session_id)

    def count_conversation(self, conversation_id: str, ttl_ms: int, /) -> int:
        """As the store's."""
        return self._through("count_conversation", self._store.count_conversation, conversation_id, ttl_ms)

    def stats(self) -> StoreStats:
        """As the store's."""
        return self._through("stats", self._store.stats)

    def scrub(self, limit: int, /) -> int:
        """As the store's."""
        return self._through("scrub", self._store.scrub, limit)

    def revive(self, limit: int, /) -> int:
        """As the store's."""
        return self._through("revive", self._store.revive, limit)

    def close(self) -> None:
        """As the store's."""
        self._store.close()


class AsyncGuardedStore:
    """
    A store behind a gate, asynchronous face.

    Args:
        store: The store.
        gate: Before it.
    """

    is_async = True

    def __init__(self, store: AsyncSessionStore, gate: Gate) -> None:
        self._store = store
        self._gate = gate
        self.boot_id, self.name = store.boot_id, store.name

    async def _through(self, op: str, call: Callable[P, Awaitable[R]], *args: P.args, **more: P.kwargs) -> R:
        gate = self._gate
        permit = gate.enter(False)
        began = time.perf_counter()
        try:
            result = await call(*args, **more)
        except Exception:
            gate.failed(permit, op, began)
            raise
        except BaseException:  # cancelled: the client left
            gate.left(permit)
            raise
        gate.done(permit, op, began, result)
        return result

    async def touch(self, ask: Touch, /) -> Touched:
        """As the store's."""
        return await self._through("touch", self._store.touch, ask)

    async def add(self, items: Sequence[Add], /) -> list[bool]:
        """As the store's."""
        return await self._through("add", self._marked, items)

    async def _marked(self, items: Sequence[Add]) -> list[bool]:
        self._gate.mark(items)
        done = await self._store.add(items)
        self._gate.unmark(items)
        return done

    async def end(self, ask: End, /) -> bool:
        """As the store's."""
        return await self._through("end", self._store.end, ask)

    async def read(self, session_id: str, /) -> SessionRecord | None:
        """As the store's."""
        return await self._through("read", self._store.read, session_id)

    async def count_conversation(self, conversation_id: str, ttl_ms: int, /) -> int:
        """As the store's."""
        return await self._through("count_conversation", self._store.count_conversation, conversation_id, ttl_ms)
