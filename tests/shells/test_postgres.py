"""An application whose sessions are in PostgreSQL: alike in both shells, and unharmed when the server is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from session_mw.ledger import open_ledger
from tests.shells.worlds import make_world

kinds = pytest.mark.parametrize("kind", ["asgi", "wsgi"])


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test machine may be busy: it has more than the 50 ms that a request has."""
    monkeypatch.setattr("session_mw._postgres.database.REQUEST_MS", 20_000)


@kinds
@pytest.mark.usefixtures("patience")
def test_sessions_and_their_history_are_in_one_database(kind: str, pg_emptied: str) -> None:
    """Turns are counted over two workers, the end is reported once, and its turns are in the same database."""
    one = make_world(kind, store=pg_emptied)
    other = make_world(kind, store=pg_emptied, clock=one.clock)
    seen = [one.request(headers={"X-Conversation-ID": "c" * 20}).json()]
    other.jar = one.jar
    seen += [world.request(headers={"X-Conversation-ID": "c" * 20}).json() for world in (other, one, other)]
    one.work(), other.work()
    one.clock.advance(seconds=31 * 60)
    ends = one.ends() + other.ends()
    history = open_ledger(pg_emptied)
    row, turns = history.session(seen[0]["id"]), history.turns(seen[0]["id"])
    history.close()
    one.engine.store.close(), other.engine.store.close()

    assert 1 == len({reply["id"] for reply in seen})
    assert [1, 2, 3, 4] == [reply["turn"] for reply in seen]
    assert [(4, 4)] == [
        (end.attributes["session.total_turns"], end.attributes["session.completed_turns"]) for end in ends
    ]
    assert row is not None
    assert ("timed_out", 4, [1, 2, 3, 4]) == (row.status, row.turns, [turn.number for turn in turns])


@kinds
def test_G7_server_that_is_not_there_changes_no_answer(kind: str, tmp_path: Path) -> None:
    """Requests go on without it, each with the session that its cookie says."""
    world = make_world(kind, store=f"postgresql://me:hunter2@/app?host={tmp_path}")
    replies = [world.request() for _ in range(3)]
    world.work()

    assert [200] * 3 == [reply.status for reply in replies]
    assert 1 == len({reply.json()["id"] for reply in replies})
