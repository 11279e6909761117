"""Aggregates over a user's sessions, from the history to the end: worked out once, the same in every report."""

from __future__ import annotations

import json
import logging
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from session_mw import CallableSink
from session_mw._core.events import EventRecord, end_event
from session_mw._core.records import SessionRecord
from session_mw.exceptions import StoreUnavailable
from tests.shells.worlds import make_world

DAY = 86_400
NAMES = ("user.sessions_total", "user.avg_session_length", "user.retention_days")


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store with its own history."""
    if request.param == "postgresql":
        monkeypatch.setattr("session_mw._postgres.database.REQUEST_MS", 20_000)  # a test machine may be busy
        url: str = request.getfixturevalue("pg_emptied")
        return url
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'sessions.db'}"


def sit(world: Any, user: str | None, turns: int = 2) -> str:
    """Let somebody hold a session, and leave; returns its id."""
    world.jar = {}
    path = "/echo" if user is None else f"/login?user={user}"
    session_id: str = world.request(path=path).json()["id"]
    for _ in range(turns - 1):
        world.request()
    return session_id


def totals(event: Any) -> tuple[Any, ...]:
    return tuple(event.attributes.get(name) for name in NAMES)


def test_sessions_of_a_user_are_counted(store: str) -> None:
    """This session counts, those of others do not; whole days from first to last, turns on average."""
    world = make_world("wsgi", store=store)
    for user, turns in (("ada", 2), ("bob", 9), ("ada", 5)):
        sit(world, user, turns)
        world.clock.advance(seconds=3 * DAY)
        world.work()
    ends = world.ends()

    assert [(1, 2.0, 0), (1, 9.0, 0), (2, 3.5, 6)] == [totals(end) for end in ends]
    assert [int, float, int] == [type(value) for value in totals(ends[0])]
    assert [] == [name for end in ends for name in end.attributes if name.startswith("_")]


def test_sessions_that_are_reported_together(store: str) -> None:
    """Each counts those that ended before it, as if they had been reported one by one."""
    world = make_world("asgi", store=store)
    first = sit(world, "ada", 2)
    world.clock.advance(seconds=60)
    second = sit(world, "ada", 4)
    world.clock.advance(seconds=2 * DAY)
    found = {end.attributes["session.id"]: totals(end) for end in world.ends()}

    assert {first: (1, 2.0, 0), second: (2, 3.0, 0)} == found


def test_sessions_of_nobody_have_no_totals(store: str) -> None:
    """Unknown is absent: no user, or a session that nobody confirmed."""
    world = make_world("wsgi", store=store)
    sit(world, None, 2)
    sit(world, "ada", 1)
    world.clock.advance(seconds=DAY)
    ends = world.ends()

    assert [(None, None, None)] * 2 == [totals(end) for end in ends]
    assert {True, False} == {end.attributes["session.confirmed"] for end in ends}


def learn(world: Any, end: Any) -> None:
    """Let the history learn of one more session of the same user, which had ended before: a worker was slow to tell."""
    user, at_ms = end.attributes["user.id"], end.timestamp_ms - 5 * DAY * 1000
    earlier = SessionRecord("earlier", at_ms, at_ms, turns=7, user_id=user, reason="user_exit", ended_ms=at_ms)
    world.engine.history.emit([end_event(replace(earlier, confirmed=True))])


def test_report_that_comes_again_says_the_same(store: str) -> None:
    """Sinks that refuse hear the same totals again, although the history has learnt more meanwhile."""
    taken: list[Any] = []

    def moody(records: Any) -> bool:
        taken.extend(record for record in records if record.event_name == "session.end")
        return len(taken) == 3

    world = make_world("wsgi", store=store, event_sink=CallableSink(moody))
    sit(world, "ada", 3)
    world.clock.advance(seconds=1801)
    world.work()
    learn(world, taken[0])
    for _ in range(3):
        world.clock.advance(seconds=120)
        world.work()

    attributes = [dict(end.attributes) for end in taken]
    assert [1, 2, 3] == [found.pop("session.emit_attempt") for found in attributes]
    assert [attributes[0]] * 3 == attributes
    assert [(1, 3.0, 0)] * 3 == [totals(end) for end in taken]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_G2_report_after_kill_nine_says_the_same(tmp_path: Path) -> None:
    """A worker is killed after it has told, and before it could acknowledge: the next one tells the same."""
    url, told = f"sqlite:///{tmp_path / 'sessions.db'}", tmp_path / "told"

    def tell_and_die(records: Any) -> bool:
        ends = [dict(record.attributes) for record in records if record.event_name == "session.end"]
        if ends:
            told.write_text(json.dumps(ends))
            os.kill(os.getpid(), signal.SIGKILL)
        return True

    child = os.fork()
    if child == 0:
        dying = make_world("wsgi", store=url, event_sink=CallableSink(tell_and_die))
        sit(dying, "ada", 3)
        dying.clock.advance(seconds=1801)
        dying.work()
        os._exit(1)
    status = os.waitpid(child, 0)[1]
    world = make_world("wsgi", store=url)
    world.clock.advance(seconds=1801 + 60)
    (first,) = json.loads(told.read_text())
    learn(world, EventRecord("session.end", world.clock(), first))
    (again,) = world.ends()

    assert signal.SIGKILL == os.WTERMSIG(status)
    assert (1, 2) == (first.pop("session.emit_attempt"), again.attributes["session.emit_attempt"])
    assert {"session.emit_attempt": 2, **first} == again.attributes
    assert (1, 3.0, 0) == totals(again)


def test_history_that_fails_leaves_the_totals_unknown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The end is reported all the same; nobody guesses, not even when the history answers later."""
    taken: list[Any] = []
    refusing = [True]

    def moody(records: Any) -> bool:
        taken.extend(record for record in records if record.event_name == "session.end")
        return not refusing[0]

    world = make_world("wsgi", ledger=f"sqlite:///{tmp_path}/no/such/folder/history.db", event_sink=CallableSink(moody))
    sit(world, "ada")
    world.clock.advance(seconds=1801)
    with caplog.at_level(logging.ERROR, "session_mw"):
        world.work()
    (tmp_path / "no" / "such" / "folder").mkdir(parents=True)
    refusing[0] = False
    world.clock.advance(seconds=120)
    world.work()

    assert [(None, None, None)] * 2 == [totals(end) for end in taken]
    assert 1 == sum("cannot ask the history for users' totals" in record.message for record in caplog.records)


def test_store_that_fails_then_reports_nothing(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told what could not be written down: the lease runs out, and the end is reported then."""
    world = make_world("wsgi", store=store)
    sit(world, "ada")
    world.clock.advance(seconds=1801)

    def broken(*_: Any) -> Any:
        raise StoreUnavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(world.engine.background._plan.store, "annotate", broken)
        world.work()
        silent = [event for event in world.events if event.event_name == "session.end"]
    world.clock.advance(seconds=60)

    assert [] == silent
    assert [(1, 2.0, 0)] == [totals(end) for end in world.ends()]
