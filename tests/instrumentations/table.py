"""
The table at the end of the suite's output: what was reported on spans, and what was counted.

Tests leave a line each with ``record_property``, so that it also works when several processes run them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .installed import missing, version
from .rows import ROWS

PROPERTY = "instrumentation"
NOT_SELECTED = "none of its tests was selected"
_HEAD = ("instrumentation", "", "calls", "books", "untold", "reported", "counted", "")


@dataclass(frozen=True)
class Line:
    """
    One case of one row, in numbers of tokens, input and output together.

    Attributes:
        row: Name of the row.
        packages: Its distributions.
        streamed: Whether answers were read as they came.
        calls: Answers that the server gave.
        books: What it wrote down for them.
        untold: The part of it that no span tells.
        reported: The sum over all spans: more than ``books`` where several spans tell of one call.
        counted: What ``session.end`` says.
        right: Whether that was what was expected.
    """

    row: str
    packages: tuple[str, ...]
    streamed: bool
    calls: int
    books: int
    untold: int
    reported: int
    counted: int
    right: bool

    def as_values(self) -> dict[str, Any]:
        """Return it as what a test can leave behind."""
        return asdict(self)


def lines_of(reports: Iterable[Any]) -> list[Line]:
    """Return what the tests left behind."""
    found = (value for report in reports for name, value in report.user_properties if name == PROPERTY)
    order = {row.name: number for number, row in enumerate(ROWS)}
    lines = [Line(**{**value, "packages": tuple(value["packages"])}) for value in found]
    return sorted(lines, key=lambda line: (order[line.row], line.streamed))


def rendered(lines: Sequence[Line]) -> list[str]:
    """Return the table, one line for each row and way of answering, and what ran."""
    body = [_HEAD]
    groups = dict.fromkeys((line.row, line.streamed) for line in lines)
    for row, streamed in groups:
        group = [line for line in lines if (line.row, line.streamed) == (row, streamed)]
        sums = (
            sum(getattr(line, name) for line in group) for name in ("calls", "books", "untold", "reported", "counted")
        )
        verdict = "" if all(line.right for line in group) else "WRONG"
        body.append((row, "streamed" if streamed else "plain", *map(str, sums), verdict))
    widths = [max(len(cells[n]) for cells in body) for n in range(len(_HEAD))]
    table = ["  ".join(_cell(n, cell, widths[n]) for n, cell in enumerate(cells)).rstrip() for cells in body]
    return [*table, "", *_ran(lines)]


def _cell(column: int, text: str, width: int) -> str:
    return text.rjust(width) if 2 <= column < 7 else text.ljust(width)


def _ran(lines: Sequence[Line]) -> list[str]:
    ran = sorted({package for line in lines for package in line.packages})
    all_of_them = {package for row in ROWS for package in row.packages}
    rows = len({line.row for line in lines})
    return [
        f"{len(ran)} of {len(all_of_them)} instrumentations ran, in {rows} combinations and {len(lines)} cases.",
        *(f"  {name} {version(name)}" for name in ran),
        *(f"  {name} did not run: {missing((name,)) or NOT_SELECTED}" for name in sorted(all_of_them - {*ran})),
    ]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table when tests of this folder ran, or should have."""
    reports = [
        report
        for outcome in ("passed", "failed", "skipped")
        for report in terminalreporter.getreports(outcome)
        if report.nodeid.startswith("tests/instrumentations/")
    ]
    if reports:
        terminalreporter.section("tokens reported on spans and counted by the session")
        for line in rendered(lines_of(reports)):
            terminalreporter.write_line(line)
