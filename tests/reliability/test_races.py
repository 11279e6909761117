"""
Touches at the very moment of the end, beside sweepers, for every store (G13, G14).

Each session goes on as one other at most, every turn is counted once, every end is reported once.

In the table, ``by_touch`` and ``by_claim`` say who ended the sessions whose touches came too late.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from session_mw.stores import MemoryStore
from tests.reliability.racing import PARALLEL, Found, Processes, Race, Threads
from tests.reliability.scale import TRIALS
from tests.reliability.tables import Table
from tests.stores.worker import opened

COLUMNS = "trials in_time by_touch by_claim turns sessions ends forked double miscounted seconds"
races = Table("touch against claim", COLUMNS)
FEW = 20


def _row(store: str, trials: int, found: Found, began: float) -> None:
    races.add(
        store,
        trials,
        found.extended,
        found.closed_by_touch,
        len(found.given) - trials - found.closed_by_touch,
        sum(map(len, found.given.values())),
        len(found.given),
        sum(found.ended.values()),
        len(found.forked()),
        len(found.doubled()),
        len(found.miscounted()),
        f"{time.monotonic() - began:.0f}",
    )


def race(store: str, sides: Any, open_store: Any, trials: int) -> None:
    """Let touches race, and assert what was promised."""
    began = time.monotonic()
    found = Race(sides, open_store).run(trials)
    if trials > FEW:  # a table in every run of pytest would be too much
        _row(store, trials, found, began)

    assert [] == found.failures
    assert trials * (PARALLEL + 1) == sum(map(len, found.given.values()))
    assert found.successors.pop(None) == trials, "sessions that nobody asked for"
    assert [] == found.forked()
    assert [] == found.doubled()
    assert [] == found.miscounted()
    assert len(found.given) > trials, "nobody came late: nothing was proven"


def _memory(trials: int) -> None:
    store = MemoryStore()
    race("memory, threads", Threads, lambda: store, trials)


def test_G13_G14_few_touches_at_the_deadline_make_one_successor(restless: None) -> None:
    """Six threads and two sweepers over the memory store."""
    _memory(FEW)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_G13_G14_touches_at_the_deadline_make_one_successor_in_memory(restless: None) -> None:
    """The same, often."""
    _memory(TRIALS)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("store", ["sqlite", "redis", "postgresql"])
def test_G13_G14_touches_at_the_deadline_make_one_successor(
    store: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Six processes and two that sweep: each session goes on as one other at most, and is reported once."""
    fixtures = {"redis": "redis_url", "postgresql": "pg_emptied"}
    path = str(request.getfixturevalue(fixtures[store]) if store in fixtures else tmp_path / "live.db")
    race(f"{store}, processes", Processes, lambda: opened(path), TRIALS)
