"""Prints the tables of figures."""

from __future__ import annotations

from typing import Any

from tests.reliability.tables import TABLES


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show what was counted, whatever is captured."""
    for table in TABLES:
        if table.rows:
            terminalreporter.write_line(f"\n{table}")
