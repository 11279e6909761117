"""The calls of a turn in a terminal: a line each below the turn's own, on the same axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from ...ledger import UsageRow
from ...ledger.calls import depths
from ...ledger.documents import usd
from ...ledger.timeline import Lane
from .common import many, plain, shown_ms, shown_number, shown_usd, unicode_out

SHOWN = 12  # of a turn; --json has all
STYLES = {"model": "blue", "embedding": "blue", "tool": "yellow"}


def call_lines(lane: Lane, calls: Sequence[UsageRow], indent: int, width: int, cells: int) -> Iterator[Text]:
    """
    Yield the lines of a turn's calls.

    Args:
        lane: The turn, and where its bar lies.
        calls: In the order in which they began.
        indent: Where their names begin.
        width: Of the column of names.
        cells: Of the axis.
    """
    for call, depth in list(zip(calls, depths(calls), strict=True))[:SHOWN]:
        yield _line(lane, call, depth, indent, width, cells)
    if len(calls) > SHOWN:
        yield Text(f"{'':>{indent}}{many(len(calls) - SHOWN, 'more call')}", style="dim")


def label_of(call: UsageRow) -> str:
    """Return what a call is called: a model by its name, a tool and an agent by theirs."""
    name = call.name if call.kind in ("tool", "agent") else call.model or call.name
    return plain(f"{call.kind} {name}".strip())


def _line(lane: Lane, call: UsageRow, depth: int, indent: int, width: int, cells: int) -> Text:
    failed = call.status == "error"
    mark = "!" if failed else " "
    name = f"{' ' * (1 + depth)}{label_of(call)}"
    line = Text(f"{mark:>{indent - 1}} {name[:width]:<{width}}  ", style="red" if failed else "dim")
    line.append(f"{_bar(lane, call):<{cells}}", style="red" if failed else STYLES.get(call.kind, "dim"))
    known = call.input_tokens is not None or call.output_tokens is not None
    tokens = (call.input_tokens or 0) + (call.output_tokens or 0) if known else None
    line.append(f"  {shown_ms(call.latency_ms):>9}  {shown_number(tokens):>8}  {shown_usd(usd(call.cost_microusd)):>9}")
    if failed:
        line.append(f"  error {plain(call.error_type or '')}".rstrip(), style="bold red")
    return line


def _bar(lane: Lane, call: UsageRow) -> str:
    """Return where a call lies within its turn, at least a cell of it."""
    turn, size = lane.turn, lane.end - lane.begin
    whole = max(1, turn.latency_ms)
    begin = min(max(0, (call.started_ms - turn.started_ms) * size // whole), size - 1)
    end = min(max(begin + 1, round((call.started_ms + call.latency_ms - turn.started_ms) * size / whole)), size)
    return " " * (lane.begin + begin) + ("▪" if unicode_out() else "=") * (end - begin)
