"""``session-mw list``: the sessions that fit a filter."""

from __future__ import annotations

import sys

import click

from ...ledger import SORTS, Ledger, Listing, Page, SessionRow
from ...ledger.documents import SESSION_NAMES, session_document
from ...ledger.walking import pages
from ..options import json_option
from .common import (
    WINDOW_DAYS,
    Asked,
    all_time_option,
    asked,
    filter_argument,
    history_options,
    many,
    opened,
    refused_well,
    say,
    say_what_nobody_has,
    shown_ms,
    shown_number,
    shown_time,
    shown_usd,
    unconfirmed_option,
)
from .tables import csv_line, csv_of, print_json, print_table, short

COLUMNS = {
    "session": "left",
    "type": "left",
    "version": "left",
    "user": "left",
    "started (UTC)": "left",
    "duration": "right",
    "turns": "right",
    "tokens": "right",
    "cost": "right",
    "status": "left",
}
WIDE_ONLY = ("version", "user", "tokens")


@click.command("list")
@filter_argument
@click.option(
    "--sort",
    default="-started",
    show_default=True,
    metavar="FIELD",
    help=f"One of {', '.join(SORTS)}; with a - in front the largest come first.",
)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="So many at most.")
@all_time_option
@unconfirmed_option
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, for spreadsheets.")
@history_options
def list_sessions(
    words: tuple[str, ...],
    sort: str,
    limit: int,
    all_time: bool,
    unconfirmed: bool,
    as_json: bool,
    as_csv: bool,
    store_url: str | None,
    ledger_url: str | None,
) -> None:
    """
    List the sessions that fit a filter, of the last 30 days unless it says when.

    A filter names fields, as in type:chat or cost:>0.50; what stands side by side has to hold together. Put it in
    quotes when your shell would read it: < > ( ) " and *. One that begins with - comes after --.

    \b
    Examples:
      session-mw list
      session-mw list 'session.type = "chat" AND cost:>1.00' --sort -cost
      session-mw list has_errors:true last 24 hours --json
    """
    wanted = asked(words, all_time)
    listing = refused_well(lambda: Listing(wanted.where, sort, include_unconfirmed=unconfirmed))
    with opened(store_url, ledger_url) as ledger:
        found = list(pages(ledger, listing, limit))
        rows = [row for page in found for row in page.rows]
        _print(rows, as_json, as_csv)
        say(_summary(found, len(rows), wanted))
        if not rows:
            _say_why(ledger, listing, wanted)


def _print(rows: list[SessionRow], as_json: bool, as_csv: bool) -> None:
    if as_json:
        print_json([session_document(row) for row in rows])
    elif as_csv:
        click.echo(csv_line(SESSION_NAMES) + "".join(csv_of(session_document(row)) for row in rows), nl=False)
    elif rows:
        print_table(COLUMNS, map(_cells, rows), WIDE_ONLY)


def _cells(row: SessionRow) -> list[str]:
    terse = sys.stdout.isatty()
    user, started = row.user_id or "-", shown_time(row.started_ms)
    return [
        row.session_id if row.generation == 1 else f"{row.session_id} ({row.generation})",
        row.type or "-",
        row.prompt_version or "-",
        short(user) if terse else user,
        started.rpartition(":")[0] if terse else started,
        shown_ms(row.duration_ms),
        shown_number(row.turns),
        shown_number(row.total_tokens),
        shown_usd(None if row.cost_microusd is None else row.cost_microusd / 1_000_000),
        status_of(row),
    ]


def status_of(row: SessionRow) -> str:
    """Return how a session stands, in words."""
    if not row.failed:
        return row.status
    return f"{row.status}, {many(row.failed, 'error')}"


def _summary(found: list[Page], shown: int, wanted: Asked) -> str:
    first = found[0]
    total = "more than 10,000 sessions" if first.capped else many(first.count, "session")
    window = f", active in the last {WINDOW_DAYS} days" if wanted.unbounded else ""
    stopped = "; stopped, it took too long: narrow the time" if any(page.stopped for page in found) else ""
    return f"{shown:,} of {total}{window}{stopped}"


def _say_why(ledger: Ledger, listing: Listing, wanted: Asked) -> None:
    """Say where the sessions may be that were looked for, and what may have been mistyped."""
    say_what_nobody_has(ledger, wanted.where)
    if wanted.unbounded is None:
        return
    older = ledger.find(Listing(wanted.unbounded, limit=1, include_unconfirmed=listing.include_unconfirmed))
    if older.count:
        total = "more than 10,000 sessions" if older.capped else many(older.count, "session")
        say(f"older: {total}; --all-time shows them")
