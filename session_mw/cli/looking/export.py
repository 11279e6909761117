"""``session-mw export``: sessions as files for other tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TextIO

import click

from ... import __version__
from ...ledger import Ledger, Listing, SessionRow, TurnRow, UsageRow
from ...ledger.documents import SESSION_NAMES, session_document, whole_document
from ...ledger.otlp import resource_spans
from ...ledger.walking import sessions
from ..progress import progress
from .common import asked, filter_argument, history_options, many, opened, say, unconfirmed_option
from .tables import csv_line, csv_of

Lines = Callable[[Ledger, Iterator[SessionRow]], Iterator[str]]


def _csv(ledger: Ledger, rows: Iterator[SessionRow]) -> Iterator[str]:
    yield csv_line(SESSION_NAMES)
    yield from (csv_of(session_document(row)) for row in rows)


def _jsonl(ledger: Ledger, rows: Iterator[SessionRow]) -> Iterator[str]:
    for row in rows:
        turns, calls = _below(ledger, row)
        yield json.dumps(whole_document(row, turns, calls), ensure_ascii=False) + "\n"


def _otlp(ledger: Ledger, rows: Iterator[SessionRow]) -> Iterator[str]:
    for row in rows:
        turns, calls = _below(ledger, row)
        yield json.dumps(resource_spans(row, turns, calls, version=__version__), ensure_ascii=False) + "\n"


def _below(ledger: Ledger, row: SessionRow) -> tuple[list[TurnRow], list[UsageRow]]:
    """Return the turns of a session, with what was said as far as it was captured, and their calls."""
    return ledger.turns(row.session_id, row.generation, content=True), ledger.usages(row.session_id, row.generation)


FORMATS: dict[str, Lines] = {"csv": _csv, "jsonl": _jsonl, "otlp": _otlp}


@click.command()
@filter_argument
@click.option(
    "--format",
    "kind",
    required=True,
    type=click.Choice(sorted(FORMATS)),
    help="Tables; objects with their turns; or spans, for back ends.",
)
@click.option("-o", "--output", type=click.File("w", "utf-8", lazy=True), default="-", help="A file [standard output].")
@unconfirmed_option
@history_options
def export(
    words: tuple[str, ...],
    kind: str,
    output: TextIO,
    unconfirmed: bool,
    store_url: str | None,
    ledger_url: str | None,
) -> None:
    """
    Write the sessions that fit a filter to a file, the oldest first; all there are, unless it says when.

    csv has a line a session, for spreadsheets: text that they would take for a formula gets a ' in front. jsonl has an
    object a session, with its turns and their calls. otlp has an OTLP/JSON request a session, with a span a turn and
    one below it for each call, under their recorded trace and span ids, and one for the session's start or end: most
    back ends read it, and so does ledger import.

    \b
    Examples:
      session-mw export --format csv -o sessions.csv
      session-mw export type:chat last 7 days --format jsonl
      session-mw export has_errors:true --format otlp -o traces.jsonl
    """
    listing = Listing(asked(words).where, "started", include_unconfirmed=unconfirmed)
    count = 0

    def counted(rows: Iterator[SessionRow]) -> Iterator[SessionRow]:
        nonlocal count
        for row in rows:
            count += 1
            tell(f"exporting: {many(count, 'session')}")
            yield row

    with opened(store_url, ledger_url) as ledger, progress("exporting ...") as tell:
        for line in FORMATS[kind](ledger, counted(sessions(ledger, listing))):
            output.write(line)
    say(many(count, "session"))
