"""``--keep``: the chat stays open for the reader, and what he causes is shown as it arrives."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from ..._core import names
from .environment import KEEP_TIMES
from .otlp import Record, Span, records_of, spans_of
from .receiver import LOGS, TRACES
from .run import Stage, running


def keep_running(stage: Stage, console: Console) -> None:
    """
    Start the services again, with an idle time for people, and run them until Ctrl-C.

    Args:
        stage: As for the script; what arrives is shown from now on, and no longer kept.
        console: Where to show it.
    """
    stage.receiver.keeping = False
    stage.receiver.on_batch = lambda path, body: _show(console, path, body)
    over = threading.Event()  # nobody sets it: Ctrl-C ends the wait
    with running(stage, KEEP_TIMES) as (chat, orders):
        idle = KEEP_TIMES["SESSION_MW_IDLE_TIMEOUT"]
        page = Text.assemble("\nOpen ", (f"{chat.url}/", "bold cyan underline"))
        page.append(f" and talk; the sessions are at {chat.url}/sessions/. One ends after {idle} of silence.\n")
        page.append(f"The order service is {orders.url}; the data is in {stage.place.directory}. ", "dim")
        console.print(page.append("Ctrl-C ends it all.", "dim"), soft_wrap=True)
        try:
            while not over.wait(0.5):  # a signal that another thread was given wakes nobody who waits for ever
                pass
        except KeyboardInterrupt:
            console.print("\nstopping")


def _show(console: Console, path: str, body: bytes) -> None:
    """Print a line for each turn, start and end in *body*."""
    if path == TRACES:
        _print(console, (_of_turn(span) for span in spans_of(body) if span.name == "turn"))
    elif path == LOGS:
        _print(console, (_of_event(record) for record in records_of(body) if record.event_name))


def _print(console: Console, lines: Iterable[Text]) -> None:
    for line in lines:
        console.print(line, soft_wrap=True)


def _of_turn(span: Span) -> Text:
    said = span.attributes
    number, intent = said.get(names.TURN_NUMBER), said.get(names.TURN_INTENT, "")
    ms = said.get(names.TURN_LATENCY_MS)
    return Text.assemble(f"turn {number}  ", (str(said.get(names.SESSION_ID)), "cyan"), f"  {intent}  {ms} ms")


def _of_event(record: Record) -> Text:
    said = record.attributes
    line = Text.assemble((record.event_name, "bold"), "  ", (str(said.get(names.SESSION_ID)), "cyan"))
    if record.event_name == names.EVENT_END:
        turns, tokens = said.get(names.SESSION_TOTAL_TURNS), said.get(names.SESSION_TOTAL_TOKENS, 0)
        line.append(f"  {said.get(names.SESSION_END_REASON)}, {turns} turns, {tokens} tokens")
    return line
