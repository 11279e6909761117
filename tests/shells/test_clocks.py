"""
Clocks that are wrong, or are set while people talk (G11, G12): no session ends by that, and none ends earlier or later.

``clock`` is the true time: servers decide by it, and it is what passes on every machine. A worker's own wall clock is
an hour off, or is set an hour on or back in the middle of a session.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import propagate

from session_mw import instrument
from session_mw._core.store_clock import StoreClock
from session_mw.testing import FakeClock
from tests.shells.worlds import World, make_world

HOUR = 3_600_000
SKEWS = (-HOUR, 0, HOUR)
PAGE = {"accept": "text/html", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "sec-fetch-site": "none"}

pytestmark = pytest.mark.parametrize("kind", ["asgi", "wsgi"])
shared = pytest.mark.parametrize("store", ["sqlite", "redis", "postgresql"])
servers = pytest.mark.parametrize("store", ["redis", "postgresql"])
every = pytest.mark.parametrize("store", ["memory", "sqlite", "redis", "postgresql"])


class Worker:
    """
    A worker whose wall clock is *skew_ms* off, behind one of the shells.

    Attributes:
        skew_ms: Change it, and the worker's clock is set.
        refused: Tokens that it did not accept.
    """

    def __init__(self, kind: str, url: str, clock: FakeClock, skew_ms: int = 0, app: Any = None, **given: Any) -> None:
        self.skew_ms = skew_ms
        self.clock = clock
        own = StoreClock(lambda: clock() + self.skew_ms, lambda: clock() * 1_000_000, boot=lambda: 4711)
        here = url.startswith(("memory:", "sqlite:"))
        ledger = None if url.startswith("sqlite:") else "memory://"
        made: Any = own if here else clock
        self.world = make_world(kind, app, store=url, ledger=ledger, clock=made, **given)
        if not here:  # the server goes by the true time, this worker by its own
            self.world.engine.clock = self.world.engine.background._plan.clock = own
        self.refused: list[Any] = []
        self.world.engine.rejected = self.refused.append

    def visit(self, visitor: dict[str, str], method: str = "POST", headers: Any = ()) -> Any:
        """Let a visitor in with the cookies they have."""
        self.world.jar = visitor
        return self.world.request(method, headers=headers).json()

    def ends(self) -> list[Any]:
        return self.world.ends()

    def close(self) -> None:
        self.world.engine.drain()
        self.world.engine.store.close()


@pytest.fixture
def url(store: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Where all workers keep their sessions. A test machine may be busy: requests may wait for longer than 50 ms."""
    monkeypatch.setattr("session_mw._postgres.database.REQUEST_MS", 20_000)
    if store == "redis":
        return f"{request.getfixturevalue('redis_url')}?socket_timeout=20&socket_connect_timeout=20"
    if store == "postgresql":
        return request.getfixturevalue("pg_emptied")
    return "memory://" if store == "memory" else f"sqlite:///{tmp_path}/live.db"


@pytest.fixture
def workers(kind: str, url: str) -> Any:
    """Three workers: one is an hour behind, one is right, one is an hour ahead. A file's clock has been set right."""
    clock = FakeClock()
    made = [Worker(kind, url, clock, skew_ms) for skew_ms in SKEWS]
    if url.startswith("sqlite:"):
        made[1].world.work()
    yield made
    for worker in made:
        worker.close()


