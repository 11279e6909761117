"""
What a turn brought is counted once, also where nobody knows whether the store has heard of it.

Between the real store and the application a proxy loses answers, at random, and cuts the connection with them: the
server has done its work then, and nobody hears of it. Everything is asked through it, so touches get lost too: their
turns have no number, and nothing of them is counted but what they used.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from session_mw._core.ops import Add, End, Touch
from session_mw._core.records import Limits
from session_mw.stores import open_store
from tests.reliability.places import through
from tests.reliability.proxy import Proxy, before
from tests.shells.worlds import World, make_world

USED = 123  # tokens that "/usage" reports
LIMITS = Limits(idle_ms=1_800_000, absolute_ms=86_400_000, turn_ms=600_000, skew_ms=60_000)
PATIENT = "?socket_timeout=20&socket_connect_timeout=20&background_timeout=20"


@pytest.fixture(params=["redis", "postgresql"])
def behind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Proxy]]:
    """The URL of a store, and the proxy in front of it; a store that may take its time."""
    monkeypatch.setattr("session_mw._postgres.database.REQUEST_MS", 20_000)
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        with before(urlsplit(url).port) as proxy:
            yield f"redis://127.0.0.1:{proxy.port}{urlsplit(url).path}{PATIENT}", proxy
    else:
        url = request.getfixturevalue("pg_emptied")
        with before(f"{parse_qs(urlsplit(url).query)['host'][0]}/.s.PGSQL.5432") as proxy:
            yield through(url, proxy), proxy


@contextmanager
def losing(proxy: Proxy, share: float) -> Iterator[None]:
    """Let that share of all answers get lost."""
    dice = random.Random(share)
    proxy.loses = lambda: dice.random() < share
    yield
    proxy.loses = bool


def visited(world: World, number: int) -> int | None:
    """Take a turn; returns its number. Each third one also says something that is written before its response."""
    world.engine.gate.after_in_child()  # the breaker is not what is looked at here
    world.request(path="/set?topic=t" if number % 3 == 0 else "/usage")
    return int(world.spans("turn")[-1].attributes.get("turn.number", 0)) or None


def settled(world: World) -> Any:
    """Write what is left, and return the record of the only session."""
    for _ in range(5):
        world.engine.gate.after_in_child()
        world.work()
    assert 0 == world.engine.background._queued()
    (session_id,) = {span.attributes["session.id"] for span in world.spans("turn")}
    return world.engine.store.read(session_id)


@pytest.mark.parametrize("rounds", [60, pytest.param(2_000, marks=pytest.mark.slow)])
def test_G13_what_turns_brought_is_counted_once_whatever_answers_get_lost(
    behind: tuple[str, Proxy], rounds: int
) -> None:
    """Completed turns are those that have a number, tokens are those that were used: exactly, at the end."""
    url, proxy = behind
    world = make_world("wsgi", store=url, ledger="memory://")
    numbers = [visited(world, 1)]
    with losing(proxy, 0.2):
        for number in range(2, rounds):
            numbers.append(visited(world, number))
            if number % 4 == 0:
                world.work()
    record = settled(world)
    world.engine.store.close()

    counted = sum(number is not None for number in numbers)
    assert 0 < counted < len(numbers), "nothing was lost"
    assert (counted, 0) == (record.completed, record.failed)
    assert USED * sum(number % 3 != 0 for number in range(1, rounds)) == record.input_tokens + record.output_tokens
