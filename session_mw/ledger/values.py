"""
What a ledger can hold: every value passes here once, so that SQLite, PostgreSQL and the ring keep the same.

Rule 1: nothing raises. What no database can hold (NaN, infinities, integers beyond 64 bits) is left out.
Rule 2: names that begin with an underscore are internal and are not kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from .._core.records import AttributeValue

# Integers up to here are exact in SQLite, PostgreSQL, JSON and floats; no count, time or sum of ours comes near.
LARGEST = 2**53
_INT64 = 2**63


def text(value: object) -> str:
    """Return *value* as text that every database takes: PostgreSQL refuses NUL, UTF-8 has no lone surrogates."""
    if type(value) is str and value.isprintable():  # the usual case: NUL and surrogates are not printable
        return value
    return str(value).replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def optional_text(value: object) -> str | None:
    """Return *value* as text, None when it is None or empty."""
    return None if value is None or value == "" else text(value)


def whole(value: object) -> int | None:
    """Return *value* as an integer, None when it is no number or beyond ``LARGEST``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -LARGEST <= value <= LARGEST:
        return None
    return round(value)


def bounded(number: int) -> int:
    """Return what is nearest to *number* of what a database counts: limits and cursors come from addresses of pages."""
    return min(max(number, -LARGEST), LARGEST)


def microusd(usd: object) -> int | None:
    """Return US dollars in millionths, None when *usd* is no number."""
    if isinstance(usd, bool) or not isinstance(usd, (int, float)):
        return None
    return whole(usd * 1e6 if isinstance(usd, float) else usd * 1_000_000)


def plus(total: int | None, more: int | None) -> int | None:
    """Add what is known: unknown plus unknown stays unknown."""
    if total is None or more is None:
        return total if more is None else more
    return min(total + more, LARGEST)


def attributes(given: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    """Return what of *given* can be kept."""
    kept = {}
    for key, value in given.items():
        fit = storable(value)
        if fit is not None and not key.startswith("_"):
            kept[text(key)] = fit
    return kept


def storable(value: object) -> AttributeValue | None:
    """Return *value* as plain text, bool, integer or number; None when it is nothing that could be kept."""
    if isinstance(value, str):
        return text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if -_INT64 <= value < _INT64 else None
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return text(value)
