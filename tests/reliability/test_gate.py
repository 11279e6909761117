"""What stands before the store: clients that leave, forks, stores that are full, probes that say nothing."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest

from session_mw._core.breaker import FAILURES, FIRST_S, GRACE_S
from session_mw._core.ops import End
from session_mw._late_ends import LateEnds
from session_mw.exceptions import StoreError
from tests.reliability.places import locked, overwrite
from tests.reliability.test_faults import client, come_back, dropped, opened
from tests.shells.worlds import World
from tests.stores.processes import in_child
from tests.stores.redis_server import Server

kinds = pytest.mark.parametrize("kind", ["asgi", "wsgi"])


@kinds
def test_G7_damaged_file_is_replaced_within_a_request(kind: str, tmp_path: Path) -> None:
    """The session goes on under its id and count, the damaged file is kept, and the breaker hears of nothing."""
    path = tmp_path / "sessions.db"
    with opened(kind, f"sqlite:///{path}?timeout=20") as world:
        world.jar = client(world)
        before = world.request().json()
        overwrite(path, world.engine.store._store._database)
        after = [world.request() for _ in range(3)]

        assert [200] * 3 == [reply.status for reply in after]
        assert [before["id"]] * 3 == [reply.json()["id"] for reply in after]
        numbers = [reply.json()["turn"] for reply in after]
        assert [numbers[0], numbers[0] + 1, numbers[0] + 2] == numbers
        assert ("closed", {}) == (world.engine.gate.breaker.state, dropped(world))
        assert 1 == len([name for name in tmp_path.iterdir() if name.name.startswith("sessions.db.corrupt-")])


async def leave(world: World, server: Server, cookie: str, times: int) -> None:
    """Let clients ask and leave while the server does not answer."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/echo",
        "raw_path": b"/echo",
        "root_path": "",
        "query_string": b"",
        "scheme": "https",
        "headers": [(b"cookie", cookie.encode())],
        "client": ("203.0.113.9", 50000),
        "server": ("testserver", 443),
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        raise AssertionError("nobody is there")

    for _ in range(times):
        task = asyncio.ensure_future(world.app(dict(scope), receive, send))
        await asyncio.sleep(0.01)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_G7_clients_that_leave_say_nothing_of_the_store(redis_server: Server) -> None:
    """Neither a success nor a failure, however many; also where one of them was the probe."""
    redis_server.ask("FLUSHALL")
    with opened("asgi", f"{redis_server.url}?socket_timeout=10&socket_connect_timeout=10") as world:
        world.jar = client(world)
        gate, cookie = world.engine.gate, "; ".join(f"{k}={v}" for k, v in world.jar.items())
        successes = gate.breaker.successes
        redis_server.send(signal.SIGSTOP)
        try:
            world.run(leave(world, redis_server, cookie, 2 * FAILURES))
            left = gate.breaker.state, gate.breaker.successes - successes, len(gate.breaker._failures)
            for _ in range(FAILURES):
                gate.failed(gate.enter(False), "touch", time.perf_counter())
            world.clock.advance(seconds=FIRST_S + GRACE_S)
            world.run(leave(world, redis_server, cookie, 1))
            probed = gate.breaker.state
        finally:
            redis_server.send(signal.SIGCONT)
        world.clock.advance(seconds=GRACE_S)
        reply = world.request()

        assert ("closed", 0, 0) == left
        assert "open" == probed
        assert ("closed", True) == (gate.breaker.state, reply.json()["turn"] is not None)
        assert {} == dropped(world)


@kinds
def test_G6_forked_child_asks_the_store_by_itself(kind: str, tmp_path: Path) -> None:
    """What the parent knows of its store is the parent's, and so is whoever holds its lock in the very moment."""
    with opened(kind, f"sqlite:///{tmp_path}/sessions.db?timeout=20") as world:
        world.jar = client(world)
        gate = world.engine.gate
        for _ in range(FAILURES):
            gate.failed(gate.enter(False), "touch", time.perf_counter())
        assert world.request().json()["turn"] is None

        def child() -> list[Any]:
            world.run = asyncio.run
            turn = world.request().json()["turn"]
            for _ in range(FAILURES):
                gate.failed(gate.enter(False), "touch", time.perf_counter())
            with suppress(StoreError):
                gate.enter(False)
                return [turn, "let through"]
            return [turn, gate.breaker.state]

        with gate._lock:
            found = in_child(child)

        assert [2, "open"] == found
        assert "open" == gate.breaker.state
        assert come_back(world) <= 60


