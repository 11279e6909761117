"""What is added to a session: by its turns, numbers that add up; at its end, what is known then. No change of state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from . import names
from .ops import Add, Flow, Key, Note, ask
from .records import SessionRecord


def merge(record: SessionRecord, item: Add) -> bool:
    """
    Add what a turn brought to a record, in place.

    A session that somebody ended takes what its turns brought until its end is first reported: another worker may not
    have written it yet. From then on no number changes any more.

    Returns:
        False when the end was reported: the caller reports the item as late.
    """
    if record.reason is not None and record.attempts:
        return False
    at_ms = item.at_ms if record.ended_ms is None else min(item.at_ms, record.ended_ms)
    record.last_ms = max(record.last_ms, at_ms)
    record.completed += item.completed
    record.failed += item.failed
    record.latency_ms += item.latency_ms
    record.input_tokens = _sum(record.input_tokens, item.input_tokens)
    record.output_tokens = _sum(record.output_tokens, item.output_tokens)
    record.cost_microusd = _sum(record.cost_microusd, item.cost_microusd)
    record.user_id = record.user_id or item.user_id
    for key, value in item.attributes.items():
        if value is None:
            record.attributes.pop(key, None)
        else:
            record.attributes[key] = value
    return True


def together(items: Iterable[Add]) -> list[Add]:
    """Return one item for each session, with what *items* bring of usage; the rest of them is left out."""
    sums: dict[Key, Add] = {}
    for item in items:
        key = (item.session_id, item.generation)
        into = sums.setdefault(key, Add(*key))
        into.input_tokens = _sum(into.input_tokens, item.input_tokens)
        into.output_tokens = _sum(into.output_tokens, item.output_tokens)
        into.cost_microusd = _sum(into.cost_microusd, item.cost_microusd)
        into.remote = into.remote or item.remote
    return list(sums.values())


def write(items: Sequence[Add], refused: Callable[[Add], None]) -> Flow[None]:
    """
    Write down what turns brought.

    Args:
        items: In order.
        refused: Takes what was not written: what came after its session's end was reported, and, where the store
            fails, everything that is left. The background's ``add`` tries again, and reports what is late.
    """
    for at, item in enumerate(items):
        try:
            (kept,) = yield from ask(item)
        except Exception:
            for left in items[at:]:
                refused(left)
            raise
        if not kept:
            refused(item)


def annotate(record: SessionRecord, note: Note, lease_token: str) -> bool:
    """
    Add what was worked out for the report of an end to its frozen record, in place, once.

    The history that it was worked out from goes on, so the second time it would be something else; but all reports of
    an end say the same.

    Returns:
        False when the lease is somebody else's by now, or something was added before. Nothing is changed then.
    """
    if record.lease_token != lease_token or names.FROZEN in record.attributes:
        return False
    record.attributes.update(note.attributes)
    record.attributes[names.FROZEN] = True
    return True


def _sum(total: int | None, more: int | None) -> int | None:
    """Add what is known: unknown plus unknown stays unknown."""
    if more is None:
        return total
    return more if total is None else total + more


def only_a_turn(item: Add) -> bool:
    """Return whether *item* brings nothing but a turn that ended well, and perhaps attributes."""
    if item.failed or item.user_id is not None:
        return False
    return item.input_tokens is None and item.output_tokens is None and item.cost_microusd is None
