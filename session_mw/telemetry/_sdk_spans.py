"""
Reading and stamping the attributes of an SDK span at the price of a dict.

A stamp is put on every span inside a session, so its price is the price of this package. The public ways copy what a
span holds, look at each value again, and lock: ten times as much. So this module, and no other, touches what is
private in the SDK's spans. Where the internals are not as known, the public ways are taken; what stands on the span
afterwards is the same.

Known: SDK 1.38 to 1.45 keep ``_attributes``, a mapping around the plain dict ``_dict`` with the limits ``maxlen`` and
``max_value_len``, changed under ``_lock``; and a provider's processors as a tuple ``_span_processors`` with a ``_lock``
in ``_active_span_processor``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._core.records import AttributeValue

_EXPORT = "opentelemetry.sdk.trace.export"


def processors_of(provider: object) -> object:
    """Return the processors of *provider*: the same object as long as none is added. None where they are unknown."""
    return getattr(getattr(provider, "_active_span_processor", None), "_span_processors", None)


def put_first(provider: object, processor: object) -> bool:
    """
    Put *processor* before all others; return False, with nothing changed, if the internals are not as known.

    Other processors look at a span's attributes when it starts: to decide what they will export, to show it as pending.
    """
    holder: Any = getattr(provider, "_active_span_processor", None)
    lock = getattr(holder, "_lock", None)
    # One that calls its processors concurrently keeps no order.
    if lock is None or hasattr(holder, "_executor"):
        return False
    with lock:
        others = getattr(holder, "_span_processors", None)
        if type(others) is not tuple:
            return False
        holder._span_processors = (processor, *others)
    return True


def start_unseen(processors: object, ours: type) -> bool:
    """Return whether all *processors* do nothing at a span's start: the SDK's exporting ones, and *ours*."""
    if type(processors) is not tuple:
        return False
    kinds = {type(processor) for processor in processors} - {ours}
    return all(kind.__module__ == _EXPORT for kind in kinds)


def stamp_span(span: Any, stamp: Mapping[str, AttributeValue]) -> None:
    """
    Put *stamp* on a span that has just been started; what it was created with stays.

    No lock: the application has not got the span yet.
    """
    attributes = getattr(span, "_attributes", None)
    held = getattr(attributes, "_dict", None)
    if type(held) is dict and attributes.max_value_len is None:  # type: ignore[union-attr]
        limit = attributes.maxlen  # type: ignore[union-attr]
        if limit is None or len(held) + len(stamp) <= limit:
            held.update({**stamp, **held})
            return
    own = span.attributes
    span.set_attributes(missing(stamp, own) if own else stamp)


def put(span: Any, values: Mapping[str, AttributeValue]) -> None:
    """
    Set attributes of a span of ours that is recording, where all *values* are text, numbers or truth values.

    With the lock that the SDK takes: others may set attributes of their own meanwhile.
    """
    attributes = getattr(span, "_attributes", None)
    held = getattr(attributes, "_dict", None)
    lock = getattr(attributes, "_lock", None)
    if type(held) is dict and lock is not None and attributes.max_value_len is None:  # type: ignore[union-attr]
        limit = attributes.maxlen  # type: ignore[union-attr]
        with lock:
            if limit is None or len(held) + len(values) <= limit:
                held.update(values)
                return
    span.set_attributes(values)


def keep(span: Any, stamp: Mapping[str, AttributeValue]) -> None:
    """Put *stamp* back on a span of ours where somebody has overwritten it: see ``helpers``, Rule 2."""
    if span.is_recording() and not stamp.items() <= attributes_of(span).items():
        put(span, stamp)


def restamp(span: Any, values: Mapping[str, AttributeValue]) -> None:
    """
    Change attributes that an ended span has. Before it is exported: see ``put_first``.

    Where the internals are not as known it stays as it is: the SDK lets nobody change an ended span.
    """
    held = getattr(getattr(span, "_attributes", None), "_dict", None)
    if values and type(held) is dict:
        held.update(values)


def attributes_of(span: Any) -> Mapping[str, Any]:
    """Return the attributes of a span that nobody changes meanwhile: just started, or ended. Only to be read."""
    held = getattr(getattr(span, "_attributes", None), "_dict", None)
    if type(held) is dict:
        return held
    own = span.attributes
    return own.copy() if own else {}


def missing(stamp: Mapping[str, AttributeValue], own: Any) -> Mapping[str, AttributeValue]:
    """Return the part of *stamp* that *own* has no value for."""
    known = own.copy()  # a plain dict: asking the SDK's mapping seven times raises seven KeyErrors inside
    if known.keys().isdisjoint(stamp):
        return stamp
    return {key: value for key, value in stamp.items() if key not in known}