def test_G16_full_store_is_no_store_that_is_away(tmp_path: Path) -> None:
    """It answers: there is no room. That is counted as such, and who has a session goes on."""
    with opened("wsgi", f"sqlite:///{tmp_path}/sessions.db?timeout=20", max_live=1) as world:
        resident = client(world)
        visitors = [world.request(cookies=False).json()["turn"] for _ in range(3 * FAILURES)]
        world.jar = resident

        assert [None] * 3 * FAILURES == visitors
        assert {"capacity": 3 * FAILURES} == dropped(world)
        assert ("closed", 0) == (world.engine.gate.breaker.state, len(world.engine.gate.breaker._failures))
        assert 2 == world.request().json()["turn"]


def test_G7_answers_that_need_no_write_do_not_end_the_outage(tmp_path: Path) -> None:
    """
    A file that somebody keeps locked can be read, so a sweep that finds nothing succeeds; requests would wait again.

    Each pause one request looks, and pauses grow.
    """
    path = tmp_path / "sessions.db"
    with opened("wsgi", f"sqlite:///{path}?timeout=0.01") as world:
        world.jar = client(world)
        world.work()  # the sweeper's own connection is there
        world.engine.store._store._database._ms[True] = 10
        with locked(path):
            for _ in range(FAILURES):
                world.request()
            assert "open" == world.engine.gate.breaker.state
            waited = dropped(world)["store_timeout"]
            for _ in range(100):
                world.clock.advance(seconds=1)
                with suppress(StoreError):
                    world.engine.background.sweep()
                world.request()
            waited = dropped(world)["store_timeout"] - waited
            state = world.engine.gate.breaker.state

        assert 1 <= waited <= 5, "pauses of 5, 10, 20, 40 and 57 s, some of which end with a try of the background"
        assert "open" == state
        assert come_back(world) <= 60


def brought(world: World, session_id: str) -> tuple[int, int, int | None, int | None]:
    """Return turns, completed turns, input and output tokens of a session."""
    record = world.engine.store._store.read(session_id)
    return record.turns, record.completed, record.input_tokens, record.output_tokens


@kinds
def test_G7_what_is_used_and_ended_meanwhile_is_written_when_the_store_is_back(kind: str, tmp_path: Path) -> None:
    """Tokens of turns that were not counted are their session's, once; a logout holds; no turn is counted."""
    path = tmp_path / "sessions.db"
    with opened(kind, f"sqlite:///{path}?timeout=0.05") as world:
        user, leaver = client(world), client(world)
        world.work()
        with locked(path):
            world.jar = dict(leaver)
            left = world.request(path="/logout").json()["id"]
            world.jar = dict(user)
            stays = world.request(path="/usage").json()["id"]
            for _ in range(FAILURES):
                world.request(path="/usage")
            waiting = world.engine.background._queued()
        world.clock.advance(seconds=60)
        world.work()
        world.work()
        world.jar = dict(leaver)
        after = world.request().json()
        world.clock.advance(seconds=10)  # an end waits a little for counters of other workers

        assert 1 + 1 + FAILURES == waiting
        assert (1, 1, 101 * (1 + FAILURES), 22 * (1 + FAILURES)) == brought(world, stays)
        assert ["user_exit"] == [e.attributes["session.end_reason"] for e in world.ends()]
        assert left != after["id"]


@kinds
def test_G13_turn_whose_answer_came_too_late_is_counted_once(kind: str, redis_server: Server) -> None:
    """Nobody asks again for what may have been done: the server counted it, or did not; what it used is added once."""
    redis_server.ask("FLUSHALL")
    with opened(kind, redis_server.url) as world:
        world.jar = client(world)
        world.work()
        redis_server.send(signal.SIGSTOP)
        try:
            session_id = world.request(path="/usage").json()["id"]
        finally:
            redis_server.send(signal.SIGCONT)
        assert come_back(world) == 0
        world.work()
        turns, completed, *tokens = brought(world, session_id)

        assert (turns, completed) in ((2, 2), (3, 2))
        assert [101, 22] == tokens


def test_G7_ends_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is dropped, and said; what the store does not take stays in its place."""
    monkeypatch.setattr("session_mw._late_ends.MOST", 3)
    full: list[str] = []
    ends = LateEnds(full.append)
    for number in range(5):
        ends.add(End(f"s{number}", "user_exit"))

    class Store:
        asked: ClassVar[list[str]] = []

        def end(self, ask: End) -> bool:
            if ask.session_id == "s3" and len(self.asked) == 1:
                self.asked.append("failed")
                raise StoreError("away")
            self.asked.append(ask.session_id)
            return True

    with pytest.raises(StoreError):
        ends.write(Store())  # type: ignore[arg-type]
    assert (["queue_full"] * 2, 2) == (full, len(ends))
    assert 2 == ends.write(Store())  # type: ignore[arg-type]
    assert ["s2", "failed", "s3", "s4"] == Store.asked
