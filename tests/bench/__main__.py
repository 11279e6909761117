"""
The benchmark: ``python -m tests.bench``.

Prints each promise on performance with its target and what was measured here, and what every case costs. Ratios are
what counts: both sides are measured in the same run, interleaved. It always ends with exit code 0, unless ``--check``
asks for a verdict or a case does not do what it is measured for.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import memory, postgres, redis, report, result, sqlite, stall, surge
from .case import Case
from .imports import import_cost
from .measure import Samples, measure
from .rows import CASES, RATIOS, needed

NUMBERS = (*(f"P{number}" for number in range(1, 17)), "G15")
CHECKED = ("P1", "P2", "P3")
ROUNDS, QUICK_ROUNDS = 60, 10


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure the promises on performance.")
    parser.add_argument("--only", type=_numbers, default=list(NUMBERS), metavar="P1,P2", help="only these promises")
    parser.add_argument("--rounds", type=int, default=None, help=f"samples a case (default {ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, no store of a million sessions")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="save everything here")
    factor = "exit 1 when P1, P2 or P3 is above FACTOR x its target"
    parser.add_argument("--check", type=float, default=None, metavar="FACTOR", help=factor)
    return parser.parse_args(given)


def _numbers(text: str) -> list[str]:
    found = [number.strip().upper() for number in text.split(",") if number.strip()]
    unknown = [number for number in found if number not in NUMBERS]
    if unknown or not found:
        raise argparse.ArgumentTypeError(
            f"no such promise: {', '.join(unknown) or text!r} (there are P1 to P16 and G15)"
        )
    return found


def build(names: Sequence[str], loop: asyncio.AbstractEventLoop) -> list[Case]:
    """Make the cases *names*, and look at each before it is timed."""
    cases = [CASES[name](loop) for name in names]
    for case in cases:
        case.check()
    return cases


def timed(names: Sequence[str], rounds: int) -> tuple[dict[str, Case], Samples]:
    """Measure the cases *names*; every one is checked before and after, and its spans are accounted for."""
    loop = asyncio.new_event_loop()
    cases: list[Case] = []
    try:
        cases = build(names, loop)
        samples = measure(cases, rounds)
        for case in cases:
            case.check()
            case.account()
    finally:
        for case in cases:
            case.close()
        loop.close()
    return {case.name: case for case in cases}, samples


def main(given: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    asked = arguments(given)
    # One-time hints (no SDK, no exporter) are part of what some cases are.
    logging.getLogger("session_mw").setLevel(logging.CRITICAL)
    rounds = asked.rounds or (QUICK_ROUNDS if asked.quick else ROUNDS)
    wanted: list[str] = asked.only
    lines: list[result.Line] = []
    cases: list[result.CaseLine] = []
    names = needed(wanted)
    if names:
        found, samples = timed(names, rounds)
        lines += result.ratio_lines(found, samples, wanted)
        cases = result.case_lines(list(found.values()), samples)
    for numbers, more in _apart(asked.quick):
        if numbers & set(wanted):
            lines += [line for line in more() if line.number in wanted]
    lines += result.later_lines(wanted)
    lines.sort(key=lambda line: NUMBERS.index(line.number))
    _show(lines, cases, rounds, asked.json)
    return _verdict(lines, asked.check)


def _apart(quick: bool) -> list[tuple[set[str], Callable[[], list[result.Line]]]]:
    """Return what is measured in processes of its own."""
    apart: list[tuple[set[str], Callable[[], list[result.Line]]]] = [
        ({"P14"}, lambda: result.import_lines(import_cost(5 if quick else 15)))
    ]
    if not quick:
        apart.append(({"P9", "P10"}, lambda: result.memory_lines(memory.in_process())))
        apart.append(({"P10", "P11", "P12"}, lambda: result.sqlite_lines(sqlite.in_own_file())))
        apart.append(({"P10", "P11", "P12"}, postgres_lines))
        apart.append(({"P10", "P11", "P12"}, redis_lines))
        apart.append(({"P13"}, lambda: result.stall_lines(stall.in_own_folder())))
        apart.append(({"G15"}, surge_lines))
    return apart


def postgres_lines() -> list[result.Line]:
    """Return the lines of the PostgreSQL store, none where there is no server."""
    found = postgres.in_own_server()
    return [] if found is None else result.postgres_lines(found)


def redis_lines() -> list[result.Line]:
    """Return the lines of the Redis store, none where there is no server."""
    found = redis.in_own_server()
    return [] if found is None else result.redis_lines(found)


def surge_lines() -> list[result.Line]:
    """Return the lines of all stores that can be had here."""
    found = {kind: surge.in_process(kind) for kind in surge.KINDS}
    return [line for kind, one in found.items() if one is not None for line in result.surge_lines(kind, one)]


def _show(lines: list[result.Line], cases: list[result.CaseLine], rounds: int, path: Path | None) -> None:
    where = result.surroundings()
    print(", ".join(f"{name} {value}" for name, value in where.items()), f"; {rounds} rounds\n", sep="")
    print(report.table(lines))
    if cases:
        print("\n" + report.case_table(cases))
    if path is not None:
        report.save(path, lines, cases, where)


def _verdict(lines: list[result.Line], factor: float | None) -> int:
    if factor is None:
        return 0
    over = [line for line in lines if line.number in CHECKED and line.factor is not None and line.factor > factor]
    for line in over:
        print(f"{line.number} is {line.factor:.2f}x its target: {line.what}", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    assert {row.number for row in RATIOS} <= set(NUMBERS)
    sys.exit(main())