def time_of(text: str) -> int:
    return round(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def went_round(workers: list[Worker], turns: int = 9, pages: bool = False) -> tuple[list[Any], dict[str, str]]:
    """Let one visitor talk to each worker in turn, every four minutes; perhaps with a look at a page before each."""
    visitor: dict[str, str] = {}
    replies = []
    for number in range(turns):
        worker = workers[number % len(workers)]
        if pages and number:
            replies.append(worker.visit(visitor, "GET", PAGE))
        replies.append(worker.visit(visitor))
        worker.clock.advance(seconds=240)
    return replies, visitor


@shared
@pytest.mark.parametrize("first", [1, pytest.param(0, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_G11_visitor_goes_round_among_workers_an_hour_apart(first: int, workers: list[Worker]) -> None:
    """One session, its turns in order, every token accepted, whoever comes first."""
    began = workers[0].clock()
    replies, _ = went_round(workers[first:] + workers[:first])

    assert 1 == len({reply["id"] for reply in replies})
    assert list(range(1, 10)) == [reply["turn"] for reply in replies]
    assert {None} == {reply["previous"] for reply in replies}
    assert [[], [], []] == [worker.refused for worker in workers]

    last = began + 8 * 240_000
    workers[0].clock.set(last + 30 * 60_000 - 1)
    early = [end for worker in workers for end in worker.ends()]
    workers[0].clock.advance(ms=1)
    found = [end.attributes for worker in workers[first:] + workers[:first] for end in worker.ends()]
    workers[0].clock.advance(seconds=7200)
    again = [end for worker in workers for end in worker.ends()]

    assert [] == early
    assert [("idle_timeout", 9)] == [(end["session.end_reason"], end["session.total_turns"]) for end in found]
    assert (began, last) == (time_of(found[0]["session.start_time"]), time_of(found[0]["session.end_time"]))
    assert 1 == len(again)


@shared
def test_G11_pages_between_turns_change_nothing(workers: list[Worker]) -> None:
    """A page load asks no store: the worker dates tokens by what the store has told it before, and goes on."""
    workers = [workers[1], workers[0], workers[2]]
    replies, _ = went_round(workers, pages=True)

    assert 1 == len({reply["id"] for reply in replies})
    assert list(range(1, 10)) == [reply["turn"] for reply in replies if reply["turn"]]
    assert [[], [], []] == [worker.refused for worker in workers]


@shared
@pytest.mark.parametrize("skew_ms", [-HOUR, HOUR])
def test_G11_worker_that_was_told_no_time_yet_keeps_the_visitor(skew_ms: int, workers: list[Worker]) -> None:
    """Its first request is a page load, with a token that looks an hour old, or new: it is nobody's end."""
    (right,) = [worker for worker in workers if not worker.skew_ms]
    (wrong,) = [worker for worker in workers if worker.skew_ms == skew_ms]
    visitor: dict[str, str] = {}
    seen = [right.visit(visitor)]
    right.clock.advance(seconds=1500)
    seen.append(wrong.visit(visitor, "GET", PAGE))
    seen += [right.visit(visitor), wrong.visit(visitor)]

    assert 1 == len({reply["id"] for reply in seen})
    assert [1, None, 2, 3] == [reply["turn"] for reply in seen]
    assert [] == wrong.refused + right.refused


@servers
@pytest.mark.parametrize("skew_ms", [-HOUR, HOUR])
def test_G11_sweep_tells_the_time_before_any_turn(skew_ms: int, workers: list[Worker]) -> None:
    """A worker that has served pages only learns it behind them: what it issues from then on is dated right."""
    (right,) = [worker for worker in workers if not worker.skew_ms]
    (wrong,) = [worker for worker in workers if worker.skew_ms == skew_ms]
    wrong.visit({}, "GET", PAGE)
    unsure = wrong.world.engine.clock.sure
    wrong.world.work()
    visitor: dict[str, str] = {}
    seen = [wrong.visit(visitor, "GET", PAGE), right.visit(visitor)]

    assert not unsure
    assert wrong.world.engine.clock.sure
    assert right.clock() == wrong.world.engine.clock()
    assert 1 == len({reply["id"] for reply in seen})
    assert 1 == seen[1]["turn"]
    assert [] == right.refused


@servers
def test_G11_token_from_the_future_is_accepted(workers: list[Worker]) -> None:
    """A worker an hour ahead has issued it before it was told the time; the session goes on under its id."""
    _, right, ahead = workers
    visitor: dict[str, str] = {}
    seen = [ahead.visit(visitor, "GET", PAGE)]
    seen += [right.visit(visitor), right.visit(visitor)]

    assert 1 == len({reply["id"] for reply in seen})
    assert [None, 1, 2] == [reply["turn"] for reply in seen]
    assert [] == right.refused


@servers
def test_token_from_further_in_the_future_is_refused(kind: str, url: str) -> None:
    """An hour and ``clock_skew`` are tolerated, not a day: such a token would be good for as long."""
    clock = FakeClock()
    far, right = Worker(kind, url, clock, HOUR + 61_000), Worker(kind, url, clock)
    visitor: dict[str, str] = {}
    first = far.visit(visitor, "GET", PAGE)
    right.visit({})
    second = right.visit(visitor)
    far.close(), right.close()

    assert ["from_future"] == [event.reason for event in right.refused]
    assert first["id"] != second["id"]


@every
@pytest.mark.parametrize("step_ms", [-HOUR, HOUR])
def test_G12_clock_that_is_set_in_the_middle_of_a_session_ends_nothing(kind: str, url: str, step_ms: int) -> None:
    """The visitor goes on; nobody's session ends before or after its time, and it says how long it really was."""
    worker = Worker(kind, url, FakeClock())
    clock, visitor = worker.clock, {}
    began = clock()
    replies = [worker.visit(visitor)]
    clock.advance(seconds=600)
    worker.skew_ms = step_ms
    replies.append(worker.visit(visitor, "GET", PAGE))
    replies.append(worker.visit(visitor))
    clock.advance(seconds=1799)
    early = worker.ends()
    replies.append(worker.visit(visitor))
    clock.advance(seconds=1800)
    (end,) = worker.ends()
    worker.close()

    assert 1 == len({reply["id"] for reply in replies})
    assert [1, None, 2, 3] == [reply["turn"] for reply in replies]
    assert [] == worker.refused + early
    assert (2_399_000, "idle_timeout") == (end.attributes["session.duration_ms"], end.attributes["session.end_reason"])
    assert began == time_of(end.attributes["session.start_time"])


@every
@pytest.mark.parametrize("step_ms", [HOUR, pytest.param(-HOUR, marks=pytest.mark.slow)])
def test_G12_absolute_timeout_is_as_long_as_ever(kind: str, url: str, step_ms: int) -> None:
    """A session that never rests ends after the hours that have passed, whatever the wall clock said meanwhile."""
    worker = Worker(kind, url, FakeClock(), absolute_timeout="2h")
    clock, visitor = worker.clock, {}
    worker.visit(visitor)
    for number in range(5):
        clock.advance(seconds=1200)
        worker.skew_ms = step_ms if number >= 2 else 0
        worker.visit(visitor)
    clock.advance(seconds=1199)
    early = worker.ends()
    clock.advance(seconds=1)
    reasons = [end.attributes["session.end_reason"] for end in worker.ends()]
    worker.close()

    assert [] == early
    assert ["max_lifetime"] == reasons


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_time_follows_the_wall_while_nobody_is_there(kind: str, url: str) -> None:
    """Sessions are dated as spans are again, as soon as that can end none."""
    worker = Worker(kind, url, FakeClock())
    worker.visit({})
    worker.skew_ms = HOUR
    worker.ends()
    kept = worker.world.engine.clock()
    worker.clock.advance(seconds=1800)
    worker.ends(), worker.ends()
    worker.visit({})
    began = worker.world.starts()[-1].attributes["session.start_time"]
    worker.close()

    assert worker.clock() - 1_800_000 == kept
    assert worker.clock() + HOUR == time_of(began)


@servers
def test_worker_that_is_ahead_does_not_sweep_all_the_time(store: str, workers: list[Worker]) -> None:
    """It sleeps until the store says that something is due; by its own clock everything has long been."""
    ahead = workers[2]
    ahead.visit({})
    ahead.world.work()

    assert ahead.world.engine.background._nap() >= 0.4


@servers
@pytest.mark.parametrize("skew_ms", [-HOUR, HOUR])
def test_G11_identity_in_baggage_is_dated_by_the_store(kind: str, url: str, skew_ms: int) -> None:
    """A service behind that shares the store believes what a worker an hour off has signed."""
    carrier: dict[str, str] = {}

    def handed_on() -> None:
        carrier["host"] = "localhost:8001"
        propagate.inject(carrier)

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        handed_on()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        handed_on()
        start_response("200 OK", [])
        return [b"{}"]

    clock = FakeClock()
    wrong = Worker(kind, url, clock, skew_ms, asgi if kind == "asgi" else wsgi)
    right = Worker(kind, url, clock)
    instrument(wrong.world.engine.policy, processors=False)
    wrong.visit({})
    began = wrong.world.starts()[0].attributes["session.id"]
    reply = right.visit({}, headers={"baggage": carrier["baggage"]})
    wrong.close(), right.close()

    assert [] == right.refused
    assert began == reply["id"]


def test_worlds_are_what_they_say(kind: str) -> None:
    """A worker's clock is its own, and the world's is the true one: otherwise these tests would show nothing."""
    worker = Worker(kind, "memory://", FakeClock(), HOUR)
    world: World = worker.world

    assert worker.clock() + HOUR == world.engine.clock()
    assert world.engine.clock is world.engine.store.clock
