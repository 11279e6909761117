"""``session-mw show``: one session, turn by turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click
from rich.text import Text

from ...exceptions import SessionNotFound
from ...ledger import SessionRow, TurnRow, UsageRow
from ...ledger.calls import by_turn
from ...ledger.documents import usd, whole_document
from ...ledger.timeline import Gap, Lane, timeline
from ..options import json_option
from .calls import call_lines, label_of
from .common import (
    console,
    history_options,
    many,
    opened,
    plain,
    say,
    shown_ms,
    shown_number,
    shown_time,
    shown_usd,
    unicode_out,
)
from .list import status_of
from .tables import print_json

BAR_WIDTH = 40
FIRST_COLUMN = 4


@click.command()
@click.argument("session_id", metavar="ID")
@click.option("--generation", type=click.IntRange(1), help="Of an id that was used again [the newest].")
@json_option
@history_options
def show(session_id: str, generation: int | None, as_json: bool, store_url: str | None, ledger_url: str | None) -> None:
    """
    Show one session: what it was, and its turns on an axis of time, each with its calls of models and tools.

    Where nothing happened for long the axis is broken, and says for how long. What failed is marked with !.

    \b
    Examples:
      session-mw show chat-20251009-1a2b3c
      session-mw show chat-20251009-1a2b3c --json
    """
    with opened(store_url, ledger_url) as ledger:
        row = ledger.session(session_id, generation)
        if row is None:
            raise SessionNotFound(f"no session {session_id!r} is in the history. session-mw list shows those that are")
        turns = ledger.turns(session_id, row.generation, content=as_json)
        calls = ledger.usages(session_id, row.generation)
    if as_json:
        print_json(whole_document(row, turns, calls))
        return
    out = console()
    for line in [*_head(row), Text(), *_body(turns, by_turn(calls))]:
        out.print(line, soft_wrap=True)
    if len(turns) < row.completed + row.failed:
        say(f"the history has {len(turns):,} of {row.completed + row.failed:,} turns")


def _head(row: SessionRow) -> list[Text]:
    labels = [row.type, row.prompt_version, row.name and f'"{row.name}"', row.channel]
    title = Text(plain(row.session_id), style="bold")
    title.append("  " + plain(" · ".join(label for label in labels if label)), style="default not bold")
    ended = "" if row.end_reason is None else f" ({row.end_reason})"
    outcome = "" if row.outcome is None else f" · {row.outcome}"
    when = f"{shown_time(row.started_ms)} - {shown_time(row.last_ms)} UTC"
    return [
        title,
        Text(plain(f"user {row.user_id or '-'} · {when} · {status_of(row)}{ended}{outcome}")),
        Text(
            f"duration {shown_ms(row.duration_ms)} · {many(row.turns, 'turn')} · {many(row.traces, 'trace')} · "
            f"{many(row.failed, 'error')} · {shown_number(row.total_tokens)} tokens "
            f"(in {shown_number(row.input_tokens)}, out {shown_number(row.output_tokens)})"
            f" · {shown_usd(usd(row.cost_microusd))}"
        ),
    ]


def _body(turns: list[TurnRow], calls: Mapping[int, Sequence[UsageRow]]) -> list[Text]:
    if not turns:
        return [Text("no turns are in the history")]
    named = [3 + len(label_of(call)) for mine in calls.values() for call in mine]
    widest = max([*(len(_what(turn)) for turn in turns), *named])
    width = max(8, min(24, widest))
    head = f"{'#':>{FIRST_COLUMN}}  {'action':<{width}}  {'':<{BAR_WIDTH}}  {'latency':>9}  {'tokens':>8}  {'cost':>9}"
    lines = [Text(head, style="dim")]
    for part in timeline(turns, BAR_WIDTH):
        if isinstance(part, Gap):
            lines.append(_gap(part, width))
        else:
            mine = calls.get(part.turn.pk, ())
            lines += [_turn(part, width), *call_lines(part, mine, FIRST_COLUMN + 2, width, BAR_WIDTH)]
    return lines


def _what(turn: TurnRow) -> str:
    return plain(turn.action or turn.intent or "-")


def _gap(gap: Gap, width: int) -> Text:
    dots = "⋯" if unicode_out() else "..."
    told = f"{dots} {shown_ms(gap.ms)} idle {dots}"
    return Text(f"{'':>{FIRST_COLUMN}}  {'':<{width}}  {' ' * max(0, gap.at - len(told) // 2)}{told}", style="dim")


def _turn(lane: Lane, width: int) -> Text:
    turn, failed = lane.turn, lane.turn.status == "error"
    block = "█" if unicode_out() else "#"
    mark = "!" if failed else "x" if turn.status == "cancelled" else " "
    bar = " " * lane.begin + block * (lane.end - lane.begin)
    tokens = None
    if turn.input_tokens is not None or turn.output_tokens is not None:
        tokens = (turn.input_tokens or 0) + (turn.output_tokens or 0)
    line = Text(f"{turn.number or '-':>{FIRST_COLUMN}}{mark} {_what(turn)[:width]:<{width}}  ")
    line.append(f"{bar:<{BAR_WIDTH}}", style="red" if failed else "cyan")
    line.append(f"  {shown_ms(turn.latency_ms):>9}  {shown_number(tokens):>8}  {shown_usd(usd(turn.cost_microusd)):>9}")
    if failed:
        line.append(f"  error {plain(turn.error_type or '')}".rstrip(), style="bold red")
    elif turn.status == "cancelled":
        line.append("  the client left", style="dim")
    return line
