"""``session-mw stats``: sums over sessions, a line a group."""

from __future__ import annotations

import click

from ...ledger import Group, Summing
from ...ledger.documents import group_document, usd
from ...ledger.walking import PATIENCE_S
from ..options import json_option
from .common import (
    WINDOW_DAYS,
    all_time_option,
    asked,
    filter_argument,
    history_options,
    opened,
    refused_well,
    say,
    say_what_nobody_has,
    shown_ms,
    shown_number,
    shown_usd,
    unconfirmed_option,
)
from .tables import print_json, print_table

COLUMNS = (
    "sessions",
    "users",
    "turns",
    "turns/session",
    "duration/session",
    "tokens",
    "tokens/session",
    "cost",
    "cost/session",
    "latency/turn",
    "with errors",
    "resolved",
    "outcome unknown",
)
WIDE_ONLY = ("turns", "duration/session", "tokens", "cost", "with errors", "outcome unknown")


def names_of(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Take names of fields, divided by commas."""
    return tuple(name.strip() for name in (value or "").split(",") if name.strip())


@click.command()
@filter_argument
@click.option("--by", metavar="FIELDS", callback=names_of, help="A line for each value: type,metadata.source ...")
@all_time_option
@unconfirmed_option
@json_option
@history_options
def stats(
    words: tuple[str, ...],
    by: tuple[str, ...],
    all_time: bool,
    unconfirmed: bool,
    as_json: bool,
    store_url: str | None,
    ledger_url: str | None,
) -> None:
    """
    Sum up the sessions that fit a filter, of the last 30 days unless it says when.

    Resolved is the share of the sessions whose outcome is known (resolved, escalated or abandoned); those of which it
    is unknown stand beside it. Cost and tokens, also those of a session on average, are of the sessions that know
    theirs; * says that some do not.

    \b
    Examples:
      session-mw stats
      session-mw stats type:chat --by prompt_version
      session-mw stats --by session.type,metadata.source --json
    """
    wanted = asked(words, all_time)
    summing = refused_well(lambda: Summing(wanted.where, by, unconfirmed, seconds=PATIENCE_S))
    with opened(store_url, ledger_url) as ledger:
        groups = ledger.summary(summing)
        if not sum(group.sessions for group in groups):
            say_what_nobody_has(ledger, wanted.where)
    if as_json:
        print_json([group_document(group, by) for group in groups])
    else:
        titles = {**dict.fromkeys(by, "left"), **dict.fromkeys(COLUMNS, "right")}
        print_table(titles, map(_cells, groups), WIDE_ONLY)
    if wanted.unbounded is not None:
        say(f"sessions active in the last {WINDOW_DAYS} days; --all-time takes all")


def _cells(group: Group) -> list[str]:
    told = group_document(group, ())
    rate = group.resolution_rate
    return [
        *(part if part is not None else "-" for part in group.key),
        shown_number(group.sessions),
        shown_number(group.users),
        shown_number(group.turns),
        "-" if told["turns_per_session"] is None else f"{told['turns_per_session']:.1f}",
        shown_ms(told["avg_duration_ms"]),
        shown_number(told["total_tokens"]) + ("*" if 0 < group.counted < group.sessions else ""),
        "-" if told["avg_tokens"] is None else shown_number(round(told["avg_tokens"])),
        shown_usd(told["total_cost_usd"]) + ("*" if 0 < group.priced < group.sessions else ""),
        shown_usd(usd(group.cost_microusd / group.priced) if group.priced else None),
        shown_ms(group.avg_turn_latency_ms),
        shown_number(group.with_errors),
        "-" if rate is None else f"{rate:.1%}",
        f"{(group.sessions - group.settled) / group.sessions:.0%}" if group.sessions else "-",
    ]
