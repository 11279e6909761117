"""``session-mw compare``: groups of sessions, with what can be said of their difference and what cannot."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click
from rich.text import Text

from ...ledger import Filter, Ledger, Summing
from ...ledger.comparing import EVERYTHING, Comparison, Pair, Question, Report, report
from ...ledger.comparing.documents import report_document
from ...ledger.comparing.words import (
    confidence_shown,
    difference_shown,
    interval_shown,
    notes,
    p_shown,
    sentence,
    shown,
)
from ...ledger.samples import METRICS
from ...ledger.values import text
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
    unconfirmed_option,
)
from .tables import print_json, print_table

GROUPS = {"": "left", "users": "right", "sessions": "right", "mean": "right", "95 %": "right", "median": "right"}
DIFFERENCES = {"beside it": "left", "A": "right", "B": "right", "difference": "right", "interval": "right", "": "right"}
MANY_VALUES = 20
_CONDITION = re.compile(r"""[:=<>()\[\]"'!*#,]|\.\.|^-|^(last|past|today|yesterday|and|or|not)$""", re.I)
_OPERATOR = re.compile(r"=|==|!=|[<>]=?|in|contains|is|not in", re.I)


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
    help=f"The one that matters: one of {', '.join(METRICS)}, or score:NAME.",
)
@click.option("--only", is_flag=True, help="Nothing but that metric.")
@click.option("--p95", is_flag=True, help="Also the 95th percentiles.")
@click.option("--whole-period", is_flag=True, help="Not only sessions from when both ran.")
@click.option("--split", metavar="50:50", help="How users were meant to be shared out; it is checked.")
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
    only: bool,
    p95: bool,
    whole_period: bool,
    split: str | None,
    all_time: bool,
    unconfirmed: bool,
    as_json: bool,
    store_url: str | None,
    ledger_url: str | None,
) -> None:
    """
    Compare groups of sessions, of the last 30 days unless the filter says when.

    A and B are values, of prompt_version unless --by says otherwise. Further values may follow: each is compared with
    A. What comes then is a filter.

    \b
    Examples:
      session-mw compare v1 v2
      session-mw compare v1 v2 v3 type:code-review --metric tokens
      session-mw compare v9 v10 last 7 days --metric latency --p95
      session-mw compare web api --by channel --metric resolution --split 50:50 --json

    \b
    How to read it:
      * An interval says where the true difference lies, 95 times in 100. With zero in it, nothing was
        shown: neither a difference nor that there is none.
      * Users are the units: sessions of one user are alike, and taken for independent they make
        differences out of nothing. Fewer than 10 users give no interval; fewer than 30 a rough one.
      * Only sessions from when all ran are compared. Unless chance decided who got which, whatever else
        differed is in the difference too; "adjusted" takes out the types of sessions.
      * --metric is what you ask about. The others beside it share one risk of a false difference, so
        their intervals are wider.
      * The mean is what you pay for, the median what is usual; "pairs" is how often a session of B has
        more than one of A. They answer different questions, and may point different ways.
      * Nothing is called a winner: that is yours to decide.
    """
    more, rest = _values(words)
    wanted = asked(rest, all_time)
    question = refused_well(
        lambda: Question(
            by,
            tuple(text(value) for value in (a, b, *more)),
            metric,
            () if only else EVERYTHING,
            where=wanted.where,
            include_unconfirmed=unconfirmed,
            whole_period=whole_period,
            split=_split(split),
            tail=p95,
            seconds=PATIENCE_S,
        )
    )
    with opened(store_url, ledger_url) as ledger:
        found = report(ledger, question)
        if found.missing:
            _say_what_there_is(ledger, by, wanted.where, found.missing)
    if as_json:
        print_json(report_document(found))
    else:
        for pair in found.pairs:
            _print(found, pair)
    if wanted.unbounded is not None:
        say(f"sessions active in the last {WINDOW_DAYS} days; --all-time takes all")


