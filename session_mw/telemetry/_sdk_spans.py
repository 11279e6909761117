"""
Reading and stamping the attributes of an SDK span at the price of a dict.

A stamp is put on every span inside a session, so its price is the price of this package. The public ways copy what a
span holds, look at each value again, and lock: ten times as much. So this module, and no other, touches what is
private in the SDK's spans. Where the internals are not as known, the public ways are taken; what stands on the span
afterwards is the same.

Known: SDK 1.38 to 1.45 keep ``_attributes``, a mapping around the plain dict ``_dict`` with the limits ``maxlen`` and
``max_value_len``, changed under ``_lock``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._core.records import AttributeValue

_EXPORT = "opentelemetry.sdk.trace.export"


def processors_of(provider: object) -> object:
    """Return the processors of *provider*: the same object as long as none is added. None where they are unknown."""
    return getattr(getattr(provider, "_active_span_processor", None), "_span_processors", None)


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


def attributes_of(span: Any) -> Mapping[str, Any]:
    """Return the attributes of an ended span. Only to be read."""
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
