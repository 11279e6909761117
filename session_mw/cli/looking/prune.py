"""``session-mw ledger prune``: retention by hand, for histories that no application sweeps."""

from __future__ import annotations

import click

from ...ledger import Ledger
from ..options import Duration, json_option
from ..progress import Tell, progress
from .common import history_options, many, now_ms, opened, shown_time
from .forget import can_ask
from .tables import print_json

BATCH = 500  # sessions, or turns with what was said: a moment's work


@click.command()
@click.option(
    "--older-than", "age_ms", type=Duration(), required=True, metavar="AGE", help="As 90d: since their last activity."
)
@click.option("--content", is_flag=True, help="Only what was said, in turns that began before; all else stays.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@history_options
def prune(age_ms: int, content: bool, yes: bool, as_json: bool, store_url: str | None, ledger_url: str | None) -> None:
    """
    Delete what is old from the history.

    Applications do so themselves, by the settings ledger_retention and content_retention. This is for histories that
    were imported, for a shorter time once, and for cron. It works in small batches, so others may write meanwhile; what
    was deleted when it is stopped stays deleted.

    \b
    Examples:
      session-mw ledger prune --older-than 90d
      session-mw ledger prune --older-than 7d --content --yes
    """
    before_ms = now_ms() - age_ms
    with opened(store_url, ledger_url, read_only=False) as ledger:
        if not yes:
            _ask(before_ms, content)
        with progress("deleting ...") as tell:
            gone = _prune(ledger, before_ms, content, tell)
    if as_json:
        print_json({"turns" if content else "sessions": gone, "before": shown_time(before_ms)})
    else:
        click.echo(f"deleted {'what was said in ' if content else ''}{many(gone, 'turn' if content else 'session')}")


def _prune(ledger: Ledger, before_ms: int, content: bool, tell: Tell) -> int:
    forget = ledger.forget_content_older_than if content else ledger.forget_older_than
    gone, batch = 0, BATCH
    while batch == BATCH:
        batch = forget(before_ms, BATCH)
        gone += batch
        tell(f"deleted: {many(gone, 'turn' if content else 'session')}")
    return gone


def _ask(before_ms: int, content: bool) -> None:
    what = "what was said in turns that began" if content else "all sessions that were last active"
    question = f"Delete {what} before {shown_time(before_ms)} UTC for good?"
    if not can_ask():
        raise click.UsageError(f"{question} Say --yes where nobody can be asked")
    click.confirm(question, abort=True, err=True)
