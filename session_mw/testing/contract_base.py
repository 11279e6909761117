"""How the contract's tests talk to a store, whichever face it shows."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from itertools import count
from typing import Any

from .._core.ops import Add, AsyncSessionStore, Claim, Claimed, End, SessionStore, Touch, Touched
from .._core.records import EndReason, Limits, SessionRecord
from .clock import FakeClock

MINUTE = 60_000


def same(expected: object, actual: object) -> None:
    """Compare, and say both: assertions of an installed package are not rewritten by pytest."""
    if expected != actual or type(expected) is not type(actual):
        raise AssertionError(f"expected {expected!r}, found {actual!r}")


class Promises:
    """
    A store under test, and short forms of what it is asked.

    Attributes:
        limits: Idle 30 minutes, absolute 24 hours, turn 10 minutes, skew 1 minute.
        clock: The store's clock.
    """

    limits = Limits(30 * MINUTE, 24 * 60 * MINUTE, 10 * MINUTE, MINUTE)
    clock: FakeClock

    def make_store(self, clock: Callable[[], int]) -> SessionStore:
        """Return an empty store that asks *clock* for the time."""
        raise NotImplementedError

    def make_async(self, store: SessionStore) -> AsyncSessionStore | None:
        """Return the asynchronous face of *store*, to be tested in its stead; None tests the synchronous one."""
        return None

    def setup_method(self) -> None:
        """Begin with nothing; the store is made when it is first asked for."""
        self.clock = FakeClock()
        self._store: SessionStore | None = None
        self._face: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ids = count(1)

    def teardown_method(self) -> None:
        """Close what was opened."""
        if self._loop is not None:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()
        if self._store is not None:
            self._store.close()

    @property
    def store(self) -> SessionStore:
        """The store under test."""
        if self._store is None:
            self._store = self.make_store(self.clock)
            self._face = self.make_async(self._store) or self._store
        return self._store

    def _ask(self, method: str, *args: Any) -> Any:
        """Ask the face under test, and wait for its answer if it has to be waited for."""
        assert self.store is not None
        answer = getattr(self._face, method)(*args)
        if not inspect.isawaitable(answer):
            return answer
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(_awaited(answer))

    def touch(self, session_id: str | None = None, **more: Any) -> Touched:
        """Begin a turn."""
        more.setdefault("new_id", f"made-{next(self._ids)}")
        limits = more.pop("limits", self.limits)
        touched: Touched = self._ask("touch", Touch(session_id, limits=limits, **more))
        return touched

    def add(self, session_id: str, **more: Any) -> bool:
        """Add what a turn brought, now."""
        more.setdefault("at_ms", self.clock())
        done: list[bool] = self._ask("add", [Add(session_id, **more)])
        return done[0]

    def end(self, session_id: str, reason: EndReason = "user_exit", **more: Any) -> bool:
        """End a session."""
        ended: bool = self._ask("end", End(session_id, reason, **more))
        return ended

    def read(self, session_id: str) -> SessionRecord | None:
        """Return the newest record."""
        record: SessionRecord | None = self._ask("read", session_id)
        return record

    def must_read(self, session_id: str) -> SessionRecord:
        """Return the newest record, which has to be there."""
        record = self.read(session_id)
        if record is None:
            raise AssertionError(f"expected a record of {session_id!r}, found none")
        return record

    def claim(self, lease_token: str = "lease", *, limit: int = 500, lease_ms: int = 30_000, **more: Any) -> Claimed:  # noqa: S107  a fencing token
        """Claim what is due."""
        return self.store.claim(Claim(lease_token, more.pop("limits", self.limits), limit, lease_ms))

    def claimed(self, **more: Any) -> list[str]:
        """Claim what is due; returns ids, sorted."""
        return sorted(record.session_id for record in self.claim(**more).records)


async def _awaited(answer: Any) -> Any:
    return await answer
