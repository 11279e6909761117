"""
Workers that are killed again and again while clients talk: not one session is lost, not one turn miscounted (G1-G4).

The whole product: gunicorn's workers, both shells, real stores, the sweeper of every worker, a sink that writes to a
file and the history behind it. How many are killed: ``scale``.

In the tables, ``again`` are reports that came again, and ``most`` those that may: each in the last batch that a killed
worker had told its sink of. ``late_s`` is the longest time from an idle timeout to the first report of the end, while
workers die faster than they can report: with the last kill, G1's time begins.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reliability.hunting import LEASE, OWN_LEASE, Run, at_points, at_random, run
from tests.reliability.scale import DEATHS, KILLS, LONG
from tests.reliability.tables import Table

POINTS = ("after_claim", "after_close", "after_emit", "before_ack")
STORES = {"sqlite": "wsgi", "redis": "asgi", "postgresql": "wsgi"}  # in a short run; in a long one, each has both
CASES = [
    pytest.param(store, kind, id=f"{store}-{kind}")
    for store in STORES
    for kind in (("wsgi", "asgi") if LONG else (STORES[store],))
]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="gunicorn needs fork")]
kills = Table("kill -9", "kills requests unanswered sessions ends again most differ lost miscounted late_s seconds")
points = Table("failpoint", "deaths ends again expected differ lost miscounted seconds")
Url = Callable[[str], "str | None"]


@pytest.fixture
def url(request: pytest.FixtureRequest) -> Url:
    """Return the URL of an empty store; None is an SQLite file."""

    def find(store: str) -> str | None:
        if store == "redis":
            # A busy machine is no fault of the store's.
            patient = "socket_timeout=5&socket_connect_timeout=5&background_timeout=20"
            return f"{request.getfixturevalue('redis_url')}?{patient}"
        return None if store == "sqlite" else str(request.getfixturevalue("pg_emptied"))

    return find


def check(done: Run) -> None:
    """Assert what holds however workers died."""
    found = done.evidence
    assert [] == done.strange
    assert "" == done.held, "sessions that nobody ended in time"
    assert [] == found.lost()
    assert [] == found.miscounted()
    assert [] == found.differing()
    assert [] == found.unexcused()
    assert [] == done.missing, "not in the history"
    assert "Traceback" not in done.log, done.log[-4000:]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("store", "kind"), CASES)
def test_G1_G2_G4_kills_at_any_instruction_lose_nothing(store: str, kind: str, tmp_path: Path, url: Url) -> None:
    """
    Every session with an acknowledged turn is reported, with every turn counted once.

    A report comes again only where the worker that wrote it was killed with it in its hands: the same, byte by byte,
    but for ``session.emit_attempt``.
    """
    done = run(kind, url(store), tmp_path, at_random(KILLS), OWN_LEASE if LONG else LEASE)
    found = done.evidence
    kills.add(
        f"{store} {kind}",
        len(found.killed),
        len(found.asked),
        len(found.unacknowledged()),
        len(found.ends),
        sum(map(len, found.ends.values())),
        len(found.again()),
        found.in_hands(),
        len(found.differing()),
        len(found.lost()),
        len(found.miscounted()),
        f"{max(found.late().values()):.1f}",
        f"{done.hunted + done.waited:.0f}",
    )

    check(done)
    assert KILLS == len(found.killed)
    assert len(found.ends) > KILLS, "too little was done to prove anything"


@pytest.mark.timeout(300)
def test_G7_first_turns_of_workers_are_counted_with_the_timeouts_that_users_have(
    tmp_path: Path, redis_url: str
) -> None:
    """
    A worker that was just forked connects while its loop is busy with its first requests: a rolling deploy is that.

    Once 5 in 100 turns went uncounted so. One in 100 is left to a machine that gives the server itself no time.
    """
    done = run("asgi", f"{redis_url}?background_timeout=20", tmp_path, at_random(40), LEASE)
    answered = [asked for asked in done.evidence.asked if asked.session_id is not None]
    uncounted = [asked for asked in answered if asked.turn is None]

    assert len(answered) > 500, "too little was done to prove anything"
    assert len(uncounted) <= len(answered) / 100


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("store", "kind"), CASES)
def test_G2_G4_deaths_at_named_points_repeat_one_batch_or_none(store: str, kind: str, tmp_path: Path, url: Url) -> None:
    """Before the sink was told nothing comes twice; after it, before the acknowledgement, that one batch does."""
    done = run(kind, url(store), tmp_path, at_points(POINTS, DEATHS), LEASE)
    found = done.evidence
    for point in POINTS:
        deaths = [death for death in found.deaths if death.point == point]
        ends = sum(len(death.uids) for death in deaths)
        points.add(
            f"{store} {kind} {point}",
            len(deaths),
            ends,
            sum(found.repeated(death) for death in deaths),
            ends if point in POINTS[2:] else 0,
            len(found.differing()),
            len(found.lost()),
            len(found.miscounted()),
            f"{done.hunted + done.waited:.0f}",
        )

    check(done)
    assert dict.fromkeys(POINTS, DEATHS) == Counter(death.point for death in found.deaths)
    assert [] == found.wrong_at_failpoints()
