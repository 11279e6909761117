"""
What a turn brought is counted once, also where nobody knows whether the store has heard of it.

Between the real store and the application a proxy loses answers, at random, and cuts the connection with them: the
server has done its work then, and nobody hears of it. Everything is asked through it, so touches get lost too: their
turns have no number, and nothing of them is counted but what they used.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from session_mw._core.marks import KEPT_MS, Mark
from session_mw._core.ops import Add, Touch
from session_mw._core.records import Limits
from session_mw.stores import _pg_sql, open_store
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


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
@pytest.mark.parametrize("rounds", [60, pytest.param(2_000, marks=pytest.mark.slow)])
def test_G13_what_turns_brought_is_counted_once_whatever_answers_get_lost(
    kind: str, behind: tuple[str, Proxy], rounds: int
) -> None:
    """Completed turns are those that have a number, tokens are those that were used: exactly, at the end."""
    url, proxy = behind
    world = make_world(kind, store=url, ledger="memory://")
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


# -- what a store does with marks


@pytest.fixture(params=["redis", "postgresql"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A store that several processes share."""
    monkeypatch.setattr("session_mw._postgres.database.REQUEST_MS", 20_000)
    kind = request.param
    url = f"{request.getfixturevalue('redis_url')}{PATIENT}" if kind == "redis" else ""
    opened, _ = open_store(url or request.getfixturevalue("pg_emptied"))
    yield opened
    opened.close()


def batch(mark: Mark | None, *ids: str, tokens: int = 1) -> list[Add]:
    items = [Add(session_id, completed=1, input_tokens=tokens) for session_id in ids]
    items[0].mark = mark
    return items


def test_G13_batch_that_was_done_is_known_again_with_what_came_of_it(store: Any) -> None:
    """Many sessions, some more than once, one that nobody knows: the second time the same is told, and nothing done."""
    ids = [f"s{number}" for number in range(80)]
    for session_id in ids:
        store.touch(Touch(session_id, "new", LIMITS, own=True))
    asked = [*ids, "unknown", *["s7"] * 250]
    told = [store.add(batch(Mark("w.1", 5), *asked)) for _ in range(3)]

    assert [[True] * 80 + [False] + [True] * 250] * 3 == told
    assert [251, 1] == [store.read(session_id).completed for session_id in ("s7", "s8")]


def test_G13_older_batch_that_comes_late_is_not_done(store: Any) -> None:
    """A question that waited in a hung server's queue is answered when its lane has gone on: it was done by then."""
    store.touch(Touch("s", "new", LIMITS, own=True))
    store.add(batch(Mark("w.1", 5), "s"))
    store.add(batch(Mark("w.1", 6), "s", "s"))
    store.add(batch(Mark("w.1", 5), "s"))
    other = store.add(batch(Mark("w.2", 5), "s"))

    assert [True] == other
    assert (4, 4) == (store.read("s").completed, store.read("s").input_tokens)


def test_G13_batches_without_a_mark_are_done_each_time(store: Any) -> None:
    """Whoever calls the store himself, and knows what came of it, needs none; nothing is kept of them."""
    store.touch(Touch("s", "new", LIMITS, own=True))
    assert [[True], [True]] == [store.add(batch(None, "s")) for _ in range(2)]
    assert 2 == store.read("s").completed


def test_G13_what_is_kept_of_marks_goes_by_itself(redis_url: str) -> None:
    """A lane of a worker that is gone takes 100 bytes a shard, for hours."""
    opened, _ = open_store(redis_url + PATIENT)
    opened.touch(Touch("s", "new", LIMITS, own=True))
    opened.add(batch(Mark("w.1", 5), "s"))

    def lanes(client: Any) -> list[int]:
        return [client.pttl(key) for key in client.keys("*:w:*")]

    (found,) = opened._driver.everywhere("look", lanes)  # type: ignore[attr-defined]
    opened.close()
    assert 1 == len(found)
    assert 0 < found[0] <= KEPT_MS


def test_G13_lanes_that_rested_are_scrubbed(pg_emptied: str) -> None:
    """The same in PostgreSQL: what nobody has used for hours is removed."""
    opened, _ = open_store(pg_emptied)
    opened.touch(Touch("s", "new", LIMITS, own=True))
    for number in range(3):
        opened.add(batch(Mark(f"w.{number}", 5), "s"))
    with psycopg.connect(pg_emptied, autocommit=True) as other:
        other.execute("UPDATE session_mw_writer SET expires_ms = 1 WHERE lane <> 'w.1'")
        opened.scrub(10)
        left = other.execute("SELECT lane FROM session_mw_writer").fetchall()
    opened.close()

    assert [("w.1",)] == left


def test_G13_second_question_waits_for_the_first(pg_emptied: str) -> None:
    """The first is given up here, and is still under way there: asked again, the batch is not done beside it."""
    opened, _ = open_store(pg_emptied)
    opened.touch(Touch("s", "new", LIMITS, own=True))
    found: list[Any] = []
    asking = threading.Thread(target=lambda: found.append(opened.add(batch(Mark("w.1", 5), "s"))))
    with psycopg.connect(pg_emptied) as first:
        first.execute(_pg_sql.MARK, {"lane": "w.1", "number": 5, "now": None})
        asking.start()
        with psycopg.connect(pg_emptied, autocommit=True) as look:
            waiting = b"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            while look.execute(waiting).fetchall() != [(1,)]:
                assert asking.is_alive(), found
                time.sleep(0.005)
        first.execute(_pg_sql.DONE, {"lane": "w.1", "done": [False]})
    asking.join(20)

    assert [[False]] == found
    assert 0 == opened.read("s").completed  # type: ignore[union-attr]
    opened.close()
