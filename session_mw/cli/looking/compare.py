"""``session-mw compare``: two groups of sessions, with what can be said of their difference and what cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

import click
from rich.text import Text

from ..._core.events import iso
from ...ledger import Filter, Ledger, Sampling, Summing
from ...ledger.comparing import Arm, Comparison, Interval
from ...ledger.comparing import compare as compared
from ...ledger.samples import METRICS, metric_named
from ...ledger.walking import PATIENCE_S
from ..options import json_option
from .common import (
    WINDOW_DAYS,
    all_time_option,
    asked,
    console,
    filter_argument,
    history_options,
    opened,
    plain,
    refused_well,
    say,
    shown_ms,
    unconfirmed_option,
)
from .tables import print_json, print_table

Show = Callable[[float], str]
COLUMNS = {"": "left", "users": "right", "sessions": "right", "mean": "right", "95 %": "right", "median": "right"}
MANY_VALUES = 20


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@filter_argument
@click.option("--by", default="prompt_version", show_default=True, metavar="FIELD", help="What A and B are values of.")
@click.option(
    "--metric",
    default="cost",
    show_default=True,
    metavar="NAME",
    help=f"One of {', '.join(METRICS)}, or score:NAME.",
)
@all_time_option
@unconfirmed_option
@json_option
@history_options
def compare(
    a: str,
    b: str,
    words: tuple[str, ...],
    by: str,
    metric: str,
    all_time: bool,
    unconfirmed: bool,
    as_json: bool,
    store_url: str | None,
    ledger_url: str | None,
) -> None:
    """
    Compare two groups of sessions, of the last 30 days unless the filter says when.

    Users are the units: sessions of one user are alike, and taken for independent they make differences out of nothing.
    No interval is shown for fewer than 10 users. Nothing is called a winner: that is yours to decide.

    \b
    Examples:
      session-mw compare v1 v2
      session-mw compare v9 v10 type:chat --metric latency
      session-mw compare web api --by channel --metric resolution --json
    """
    wanted = asked(words, all_time)
    measured = refused_well(lambda: metric_named(metric))
    refused_well(lambda: Summing(by=(by,)))
    sampling = Sampling(by, (a, b), metric, wanted.where, unconfirmed, seconds=PATIENCE_S)
    with opened(store_url, ledger_url) as ledger:
        found = compared(ledger.samples(sampling), a, b, measured.share)
        if not (found.a.first_ms and found.b.first_ms):
            _say_what_there_is(ledger, by, wanted.where, [arm.name for arm in (found.a, found.b) if not arm.first_ms])
    if as_json:
        print_json({"by": by, "metric": metric, "title": measured.title, **_document(found)})
    else:
        _print(found, f"{by}: {measured.title}", _shower(metric))
    if wanted.unbounded is not None:
        say(f"sessions active in the last {WINDOW_DAYS} days; --all-time takes all")


def _say_what_there_is(ledger: Ledger, by: str, where: Filter, missing: Sequence[str]) -> None:
    """
    Fail, and say which values there are.

    Raises:
        click.ClickException: Always.
    """
    found = [group.key[0] for group in ledger.summary(Summing(where, (by,))) if group.key[0] is not None]
    there = ", ".join(found[-MANY_VALUES:]) if found else "none at all"
    text = f"no session has {by} {' or '.join(map(repr, missing))}. There is: {there}"
    raise click.ClickException(plain(text))


def _document(found: Comparison) -> dict[str, object]:
    return {
        "a": _arm_document(found.a),
        "b": _arm_document(found.b),
        "difference": found.difference,
        "interval": found.interval,
        "chance_b_is_larger": found.chance,
        "confidence": 0.95,
        "unit": "user",
        "notes": found.notes,
    }


def _arm_document(arm: Arm) -> dict[str, object]:
    told = asdict(arm)
    first, last = told.pop("first_ms"), told.pop("last_ms")
    return {**told, "first_start_time": first and iso(first), "last_start_time": last and iso(last)}


def _shower(metric: str) -> Show:
    """Return how values of a metric are shown."""
    showers: dict[str, Show] = {
        "cost": lambda value: f"{'-' if value < 0 else ''}${abs(value):,.4f}",
        "tokens": lambda value: f"{value:,.0f}",
        "latency": lambda value: f"{'-' if value < 0 else ''}{shown_ms(abs(value))}",
        "resolution": lambda value: f"{value:.1%}",
    }
    return showers.get(metric, lambda value: f"{value:.3f}")


def _print(found: Comparison, title: str, show: Show) -> None:
    out = console()
    out.print(Text(plain(title), style="bold"), soft_wrap=True)
    print_table(COLUMNS, [_cells(arm, show) for arm in (found.a, found.b)])
    a, b = plain(found.a.name), plain(found.b.name)
    if found.difference is not None:
        sign = "+" if found.difference > 0 else ""
        between = f"95 % interval {_between(found.interval, show)}" if found.interval else "no interval"
        out.print(Text(f"difference {b} - {a}: {sign}{show(found.difference)}, {between}"), soft_wrap=True)
    if found.chance is not None:
        out.print(Text(f"in {found.chance:.1%} of all pairs the session of {b} has the larger value"), soft_wrap=True)
    for note in found.notes:
        out.print(Text(plain(f"* {note}"), style="dim"), soft_wrap=True)


def _cells(arm: Arm, show: Show) -> list[str]:
    middle = "-" if arm.median is None else show(arm.median)
    if arm.median_interval is not None:
        middle += f" ({_between(arm.median_interval, show)})"
    mean = "-" if arm.mean is None else show(arm.mean)
    return [arm.name, f"{arm.users:,}", f"{arm.sessions:,}", mean, _between(arm.mean_interval, show), middle]


def _between(interval: Interval | None, show: Show) -> str:
    return "-" if interval is None else f"{show(interval[0])} to {show(interval[1])}"
