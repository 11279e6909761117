"""What the background of one engine works with, and what it is to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ._clocks import store_clock
from ._core.ops import SessionStore
from ._core.records import Limits, SessionRecord, TurnRecord
from ._core.store_clock import StoreClock
from .telemetry.metrics import Metrics
from .telemetry.sinks import Sink


@dataclass
class Plan:
    """
    What the background does.

    Attributes:
        store: Where live sessions are kept.
        limits: How long things last.
        sinks: Where events go; all have to say SUCCESS.
        metrics: Counts what happens.
        mode: ``thread``, ``request`` (a bounded step after a response) or ``off`` (no sweeping).
        tombstone_ms: How long forwarding pointers are kept.
        write_turns: Writes the history of turns.
        prune: Forgets history past its retention.
        settle: Works out what the reports of claimed sessions say besides, and keeps it; leaves out those whose lease
            is lost. None: nothing.
        clock: Tells the store's time, and learns it from claims.
    """

    store: SessionStore
    limits: Limits
    sinks: Sequence[Sink]
    metrics: Metrics
    mode: str = "thread"
    tombstone_ms: int = 3_600_000
    write_turns: Callable[[Sequence[TurnRecord]], None] | None = None
    prune: Callable[[], int] | None = None
    settle: Callable[[Sequence[SessionRecord], str], Sequence[SessionRecord]] | None = None
    clock: StoreClock = field(default_factory=store_clock)
