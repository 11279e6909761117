"""The limit that tasks wait under: its own end is a timeout, anybody else's is theirs."""

from __future__ import annotations

import asyncio

import pytest

from session_mw.stores._redis_patience import Limit


async def waiting(seconds: float) -> None:
    async with Limit(seconds):
        await asyncio.Event().wait()


def test_limit_ends_what_waits_for_ever() -> None:
    """The task goes on afterwards, as if nobody had cancelled it."""

    async def work() -> str:
        with pytest.raises(asyncio.TimeoutError):
            await waiting(0.01)
        await asyncio.sleep(0)
        return "went on"

    assert "went on" == asyncio.run(work())


def test_limit_leaves_alone_what_is_quick() -> None:
    """What comes of it is told, an error too, and nothing is left that would cancel later."""

    async def work() -> str:
        async with Limit(0.01):
            await asyncio.sleep(0)
        with pytest.raises(ValueError, match="mine"):
            async with Limit(0.01):
                raise ValueError("mine")
        await asyncio.sleep(0.03)
        return "went on"

    assert "went on" == asyncio.run(work())


def test_clients_that_leave_are_not_taken_for_timeouts() -> None:
    """A task that is cancelled from outside is cancelled."""

    async def work() -> bool:
        task = asyncio.ensure_future(waiting(20))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return task.cancelled()

    assert asyncio.run(work())


def test_limits_within_limits_end_the_outer_one_only() -> None:
    """The inner one is not told that its time was up."""

    async def work() -> list[str]:
        said = []
        try:
            async with Limit(0.01):
                try:
                    await waiting(20)
                except asyncio.TimeoutError:
                    said.append("inner")
        except asyncio.TimeoutError:
            said.append("outer")
        return said

    assert ["outer"] == asyncio.run(work())
