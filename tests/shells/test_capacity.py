"""An application whose store holds as many sessions as it may: the answers are as always, only nobody counts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from session_mw._engine import parts
from session_mw.telemetry import notices
from session_mw.telemetry.metrics import Metrics
from tests.shells.test_websocket import Wire, connect
from tests.shells.worlds import World


class Client:
    """A browser with cookies of its own."""

    def __init__(self, world: World) -> None:
        self.world, self.jar = world, dict[str, str]()

    def post(self, path: str = "/echo") -> Any:
        self.world.jar = self.jar
        reply = self.world.request(path=path)
        assert 200 == reply.status
        return reply.json()


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def full(request: pytest.FixtureRequest, make: Callable[..., World], tmp_path: Path) -> Any:
    """A world whose store holds one session, and the client whose session it is."""
    url = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/live.db", "postgresql": ""}[request.param]
    world = make(store=url or request.getfixturevalue("pg_emptied"), max_live=1)
    if not url:
        world.engine.store._store._database._ms[False] = 20_000  # a loaded machine
    client = Client(world)
    assert 1 == client.post()["turn"]
    yield world, client
    parts._engines.discard(world.engine)  # at exit its server is gone
    world.engine.store.close()


def test_G16_full_store_changes_no_answer(full: Any) -> None:
    """Who finds no room is answered all the same, as one visitor, with turn spans that have ids and no numbers."""
    world, resident = full
    reader = InMemoryMetricReader()
    world.engine.metrics = Metrics(MeterProvider([reader]))
    visitor = Client(world)
    found = [visitor.post() for _ in range(3)]
    mine = resident.post()

    assert [None] * 3 == [one["turn"] for one in found]
    assert 1 == len({one["id"] for one in found})
    assert 2 == mine["turn"]
    turns = [dict(span.attributes) for span in world.spans("turn")]
    assert 5 == len({turn["turn.id"] for turn in turns})
    assert [1, None, None, None, 2] == [turn.get("turn.number") for turn in turns]
    assert {found[0]["id"], mine["id"]} == {turn["session.id"] for turn in turns}
    assert {("capacity", 3)} == counted(reader)
    assert 1 == world.engine.store.stats().live


def test_G16_visitor_becomes_a_session_when_there_is_room(full: Any) -> None:
    """Under the id that its cookie has had meanwhile: what was stamped with it belongs to it."""
    world, resident = full
    visitor = Client(world)
    before = visitor.post()
    resident.post("/logout")
    after = visitor.post()

    assert (None, 1) == (before["turn"], after["turn"])
    assert before["id"] == after["id"]
    assert [after["id"]] == [start.attributes["session.id"] for start in world.starts()[1:]]


def test_S20_full_store_does_not_bring_back_who_logged_out(full: Any) -> None:
    """An ended session's token names neither the session nor its user any more, room or not."""
    world, resident = full
    resident.post("/login?user=ann")
    stale = dict(resident.jar)
    gone = resident.post("/logout")
    Client(world).post()
    resident.jar = stale
    found = [resident.post() for _ in range(2)]

    assert [(None, None, gone["id"])] * 2 == [(one["turn"], one["user"], one["previous"]) for one in found]
    assert 1 == len({one["id"] for one in found} - {gone["id"]})


def test_full_store_is_said_once_a_minute(make: Callable[..., World], caplog: pytest.LogCaptureFixture) -> None:
    """One line with what to do, however many come."""
    notices.reset()
    world = make(max_live=1)
    with caplog.at_level(logging.WARNING, "session_mw"):
        for _ in range(5):
            Client(world).post()

    said = [record.getMessage() for record in caplog.records if "max_live=1 allows" in record.getMessage()]
    assert 1 == len(said)
    assert not [record for record in caplog.records if "without effect" in record.getMessage()]


def test_G16_connection_in_a_full_store_is_served() -> None:
    """Messages are answered; from the end of the other session on they are its turns 1, 2."""
    world = connect(max_live=1)
    answers: list[str] = []

    async def scenario() -> None:
        resident, visitor = Wire(world), Wire(world)
        await resident.accepted(), await visitor.accepted()
        answers.append(await resident.ask("one"))
        answers.extend([await visitor.ask("one"), await visitor.ask("two")])
        world.clock.advance(seconds=1801)
        world.work()
        answers.extend([await visitor.ask("three"), await visitor.ask("four"), await resident.ask("two")])
        await resident.close(), await visitor.close()

    asyncio.run(scenario())
    ids, numbers = zip(*(answer.split("|") for answer in answers), strict=True)
    assert ("1", "None", "None", "1", "2", "None") == numbers
    assert 1 == len(set(ids[1:5]))


def counted(reader: InMemoryMetricReader) -> set[tuple[Any, Any]]:
    """Return what was dropped, by reason."""
    data: Any = reader.get_metrics_data()
    metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
    points = [point for m in metrics if m.name == "session_mw.dropped" for point in m.data.data_points]
    return {(point.attributes["reason"], point.value) for point in points}
