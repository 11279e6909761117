"""
What happens to sessions when a request ends: what its turn brought is added, off the path, and the end that the
application asked for is carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from . import names
from .counting import write
from .flows import ttl_of
from .ops import Add, End, Flow, ask
from .policy import Policy
from .records import AttributeValue
from .scope import SessionScope
from .turn_state import NO_USAGE, NOTHING_CHANGED, TurnState


def close_turn(
    items: Sequence[Add], end: End | None, refused: Callable[[Add], None], unended: Callable[[End], None]
) -> Flow[bool]:
    """
    Write down what turns brought, then end the session if the application said so.

    Args:
        items: In order.
        end: What the application said.
        refused: Takes what was not written.
        unended: Takes *end* when nobody knows that it was carried out: the store failed, the client left.

    Returns:
        Whether the session was ended here.
    """
    try:
        yield from write(items, refused)
        return (yield from ask(end)) if end is not None else False
    except BaseException:
        if end is not None:
            unended(end)
        raise


def end_of(scope: SessionScope, policy: Policy) -> End | None:
    """Return the operation that ends the session as the application asked, None when it did not."""
    if scope.end_reason is None or scope.remote:
        return None
    return End(scope.session_id, scope.end_reason, scope.successor, ttl_of(policy), policy.limits.settle_ms)


def collect(scope: SessionScope, turn: TurnState | None, at_ms: int, latency_ms: int, trace: str) -> Add | None:
    """
    Return what a request adds to its session: its turn's counters, and what the application said.

    Args:
        scope: Of the request.
        turn: That has just ended; None for what was said outside of one. Without a number the store did not count it.
        at_ms: The store's clock at its end.
        latency_ms: Of the turn.
        trace: ``<trace id>-<span id>-<flags>`` of the turn's span, empty when there is none.
    """
    if scope.remote or not scope.stored:
        return None
    item = Add(scope.session_id, scope.generation, at_ms)
    if scope.rebind:
        item.user_id = scope.user_id
    changes = scope.changes
    scope.changes, scope.rebind = NOTHING_CHANGED, False
    if turn is None:
        item.attributes = changes
        return item if changes or item.user_id else None
    usage = turn.take_usage()
    if usage is not NO_USAGE:
        item.input_tokens, item.output_tokens, item.cost_microusd = usage
    if turn.number is None:  # its touch failed, so it is in no total; what was used and said in it is kept
        item.attributes = changes
        return item if changes or item.user_id or usage is not NO_USAGE else None
    _count(item, turn, latency_ms)
    last, known = NOTHING_CHANGED, scope.attributes
    if "-" in trace:
        trace = f"{trace}-{at_ms:x}"
    if turn.attributes or names.LAST_INTENT in known or names.LAST_ACTION in known:
        last = _last(known, turn.attributes, trace)
    elif trace and known.get(names.LAST_TRACE) != trace:
        last = {names.LAST_TRACE: trace}
    if changes or last:
        item.attributes = {**changes, **last} if changes else last
    return item


def _count(item: Add, turn: TurnState, latency_ms: int) -> None:
    if turn.error is not None:
        item.failed = 1
    else:
        item.completed = 1
    item.latency_ms = latency_ms


def _last(
    known: Mapping[str, AttributeValue], said: Mapping[str, AttributeValue], trace: str
) -> dict[str, AttributeValue | None]:
    """Return what is remembered of the last turn, for the analysis of the session's end; None forgets another's."""
    last: dict[str, AttributeValue | None] = {}
    if trace and known.get(names.LAST_TRACE) != trace:
        last[names.LAST_TRACE] = trace
    for kept, name in ((names.LAST_INTENT, names.TURN_INTENT), (names.LAST_ACTION, names.TURN_ACTION)):
        value = said.get(name)
        if value is not None or kept in known:
            last[kept] = value
    return last