def _values(words: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the words that are values, which come first, and those of the filter."""
    for place, word in enumerate(words):
        following, pair = " ".join(words[place + 1 : place + 2]), " ".join(words[place + 1 : place + 3])
        if _CONDITION.search(word) or _OPERATOR.fullmatch(following) or _OPERATOR.fullmatch(pair):
            return words[:place], words[place:]
    return words, ()


def _split(said: str | None) -> tuple[float, ...] | None:
    try:
        return None if said is None else tuple(float(part) for part in re.split("[:/]", said))
    except ValueError:
        raise click.BadParameter(f"{said!r} is no split: write 50:50, or 90:10", param_hint="--split") from None


def _say_what_there_is(ledger: Ledger, by: str, where: Filter, missing: Sequence[str]) -> None:
    """
    Fail, and say which values there are.

    Raises:
        click.ClickException: Always.
    """
    found = [group.key[0] for group in ledger.summary(Summing(where, (by,))) if group.key[0] is not None]
    there = ", ".join(found[-MANY_VALUES:]) if found else "none at all"
    raise click.ClickException(plain(f"no session has {by} {' or '.join(map(repr, missing))}. There is: {there}"))


def _print(found: Report, pair: Pair) -> None:
    out, main = console(), pair.comparisons[found.asked.metric]
    out.print(Text(plain(f"{found.asked.by}: {main.about.title}"), style="bold"), soft_wrap=True)
    print_table(GROUPS, [_group(pair, main, place) for place in (0, 1)])
    for line in _differences(pair, main):
        out.print(Text(plain(line)), soft_wrap=True)
    out.print(Text(plain(sentence(found, main, pair)), style="bold"), soft_wrap=True)
    others = [one for one in pair.comparisons.values() if one is not main]
    if others:
        columns = {{"A": pair.a.name, "B": pair.b.name}.get(title, title): side for title, side in DIFFERENCES.items()}
        print_table(columns, [_other(one) for one in others])
    for note in notes(found, pair):
        out.print(
            Text(plain(f"{'!' if note.warns else '*'} {note.text}"), style="" if note.warns else "dim"), soft_wrap=True
        )


def _group(pair: Pair, main: Comparison, place: int) -> list[str]:
    arm, figures = (pair.a, pair.b)[place], (main.a, main.b)[place]
    middle = shown(main.about, figures.median)
    if figures.median_interval is not None:
        middle += f" ({interval_shown(main.about, figures.median_interval)})"
    within = "-" if figures.mean_interval is None else interval_shown(main.about, figures.mean_interval)
    return [arm.name, f"{figures.users:,}", f"{figures.sessions:,}", shown(main.about, figures.mean), within, middle]


def _differences(pair: Pair, main: Comparison) -> list[str]:
    """Return the differences, a line each."""
    spread = main.spread
    found = [("difference", main.difference), ("adjusted for types", main.adjusted)]
    found += [("of medians", spread.median), ("of 95th percentiles", spread.tail)] if spread else []
    lines = []
    for title, one in found:
        if one is None:
            continue
        within = "no interval"
        if one.interval is not None:
            within = f"{confidence_shown(one)} interval {interval_shown(main.about, one.interval, of_difference=True)}"
        value = difference_shown(main.about, one.value)
        lines.append(f"{title} {pair.b.name} - {pair.a.name}: {value}, {within}")
    if spread is not None:
        lines.append(f"pairs: in {100 * spread.chance:.1f} % of all the session of {pair.b.name} has the larger value")
    return lines


def _other(one: Comparison) -> list[str]:
    figures = [shown(one.about, side.mean) for side in (one.a, one.b)]
    if one.difference is None:
        return [one.about.title, *figures, "-", "-", ""]
    value, p = difference_shown(one.about, one.difference.value), one.difference.p
    if one.difference.interval is None or p is None:
        return [one.about.title, *figures, value, "no interval", ""]
    within = interval_shown(one.about, one.difference.interval, of_difference=True)
    return [one.about.title, *figures, value, within, f"{confidence_shown(one.difference)}, {p_shown(p)}"]
