"""``session-mw settings``: what can be set, from the model itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .._settings.errors import env_name
from ..settings import settings_table

COLUMNS = ("name", "default", "allowed", "description")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def settings(as_json: bool) -> None:
    """
    List all settings, with their defaults and what they may be.

    Each can be given as an argument of SessionSettings(...) or as an environment variable: SESSION_MW_ and the name in
    capitals. Without a terminal each setting is one line, its columns divided by tabs.
    """
    rows = settings_table()
    if as_json:
        found = [{"environment": env_name(row[0]), **dict(zip(COLUMNS, row, strict=True))} for row in rows]
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif sys.stdout.isatty():
        Console().print(table_of(rows))
    else:
        click.echo("\n".join("\t".join(row) for row in [COLUMNS, *rows]))


def table_of(rows: Iterable[Sequence[str]]) -> Table:
    """Return *rows* as a table for a terminal."""
    table = Table(*COLUMNS, box=box.SIMPLE_HEAD, pad_edge=False)
    for name, *others in rows:
        table.add_row(Text(name, style="bold cyan"), *map(Text, others))
    return table
