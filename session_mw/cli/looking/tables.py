"""Tables on standard output: for people on a terminal, lines with tabs for everybody else."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...ledger.tables import csv_line as csv_line
from ...ledger.tables import csv_of as csv_of
from .common import plain, unicode_out

WIDE = 120  # characters of a line that take every column


def print_table(columns: Mapping[str, str], rows: Iterable[Sequence[str]], wide_only: Collection[str] = ()) -> None:
    """
    Print a table.

    Args:
        columns: Their titles, and whether they are justified to the ``left`` or the ``right``.
        rows: Text a cell.
        wide_only: Titles of columns that a narrow terminal does without.
    """
    safe = [[plain(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        click.echo("\n".join("\t".join(row) for row in [list(columns), *safe]))
        return
    out = Console()
    kept = [title for title in columns if out.width >= WIDE or title not in wide_only]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold underline")
    for number, title in enumerate(kept):  # the first one gives way: it is folded, so that all of an id can be copied
        right = columns[title] == "right"
        table.add_column(
            title,
            justify="right" if right else "left",
            no_wrap=number > 0,
            overflow="fold" if number == 0 else "ellipsis",
        )
    for row in safe:
        cells = dict(zip(columns, row, strict=True))
        table.add_row(*(Text(cells[title], style=_style(cells[title])) for title in kept))
    out.print(table)


def short(text: str, longest: int = 13) -> str:
    """Return the beginning and the end of a long text."""
    half = (longest - 1) // 2
    dots = "…" if unicode_out() else "~"
    return text if len(text) <= longest else f"{text[:half]}{dots}{text[-half:]}"


def _style(cell: str) -> str:
    return "bold red" if "error" in cell else ""


def print_json(found: object) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(found, indent=2, ensure_ascii=not unicode_out()))
