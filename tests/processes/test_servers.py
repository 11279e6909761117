"""
Real servers that stop, are killed, start again and replace their workers while clients talk (G5).

A few cases run always; all of them with ``python -m pytest -m slow tests/processes``, which prints a table.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.processes.matrix import CASES, Case, Row, check, run, stop_bare

ALWAYS = ("uvicorn-1-lifespan-off-SIGKILL-all-sqlite",)
LANDING = ("gunicorn-gthread-preload-SIGTERM-sqlite",)
BARE = 2  # how often the same server is stopped without us: the longest counts


def _marked(case: Case) -> object:
    seldom = pytest.mark.landing if str(case) in LANDING else pytest.mark.slow
    return pytest.param(case, id=str(case), marks=[] if str(case) in ALWAYS else seldom)


def _url(case: Case, request: pytest.FixtureRequest) -> str | None:
    fixtures = {"redis": "redis_url", "postgresql": "pg_emptied"}
    return None if case.store == "sqlite" else str(request.getfixturevalue(fixtures[case.store]))


def _shown(row: Row) -> str:
    stopped = "" if row.seconds is None else f"{row.seconds:.1f}"
    without = "" if row.bare is None else f"{row.bare:.1f}"
    numbers = (row.requests, row.acknowledged, row.counted, row.written, row.ended, row.lost, stopped, without)
    return f"{row.case!s:52}" + "".join(f"{number:>9}" for number in numbers)


HEAD = f"{'server, event, store':52}" + "".join(
    f"{name:>9}" for name in ("requests", "told", "counted", "written", "ended", "lost", "stop s", "bare s")
)


@pytest.fixture(scope="module", autouse=True)
def table(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Print what came of all cases when they are over."""
    rows: list[str] = []
    yield rows
    if "slow" in (request.config.getoption("-m") or "").replace("not slow", ""):
        capture = request.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            print("\n" + "\n".join([HEAD, *rows]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", [_marked(case) for case in CASES])
def test_G5_no_turn_is_lost_and_no_session_ends(case: Case, request: pytest.FixtureRequest, table: list[str]) -> None:
    """Every turn that a client was told of is counted once, in the same session, whatever the server goes through."""
    row = run(case, _url(case, request))
    if row.seconds is not None:
        row.bare = max(stop_bare(case.mode) for _ in range(BARE))
    table.append(_shown(row))
    check(row)
