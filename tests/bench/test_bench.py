"""The benchmark does what it says: every case runs, and its answers and spans are right; no time is looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import __main__ as bench
from tests.bench import beside, memory, postgres, redis, result, sqlite, stall, surge
from tests.bench.case import Case, CaseError
from tests.bench.measure import Sample, Spread, added, ratios
from tests.bench.rows import CASES, RATIOS, needed


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop of our own."""
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.mark.parametrize("name", CASES)
def test_case_runs(name: str, loop: asyncio.AbstractEventLoop) -> None:
    """Every case answers as it should before and after it ran, and loses no span."""
    case = CASES[name](loop)
    try:
        case.check()
        case.run(2)
        case.ran += 2
        case.settle()
        case.check()

        case.account()
    finally:
        case.close()


def test_account_finds_a_lost_span(loop: asyncio.AbstractEventLoop) -> None:
    """A case whose spans do not add up is no result."""
    case = CASES["ASGI floor, recording"](loop)
    case.check()
    case.ran += 1

    with pytest.raises(CaseError, match="spans came out"):
        case.account()
    case.close()


def test_account_finds_a_turn_that_was_not_counted(loop: asyncio.AbstractEventLoop) -> None:
    """Counters that never reach the store make a case fast and wrong."""
    case = CASES["ASGI turn, no SDK"](loop)
    case.check()
    case.ran += 1

    with pytest.raises(CaseError, match="are in the store"):
        case.account()
    case.close()


def test_needed_brings_what_is_subtracted() -> None:
    """A promise brings its cases, and their bases."""
    assert {"bare WSGI app", "OpenTelemetry WSGI alone", "WSGI turn, recording"} <= set(needed(["P5"]))
    assert "bare ASGI app" not in needed(["P5", "P8"])
    assert [] == needed(["P14"])


def test_rows_name_cases_that_there_are() -> None:
    """Every row of the table is about cases that can be made."""
    named = {name for row in RATIOS for name in (row.case, row.against, *row.cases)}

    assert set() == named - set(CASES)


def test_ratios_are_taken_within_a_round() -> None:
    """What a case adds is above its base in the same round: a slow round moves both sides."""
    base, mine, other = Case("base", int), Case("mine", int, base="base"), Case("other", int, base="base")
    samples = {
        "base": [Sample(1.0, 0.0), Sample(2.0, 0.0)],
        "mine": [Sample(5.0, 0.0), Sample(10.0, 0.0)],
        "other": [Sample(3.0, 0.0), Sample(6.0, 0.0)],
    }

    assert [4.0, 8.0] == added(mine, samples)
    assert [2.0, 2.0] == ratios(mine, other, samples)
    assert [1.0, 2.0] == added(base, samples)


def test_spread_of_one_round() -> None:
    """One round has no quartiles but its own value."""
    assert Spread(3.0, 3.0, 3.0) == Spread.of([3.0])


@pytest.mark.parametrize(("measured", "code"), [(1.9, 0), (2.1, 1)])
def test_check_asks_for_the_first_three(measured: float, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """``--check 2`` fails when P1, P2 or P3 is above twice its target, whatever the others are."""
    lines = [result.Line("P3", "ours", "", "", measured), result.Line("P5", "ours", "", "", 9.0)]

    assert code == bench._verdict(lines, 2.0)
    assert bool(code) == ("P3 is 2.10x its target" in capsys.readouterr().err)


def test_unknown_promise_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error in --only is said, not measured around."""
    with pytest.raises(SystemExit):
        bench.arguments(["--only", "P1,P99"])

    assert "P99" in capsys.readouterr().err


def test_memory_report_of_a_small_store() -> None:
    """The measurement of the memory store claims what is due and nothing else."""
    found = memory.report(2_000)

    assert 200 == found["claimed"]
    assert {"P9", "P10"} == {line.number for line in result.memory_lines(found)}


STORE_LINES = ["P10", "P10", "P11", "P12", "P12", "P12"]


@pytest.fixture
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks at the times."""
    monkeypatch.setattr(beside, "TOUCH_ROUNDS", 1)
    monkeypatch.setattr(beside, "CLAIM_ROUNDS", 1)
    for module in (sqlite, postgres, redis):
        monkeypatch.setattr(module, "TOUCHES", 20)


def test_sqlite_report_of_a_small_store(few_rounds: None) -> None:
    """Store and bare driver claim all that is due, and nothing else; two workers each session once."""
    found = sqlite.in_own_file(2_000)

    assert (200, 0, 0) == (found["claimed"], found["twice"], found["missed"])
    assert STORE_LINES == [line.number for line in result.sqlite_lines(found)]


@pytest.mark.landing
def test_postgres_report_of_a_small_store(pg_url: str, few_rounds: None) -> None:
    """The same of the PostgreSQL store."""
    found = postgres.report(pg_url, 2_000)

    assert (200, 0, 0) == (found["claimed"], found["twice"], found["missed"])
    assert STORE_LINES == [line.number for line in result.postgres_lines(found)]


@pytest.mark.landing
def test_redis_report_of_a_small_store(few_rounds: None) -> None:
    """The same of the Redis store."""
    found = redis.in_own_server(2_000)
    if found is None:
        pytest.skip("no redis-server here")

    assert (200, 0, 0) == (found["claimed"], found["twice"], found["missed"])
    assert STORE_LINES == [line.number for line in result.redis_lines(found)]


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind in ("memory", "sqlite") else pytest.mark.slow) for kind in surge.KINDS]
)
def test_surge_of_a_small_store(kind: str) -> None:
    """All that is due ends once, the others live on; what a touch takes is looked at before, after and meanwhile."""
    found = surge.report(kind, 1_000, 600, calm=0.02)
    if found is None:
        pytest.skip("no server here")

    assert (600, 0) == (found["ended"], found["left"])
    assert f"| {kind} | 1,000 |" in surge.scaling({kind: found})
    assert ["G15", "G15"] == [line.number for line in result.surge_lines(kind, found)]


@pytest.mark.slow
def test_stall_report_is_of_a_loop_beside_four_writers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both loops are looked at while the four write."""
    monkeypatch.setattr(stall, "SESSIONS", 100)
    found = stall.in_own_folder(1, 0.05)

    assert found["touches"] > 0
    assert ["P13", "P13"] == [line.number for line in result.stall_lines(found)]


def test_what_is_left_after_a_surge_is_said() -> None:
    """A sweeper that is fast because it left some is none."""
    found = dict.fromkeys(("calm_p50", "calm_p99", "busy_p50", "busy_p99", "busy_max", "extra_p99"), 1.0)
    line, _ = result.surge_lines("memory", {**found, "ended": 90.0, "left": 10.0, "seconds": 1.0, "rate": 90.0})

    assert "10 LEFT" in line.measured
    assert line.verdict.startswith("over")


@pytest.mark.bench
@pytest.mark.timeout(600)
def test_benchmark_ends_with_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole run prints every promise and keeps P1 to P3 within twice their targets."""
    code = bench.main(["--quick", "--json", str(tmp_path / "bench.json"), "--check", "2"])
    shown = capsys.readouterr().out

    assert 0 == code, shown
    assert all(f"\n{row.number} " in shown for row in RATIOS)
    assert (tmp_path / "bench.json").read_text().startswith("{")
