"""History past its retention is forgotten in passing, in each kind of ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.shells.worlds import make_world
from tests.stores.pg_server import schema

HOUR = 3_600


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A ledger of each kind."""
    with ExitStack() as stack:
        if request.param == "postgresql":
            yield stack.enter_context(schema(request.getfixturevalue("pg_server")))
        else:
            yield "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/history.db"


@pytest.mark.parametrize(("retention", "left"), [("2d", 1), (None, 2)], ids=["two days", "for ever"])
def test_ledger_retention_is_swept(url: str, retention: str | None, left: int) -> None:
    """What was last active before goes with the background's next round, the rest stays."""
    world = make_world("asgi", store="memory://", ledger=url, ledger_retention=retention, max_live=None)
    first = world.request("POST", "/chat")
    world.work()
    world.clock.advance(seconds=36 * HOUR)
    world.work()  # it has ended by now
    world.jar.clear()
    world.request("POST", "/chat")
    world.clock.advance(seconds=24 * HOUR)
    world.engine.background._prune_at = 0.0  # it is time: an hour goes by between two looks
    world.work()
    rows = world.engine.history.sessions()
    world.engine.history.close()

    assert 200 == first.status
    assert left == len(rows)
    assert all(row.started_ms >= world.clock() - 60 * HOUR * 1_000 for row in rows)
