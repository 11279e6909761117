"""An application whose sessions are in Redis: alike in both shells, and unharmed when the server is not there."""

from __future__ import annotations

import logging

import pytest

from session_mw.telemetry import notices
from tests.shells.worlds import make_world
from tests.stores.redis_server import free_port

kinds = pytest.mark.parametrize("kind", ["asgi", "wsgi"])


@kinds
def test_sessions_are_shared_by_workers(kind: str, redis_url: str) -> None:
    """Turns are counted over two workers, and the end is reported once."""
    url = f"{redis_url}?socket_timeout=5&socket_connect_timeout=5"
    one = make_world(kind, store=url)
    other = make_world(kind, store=url, clock=one.clock)
    seen = [one.request(headers={"X-Conversation-ID": "c" * 20}).json()]
    other.jar = one.jar
    seen += [world.request(headers={"X-Conversation-ID": "c" * 20}).json() for world in (other, one, other)]
    one.work(), other.work()
    one.clock.advance(seconds=31 * 60)
    ends = one.ends() + other.ends()
    one.engine.store.close(), other.engine.store.close()

    assert 1 == len({reply["id"] for reply in seen})
    assert [1, 2, 3, 4] == [reply["turn"] for reply in seen]
    assert [(4, 4)] == [
        (end.attributes["session.total_turns"], end.attributes["session.completed_turns"]) for end in ends
    ]


@kinds
def test_G7_server_that_is_not_there_changes_no_answer(kind: str) -> None:
    """Requests go on without it, each with the session that its cookie says."""
    world = make_world(kind, store=f"redis://:hunter2@127.0.0.1:{free_port()}")
    replies = [world.request() for _ in range(3)]
    world.work()

    assert [200] * 3 == [reply.status for reply in replies]
    assert 1 == len({reply.json()["id"] for reply in replies})


@pytest.mark.parametrize(("ledger", "said"), [(None, 1), ("memory://", 0)])
def test_history_beside_redis_has_to_be_named(
    ledger: str | None, said: int, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis keeps no history: without a ledger each process has its own, for as long as it runs, and that is said."""
    notices.reset()
    with caplog.at_level(logging.WARNING, "session_mw"):
        make_world("wsgi", store=redis_url, ledger=ledger).engine.store.close()

    assert said == sum("ledger=" in record.message for record in caplog.records)
