"""
Live sessions in few bytes.

A million sessions are the promise, 400 bytes each. A ``SessionRecord`` takes 600: so what every session has stands in
a slotted row, what few have in a tuple, and attribute sets that many sessions share (type, channel, locale) exist once.
Everything that is decided about a session is decided on a ``SessionRecord``, made from the row when it is needed.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

from .._core import lifecycle
from .._core.records import AttributeValue, Limits, SessionRecord

AttributeDict = dict[str, AttributeValue]
# A shared dictionary, or one with the names and values that differ: (shared, name, value, name, value ...).
Kept = AttributeDict | tuple[object, ...]
Rare = tuple[int, int, int | None, int | None, int | None, str | None]

START_EMITTED, CONFIRMED, RECOVERED, PARTIAL = 1, 2, 4, 8
_ORDINARY: Rare = (1, 0, None, None, None, None)

MAX_SETS = 1024  # distinct attribute sets remembered for sharing


class Row:
    """One live session. ``kept`` is None once it is over: the queue still knows the row, nothing else does."""

    __slots__ = (
        "bound_ms",
        "completed",
        "flags",
        "kept",
        "last_ms",
        "latency_ms",
        "open_until_ms",
        "origin_ms",
        "rare",
        "session_id",
        "started_ms",
        "turns",
        "user_id",
    )

    session_id: str
    started_ms: int
    origin_ms: int
    last_ms: int
    open_until_ms: int
    turns: int
    completed: int
    latency_ms: int
    user_id: str | None
    bound_ms: int | None
    kept: Kept | None
    flags: int
    rare: Rare


class Sets:
    """Attribute sets that many sessions share."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], AttributeDict] = {}

    def share(self, attributes: Mapping[str, AttributeValue]) -> AttributeDict:
        """Return the one dictionary equal to *attributes*; nobody may change it."""
        # True, 1 and 1.0 are equal keys and different attributes: their classes are part of the key.
        key = tuple((name, value, value.__class__) for name, value in attributes.items())
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= MAX_SETS:
                self._known.clear()
            found = self._known[key] = dict(attributes)
        return found

    def differ(self, kept: Kept | None, attributes: AttributeDict) -> Kept:
        """Return *attributes* in the fewest bytes, given what was *kept* before."""
        base = kept[0] if isinstance(kept, tuple) else kept
        if not isinstance(base, dict) or base.keys() - attributes.keys():
            return self.share(attributes)
        missing = object()
        pairs: list[object] = [base]
        for name, value in attributes.items():
            old = base.get(name, missing)
            if old != value or old.__class__ is not value.__class__:
                pairs += (name, value)
        return tuple(pairs) if len(pairs) > 1 else base


def attributes_of(kept: Kept | None) -> AttributeDict:
    """Return the attributes as a dictionary, which may be shared: read it only."""
    if not isinstance(kept, tuple):
        return kept or {}
    base = kept[0]
    assert isinstance(base, dict)
    merged: AttributeDict = dict(base)
    merged.update(zip(kept[1::2], kept[2::2]))  # type: ignore[arg-type]  # noqa: B905
    return merged


def with_one(kept: Kept | None, news: Mapping[str, AttributeValue | None]) -> Kept | None:
    """
    Return *kept* with one attribute more, or with another value of the only one that differs, as each turn's trace.

    Returns:
        None where all attributes have to be looked at for that.
    """
    if kept is None or len(news) != 1:
        return None
    ((name, value),) = news.items()
    base = kept if isinstance(kept, dict) else kept[0] if len(kept) == 3 and kept[1] == name else None
    if value is None or not isinstance(base, dict) or name in base:
        return None
    return (base, name, value)


def pack(record: SessionRecord, row: Row, sets: Sets, kept: Kept | None) -> Row:
    """Write live *record* into *row*; *kept* is what the row's attributes were before, None for a new row."""
    row.session_id = record.session_id
    row.started_ms, row.last_ms = record.started_ms, record.last_ms
    # One int object for equal times: 32 bytes each.
    row.origin_ms = record.started_ms if record.origin_ms == record.started_ms else record.origin_ms
    row.open_until_ms = record.open_until_ms
    row.turns, row.completed, row.latency_ms = record.turns, record.completed, record.latency_ms
    row.user_id, row.bound_ms = record.user_id, record.bound_ms
    row.kept = sets.share(record.attributes) if kept is None else sets.differ(kept, record.attributes)
    row.flags = (
        START_EMITTED * record.start_emitted
        | CONFIRMED * record.confirmed
        | RECOVERED * record.recovered
        | PARTIAL * record.partial
    )
    rare: Rare = (
        record.generation,
        record.failed,
        record.input_tokens,
        record.output_tokens,
        record.cost_microusd,
        record.previous_id,
    )
    row.rare = _ORDINARY if rare == _ORDINARY else rare
    return row


def next_look(row: Row, limits: Limits, now_ms: int) -> int | None:
    """Return when to look at *row* again (``lifecycle.next_look``), None when it is over."""
    if row.kept is None:
        return None
    due_ms = row.last_ms + limits.idle_ms
    if row.open_until_ms > due_ms:
        return lifecycle.next_look(unpack(row), limits, now_ms)
    absolute_ms = row.origin_ms + limits.absolute_ms
    return due_ms if due_ms < absolute_ms else absolute_ms


def unpack(row: Row) -> SessionRecord:
    """Return the live record that *row* holds, its own copy of everything."""
    generation, failed, input_tokens, output_tokens, cost_microusd, previous_id = row.rare
    flags = row.flags
    return SessionRecord(
        row.session_id,
        row.started_ms,
        row.last_ms,
        generation,
        row.origin_ms,
        row.open_until_ms,
        row.turns,
        row.completed,
        failed,
        row.latency_ms,
        input_tokens,
        output_tokens,
        cost_microusd,
        row.user_id,
        row.bound_ms,
        previous_id,
        None,
        None,
        None,
        None,
        0,
        0,
        flags & START_EMITTED != 0,
        flags & CONFIRMED != 0,
        flags & RECOVERED != 0,
        flags & PARTIAL != 0,
        dict(attributes_of(row.kept)),
    )


def twin_of(record: SessionRecord) -> SessionRecord:
    """Return a copy of *record* that may be changed without changing it."""
    twin = copy.copy(record)
    twin.attributes = dict(record.attributes)
    return twin
