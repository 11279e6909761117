"""The small picture of a session in the list: a bar a turn, as high as it took long, failed ones in another colour."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from ..ledger import Ledger, SessionRow

MOST_TURNS = 100  # of a session whose turns are read for it
SHOWN = 24  # turns; the last ones
WIDTH, HEIGHT = 3, 16  # of a bar and of the picture
SECONDS = 0.05  # for all pictures of a page


@dataclass(frozen=True, slots=True)
class Spark:
    """
    A picture.

    Attributes:
        bars: Place from the left, place from the top, height, and whether the turn failed.
        width: Of the picture.
    """

    bars: list[tuple[int, int, int, bool]]
    width: int


def sparks(ledger: Ledger, rows: Iterable[SessionRow]) -> dict[int, Spark]:
    """Return pictures by ``pk``, as far as the time goes; sessions with one turn, or very many, have none."""
    until = time.monotonic() + SECONDS
    found = {}
    for row in rows:
        if 1 < row.turns <= MOST_TURNS and time.monotonic() < until:
            turns = ledger.turns(row.session_id, row.generation)[-SHOWN:]
            found[row.pk] = _spark([(turn.latency_ms, turn.status == "error") for turn in turns])
    return found


def _spark(turns: list[tuple[int, bool]]) -> Spark:
    top = max((latency for latency, _ in turns), default=0) or 1
    heights = [(max(2, round(HEIGHT * latency / top)), failed) for latency, failed in turns]
    bars = [(at * WIDTH, HEIGHT - height, height, failed) for at, (height, failed) in enumerate(heights)]
    return Spark(bars, WIDTH * len(bars))
