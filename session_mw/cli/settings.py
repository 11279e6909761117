"""``session-mw settings``: what can be set, from the model itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import click
from rich import box
from rich.console import Console
from rich.table import Table

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
        _show(rows)
    else:
        click.echo("\n".join("\t".join(row) for row in [COLUMNS, *rows]))


def _show(rows: Sequence[Sequence[str]]) -> None:
    table = Table(*COLUMNS, box=box.SIMPLE_HEAD, pad_edge=False)
    for name, default, allowed, description in rows:
        table.add_row(f"[bold cyan]{name}[/]", *(_plain(text) for text in (default, allowed, description)))
    Console().print(table)


def _plain(text: str) -> str:
    """Keep rich from reading brackets as its own marks."""
    return text.replace("[", r"\[")
